"""A medium that was prepared to take evidence, and what can be said of it: that it is here, and has room.

The file that marks it keeps an empty mount point from being filled, and an officer's own stick from being written to.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.capture import printable, rfc3339
from agent.descent import FILE, FOLDER, open_at
from agent.errors import Refusal, UplinkDown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CAPTURES", "MARK", "RECEIPTS", "Medium", "below", "names_in", "opened", "prepare", "read_plain", "told"]

MARK: Final = "evidock-medium.json"
CAPTURES: Final = "captures"
RECEIPTS: Final = "receipts"
_SCHEMA: Final = "evidock-medium/1"
_MARK_MAX: Final = 4096
_GONE: Final = "Put the medium in, and mount it where agent.toml says; or prepare it: evidock handover prepare."


@dataclass(frozen=True, slots=True)
class Medium:
    """One that is here."""

    path: Path
    id: str

    @classmethod
    def at(cls, path: Path) -> Medium:
        """The medium that is mounted there. Raises `UplinkDown` where none is, or one that nobody prepared."""
        root = opened(path)
        try:
            return cls.under(root, path)
        finally:
            os.close(root)

    @classmethod
    def under(cls, root: int, path: Path) -> Medium:
        """The one whose root was opened at `path`. Raises `UplinkDown` where nobody prepared it."""
        try:
            mark = json.loads(read_plain(MARK, _MARK_MAX, root))
            schema, name = mark["schema"], str(mark["medium"])
        except FileNotFoundError:
            raise _nowhere(path) from None
        except OSError as error:
            raise told(error, path) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UplinkDown(f"{path / MARK} is damaged", hint=_GONE) from error
        if schema != _SCHEMA:
            raise UplinkDown(f"{path / MARK} is of another kind: {printable(str(schema))[:64]}", hint=_GONE)
        return cls(path, name)

    def require_here(self) -> None:
        """Raise `UplinkDown` where another one is mounted there by now, or none: what was written lies elsewhere."""
        if Medium.at(self.path).id != self.id:
            raise UplinkDown(f"the medium at {self.path} was changed for another one while it was written to")

    def room(self, root: int | None = None) -> int:
        """Bytes that are free there, or where its root is open. Raises `UplinkDown`."""
        try:
            found = os.statvfs(self.path if root is None else root)
        except OSError as error:
            raise told(error, self.path) from error
        return found.f_bavail * found.f_frsize


def opened(path: Path) -> int:
    """A descriptor of a medium's root, wherever it is mounted later. Raises `UplinkDown`.

    Whatever is done by it is done on this medium, and never in the empty folder that is left when it is gone.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise _nowhere(path) from None
    except OSError as error:
        raise told(error, path) from error


@contextmanager
def below(root: int, *names: str, make: bool = False) -> Iterator[int]:
    """A folder below an open one, for as long as the block lasts; `make`: those that are missing, each durable.

    Opened step by step, so that no link on the medium leads out of it. Raises `OSError`.
    """
    fd = root
    try:
        for name in names:
            inner = _entered(name, fd, make=make)
            if fd != root:
                os.close(fd)
            fd = inner
        yield fd
    finally:
        if fd != root:
            os.close(fd)


def names_in(folder: int) -> list[str]:
    """What lies in an open folder, in order. Raises `OSError`."""
    return sorted(os.listdir(folder))


def _entered(name: str, folder: int, *, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o777, dir_fd=folder)
        # Also where it was there: whoever made it, an earlier try or another station, may not have come as far.
        durable.force_folder(folder)
    return open_at(name, FOLDER, folder)


def _nowhere(path: Path) -> UplinkDown:
    return UplinkDown(f"no medium that was prepared is mounted at {path}", hint=_GONE)


def read_plain(path: Path | str, most: int, folder: int | None = None) -> bytes:
    """What a plain file on a medium holds, up to `most` bytes. `OSError` for anything else that has its name.

    Whoever prepared the medium may have put there what is never at its end, or keeps its reader waiting for ever.
    """
    fd = os.open(path, FILE, dir_fd=folder)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        return file.read(most)


def prepare(path: Path) -> Medium:
    """Mark a medium. One that is marked already stays as it is. Raises `Refusal`."""
    if not path.is_dir():
        raise Refusal(f"{path} is no folder", hint="Nothing was written. Mount the medium first.")
    try:
        return Medium.at(path)
    except UplinkDown:
        pass
    mark = {"schema": _SCHEMA, "medium": str(uuid.uuid4()), "prepared_at": rfc3339(datetime.now(UTC))}
    try:
        for name in (CAPTURES, RECEIPTS):
            durable.make_folder(path / name, 0o777)
        durable.replace_file(path / MARK, json.dumps(mark, indent=1).encode() + b"\n", mode=0o644)
    except OSError as error:
        hint = "It is write-protected, mounted read-only, full, or not writable for whoever types: run this as root."
        raise Refusal(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    return Medium(path, mark["medium"])


def told(error: OSError, path: Path) -> UplinkDown:
    """What the medium's file system said, as a sentence for whoever stands before it."""
    match error.errno:
        case errno.EFBIG:
            hint = "It is formatted so that no file may be longer than 4 GiB (FAT32): format it as exFAT or ext4."
            return UplinkDown(f"the medium at {path} takes no file of this length", hint=hint, alone=True)
        case errno.ENOSPC | errno.EDQUOT:
            hint = "Hand this medium over, and put in another one that was prepared."
            return UplinkDown(f"the medium at {path} is full", hint=hint)
        case errno.ENOTDIR | errno.ELOOP:
            hint = "Somebody put something else there than stations write. Put in another medium that was prepared."
            return UplinkDown(f"on the medium at {path} no folder is where one belongs", hint=hint, alone=True)
        case errno.EROFS | errno.EACCES | errno.EPERM:
            hint = "It is write-protected, mounted read-only, or not writable for the service's user."
            return UplinkDown(f"the medium at {path} may not be written", hint=hint)
        case _:
            return UplinkDown(f"the medium at {path} failed: {error.strerror}", hint=_GONE)
