"""parts/: bytes that arrived and cannot be continued, under their own SHA-256; nothing is thrown away."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.spool.hashing import Hasher
from agent.spool.reading_back import read_through
from agent.spool.stage import ABOUT, read_about

if TYPE_CHECKING:
    from agent.capture import Digest

__all__ = ["Aside", "SealedPart"]

_READ: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SealedPart:
    """Bytes that were set aside under parts/<sha256>."""

    digest: Digest
    about: bytes | None
    """Canonical JSON of the description that stood beside them, where it could be read."""


class Aside:
    """What was set aside in one spool. Every method waits for the disk: call it in a thread."""

    def __init__(self, stage_fd: int, parts_fd: int) -> None:
        self._stage_fd, self._parts_fd = stage_fd, parts_fd

    def seal(self, name: str) -> SealedPart:
        """Set a stage file that cannot be continued aside as parts/<sha256>; never deletes anything."""
        told = read_about(name.removesuffix(".doubtful"), self._stage_fd)
        doubtful = name.endswith(".doubtful")
        mode = os.O_RDWR if doubtful else os.O_RDONLY
        fd = os.open(name, mode | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._stage_fd)
        try:
            if doubtful:
                _write_anew(fd)
            durable.force(fd)
            digest = _digest_of(fd)
        finally:
            os.close(fd)
        self.move(name, self._stage_fd, digest)
        with suppress(FileNotFoundError):  # a small capture has none
            os.unlink(name.removesuffix(".doubtful") + ABOUT, dir_fd=self._stage_fd)
        return SealedPart(digest, None if told is None else told[0])

    def move(self, name: str, folder_fd: int, digest: Digest) -> None:
        """Move a file of another folder to the parts, durably. `digest` is that of its bytes."""
        durable.move(name, folder_fd, digest.sha256.hex(), self._parts_fd)
        durable.force_folder(self._parts_fd)
        durable.force_folder(folder_fd)

    def names(self) -> list[str]:
        """Names of all parts; what is no plain file is none."""
        with os.scandir(self._parts_fd) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]

    def part(self, name: str) -> SealedPart:
        """A part that was set aside earlier; what was written beside it is known no more."""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._parts_fd)
        try:
            return SealedPart(_digest_of(fd), None)
        finally:
            os.close(fd)

    def drop(self, sha256: bytes) -> None:
        """Let a part go, durably. The caller knows that the same bytes begin a kept file."""
        try:
            os.unlink(sha256.hex(), dir_fd=self._parts_fd)
        except FileNotFoundError:
            return
        durable.force_folder(self._parts_fd)


def _write_anew(fd: int) -> None:
    """Write every byte that can be read back to its place.

    Of what could not be forced once the kernel takes bytes and length for written, and they are not.
    """
    offset = 0
    while block := os.pread(fd, _READ, offset):
        durable.write_all(fd, block, offset)
        offset += len(block)


def _digest_of(fd: int) -> Digest:
    """Of what the disk gives back: of bytes whose writing failed memory would tell something else."""
    hasher = Hasher()
    for block in read_through(fd):
        hasher.feed(block)
    return hasher.finish()[0]
