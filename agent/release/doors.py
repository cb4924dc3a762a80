"""Release units: where a volume has one, it is asked at its own socket; it makes the volume writable for itself.

Below one folder there is a socket for each mounted volume, of the name of the folder where the volume is mounted.
systemd listens there and starts the program, under a user of its own, when the first question comes.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.release.asking import LINE_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.driver import Place
    from agent.release.asking import Ends

__all__ = ["FOLDER", "Doors"]

FOLDER: Final = Path("/run/evidock-release")
"""Where the sockets are: only root may make any there (tmpfiles.d)."""


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

    @asynccontextmanager
    async def open(self, door: Path) -> AsyncIterator[Ends]:
        """The two ends of a connection. Raises `OSError`."""
        reader, writer = await asyncio.open_unix_connection(str(door), limit=LINE_MAX)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
