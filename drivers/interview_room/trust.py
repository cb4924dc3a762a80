"""Whom a driver believes to be its camera: read beside the event loop, once, and again when the file is another one.

The authorities of a system are some hundred, and a camera is asked every minute.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from agent.errors import DeviceRefused, in_words

if TYPE_CHECKING:
    from drivers.interview_room.polling import PolledOptions

__all__ = ["believed"]

_Seen: TypeAlias = "list[tuple[int, int, int] | None]"

_read: Final[dict[Path | None, tuple[_Seen, ssl.SSLContext]]] = {}
"""By `ca_file`. Nobody changes a context that is in here."""


async def believed(options: PolledOptions) -> ssl.SSLContext | bool:
    """What `ssl` of a connection to it is. Raises `DeviceRefused` where `ca_file` cannot be used."""
    if options.url.startswith("http:"):
        return True  # there is nothing to believe
    try:
        return await asyncio.to_thread(_context, options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise DeviceRefused(
            f"{options.ca_file} cannot be used: {in_words(error)}", hint="Name a PEM file of authorities."
        ) from error


def _context(ca_file: Path | None) -> ssl.SSLContext:
    system = ssl.get_default_verify_paths()
    seen = [_seen(path) for path in ((system.cafile, system.capath) if ca_file is None else (ca_file,))]
    known = _read.get(ca_file)
    if known is None or known[0] != seen:
        known = _read[ca_file] = seen, ssl.create_default_context(cafile=ca_file)
    return known[1]


def _seen(path: Path | str | None) -> tuple[int, int, int] | None:
    """Another one when the file is another one, or was written anew."""
    try:
        about = None if path is None else Path(path).stat()
    except OSError:
        return None
    return None if about is None else (about.st_ino, about.st_size, about.st_mtime_ns)
