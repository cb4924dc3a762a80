"""A body-worn camera that shows itself as a USB volume, made of a folder: for the demo, for tests, and by hand.

It is plugged in while the folder stands at its mount point, and pulled by renaming the folder away: this needs no
rights and works between processes, on any Linux. What it cannot show is that open files die with the plug, for a file
that is open stays readable after its folder was renamed. The driver therefore asks after each block whether the path
still leads to the same folder, which is what a real camera needs too: the kernel goes on reading a pulled camera's
file from memory. Where reads are to fail by themselves, the driver is given a `FaultyWire` (in the same process), or
the card is a real FAT image that is mounted and unmounted (`emulator_fat`).

By hand: `python -m drivers.body_worn.usb_volume.emulator MOUNT [FILE...]`, then Enter to pull and to plug.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.body_worn.usb_volume.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FaultyWire", "VolumeEmulator"]

ABOUT = "MISC/evidock-emulator.json"
FIRST = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


class VolumeEmulator:
    """One camera. It keeps its captures, its serial number and its own clock while it is pulled."""

    def __init__(
        self, mount: Path, *, serial: str = "BWC-0001", firmware: str = "1.4.2", clock: datetime = FIRST
    ) -> None:
        self.mount = mount
        """Where the volume appears. The folder above must exist and lie on the same file system."""
        self.pulled = mount.with_name(f".{mount.name}.{serial}.pulled")
        """Where its files lie while it is pulled."""
        self._clock = clock
        self._count = 0
        if not self.files.exists():
            for folder in ("DCIM", "MISC"):
                (self.pulled / folder).mkdir(parents=True, exist_ok=True)
            self._about(serial, firmware)

    @property
    def files(self) -> Path:
        """Where its files lie now."""
        return self.mount if self._is_plugged() else self.pulled

    def plug(self) -> None:
        """Put it into the dock. Nothing happens where it already is."""
        if not self._is_plugged():
            self.pulled.rename(self.mount)  # onto an empty folder at most: anything else is not ours to replace

    def pull(self) -> None:
        """Take it out, whatever is being read. Nothing happens where it already is out."""
        if self._is_plugged():
            self.mount.rename(self.pulled)
            self.mount.mkdir()  # what is left in a dock is an empty mount point, not nothing

    def add(self, content: bytes | Path, name: str | None = None, *, at: datetime | None = None) -> str:
        """Record something: the bytes, or a copy of a file. Its key, which is its path on the volume."""
        if name is None:
            self._count += 1
            suffix = content.suffix.upper() if isinstance(content, Path) else ".MP4"
            folder, number = divmod(self._count - 1, 9999)
            name = f"DCIM/{100 + folder}EVDCK/CLIP{number + 1:04d}{suffix}"
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        self._stamp(path, at)
        return name

    def write(self, name: str, more: bytes) -> None:
        """Go on recording: add to the end of a file that may not be there yet."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(more)
        self._stamp(path, None)

    def captures(self) -> dict[str, str]:
        """What it still holds: SHA-256 in hex by key, whether it is plugged in or not."""
        files = self.files
        return {
            str(path.relative_to(files)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((files / "DCIM").rglob("*"))
            if path.is_file() and not path.is_symlink()
        }

    def _is_plugged(self) -> bool:
        return not self.pulled.exists() and (self.mount / "DCIM").exists()

    def _about(self, serial: str, firmware: str) -> None:
        (self.pulled / ABOUT).write_text(json.dumps({"serial": serial, "firmware": firmware}) + "\n")

    def _stamp(self, path: Path, at: datetime | None) -> None:
        # FAT keeps even seconds; each file another one, as a camera does that records one clip after the other.
        self._clock += timedelta(minutes=1)
        moment = (at or self._clock).timestamp()
        os.utime(path, (moment, moment))


class FaultyWire(Wire):
    """Faults between driver and device, one letter for each call; after the last letter all is well.

    `reads`: `r` works, `s` gives half of the bytes, `f` flips a bit, `0` says that the file ends here, `h` hangs for
    a moment, `E` fails with EIO, `N` with ENODEV, `G` pulls the plug and then reads what the kernel still has in
    memory. `unlinks`, `syncs`: `.` works, `E` fails with EIO, `R` with EROFS; `G` pulls the plug, then works (done,
    but not reported). `calls` tells in which order things were asked for.
    """

    def __init__(
        self, reads: str = "", *, unlinks: str = "", syncs: str = "", pull: Callable[[], None] | None = None
    ) -> None:
        self._scripts = {"read": iter(reads), "unlink": iter(unlinks), "sync": iter(syncs)}
        self._pull = pull
        self.calls: list[str] = []

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """As the script says."""
        fault = self._next("read")
        block = super().read(fd, length, offset)
        match fault:
            case "s":
                return block[: (len(block) + 1) // 2]
            case "f" if block:
                return bytes([block[0] ^ 1]) + block[1:]
            case "0":
                return b""
            case "h":
                time.sleep(0.05)
        return block

    def forget(self, fd: int) -> None:
        """Always works."""
        self.calls.append("forget")
        super().forget(fd)

    def unlink(self, name: bytes, folder: int) -> None:
        """As the script says."""
        self._next("unlink")
        super().unlink(name, folder)

    def sync(self, folder: int) -> None:
        """As the script says."""
        self._next("sync")
        super().sync(folder)

    def remount(self, mount_point: str, how: str) -> str:
        """Really remounts."""
        self.calls.append(how)
        return super().remount(mount_point, how)

    def _next(self, call: str) -> str:
        self.calls.append(call)
        fault = next(self._scripts[call], "")
        failures = {"E": errno.EIO, "N": errno.ENODEV, "R": errno.EROFS}
        if fault in failures:
            raise OSError(failures[fault], os.strerror(failures[fault]))
        if fault == "G" and self._pull is not None:
            self._pull()
        return fault


def main(words: Iterable[str] | None = None) -> None:
    """Play with a camera by hand."""
    parser = argparse.ArgumentParser(description="A body-worn camera made of a folder.")
    parser.add_argument("mount", type=Path, help="where the volume appears")
    parser.add_argument("file", type=Path, nargs="*", help="recordings to put on it")
    asked = parser.parse_args(None if words is None else list(words))
    camera = VolumeEmulator(asked.mount.absolute())
    for file in asked.file:
        camera.add(file)
    try:
        while True:
            camera.plug()
            input(f"plugged in at {camera.mount} with {len(camera.captures())} captures; Enter pulls it ")
            camera.pull()
            input(f"pulled, with {len(camera.captures())} captures; Enter plugs it in ")
    except (EOFError, KeyboardInterrupt):
        camera.pull()


if __name__ == "__main__":
    main()
