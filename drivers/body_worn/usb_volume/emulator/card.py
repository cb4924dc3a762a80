"""A camera's card that is a folder, plugged in and pulled by renaming it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from watchdog.events import FileOpenedEvent, FileSystemEventHandler
from watchdog.observers import Observer

__all__ = ["VolumeEmulator"]

ABOUT = "MISC/evidock-emulator.json"
FIRST = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


class VolumeEmulator:
    """One camera. It keeps its captures, its serial number and its own clock while it is pulled."""

    def __init__(
        self,
        mount: Path,
        *,
        serial: str = "BWC-0001",
        firmware: str = "1.4.2",
        battery: int = 63,
        clock: datetime = FIRST,
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
            self._about(serial, firmware, battery)

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

    def pull_when_read(self, name: str, seconds: float = 30.0) -> bool:
        """Wait until somebody, in any process, opens this file, and pull at once; False where nobody did in time."""
        opened = threading.Event()
        handler = FileSystemEventHandler()
        path = os.fspath(self.files / name)
        handler.on_opened = lambda event: opened.set() if event.src_path == path else None  # type: ignore[method-assign]
        observer = Observer()
        observer.schedule(handler, os.path.dirname(path), event_filter=[FileOpenedEvent])  # noqa: PTH120 - wants text
        observer.start()
        try:
            seen = opened.wait(seconds)
            if seen:
                self.pull()
        finally:
            observer.stop()
            observer.join()
        return seen

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
        while True:
            files = self.files
            found = {}
            for path in sorted((files / "DCIM").rglob("*")):
                if path.is_file() and not path.is_symlink():
                    with suppress(FileNotFoundError), path.open("rb") as file:  # deleted while we look
                        found[str(path.relative_to(files))] = hashlib.file_digest(file, "sha256").hexdigest()
            if files == self.files:  # else it was plugged in or pulled while we looked
                return found

    def _is_plugged(self) -> bool:
        return not self.pulled.exists() and (self.mount / "DCIM").exists()

    def _about(self, serial: str, firmware: str, battery: int) -> None:
        told = {"serial": serial, "firmware": firmware, "battery": battery}
        (self.pulled / ABOUT).write_text(json.dumps(told) + "\n")

    def _stamp(self, path: Path, at: datetime | None) -> None:
        # FAT keeps even seconds; each file another one, as a camera does that records one clip after the other.
        self._clock += timedelta(minutes=1)
        moment = (at or self._clock).timestamp()
        os.utime(path, (moment, moment))
