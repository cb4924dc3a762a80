"""An answer as it came, and the words that answers of more than one protocol have in common; nothing is sent here."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from agent.capture import LENGTH_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

__all__ = [
    "RECEIPT",
    "Answer",
    "moment",
    "note_as_body",
    "note_as_text",
    "note_in",
    "number",
    "repr_digest",
    "retry_after",
    "seconds_asked",
]

RECEIPT: Final = "Evidock-Receipt"
"""Where a DEMS is asked what it can do: `signed`. In the answer for a complete upload: the signed note in base64."""

RETRY_AFTER_MAX: Final = 3600.0
"""Seconds: a server that asks for more is asked again after this long."""

_SHA256_FIELD: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]+={0,2}):\s*(?=,|;|$)")
_SHA256_LENGTH: Final = 32
_SIGNATURE: Final = "\n\n— ".encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, of which at most the beginning of the body was read."""

    method: str
    url: URL
    status: int
    headers: Mapping[str, str]
    """Found in any case of letters."""
    body: bytes = b""
    spoken: bool = True
    """Whether it bears the sign of the protocol in which was asked: what a proxy or a login page answers lacks it."""

    @property
    def offset(self) -> int | None:
        """Its `Upload-Offset`."""
        return number(self.headers.get("Upload-Offset"))


def number(text: str | None) -> int | None:
    """Return a header's decimal number below 2^53; None for anything else."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > len(str(LENGTH_MAX)):
        return None
    value = int(text)
    return value if value < LENGTH_MAX else None


def repr_digest(answer: Answer) -> bytes | None:
    """Return the SHA-256 of a `Repr-Digest` (RFC 9530 section 3): of all bytes that the server holds of the upload."""
    found = _SHA256_FIELD.search(answer.headers.get("Repr-Digest", ""))
    if found is None:
        return None
    try:
        digest = base64.b64decode(found[1], validate=True)
    except ValueError:  # no base64, or no ASCII even
        return None
    return digest if len(digest) == _SHA256_LENGTH else None


def note_in(answer: Answer) -> bytes | None:
    """Return the signed note that an answer carries in its header, None where there is none that can be read."""
    try:
        return _shaped(base64.b64decode(answer.headers.get(RECEIPT, ""), validate=True))
    except ValueError:  # no base64, or no ASCII even
        return None


def note_as_body(answer: Answer) -> bytes | None:
    """Return the signed note that an answer is."""
    return _shaped(answer.body)


def note_as_text(text: object) -> bytes | None:
    """Return the signed note that stands in an answer as text."""
    return _shaped(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else None


def _shaped(raw: bytes) -> bytes | None:
    """Return it where it has the shape of a note; whether it is true, and of this capture, the caller verifies."""
    return raw if _SIGNATURE in raw and raw.endswith(b"\n") else None


def retry_after(answer: Answer) -> float | None:
    """Return the seconds of `Retry-After`."""
    return seconds_asked(answer.headers.get("Retry-After", ""), answer.headers.get("Date"))


def seconds_asked(text: str, date: str | None) -> float | None:
    """Return the seconds that a `Retry-After` asks for (RFC 9110 section 10.2.3), which may be a number or a date.

    A date is read against the answer's own `Date`, for clocks differ. None for what is neither.
    """
    seconds = number(text.strip())
    if seconds is not None:
        return min(float(seconds), RETRY_AFTER_MAX)
    until = moment(text.strip())
    if until is None:
        return None
    now = moment(date) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), RETRY_AFTER_MAX)


def moment(text: str | None) -> datetime | None:
    """Return the time of an HTTP date (RFC 9110 section 5.6.7), aware; None for anything else."""
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):  # no date, or one of a year with twenty digits
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
