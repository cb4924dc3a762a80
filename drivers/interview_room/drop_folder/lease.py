"""Which of several stations takes from a folder that all of them see: a lease that needs no common clock.

The lease is the file `.evidock/lease.<n>` with the highest number. Its holder counts up inside it; the others look, and
who saw it unchanged for the whole lease, by the clock of his own that only goes forwards, makes the next number with
O_EXCL: of two who try in the same moment one succeeds. Whoever sees a higher number than his own has lost it. So a
station that crashed, was cut off or slept loses it by silence, clocks that differ or jump change nothing, and there is
nothing that a person must clean up. Two who read at once, for a moment, are harmless: the same bytes of the same
recorder are the same capture everywhere; deleting asks for a lease that was renewed lately.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent.descent import FILE, FOLDER, open_at
from agent.errors import DeviceGone, DeviceRefused
from drivers.interview_room.drop_folder.looking import OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.interview_room.drop_folder.share import Share

__all__ = ["Lease"]

_NAME: Final = re.compile(r"lease\.([0-9]{10})")
_CONTENT_MAX: Final = 4096
_NAMES_MAX: Final = 1000
_LAST: Final = 9_999_999_999
_HOST_MAX: Final = 64


class Lease:
    """One station's side of it. `turn` blocks and is called in `Hands`; `now` is monotonic."""

    def __init__(self, share: Share, seconds: float, now: Callable[[], float]) -> None:
        self._share, self._seconds, self._now = share, seconds, now
        self._me = secrets.token_hex(8)
        self._mine: int | None = None
        self._beat = 0
        self._renewed_at = float("-inf")
        self._watched: tuple[int, bytes] | None = None
        self._watched_since = 0.0
        self._lock = threading.Lock()
        self.holder = "nobody yet"
        """Who has it, for people."""

    def stand_on(self, share: Share) -> None:
        """The folder was looked at anew: from now on it is this one."""
        self._share = share

    def turn(self) -> bool:
        """Look at it, renew it or take it over; whether it is ours now. `DeviceRefused` where we may not write."""
        began = self._now()
        with self._lock:
            try:
                with self._share.opened(()) as root:
                    with suppress(FileExistsError):
                        os.mkdir(OURS, 0o770, dir_fd=root)
                    folder = open_at(OURS, FOLDER, root)
                try:
                    ours = self._turn(folder, began)
                finally:
                    os.close(folder)
            except OSError as error:
                raise self._failure(error) from error
            if ours:
                self._renewed_at = began
            return ours

    def check(self) -> None:
        """`DeviceGone` where the lease is not ours beyond doubt: for whoever is about to delete."""
        if self._mine is None or self._now() - self._renewed_at > self._seconds / 2:
            raise DeviceGone("another station may have this folder by now; it is tried again when the lease is ours")

    def give_back(self) -> None:
        """Let the others have it at once: we end, and end well. What fails here ends by silence."""
        with self._lock, suppress(OSError, DeviceGone), self._share.opened((OURS.encode(),)) as folder:
            if self._mine is not None and self._top(folder) == self._mine:
                _write(folder, self._mine, json.dumps({"ended": True, "host": _host()}).encode())
            self._mine = None

    def _turn(self, folder: int, began: float) -> bool:
        top = self._top(folder)
        if self._mine is not None:
            if top == self._mine:
                self._beat += 1
                _write(folder, self._mine, self._content())
                return self._top(folder) == self._mine
            self._mine = None
        content = b"" if top is None else _read(folder, top)
        if self._watched != (top or 0, content):
            self._watched, self._watched_since = (top or 0, content), began
        told = _told(content)
        self.holder = str(told.get("host", "a station that does not say its name"))[:_HOST_MAX]
        if top is not None and told.get("ended") is not True and began - self._watched_since < self._seconds:
            return False
        return self._take(folder, (top or 0) + 1)

    def _take(self, folder: int, number: int) -> bool:
        if number > _LAST:
            raise DeviceRefused(f"the numbers below {OURS} are used up", hint=f"Delete the folder {OURS} there.")
        try:
            _write(folder, number, self._content(), flags=os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return False  # somebody was quicker
        self._mine, self.holder = number, _host()
        for name in os.listdir(folder):
            if (found := _NAME.fullmatch(name)) and int(found[1]) < number:
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
        return self._top(folder) == number

    def _top(self, folder: int) -> int | None:
        names = os.listdir(folder)[:_NAMES_MAX]
        return max((int(found[1]) for name in names if (found := _NAME.fullmatch(name))), default=None)

    def _content(self) -> bytes:
        return json.dumps({"beat": self._beat, "host": _host(), "run": self._me}).encode()

    def _failure(self, error: OSError) -> DeviceGone | DeviceRefused:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            why = os.strerror(error.errno)
            hint = "Give the service's user the right to write below .evidock there, or say `shared = false`."
            return DeviceRefused(f"the lease of {self._share.folder_path} cannot be kept: {why}", hint=hint)
        failure = self._share.failure(error, "the lease")
        return failure if isinstance(failure, DeviceGone) else DeviceRefused(str(failure), hint=failure.what_to_do)


def _host() -> str:
    return socket.gethostname()[:_HOST_MAX]


def _read(folder: int, number: int) -> bytes:
    try:
        fd = open_at(f"lease.{number:010}", FILE, folder)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, _CONTENT_MAX)
    finally:
        os.close(fd)


def _write(folder: int, number: int, content: bytes, flags: int = 0) -> None:
    fd = os.open(f"lease.{number:010}", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o660, dir_fd=folder)
    try:
        os.pwrite(fd, content.ljust(256), 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def _told(content: bytes) -> dict[str, object]:
    try:
        told = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
