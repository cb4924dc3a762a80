"""Captures made of what tablets send: an envelope, an upload that cannot be read, an attachment."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Capture, Device, Json, printable
from firmware_specs.formats.enote import moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from drivers.enotes.judging import Judged

__all__ = ["AtHand", "attachment_capture", "device_of", "envelope_capture", "unreadable_capture"]

FAMILY: Final = "enotes"
SPEC: Final = "enote/1"
_TEXT_MAX: Final = 200
_INCIDENTS: Final = 20


def device_of(tablet: str, driver: str) -> Device:
    """A tablet, as the certificate that it shows calls it."""
    return Device(id=f"enotes:{tablet}", family=FAMILY, driver=driver, serial=tablet, spec=SPEC)


class AtHand:
    """An `Offer` of bytes that are small and in memory."""

    def __init__(self, capture: Capture, data: bytes) -> None:
        self._capture, self._data = capture, data
        self.released = False
        """The agent lets the tablet forget it: the receipt says so."""

    @property
    def capture(self) -> Capture:
        """What it is."""
        return self._capture

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """Its bytes."""
        if self._data[offset:]:
            yield self._data[offset:]

    async def release(self) -> None:
        """The tablet removes it when the receipt has told it that it may."""
        self.released = True


def envelope_capture(device: Device, found: Judged, *, keeps: bool) -> Capture:
    """One envelope. Its key holds its digest: what differs by one byte is another capture, and nothing is merged."""
    digest = found.envelope.received_sha256.hex()
    placed = found.notebook is not None and found.seq is not None
    key = f"{found.notebook}/{found.seq:06}/{digest[:32]}" if placed else f"unplaced/{digest}"
    said = found.entry or {}
    return Capture(
        device=device,
        key=key,
        began_at=moment(said.get("recorded_at")),
        length=len(found.envelope.line),
        media_type="application/jose+json",
        group=found.notebook,
        clip=found.seq if placed else None,
        volatile=not keeps,
        claims={"entry": _told(said), "station": _station(found)},
    )


def _told(entry: dict[str, Any]) -> dict[str, Json]:
    """What it says of itself, without the note's text: that is read by whoever may read notes, and not in the log."""
    told: dict[str, Json] = {}
    for name in ("kind", "note", "notebook", "occurred_at", "op", "recorded_at"):
        if isinstance(value := entry.get(name), str):
            told[name] = _text(value)
    for name in ("rev", "seq"):
        value = entry.get(name)
        if type(value) is int and abs(value) < 1 << 53:
            told[name] = value
    for name, members in (("author", ("badge", "name")), ("device", ("app", "app_version", "id"))):
        if isinstance(inner := entry.get(name), dict):
            told[name] = {one: _text(inner[one]) for one in members if isinstance(inner.get(one), str)}
    incident = entry.get("incident")
    named = [incident] if isinstance(incident, str) else incident if isinstance(incident, list) else []
    if texts := [_text(one) for one in named[:_INCIDENTS] if isinstance(one, str)]:
        told["incident"] = texts[0] if len(texts) == 1 else list(texts)
    return told


def _station(found: Judged) -> dict[str, Json]:
    """What this station found when it came."""
    return {
        "alg": None if found.envelope.alg is None else _text(found.envelope.alg),
        "envelope_sha256": found.envelope.digest.hex(),
        "flags": list(found.flags),
        "kid": found.envelope.kid,
        "why": [_text(one) for one in found.why],
    }


def _text(value: str) -> str:
    return printable(value[:_TEXT_MAX])


def unreadable_capture(device: Device, body: bytes, why: str) -> Capture:
    """An upload that could not be split into envelopes: kept as it came, for a person."""
    return Capture(
        device=device,
        key=f"unreadable/{sha256(body).hexdigest()}",
        began_at=None,
        length=len(body),
        volatile=True,
        claims={"station": {"unreadable": _text(why)}},
    )


def attachment_capture(device: Device, row: dict[str, Any], began_at: datetime | None = None) -> Capture:
    """A file that an entry names by its digest. All is as it was announced, so a copy continues after a restart."""
    return Capture(
        device=device,
        key=f"{row['notebook']}/{row['seq']:06}/attachment/{row['sha256']}",
        began_at=began_at,
        length=row["length"],
        media_type=_media_type(row["media_type"]),
        group=row["notebook"],
        volatile=True,
        claims={
            "attachment": {
                "blake3": row["blake3"],
                "name": None if row["name"] is None else _text(row["name"]),
                "notebook": row["notebook"],
                "seq": row["seq"],
                "sha256": row["sha256"],
            }
        },
    )


def _media_type(said: str | None) -> str:
    good = said is not None and said.isascii() and said.isprintable() and 0 < len(said) <= 100 and "/" in said  # noqa: PLR2004
    return said if good and said is not None else "application/octet-stream"
