"""What the sender says of a capture when it creates the upload: checked, bounded, and compared with the truth."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agent.capture import KEY_MAX, LENGTH_MAX
from agent.testing.dems.wire import CHECKSUM_MISMATCH, RefusedRequest, parse_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPTURE_ID", "Claims", "read_claims"]

CAPTURE_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LOG: Final = re.compile(r"([!-*,-~]{1,255}) (0|[1-9][0-9]{0,15})", re.ASCII)  # printable ASCII without plus
_RFC3339: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z", re.ASCII)
_MEDIA_TYPE_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Claims:
    """The sender's word on one capture. Only what a receipt can be signed over has to be there."""

    capture: str
    sha256: bytes
    blake3: bytes | None
    log: str
    """Origin of the sender's custody log."""
    index: int
    """Leaf of its `held` entry there."""


def read_claims(text: str, length: int) -> Claims:
    """Return the claims of an `Upload-Metadata`, or refuse with a sentence that names the first key that is wrong.

    `length` is that of the upload. Where a `check` tells that one of both changed on the way, 460 says so.
    """
    _check_whole(text, length)
    metadata = parse_metadata(text)
    capture = _must(metadata, "capture")
    if not CAPTURE_ID.fullmatch(capture):
        raise RefusedRequest(400, "Upload-Metadata: capture is not a UUID in lower case.")
    log = _LOG.fullmatch(_must(metadata, "log"))
    if log is None or (index := int(log[2])) >= LENGTH_MAX:
        raise RefusedRequest(400, "Upload-Metadata: log is not an origin, one space and a leaf index.")
    for key in ("device", "key", "group"):
        _check_text(metadata, key, KEY_MAX)
    _check_text(metadata, "media_type", _MEDIA_TYPE_MAX)
    _check_moment(metadata, "began_at")
    if not re.fullmatch("[1-9][0-9]{0,15}", metadata.get("group_members", "1")):
        raise RefusedRequest(400, "Upload-Metadata: group_members is not a number of captures.")
    return Claims(
        capture=capture,
        sha256=_digest("sha256", _must(metadata, "sha256")),
        blake3=_digest("blake3", metadata["blake3"]) if "blake3" in metadata else None,
        log=log[1],
        index=index,
    )


def _check_whole(text: str, length: int) -> None:
    before, found, check = text.rpartition(",check ")
    if found and check != base64.b64encode(sha256(f"{length} {before}".encode()).hexdigest().encode()).decode():
        raise RefusedRequest(CHECKSUM_MISMATCH, "Upload-Metadata and the length are not what its check says.")


def _must(metadata: Mapping[str, str], key: str) -> str:
    if not (value := metadata.get(key)):
        raise RefusedRequest(400, f"Upload-Metadata: {key} is missing, and no receipt can be signed without it.")
    return value


def _digest(key: str, text: str) -> bytes:
    if not _SHA256.fullmatch(text):
        raise RefusedRequest(400, f"Upload-Metadata: {key} is not 64 hexadecimal digits in lower case.")
    return bytes.fromhex(text)


def _check_text(metadata: Mapping[str, str], key: str, longest: int) -> None:
    if key in metadata and not (metadata[key].isprintable() and 0 < len(metadata[key]) <= longest):
        raise RefusedRequest(400, f"Upload-Metadata: {key} must have 1 to {longest} printable characters.")


def _check_moment(metadata: Mapping[str, str], key: str) -> None:
    if key not in metadata:
        return
    try:
        if _RFC3339.fullmatch(metadata[key]):
            datetime.fromisoformat(metadata[key])
            return
    except ValueError:
        pass  # the 31st of February
    raise RefusedRequest(400, f"Upload-Metadata: {key} is not a time in UTC as RFC 3339 writes it.")
