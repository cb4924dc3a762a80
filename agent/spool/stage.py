"""A capture while it arrives: a named file in stage/, and beside it a small description of what it is.

    stage/<token>          the bytes so far; their length is the offset, there is no second one
    stage/<token>.about    one line of JSON: whose bytes they are; then a line for each mark, and for each later boot
                           that continued it

A mark says that everything before an offset is on the disk and what its BLAKE3 is. If only the process died, the page
cache has every byte, and the copy continues at the file's length, once the disk has proved to have them too: a write
that failed unseen would else become part of the capture. After a power cut the end of the file may be no true beginning
of the capture, so the copy continues at the last mark that still has its digest.
"""

from __future__ import annotations

import json
import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from agent import durable
from agent.capture import Json, canonical

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.spool.hashing import Hasher

__all__ = ["ABOUT", "MARK_EVERY", "Stage", "read_about"]

MARK_EVERY: Final = 64 * 1024 * 1024
"""Bytes between two marks: the most that a power cut costs of a copy under way."""

ABOUT: Final = ".about"
_ABOUT_MAX: Final = 1024 * 1024
_READ: Final = 1024 * 1024


class Stage:
    """One capture on its way into the spool. For one thread at a time; only `mark` may run beside `absorb`."""

    def __init__(self, name: str, folder_fd: int, fd: int, about_fd: int, hasher: Hasher, offset: int) -> None:
        self.name = name
        self.hasher = hasher
        self.offset = offset
        """Bytes that are in the file: where the copy continues."""
        self._folder_fd = folder_fd
        self._fd = fd
        self._about_fd = about_fd
        self._marked = self._due_at = offset
        self.due: deque[tuple[int, bytes]] = deque()
        """Offset and BLAKE3 of the marks that are to be made."""

    @classmethod
    def begin(cls, name: str, folder_fd: int, about: Mapping[str, Json], hasher: Hasher, *, boot_id: str) -> Stage:
        """Make both files and make their names durable."""
        about_fd = durable.create(name + ABOUT, folder_fd)
        fd = -1
        try:
            durable.write_all(about_fd, canonical({"about": dict(about), "boot_id": boot_id}) + b"\n", 0)
            durable.force(about_fd)
            fd = durable.create(name, folder_fd)
            durable.force_folder(folder_fd)
        except BaseException:
            os.close(about_fd)
            if fd >= 0:
                os.close(fd)
            raise
        return cls(name, folder_fd, fd, about_fd, hasher, 0)

    @classmethod
    def resume(
        cls, name: str, folder_fd: int, about: Mapping[str, Json], hasher: Hasher, *, boot_id: str
    ) -> Stage | None:
        """Continue what an earlier copy left of the same capture; None when there is nothing, or not of this capture.

        The bytes that are there are read once, to bring the hashes to where they were.
        """
        try:
            fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
        except FileNotFoundError:
            # A description alone is one of nothing, whole or torn: an earlier take ended before there were bytes, or
            # got as far as their final name.
            with suppress(FileNotFoundError):
                os.unlink(name + ABOUT, dir_fd=folder_fd)
            return None
        told = read_about(name, folder_fd)
        if told is None or told[0] != canonical(dict(about)):
            os.close(fd)
            return None
        _, before, marks = told
        about_fd = os.open(name + ABOUT, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
        end = os.fstat(fd).st_size
        true = _last_true_mark(fd, marks, end)
        if before == boot_id:
            # What was marked is asked for as well: a disk may give back other bytes than those that were forced to it.
            if true == max((offset for offset, _ in marks if offset <= end), default=0):
                true = _end_on_disk(fd, true, end)
            if true < end:
                os.ftruncate(fd, end := true)
        else:
            os.ftruncate(fd, end := true)
            # From here on the page cache of this boot has every byte, and a restart need not go back once more. Not
            # forced: if this line is lost, so is this boot.
            durable.write_all(about_fd, b"boot %s\n" % boot_id.encode(), os.fstat(about_fd).st_size)
        for block in _blocks(fd, end):
            hasher.feed(block)
        return cls(name, folder_fd, fd, about_fd, hasher, end)

    def reserve(self, length: int) -> None:
        """Reserve room for the whole capture; OSError with ENOSPC when there is none."""
        durable.reserve(self._fd, length - self.offset)

    def absorb(self, block: bytes) -> None:
        """One lane of the copy: append a block, and BLAKE3 after it; so a mark is always of both at the same offset."""
        self.write(block)
        self.hasher.fast(block)
        if self.offset - self._due_at >= MARK_EVERY:
            self._due_at = self.offset
            self.due.append((self.offset, self.hasher.fast_so_far()))

    def write(self, block: bytes) -> None:
        """Append a block. Where writing fails, the offset stays at the last whole block and the rest is cut away."""
        try:
            durable.write_all(self._fd, block, self.offset)
        except OSError:
            os.ftruncate(self._fd, self.offset)
            raise
        self.offset += len(block)

    def last(self, length: int) -> bytes:
        """Up to `length` bytes before the offset: to compare with what the device gives there now."""
        begin = max(0, self.offset - length)
        return os.pread(self._fd, self.offset - begin, begin)

    def mark(self, offset: int, digest: bytes) -> None:
        """Everything before `offset` is on the disk and has this BLAKE3; the page cache gives it back."""
        durable.force(self._fd)
        end = os.fstat(self._about_fd).st_size
        durable.write_all(self._about_fd, f"mark {offset} {digest.hex()}\n".encode(), end)
        durable.force(self._about_fd)
        durable.drop_cache(self._fd, self._marked, offset - self._marked)
        self._marked = offset

    def hand_over(self) -> int:
        """Close the stage and return the descriptor of its bytes, which someone else now owns."""
        os.close(self._about_fd)
        return self._fd

    def close(self) -> None:
        """Close both files and leave them where they are, to be continued."""
        os.close(self._fd)
        os.close(self._about_fd)


def read_about(name: str, folder_fd: int) -> tuple[bytes, str, list[tuple[int, str]]] | None:
    """(canonical description, boot id, marks) beside a stage file; None where there is none or it is torn."""
    try:
        fd = os.open(name + ABOUT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    except FileNotFoundError:
        return None
    try:
        lines = os.read(fd, _ABOUT_MAX).split(b"\n")
    finally:
        os.close(fd)
    try:
        first = json.loads(lines[0])
        about, boot_id = canonical(first["about"]), str(first["boot_id"])
    except (ValueError, KeyError, TypeError):
        return None
    marks: list[tuple[int, str]] = []
    for line in lines[1:-1]:  # what follows the last newline was torn
        match line.split(b" "):
            case [b"mark", offset, digest] if offset.isdigit():
                marks.append((int(offset), digest.decode("ascii", "replace")))
            case [b"boot", later]:
                boot_id = later.decode("ascii", "replace")
            case _:
                break
    return about, boot_id, marks


def _end_on_disk(fd: int, marked: int, end: int) -> int:
    """`end`, or the last mark where the disk gives back other bytes after it than memory did.

    A write that failed once is taken for done by the kernel: only memory has the bytes then, and only until it forgets.
    """
    remembered = _digest(fd, marked, end)
    durable.force(fd)
    durable.drop_cache(fd)
    return end if _digest(fd, marked, end) == remembered else marked


def _digest(fd: int, begin: int, end: int) -> bytes:
    hasher = blake3()
    while begin < end and (block := os.pread(fd, min(_READ, end - begin), begin)):
        hasher.update(block)
        begin += len(block)
    return hasher.digest()


def _last_true_mark(fd: int, marks: list[tuple[int, str]], end: int) -> int:
    """The greatest marked offset up to which the file still has the digest that the mark says; 0 if none."""
    hasher, offset, true = blake3(), 0, 0
    for mark, digest in marks:
        if mark > end or mark < offset:
            break
        while offset < mark:
            block = os.pread(fd, min(_READ, mark - offset), offset)
            if not block:
                return true
            hasher.update(block)
            offset += len(block)
        if hasher.hexdigest() != digest:
            break
        true = mark
    return true


def _blocks(fd: int, end: int) -> Iterator[bytes]:
    offset = 0
    while offset < end:
        block = os.pread(fd, min(_READ, end - offset), offset)
        if not block:
            return
        yield block
        offset += len(block)
