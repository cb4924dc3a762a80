"""A camera that is a plain folder: clips are put into it whole, and it can say what it ever held and what is left."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.testing.audit import Exhibit, digested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["CameraFolder"]


class CameraFolder:
    """DCF folders below `root`, as `body_worn.usb_volume` reads them with `must_be_mountpoint = false`."""

    def __init__(
        self, root: Path, name: str = "cam-1", *, digested: Callable[[Path], tuple[str, bytes, int]] = digested
    ) -> None:
        """`digested`: how files are read when it is asked what is on it."""
        self._digested = digested
        self.root, self.name = root, name
        self._ever: list[Exhibit] = []
        self._count = 0
        (root / "DCIM" / "100MEDIA").mkdir(parents=True, exist_ok=True)

    def record(self, data: bytes, *, key: str | None = None, recorded_at: float = 1_700_000_000.0) -> str:
        """Put a clip there in one step, and return its key. With `key`, a name that was used before."""
        if key is None:
            self._count += 1
            key = f"DCIM/100MEDIA/CLIP{self._count:04}.MP4"
        path, fresh = self.root / key, self.root / ".new"
        fresh.write_bytes(data)
        # Each its own time: the time of change is the only word that a file system has for when a clip began.
        os.utime(fresh, (recorded_at + len(self._ever),) * 2)
        self._ever.append(Exhibit(self.name, key, hashlib.sha256(data).digest()))
        fresh.rename(path)
        return key

    def driver(self, **options: object) -> dict[str, object]:
        """The `[[driver]]` table that reads this folder."""
        return {
            "use": "body_worn.usb_volume",
            "name": "bay-1",
            "mount": str(self.root),
            "must_be_mountpoint": False,
            "layout": "dcf",
            "settle": 0,
            "rescan": 0.05,
            "device": {"id": self.name},
            **options,
        }

    def ever(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return self._ever

    def still(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        found: list[Exhibit] = []
        for path in self._files():
            # What is listed may be released before it is looked at.
            with suppress(FileNotFoundError, IsADirectoryError):
                digest = bytes.fromhex(self._digested(path)[0])
                found.append(Exhibit(self.name, str(path.relative_to(self.root)), digest))
        return found

    def empty(self) -> bool:
        """Whether nothing is on it now: no file is read."""
        return not any(path.is_file() for path in self._files())

    def _files(self) -> Iterator[Path]:
        return (path for path in self.root.rglob("*.*") if path.name != ".new")
