"""The words of tus 1.0.0 and of our receipts on the wire: header names, how they are read, how a request is refused.

Every value here comes from a stranger. It is bounded and parsed in one spelling before anything is done with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final, Protocol, Self

from aiohttp import web
from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ALGORITHMS",
    "BUNDLE",
    "BUNDLE_MEDIA_TYPE",
    "CHECKSUM_MISMATCH",
    "OFFERED",
    "OFFSET_MEDIA_TYPE",
    "RECEIPT",
    "RECEIPT_REFUSED",
    "STRETCHES",
    "STRETCH_MIN",
    "THROUGH",
    "VERSION",
    "Checksum",
    "Hasher",
    "RefusedRequest",
    "Stretches",
    "http_date",
    "number",
    "parse_checksum",
    "parse_digest_field",
    "parse_metadata",
    "parse_stretches",
    "repr_digest",
    "wants_sha256",
]

VERSION: Final = "1.0.0"
OFFSET_MEDIA_TYPE: Final = "application/offset+octet-stream"
CHECKSUM_MISMATCH: Final = 460
RECEIPT: Final = "Evidock-Receipt"
STRETCHES: Final = "Evidock-Stretches"
STRETCH_MIN: Final = 256 * 1024
"""Least bytes of a stretch, as OPTIONS tells it: for each a digest is compared, and a few dozen fit into a header."""
RECEIPT_REFUSED: Final = "refused"
"""Stands in `Evidock-Receipt` where every byte came and they are not what was claimed. No base64, so never a note."""

BUNDLE: Final = "Evidock-Bundle"
"""In the answer to OPTIONS: how many captures one request may bring, and how many bytes of them together."""
BUNDLE_MEDIA_TYPE: Final = "application/vnd.evidock.bundle"

_METADATA_MAX: Final = 16384
_DIGEST_FIELD_MIN: Final = 2
_SHA256: Final = 32
_METADATA_KEYS_MAX: Final = 32
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_METADATA_KEY: Final = re.compile(r"[!-+\--~]{1,64}", re.ASCII)  # printable ASCII without space and comma


class Hasher(Protocol):
    """What `hashlib` and `blake3` objects share."""

    def update(self, data: bytes, /) -> object:
        """Take bytes in."""

    def digest(self) -> bytes:
        """Return the digest of what was taken in."""

    def copy(self) -> Self:
        """Return another that took the same in."""


def _blake3() -> Hasher:
    return blake3()


ALGORITHMS: Final[Mapping[str, Callable[[], Hasher]]] = {
    "sha256": hashlib.sha256,
    "blake3": _blake3,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),  # tus: a server must know at least sha1
}
"""The algorithms of `Upload-Checksum` that look at one body alone, in the order of our preference."""

THROUGH: Final = "sha256-through"
"""SHA-256 of the upload from its first byte through the end of the body: the sender knows it from its journal, and who
stores the upload computes it anyway."""

OFFERED: Final = ("sha256", THROUGH, "blake3", "sha1")
"""All algorithms of `Upload-Checksum`, as `Tus-Checksum-Algorithm` names them."""


class RefusedRequest(Exception):
    """An answer with an error status and one sentence. Nothing was changed unless the sentence says so."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})

    def answer(self) -> web.Response:
        """Return it as a response in plain text."""
        reason = "Checksum Mismatch" if self.status == CHECKSUM_MISMATCH else None
        return web.Response(status=self.status, reason=reason, text=f"{self}\n", headers=self.headers)


@dataclass(frozen=True, slots=True)
class Checksum:
    """What `Upload-Checksum` states of one request body."""

    algorithm: str
    digest: bytes

    @property
    def through(self) -> bool:
        """It speaks of everything before the body too."""
        return self.algorithm == THROUGH

    def hasher(self) -> Hasher:
        """Return a fresh hasher of its algorithm, for one body alone."""
        return ALGORITHMS[self.algorithm]()


def number(text: str | None, name: str) -> int:
    """Return a header's decimal number, or refuse: one spelling, no sign, and below 2**63."""
    if text is None:
        raise RefusedRequest(400, f"{name} is missing.")
    if not _NUMBER.fullmatch(text) or (value := int(text)) >= 1 << 63:
        raise RefusedRequest(400, f"{name} is not a number that a length can have.")
    return value


