"""Release units: where a volume has one, it is asked at its own socket; it makes the volume writable for itself.

Below one folder there is a socket for each mounted volume, of the name of the folder where the volume is mounted.
systemd listens there and starts the program, under a user of its own, when the first question comes.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agent.capture import Json
    from agent.driver import Place

__all__ = ["FOLDER", "Doors"]

FOLDER: Final = Path("/run/evidock-release")
"""Where the sockets are: only root may make any there (tmpfiles.d)."""

_LINE_MAX: Final = 64 * 1024


class Doors:
    """The sockets of the release units."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def of(self, place: Place) -> Path | None:
        """The socket for this volume; None where it has no unit."""
        path = self._folder / Path(os.fsdecode(place.root)).name
        try:
            return path if stat.S_ISSOCK(path.stat(follow_symlinks=False).st_mode) else None
        except OSError:
            return None

    async def ask(self, door: Path, asked: dict[str, Json]) -> dict[str, Any]:
        """Ask one question. Raises `OSError` or `ValueError`; what was done is then not known."""
        reader, writer = await asyncio.open_unix_connection(str(door), limit=_LINE_MAX)
        try:
            writer.write(json.dumps(asked).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
            if not line:
                raise ConnectionError("it ended without an answer")
            answer: dict[str, Any] = json.loads(line)
            return answer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
