"""What an object is called and what stands beside it: the same for each try, so that one capture is one object."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from agent.capture import rfc3339
from agent.errors import UplinkDown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Holding, Priority
    from agent.uplink.s3.options import S3Options

__all__ = ["b64", "key_of", "lock_asked", "lock_until", "made_with", "metadata", "upload_id"]

METADATA_MAX: Final = 2000
"""Bytes of all names and values together: S3 takes 2 KB."""
VALUE_MAX: Final = 256
"""Bytes of one value: stores that are built upon Swift take no more."""


def key_of(options: S3Options, holding: Holding) -> str:
    """The object's name: by capture, never by bytes, for two devices may record the same."""
    return f"{options.prefix}{holding.id}"


def metadata(holding: Holding) -> dict[str, str]:
    """What the capture is and which entry of which log speaks of it; percent-encoded UTF-8, for headers are ASCII.

    Where a device's own name for it is too long, its SHA-256 stands there instead; the entry has the name.
    """
    origin = holding.origin
    told = {
        "capture": holding.id,
        "sha256": holding.digest.sha256.hex(),
        "blake3": holding.digest.blake3.hex(),
        "device": quote(origin.device, safe=" /:@+,;=()"),
        "key": quote(origin.key, safe=" /:@+,;=()"),
        "began-at": "" if origin.began_at is None else rfc3339(origin.began_at),
        "log": f"{holding.log} {holding.index}",
        "group": quote(holding.group or "", safe=" /:@+,;=()"),
    }
    for name in ("key", "group", "device"):
        if len(told[name]) > VALUE_MAX:
            told[f"{name}-sha256"] = sha256(told.pop(name).encode()).hexdigest()
    return {name: value for name, value in told.items() if value}


def made_with(options: S3Options, holding: Holding, kind: Priority) -> dict[str, Any]:
    """What is said when the object of a capture of this class is made, by PUT or at the beginning of its parts."""
    words: dict[str, Any] = {"ContentType": holding.media_type, "Metadata": metadata(holding)}
    if options.encryption is not None:
        words["ServerSideEncryption"] = options.encryption
    if options.kms_key is not None:
        words["SSEKMSKeyId"] = options.kms_key
    if (until := lock_until(options, kind)) is not None:
        words |= {"ObjectLockMode": options.lock.upper(), "ObjectLockRetainUntilDate": until}
    if options.held(kind):
        words["ObjectLockLegalHoldStatus"] = "ON"
    return words


def lock_asked(options: S3Options, kind: Priority) -> str | None:
    """What lock is asked for an object of this class, as one word; None where none is."""
    days, held = options.days(kind), options.held(kind)
    if days is None and not held:
        return None
    return f"{options.lock}-{days or 0}{'-held' if held else ''}"


def lock_until(options: S3Options, kind: Priority, *, now: datetime | None = None) -> datetime | None:
    """Until when the object is to be locked; None where nothing is asked for."""
    days = options.days(kind)
    if days is None:
        return None
    return (now or datetime.now(UTC)).replace(microsecond=0) + timedelta(days=days)


def upload_id(answer: Mapping[str, Any], place: str) -> str:
    """What a store calls the upload that it has begun. Raises `UplinkDown` where it does not say."""
    told = answer.get("UploadId")
    if not isinstance(told, str) or not told:
        raise UplinkDown(f"{place} began an upload and does not say which")
    return told


def b64(digest: bytes) -> str:
    """A digest as S3 writes it."""
    return base64.b64encode(digest).decode()