def parse_checksum(text: str) -> Checksum:
    """Return what `Upload-Checksum: <algorithm> <base64>` states, or refuse with 400 as the extension demands."""
    algorithm, _, value = text.partition(" ")
    if algorithm not in OFFERED:
        raise RefusedRequest(400, f"Upload-Checksum names none of {', '.join(OFFERED)}.")
    digest = _decoded(value, "Upload-Checksum")
    if len(digest) != len(ALGORITHMS.get(algorithm, hashlib.sha256)().digest()):
        raise RefusedRequest(400, f"Upload-Checksum has not the length of a {algorithm} digest.")
    return Checksum(algorithm, digest)


@dataclass(frozen=True, slots=True)
class Stretches:
    """What `Evidock-Stretches` states: SHA-256 of each stretch of so many bytes of a body; the last may be shorter."""

    length: int
    digests: bytes

    def digest(self, number: int) -> bytes:
        """Return that of one of them."""
        return self.digests[number * _SHA256 : (number + 1) * _SHA256]


def parse_stretches(text: str | None, body: int | None) -> Stretches | None:
    """Return what `Evidock-Stretches: <bytes> <base64>` states of a body of so many bytes, or refuse."""
    if text is None:
        return None
    length, _, value = text.partition(" ")
    stretches = Stretches(number(length, STRETCHES), _decoded(value, STRETCHES))
    fits = body is not None and stretches.length >= STRETCH_MIN
    if not fits or len(stretches.digests) != -(-(body or 0) // stretches.length) * _SHA256:
        raise RefusedRequest(400, f"{STRETCHES} does not fit the body, or its stretches are below {STRETCH_MIN} bytes.")
    return stretches


def parse_metadata(text: str) -> dict[str, str]:
    """Return the pairs of an `Upload-Metadata` header, values as text, or refuse with 400.

    An empty header counts as none, for tuspy sends it; a value may be empty, and then its space may be missing.
    """
    if len(text) > _METADATA_MAX:
        raise RefusedRequest(400, f"Upload-Metadata is longer than {_METADATA_MAX} characters.")
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip(" ").partition(" ")
        if not _METADATA_KEY.fullmatch(key) or key in found:
            raise RefusedRequest(400, "Upload-Metadata has a key that is empty, malformed or there twice.")
        try:
            found[key] = _decoded(value, "Upload-Metadata").decode("utf-8")
        except UnicodeDecodeError:
            raise RefusedRequest(400, f"Upload-Metadata: the value of {key} is not UTF-8.") from None
    if len(found) > _METADATA_KEYS_MAX:
        raise RefusedRequest(400, f"Upload-Metadata has more than {_METADATA_KEYS_MAX} keys.")
    return found


def _decoded(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise RefusedRequest(400, f"{header} holds a value that is not base64.") from None


def wants_sha256(text: str | None) -> bool:
    """Say whether `Want-Repr-Digest` (RFC 9530 section 4) would have SHA-256; weight 0 means that it would not."""
    for item in (text or "").split(","):
        key, _, weight = item.strip().partition("=")
        if key == "sha-256":
            return weight in {str(n) for n in range(1, 11)}
    return False


def parse_digest_field(text: str | None) -> bytes | None:
    """Return the SHA-256 of a `Content-Digest` or `Repr-Digest` (RFC 9530); None where there is none, else refuse."""
    for item in (text or "").split(","):
        key, _, value = item.strip().partition("=")
        if key == "sha-256":
            if len(value) < _DIGEST_FIELD_MIN or value[0] != ":" or value[-1] != ":":
                raise RefusedRequest(400, "A digest is not written as a byte sequence.")
            digest = _decoded(value[1:-1], "A digest field")
            if len(digest) != hashlib.sha256().digest_size:
                raise RefusedRequest(400, "A digest has not the length of a SHA-256.")
            return digest
    return None


def repr_digest(sha256: bytes) -> str:
    """Return the value of `Repr-Digest` for a SHA-256 (RFC 9530 section 3)."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def http_date(moment: float) -> str:
    """Return POSIX seconds as the date of an HTTP header."""
    return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)
