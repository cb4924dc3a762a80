"""Captures made of documents: what each says of itself, and its bytes from a folder or from a request."""

from __future__ import annotations

import asyncio
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agent.capture import Capture, Observation
from agent.descent import FILE, FOLDER, open_at
from agent.driver import BLOCK_LENGTH
from agent.errors import BadCapture, DeviceGone, DeviceRefused
from agent.opened import opening
from drivers.dispatch.folder import facts_of
from firmware_specs import SpecError
from firmware_specs.formats import ng911

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from agent.capture import Device, Json
    from drivers.dispatch.folder import Dropped

__all__ = ["FileOffer", "PostedOffer", "capture_of", "observation_of"]

_MEDIA_TYPES: Final = {
    "eido": "application/json",
    "log event": "application/json",
    "lost": "application/lost+xml",  # RFC 5222 section 17.3
    "pidf-lo": "application/pidf+xml",  # RFC 3863 section 5
    "sip": "message/sip",  # RFC 3261 section 27.5
}
_UNREAD: Final = "application/octet-stream"


def capture_of(device: Device, key: str, content: bytes | None, length: int, *, volatile: bool = False) -> Capture:
    """What a document says of itself. Of one that cannot be read, or is too long to be, that is said."""
    claims, media_type, at = _read(content)
    told: dict[str, Json] = {"source": "says the document", **claims}
    return Capture(device, key, at, length, media_type=media_type, volatile=volatile, claims=told)


def _read(content: bytes | None) -> tuple[dict[str, Json], str, datetime | None]:
    if content is None:
        return {"unread": f"it has more than {ng911.DOCUMENT_MAX} bytes"}, _UNREAD, None
    try:
        found = ng911.document(content)
    except SpecError as error:
        return {"unread": str(error)}, _UNREAD, None
    claims: dict[str, Json] = {"document": found.kind}
    if found.incident is not None:
        claims["incident"] = found.incident
    if found.calls:
        claims["call_id"] = list(found.calls)
    if found.call_started_at is not None:
        claims["call_started_at"] = found.call_started_at.isoformat()
    if found.locations:
        claims["locations"] = [one.told() for one in found.locations]
    if found.by_reference:
        claims["locations_by_reference"] = list(found.by_reference)
    if found.flags:
        claims["flags"] = list(found.flags[:20])
    words: dict[str, Json] = dict(found.words)
    return {**claims, **words}, _MEDIA_TYPES[found.kind], found.at


def observation_of(capture: Capture, heard_at: datetime) -> Observation | None:
    """What it tells of the world; None of a document that names no incident."""
    claims: Mapping[str, Json] = capture.claims
    if "incident" not in claims:
        return None
    names = ("incident", "call_id", "call_started_at", "locations", "locations_by_reference", "document")
    detail: dict[str, Json] = {name: claims[name] for name in names if name in claims}
    at = capture.began_at or heard_at
    source = "station" if capture.began_at is None else "cad"
    return Observation(capture.device.id, "incident", at, {**detail, "key": capture.key, "time": {"source": source}})


class PostedOffer:
    """A document that came in a request, and lies in memory."""

    def __init__(self, device: Device, content: bytes, ending: str) -> None:
        self._content = content
        key = f"{sha256(content).hexdigest()}{ending}"
        self.capture = capture_of(device, key, content, len(content), volatile=True)
        self.opened = False

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """Its bytes."""
        self.opened = True
        yield self._content[offset:]

    async def release(self) -> None:
        """Whoever posted it keeps it or not; here is nothing to forget."""


class FileOffer:
    """A document that lies in a folder."""

    def __init__(self, folder: Path, dropped: Dropped, capture: Capture) -> None:
        self._folder, self._dropped, self.capture = folder, dropped, capture
        self.opened = False

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """Its bytes from `offset` on. Raises `DeviceGone`, or `BadCapture` where it is another file by now."""
        self.opened = True
        try:
            async with opening(self._opened) as file:
                at = offset
                while at < self._dropped.length:
                    block = await file.run(os.pread, min(BLOCK_LENGTH, self._dropped.length - at), at)
                    if not block:
                        break
                    at += len(block)
                    yield block
                if at < self._dropped.length or facts_of(self._dropped.name, await file.run(os.fstat)) != self._dropped:
                    raise BadCapture(f"{self._dropped.key} changed while it was read")
        except OSError as error:
            raise DeviceGone(f"{self._dropped.key} went away while it was read: {error.strerror}") from error

    def _opened(self) -> int:
        try:
            folder = os.open(self._folder, FOLDER)
            try:
                fd = open_at(self._dropped.name, FILE, folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise DeviceGone(f"{self._dropped.key} cannot be opened: {error.strerror}") from error
        if facts_of(self._dropped.name, os.fstat(fd)) != self._dropped:
            os.close(fd)
            raise BadCapture(f"{self._dropped.key} is another file than a moment ago")
        return fd

    async def release(self) -> None:
        """Delete the file, where it is still the one that was taken. Raises `DeviceRefused`."""
        await asyncio.to_thread(self._deleted)

    def _deleted(self) -> None:
        try:
            folder = os.open(self._folder, FOLDER)
        except OSError as error:
            raise DeviceGone(f"{self._folder} went away: {error.strerror}") from error
        try:
            facts = os.stat(self._dropped.name, dir_fd=folder, follow_symlinks=False)
            if facts_of(self._dropped.name, facts) == self._dropped:
                os.unlink(self._dropped.name, dir_fd=folder)
                os.fsync(folder)  # else a power cut brings it back
        except FileNotFoundError:
            return
        except OSError as error:
            raise DeviceRefused(f"{self._dropped.key} cannot be deleted: {error.strerror}") from error
        finally:
            os.close(folder)
