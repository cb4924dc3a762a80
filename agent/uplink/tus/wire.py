"""The words of tus 1.0.0 and of the receipts over it: headers written and read, nothing sent."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from agent.capture import LENGTH_MAX, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from agent.capture import Holding

__all__ = [
    "BYTES_TYPE",
    "CHECKSUM_MISMATCH",
    "RECEIPT",
    "THROUGH",
    "VERSION",
    "Abilities",
    "Answer",
    "checksum",
    "metadata",
    "named_in",
    "note_as_body",
    "note_in",
    "number",
    "repr_digest",
    "retry_after",
]

VERSION: Final = "1.0.0"
CHECKSUM_MISMATCH: Final = 460
BYTES_TYPE: Final = "application/offset+octet-stream"
RECEIPT: Final = "Evidock-Receipt"
"""In OPTIONS: `signed`. In the answer for a complete upload: the signed note in base64."""

THROUGH: Final = "sha256-through"
"""An algorithm of `Upload-Checksum`: SHA-256 of the upload from its first byte through the end of the body."""

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

    @property
    def tus(self) -> bool:
        """Whether a tus server gave it: what a proxy or a login page answers lacks this header."""
        return self.headers.get("Tus-Resumable") == VERSION

    @property
    def offset(self) -> int | None:
        """Its `Upload-Offset`."""
        return number(self.headers.get("Upload-Offset"))


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server says of itself when asked with OPTIONS."""

    versions: tuple[str, ...]
    extensions: frozenset[str]
    checksums: frozenset[str]
    longest: int | None
    """Most bytes of one upload."""
    signs: bool
    """Every answer for a complete upload carries a signed receipt, and creating is idempotent by capture."""

    @classmethod
    def told_by(cls, answer: Answer) -> Abilities:
        """Read the answer to OPTIONS."""
        return cls(
            versions=_listed(answer, "Tus-Version"),
            extensions=frozenset(_listed(answer, "Tus-Extension")),
            checksums=frozenset(_listed(answer, "Tus-Checksum-Algorithm")),
            longest=number(answer.headers.get("Tus-Max-Size")),
            signs=answer.headers.get(RECEIPT, "").strip() == "signed",
        )

    @property
    def checks_parts(self) -> bool:
        """A part that arrives with another SHA-256 than we said is refused."""
        return "checksum" in self.extensions and "sha256" in self.checksums

    @property
    def checks_through(self) -> bool:
        """The SHA-256 of everything through the end of a part proves that part as well: no byte is hashed for it."""
        return self.checks_parts and THROUGH in self.checksums

    @property
    def takes_whole(self) -> bool:
        """One request may create and fill an upload.

        Only where creating is idempotent: after a lost answer nobody else could tell whether the capture arrived, and
        trying again would double it.
        """
        return self.signs and "creation-with-upload" in self.extensions


def _listed(answer: Answer, name: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in answer.headers.get(name, "").split(",")) if word)


def number(text: str | None) -> int | None:
    """Return a header's decimal number below 2^53; None for anything else."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > len(str(LENGTH_MAX)):
        return None
    value = int(text)
    return value if value < LENGTH_MAX else None


def checksum(digest: bytes, algorithm: str = "sha256") -> str:
    """Return the value of `Upload-Checksum`."""
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def metadata(holding: Holding) -> str:
    """Return `Upload-Metadata`: what the capture is and which entry of which log speaks of it, UTF-8 then base64."""
    origin = holding.origin
    pairs = {
        "capture": holding.id,
        "sha256": holding.digest.sha256.hex(),
        "blake3": holding.digest.blake3.hex(),
        "device": origin.device,
        "key": origin.key,
        "began_at": None if origin.began_at is None else rfc3339(origin.began_at),
        "log": f"{holding.log} {holding.index}",
        "media_type": holding.media_type,
        "group": holding.group,
        "group_members": str(holding.members) if holding.members else None,
    }
    # A value of no bytes is legal, yet there are servers that refuse it: what is not known is not named.
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items() if value)


def named_in(answer: Answer, key: str) -> str | None:
    """Return one value of an echoed `Upload-Metadata`, None where it is not there or cannot be read."""
    for pair in answer.headers.get("Upload-Metadata", "").split(","):
        name, _, value = pair.strip().partition(" ")
        if name == key:
            try:
                return base64.b64decode(value, validate=True).decode()
            except ValueError:
                return None
    return None


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


def _shaped(raw: bytes) -> bytes | None:
    """Return it where it has the shape of a note; whether it is true, and of this capture, the caller verifies."""
    return raw if _SIGNATURE in raw and raw.endswith(b"\n") else None


def retry_after(answer: Answer) -> float | None:
    """Return the seconds of `Retry-After` (RFC 9110 section 10.2.3), which may be a number or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    seconds = number(text)
    if seconds is not None:
        return min(float(seconds), RETRY_AFTER_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), RETRY_AFTER_MAX)
