"""NG9-1-1: identifiers of incidents and calls, EIDO documents and i3 log events, as JSON; and the headers of a call.

Known: NENA-STA-010.3 for the URNs `urn:emergency:uid:incidentid:<string>:<host>` and `callid`, and for the members of
log events; NENA-STA-021.1 for the members of an EIDO. Not known: what a real feed of a call-taking system sends. So
nothing is demanded but the identifiers: every other member may be missing, and is read by itself.

The string of a URN has 10 to 36 characters by the standard's later text, to 32 by the public conformance suite's check
of SIP; others are taken and flagged. Hosts are compared in lower case, strings byte by byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from firmware_specs import SpecError
from firmware_specs.formats import json_spans, pidf_lo
from firmware_specs.formats.pidf_lo import Location, moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ["DOCUMENT_MAX", "Document", "document", "headers", "normal", "urn_kind"]

DOCUMENT_MAX: Final = 4 << 20
"""Bytes of one document."""
URN_MAX: Final = 200
CALLS_MAX: Final = 32
_URN: Final = re.compile(r"urn:emergency:uid:(incidentid|callid|queryid):([!-9;-~]{1,100}):([A-Za-z0-9._-]{1,100})")
_USUAL: Final = range(10, 37)
_CALL_INFO: Final = re.compile(
    r"^Call-Info:[ \t]*<([^<>\r\n]{1,200})>[ \t]*;[ \t]*purpose=emergency-(CallId|IncidentId)[ \t]*\r?$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(slots=True)
class Document:
    """What one document says."""

    kind: str
    """`eido`, `log event`, `pidf-lo`, `lost`, `sip`."""
    incident: str | None = None
    calls: list[str] = field(default_factory=list)
    at: datetime | None = None
    """When it was written, as it says, with a zone."""
    call_started_at: datetime | None = None
    locations: list[Location] = field(default_factory=list)
    by_reference: list[str] = field(default_factory=list)
    """Addresses at which a location could be asked for; they are noted, and never followed."""
    words: dict[str, str] = field(default_factory=dict)
    """`type`, `element`, `direction`, `service`."""
    flags: list[str] = field(default_factory=list)
    """What is unusual about it, in sentences."""


def urn_kind(text: str) -> str | None:
    """`incidentid`, `callid` or `queryid`; None where it is no such URN."""
    found = _URN.fullmatch(text)
    return None if found is None else found[1]


def normal(text: str) -> str:
    """A URN as it is compared: the host in lower case. Anything else stays."""
    found = _URN.fullmatch(text)
    return text if found is None else f"urn:emergency:uid:{found[1]}:{found[2]}:{found[3].lower()}"


def document(data: bytes) -> Document:
    """Read any of the documents. Raises `SpecError` where it is none of them."""
    if len(data) > DOCUMENT_MAX:
        raise SpecError(f"a document of more than {DOCUMENT_MAX} bytes")
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return _xml(text)
    if text.startswith(b"{"):
        told = json_spans.loads(text)
        return _log_event(told) if "logEventType" in told else _eido(told)
    return headers(text.decode("utf-8", "replace"))


def headers(text: str) -> Document:
    """Identifiers in the headers of a SIP request: `Call-Info` with a purpose of NENA-STA-010.3 section 2.1."""
    found = Document("sip")
    for urn, purpose in _CALL_INFO.findall(text):
        if purpose.lower() == "incidentid":
            found.incident = found.incident or _identifier(urn, "incidentid", found)
        else:
            _add_call(found, urn)
    if found.incident is None and not found.calls:
        raise SpecError("no document of NG9-1-1: neither JSON, XML, nor headers of a call")
    return found


def _xml(data: bytes) -> Document:
    place = pidf_lo.place(data)
    if place is None:
        raise SpecError("XML that is neither PIDF-LO nor a LoST query")
    found = Document("pidf-lo" if place.service is None else "lost", at=place.at, locations=place.locations)
    if place.incident is not None:
        found.incident = _identifier(place.incident, "incidentid", found)
    if place.call is not None:
        _add_call(found, place.call)
    if place.service is not None:
        found.words["service"] = place.service
    return found


def _log_event(told: dict[str, Any]) -> Document:
    found = Document("log event", at=moment(_text(told.get("timestamp")) or ""))
    for name, member in (("type", "logEventType"), ("element", "elementId"), ("direction", "direction")):
        if (word := _text(told.get(member))) is not None:
            found.words[name] = word
    if (incident := _text(told.get("incidentId"))) is not None:
        found.incident = _identifier(incident, "incidentid", found)
    if (call := _text(told.get("callId"))) is not None:
        _add_call(found, call)
    if labels := [label for one in _list(told.get("mediaLabel")) if (label := _text(one)) is not None]:
        found.words["media_labels"] = " ".join(labels[:CALLS_MAX])
    return found


def _eido(told: dict[str, Any]) -> Document:
    incident = _text(told.get("$id"))
    if incident is None or urn_kind(incident) != "incidentid":
        raise SpecError("JSON that is neither an EIDO (`$id` names no incident) nor a log event")
    found = Document("eido", at=moment(_text(told.get("lastUpdateTimeStamp")) or ""))
    found.incident = _identifier(incident, "incidentid", found)
    if (element := _text(told.get("issuingElementIdentification"))) is not None:
        found.words["element"] = element
    for call in _objects(told.get("callComponent")):
        if (urn := _text(call.get("$id"))) is not None:
            _add_call(found, urn)
        started = moment(_text(call.get("callStartTimestamp")) or "")
        if started is not None and (found.call_started_at is None or started < found.call_started_at):
            found.call_started_at = started
    for location in _objects(told.get("locationComponent")):
        _location(location, found)
    return found


def _location(told: dict[str, Any], found: Document) -> None:
    value = told.get("locationByValue")
    if isinstance(value, str):
        try:
            place = pidf_lo.place(value.encode("utf-8", "surrogatepass"))
        except SpecError as error:
            place = None
            found.flags.append(f"a location cannot be read: {error}")
        if place is not None:
            found.locations += place.locations
            del found.locations[pidf_lo.LOCATIONS_MAX :]
    elif (url := _text(told.get("locationByReferenceUrl"))) is not None and len(found.by_reference) < CALLS_MAX:
        found.by_reference.append(url)


def _add_call(found: Document, text: str) -> None:
    call = _identifier(text, "callid", found)
    if call not in found.calls and len(found.calls) < CALLS_MAX:
        found.calls.append(call)


def _identifier(text: str, kind: str, found: Document) -> str:
    """An identifier as it was given, its host in lower case; what is unusual about it is flagged."""
    parts = _URN.fullmatch(text)
    if parts is None or parts[1] != kind:
        found.flags.append(f"no URN of the kind {kind}: {text[:URN_MAX]}")
        return text[:URN_MAX]
    if len(parts[2]) not in _USUAL:
        found.flags.append(f"the string of a {kind} has {len(parts[2])} characters, not 10 to 36")
    return normal(text)


def _text(value: object) -> str | None:
    """A short text that can be shown; None for anything else."""
    if not isinstance(value, str) or not 0 < len(value) <= URN_MAX or not value.isprintable():
        return None
    return value


def _list(value: object) -> list[Any]:
    return value[:1000] if isinstance(value, list) else []


def _objects(value: object) -> Iterator[dict[str, Any]]:
    return (one for one in _list(value) if isinstance(one, dict))
