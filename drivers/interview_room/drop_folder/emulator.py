"""A recorder that exports into a folder, step by step as a test wants it, and a folder whose system calls fail or hang.

By hand: `python -m drivers.interview_room.drop_folder.emulator FOLDER` exports a film in small steps, with a side-car.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from hashlib import md5, sha256
from pathlib import Path
from typing import TYPE_CHECKING

from agent.testing.devices import some_bytes
from drivers.interview_room.drop_folder.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Export", "FaultyWire", "RecorderEmulator"]


class Export:
    """One file that is being written. Nothing happens by itself: each call is one thing that real recorders do."""

    def __init__(self, path: Path, data: bytes, *, reserve: bool = False) -> None:
        self.path, self.data = path, data
        self._file = path.open("wb")
        if reserve:  # the whole length stands there before the first byte is written
            os.truncate(self._file.fileno(), len(data))

    def write(self, count: int | None = None) -> None:
        """The next bytes, or all that are left; the file stays open."""
        at = self._file.tell()
        self._file.write(self.data[at:] if count is None else self.data[at : at + count])
        self._file.flush()

    def close(self) -> None:
        """It is done with this file, or thinks so."""
        self._file.close()

    def resume(self) -> None:
        """An upload that was cut goes on: the file is opened again at its end."""
        self._file = self.path.open("ab")

    def rewrite(self, data: bytes) -> None:
        """The whole file is written anew under its name."""
        self.data = data
        self._file = self.path.open("wb")

    def set_clock(self, seconds: float) -> None:
        """The recorder's clock jumped: the file says that it was changed then."""
        os.utime(self.path, (seconds, seconds))


class RecorderEmulator:
    """A recorder with a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, name: str, data: bytes, *, reserve: bool = False) -> Export:
        """Begin to export."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return Export(path, data, reserve=reserve)

    def export(self, name: str, data: bytes) -> Path:
        """Export all of it."""
        export = self.begin(name, data)
        export.write()
        export.close()
        return export.path

    def prove(self, name: str, data: bytes, kind: str = "sha256") -> Path:
        """Write the side-car that says what `name` is: `sha256`, `md5` or `xml`."""
        if kind == "xml":
            path = self.folder / f"{name.rpartition('.')[0]}.xml"
            last = name.rpartition("/")[2]
            path.write_text(
                f'<?xml version="1.0"?>\n<Asset><FileName>{last}</FileName>'
                f"<Sha256>{sha256(data).hexdigest().upper()}</Sha256></Asset>\n"
            )
            return path
        path = self.folder / f"{name}.{kind}"
        digest = (sha256(data) if kind == "sha256" else md5(data, usedforsecurity=False)).hexdigest()
        path.write_text(f"{digest}  {name.rpartition('/')[2]}\n")
        return path


class FaultyWire(Wire):
    """Faults between driver and folder, one letter for each read; where the string ends, all goes well.

    `r` well, `s` half a block, `S` nothing, as if the file ended, `F` a flipped bit, `E` EIO, `T` ETIMEDOUT,
    `N` ESTALE.
    `hang()` makes every call wait until `go_on()`, as a dead server does.
    """

    def __init__(self, reads: str = "", *, after_read: Callable[[int], None] | None = None) -> None:
        self._reads = iter(reads)
        self._after_read = after_read
        self._goes = threading.Event()
        self._goes.set()
        self.reads = 0

    def hang(self) -> None:
        """From now on nothing comes back."""
        self._goes.clear()

    def go_on(self) -> None:
        """It does again, also what was waiting."""
        self._goes.set()

    def look(self, path: str) -> os.stat_result:
        """See `Wire.look`."""
        self._goes.wait()
        return super().look(path)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """As the string says."""
        self._goes.wait()
        fault = next(self._reads, "r")
        self.reads += 1
        if fault in "ETN":
            number = {"E": errno.EIO, "T": errno.ETIMEDOUT, "N": errno.ESTALE}[fault]
            raise OSError(number, os.strerror(number))
        block = super().read(fd, length, offset)
        if fault == "s":
            block = block[: (len(block) + 1) // 2]
        elif fault == "F" and block:
            block = bytes([block[0] ^ 1]) + block[1:]
        elif fault == "S":
            block = b""
        if self._after_read is not None:
            self._after_read(self.reads)
        return block


def main() -> None:
    """Export a film in steps of a second, so that somebody can watch it settle."""
    recorder = RecorderEmulator(Path(sys.argv[1]))
    name, data = "interview/CAM1_0001.mp4", some_bytes(5_000_000, time.time_ns())
    export = recorder.begin(name, data)
    for _ in range(5):
        export.write(1_000_000)
        time.sleep(1)
    export.close()
    recorder.prove(name, data)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):  # noqa: PLR2004
        sys.exit("usage: python -m drivers.interview_room.drop_folder.emulator FOLDER")
    main()
