"""The folder of a recorder: is it there, is it still the same one, and the only doors to what lies in it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.descent import FOLDER, open_at
from agent.errors import BadCapture, DeviceError, DeviceGone, DeviceRefused
from agent.mounts import mount_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from drivers.interview_room.drop_folder.wire import Wire

__all__ = ["Ground", "Share"]

AWAY: Final = frozenset(
    {
        errno.ENODEV,
        errno.ENXIO,
        errno.ESHUTDOWN,
        errno.ENOTCONN,
        errno.ESTALE,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.EPIPE,
        errno.EREMOTEIO,
    }
)
"""What a share whose server or network is gone fails with."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the folder stands on. Equal as long as it is the same folder of the same mount."""

    root: tuple[int, int]
    """Device and inode number of the folder."""
    mount: int | None
    """The kernel's number of the mount that a share is; another after it was mounted anew."""
    file_system: str


class Share:
    """One folder. Its methods block and are called in `Hands`."""

    def __init__(self, folder: Path, mount_point: Path | None, wire: Wire) -> None:
        self.folder_path, self._mount_point, self.wire = folder, mount_point, wire
        self._path = os.fspath(folder)
        self._ground: Ground | None = None
        self._lock = threading.Lock()

    def look(self) -> Ground:
        """What is there now; from here on it is what everything is read from. `DeviceGone` where nothing is.

        The mount point of a share exists as an empty folder when the share is not mounted, so only the kernel's table
        says that it is one: an empty mount point never reads as a recorder without recordings.
        """
        ground = self._look()
        with self._lock:
            self._ground = ground
        return ground

    def _look(self) -> Ground:
        number, kind, device = None, "folder", None
        try:
            if self._mount_point is not None:
                number, kind, device = self._mounted(self._mount_point)
            found = self.wire.look(self._path)
        except OSError as error:
            raise self._away(error) from error
        if stat.S_ISLNK(found.st_mode):
            raise DeviceRefused(f"{self._path} is a symbolic link", hint="Name the folder itself as `folder`.")
        if not stat.S_ISDIR(found.st_mode):
            raise DeviceRefused(f"{self._path} is no folder", hint="Name the folder of the recordings as `folder`.")
        if device not in (None, found.st_dev):
            raise DeviceGone(f"{self._path} does not lie on the share {self._mount_point}")
        return Ground((found.st_dev, found.st_ino), number, kind)

    def _mounted(self, point: Path) -> tuple[int, str, int]:
        mount = mount_at(point)
        if mount is not None and mount.file_system == "autofs":
            with os.scandir(point):  # whoever looks inside makes systemd mount it
                mount = mount_at(point)
        if mount is None or mount.file_system == "autofs":
            raise DeviceGone(f"no share is mounted at {point}", hint=f"Mount it: mount {point}; see /etc/fstab.")
        return mount.id, mount.file_system, self.wire.look(os.fspath(point)).st_dev

    def _away(self, error: OSError) -> DeviceError:
        why = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in {errno.EACCES, errno.EPERM}:
            hint = "Give the service's user the right to read this folder: docs/interview-rooms.md says how."
            return DeviceRefused(f"{self._path} may not be looked at: {why}", hint=hint)
        return DeviceGone(f"{self._path} cannot be reached: {why}")

    @property
    def ground(self) -> Ground:
        """What was there at the last look."""
        with self._lock:
            if self._ground is None:
                raise DeviceGone(f"{self._path} was not looked at yet")
            return self._ground

    def check(self) -> None:
        """Whether the path still leads to the same folder. `DeviceGone` where it does not."""
        root = self.ground.root
        try:
            there = self.wire.look(self._path)
        except OSError as error:
            raise self._away(error) from error
        if (there.st_dev, there.st_ino) != root:
            raise DeviceGone(f"another folder took the place of {self._path}")

    @contextmanager
    def opened(self, parts: Sequence[bytes]) -> Iterator[int]:
        """A folder below, opened step by step from the root, so that no link can lead out."""
        here = os.open(self._path, FOLDER)
        try:
            found = os.fstat(here)
            if (found.st_dev, found.st_ino) != self.ground.root:
                raise DeviceGone(f"another folder took the place of {self._path}")
            for part in parts:
                inner = open_at(part, FOLDER, here)
                os.close(here)
                here = inner
                if os.fstat(here).st_dev != self.ground.root[0]:
                    raise BadCapture("another file system is mounted inside the folder")
            yield here
        finally:
            with suppress(OSError):
                os.close(here)

    def failure(self, error: OSError, what: str) -> DeviceError:
        """What an error of the operating system means here: whether the share went away, or one file is hurt."""
        why = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in AWAY:
            return DeviceGone(f"the share went away while {what} was in use ({why})")
        try:
            self.check()
        except DeviceError as gone:
            return DeviceGone(f"{gone} ({what}: {why})")
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            return BadCapture(f"{what} became a link, or its folder did")
        if error.errno == errno.ENOENT:
            return DeviceGone(f"{what} is not there any more")
        if error.errno in {errno.EACCES, errno.EPERM}:
            hint = "Give the service's user the right to read it: docs/interview-rooms.md says how."
            return DeviceRefused(f"{what} may not be used: {why}", hint=hint)
        return DeviceRefused(f"{what}: {why}")
