"""The words of Resumable Uploads for HTTP and of RFC 9530: header fields written and read, nothing sent.

draft-ietf-httpbis-resumable-upload-12 (2026-07), sections 4.1 and 9. The fields are Structured Fields (RFC 9651); what
is malformed counts as absent, as both demand.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.capture import LENGTH_MAX

if TYPE_CHECKING:
    from agent.uplink.http import Answer

__all__ = ["PARTIAL", "Limits", "complete", "digest_field", "disposition", "limits_in", "misfit", "problem"]

PARTIAL: Final = "application/partial-upload"

_KEY: Final = r"[a-z*][a-z0-9_.*-]{0,63}"
_BARE: Final = (
    r"(?:-?[0-9]{1,15}(?:\.[0-9]{1,3})?"  # integer, decimal
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'  # string
    r"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*"  # token
    r"|:[A-Za-z0-9+/=]*:|\?[01]|@-?[0-9]{1,15}|%\"(?:[ !#$&-~]|%[0-9a-f]{2})*\")"
)
_PARAMETERS: Final = rf"(?:;[ ]*{_KEY}(?:={_BARE})?)*"
_INNER: Final = rf"\([ ]*(?:{_BARE}{_PARAMETERS}(?:[ ]+{_BARE}{_PARAMETERS})*[ ]*)?\)"
_MEMBER: Final = re.compile(rf"({_KEY})(?:=({_BARE}|{_INNER}))?{_PARAMETERS}")
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")
_BOOLEAN: Final = re.compile(rf"\?([01]){_PARAMETERS}")
_INTEGER: Final = re.compile(r"[0-9]{1,15}")
_FIELD_MAX: Final = 4096
_KNOWN: Final = ("max-size", "min-size", "max-append-size", "min-append-size", "max-age")


@dataclass(frozen=True, slots=True)
class Limits:
    """What `Upload-Limit` says: bytes of an upload and of one request, and seconds that the upload is kept."""

    max_size: int | None = None
    min_size: int | None = None
    max_append_size: int | None = None
    min_append_size: int | None = None
    max_age: int | None = None

    def over(self, others: Limits) -> Limits:
        """Return these, and where they say nothing, the others: an answer may tell one limit alone, as `max-age`."""
        return Limits(
            self.max_size if self.max_size is not None else others.max_size,
            self.min_size if self.min_size is not None else others.min_size,
            self.max_append_size if self.max_append_size is not None else others.max_append_size,
            self.min_append_size if self.min_append_size is not None else others.min_append_size,
            self.max_age if self.max_age is not None else others.max_age,
        )

    def end(self, offset: int, end: int, length: int) -> int:
        """Return where a request that begins at `offset` may end, as near to `end` as the limits of requests let it."""
        if self.min_append_size is not None:
            end = max(end, offset + self.min_append_size)
        if self.max_append_size is not None:
            end = min(end, offset + self.max_append_size)
        return min(end, length)


def limits_in(answer: Answer) -> Limits | None:
    """Return the limits that an answer states; None where it has no such field, or none that can be read."""
    text = answer.headers.get("Upload-Limit")
    members = None if text is None else _dictionary(text)
    if members is None:
        return None
    found = {}
    for key in _KNOWN:
        value = members.get(key)
        if value is None:
            continue
        if not _INTEGER.fullmatch(value) or int(value) > LENGTH_MAX:
            return None  # section 4.1.4: a known key with a value of another type spoils the field
        found[key.replace("-", "_")] = int(value)
    return Limits(**found)


def _dictionary(text: str) -> dict[str, str] | None:
    """Return the members of a Structured Field Dictionary with their bare values as written; None where it is none."""
    text = text.strip(" ")
    found: dict[str, str] = {}
    at = 0
    if len(text) > _FIELD_MAX:
        return None
    while at < len(text):
        member = _MEMBER.match(text, at)
        if member is None:
            return None
        found[member[1]] = member[2] or "?1"
        at = member.end()
        if at == len(text):
            break
        comma = _COMMA.match(text, at)
        if comma is None or comma.end() == len(text):
            return None
        at = comma.end()
    return found


def complete(answer: Answer) -> bool | None:
    """Return what `Upload-Complete` says: whether the answer comes from whoever processes the whole; None: nothing."""
    found = _BOOLEAN.fullmatch(answer.headers.get("Upload-Complete", "").strip(" "))
    return None if found is None else found[1] == "1"


def problem(answer: Answer) -> str:
    """Return the last part of a problem's type (RFC 9457), such as `mismatching-upload-offset`; empty where none is."""
    if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/problem+json":
        return ""
    try:
        told = json.loads(answer.body)
        return str(told["type"]).rpartition("#")[2]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def misfit(answer: Answer) -> bool:
    """Whether the server says that a digest does not fit (the problem types of draft-ietf-httpapi-digest-fields)."""
    return problem(answer).startswith("digest-mismatch")


def digest_field(sha256: bytes) -> str:
    """Return the value of `Content-Digest` or `Repr-Digest` (RFC 9530 sections 2 and 3)."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def disposition(name: str) -> str:
    """Return `Content-Disposition` with a file's name (RFC 6266): `inline`, as the draft recommends."""
    quoted = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}"  # noqa: PLR2004 - ASCII
        for byte in name.encode("utf-8", "replace")
    )
    return f"inline; filename*=UTF-8''{quoted}"
