"""The spool: stage/ -> kept/<sha256>, and parts/ for what cannot be continued. `sha256sum` on a kept file is the check.

It knows nothing of devices or of the journal. A file in kept/ is whole and on the disk, or it is not there.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from agent import durable
from agent.errors import SpoolDamaged, SpoolFull
from agent.spool.aside import Aside, SealedPart
from agent.spool.departing import BLOCK, come, departing
from agent.spool.hashing import Hasher
from agent.spool.lanes import Lanes, Road
from agent.spool.leaving import KeptReader
from agent.spool.memory import reuse_blocks
from agent.spool.reading_back import read_back, read_through
from agent.spool.sealer import Sealer, spool_error
from agent.spool.stage import ABOUT, Stage, read_about
from agent.spool.together import Together
from agent.tasks import whole

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from agent.capture import Digest, Json, Parts

__all__ = ["BLOCK", "Leftover", "Room", "Spool"]

T = TypeVar("T")

_WORKERS: Final = 8
_PROVERS: Final = 8
"""Threads of their own: a long file is forced and read back for minutes, and all else would wait for it."""
_KEPT: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: should a FIFO stand where a kept file stood, nobody waits for its writer."""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes on the spool's disk."""

    total: int
    free: int
    watermark: int

    @property
    def usable(self) -> int:
        """What may still be taken."""
        return max(0, self.free - self.watermark)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that an earlier run left in stage/."""

    name: str
    continuable: bool


class Spool:
    """The spool below one folder. Methods that are not coroutines wait for the disk: call them in a thread."""

    def __init__(self, root: Path, *, watermark: int, read_back: bool, boot_id: str) -> None:
        self.root, self.boot_id = root, boot_id
        self.watermark = watermark
        reuse_blocks()
        for name in ("stage", "kept", "parts"):
            durable.make_folder(root / name)
        self._stage_fd, self._kept_fd, self._parts_fd = (
            os.open(root / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            for name in ("stage", "kept", "parts")
        )
        self._read_back = read_back
        self.aside = Aside(self._stage_fd, self._parts_fd)
        self._sealer = Sealer(self._stage_fd, self._kept_fd, read_back=read_back)
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="spool")
        self._provers = ThreadPoolExecutor(_PROVERS, thread_name_prefix="proving")
        self._road = Road(self._workers)
        self._together = Together(self._workers, self._some)
        self._numbers = itertools.count()

    def close(self) -> None:
        """Finish what is being sealed; what is half copied stays in stage/."""
        self._provers.shutdown()
        self._workers.shutdown()  # what they wrote they hand on to the sealer
        self._sealer.close()
        for fd in (self._stage_fd, self._kept_fd, self._parts_fd):
            os.close(fd)

    async def run(self, act: Callable[..., T], *arguments: object) -> T:
        """Do something that waits for disk or processor in one of the spool's threads; OSError becomes SpoolError."""
        return await come(self._workers.submit(act, *arguments))

    def lanes(self, *acts: Callable[[bytes], None]) -> Lanes:
        """Lanes for the blocks of one copy, in the spool's threads; OSError becomes SpoolError."""
        return Lanes(self._road, [partial(_translated, act) for act in acts])

    # -- room ---------------------------------------------------------------------------------------------------------

    def room(self) -> Room:
        """Room on the disk now."""
        disk = os.fstatvfs(self._kept_fd)
        return Room(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize, self.watermark)

    def require(self, length: int) -> None:
        """Raise `SpoolFull` unless `length` bytes fit above the watermark."""
        room = self.room()
        if length > room.usable:
            raise SpoolFull(
                f"{length} bytes are needed and {room.usable} are left above the watermark of {self.watermark}"
            )

    # -- arriving -----------------------------------------------------------------------------------------------------

    def stage(self, token: bytes, about: Mapping[str, Json]) -> Stage:
        """Continue the capture that is described so, or begin it.

        What lies under this name and is of another capture must be sealed first (`FileExistsError`).
        """
        name = token.hex()
        found = Stage.resume(name, self._stage_fd, about, Hasher(), boot_id=self.boot_id)
        return found or Stage.begin(name, self._stage_fd, about, Hasher(), boot_id=self.boot_id)

    def begun(self, token: bytes) -> bool:
        """Whether a stage file of this origin lies there."""
        try:
            os.stat(token.hex(), dir_fd=self._stage_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    async def keep(self, stage: Stage) -> tuple[Digest, Parts]:
        """Everything has arrived: force it and give it its final name. On return it survives a power cut."""
        digest, parts = stage.hasher.finish()
        fd = stage.hand_over()
        proving = self._provers.submit(self._prove, fd, digest)
        try:
            # The long waits of a large file are spent here, so that the sealer's turn is short.
            await come(proving)
        except asyncio.CancelledError:
            # It is whole in stage/, and continued there at its end; unless the thread, which goes on, finds it wrong.
            proving.add_done_callback(partial(self._proven, stage.name, fd))
            raise
        except BaseException:
            os.close(fd)
            self.doubt(stage.name)
            raise
        # To the end of it: whoever took it again meanwhile would write on in what is kept already.
        await whole(self._named(stage.name, digest, fd))
        return digest, parts

    async def _named(self, name: str, digest: Digest, fd: int) -> None:
        await self._sealer.seal(name, digest, fd)
        await self.run(partial(os.unlink, name + ABOUT, dir_fd=self._stage_fd))

    def _prove(self, fd: int, digest: Digest) -> None:
        durable.force(fd)
        if self._read_back:
            read_back(fd, digest)

    def _proven(self, name: str, fd: int, proving: Future[None]) -> None:
        """In the thread: nobody waits for it any more, and another file may have come to lie under its name."""
        proven = os.fstat(fd)
        os.close(fd)
        if proving.cancelled() or proving.exception() is None:
            return
        with suppress(FileNotFoundError):
            if os.path.samestat(proven, os.stat(name, dir_fd=self._stage_fd, follow_symlinks=False)):
                self.doubt(name)

    async def press(
        self, token: bytes, blocks: list[bytes], *, written: Callable[[], None] | None = None
    ) -> tuple[Digest, Parts]:
        """Take a whole small capture that is in memory: no description, one file, one hop to and fro.

        The list is emptied as soon as the blocks are written, and `written` is told on the loop: while they are forced
        they are not in memory.

        Whoever is cancelled meanwhile leaves it to be sealed: a kept file that nobody promised, as after a crash.
        """
        name = f"{token.hex()}-{next(self._numbers)}"
        done: asyncio.Future[tuple[Digest, Parts]] = asyncio.get_running_loop().create_future()
        self._workers.submit(self._press, name, blocks, done, written)
        return await done

    def _press(
        self,
        name: str,
        blocks: list[bytes],
        done: asyncio.Future[tuple[Digest, Parts]],
        written: Callable[[], None] | None,
    ) -> None:
        """In a thread: write it, and hand it on to the sealer's, which tells the loop what came of it."""
        try:
            fd, digest, parts = self._write_small(name, blocks)
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            told = spool_error("working in the spool", error) if isinstance(error, OSError) else error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                done.get_loop().call_soon_threadsafe(_failed, done, told)
        else:
            blocks.clear()
            if written is not None:
                with suppress(RuntimeError):
                    done.get_loop().call_soon_threadsafe(written)
            self._sealer.put(name, digest, fd, done, (digest, parts))

    def _write_small(self, name: str, blocks: list[bytes]) -> tuple[int, Digest, Parts]:
        hasher, offset = Hasher(), 0
        fd = durable.create(name, self._stage_fd)
        try:
            for block in blocks:
                durable.write_all(fd, block, offset)
                hasher.feed(block)
                offset += len(block)
        except OSError:
            os.close(fd)
            # Not one byte was promised and the device has them all: an empty place must not fill a full disk.
            os.unlink(name, dir_fd=self._stage_fd)
            raise
        return fd, *hasher.finish()

    def doubt(self, name: str) -> None:
        """Forcing this stage file failed: nothing may continue it."""
        durable.move(name, self._stage_fd, f"{name}.doubtful", self._stage_fd)

    def set_kept_aside(self, sha256: bytes) -> SealedPart:
        """Move a kept file that no capture rests on, or whose bytes are not its name, to the parts."""
        hasher = Hasher()
        for block in self.read(sha256):
            hasher.feed(block)
        digest, _ = hasher.finish()
        self.aside.move(sha256.hex(), self._kept_fd, digest)
        return SealedPart(digest, None)

    def take_back(self, sha256: bytes) -> bool:
        """Move a part that is whole, and is what its name says, to the kept files. False: it is not, or not there."""
        try:
            part = self.aside.part(sha256.hex())
        except FileNotFoundError:
            return False
        if part.digest.sha256 != sha256:
            return False
        durable.move(sha256.hex(), self._parts_fd, sha256.hex(), self._kept_fd)
        durable.force_folder(self._kept_fd)
        durable.force_folder(self._parts_fd)
        return True

    # -- kept ---------------------------------------------------------------------------------------------------------

    def path(self, sha256: bytes) -> Path:
        """Where a kept file lies."""
        return self.root / "kept" / sha256.hex()

    def length(self, sha256: bytes) -> int | None:
        """Length of a kept file; None where there is none."""
        try:
            return os.stat(sha256.hex(), dir_fd=self._kept_fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def read(self, sha256: bytes) -> Iterator[bytes]:
        """A kept file's bytes, from the disk rather than from memory."""
        fd = self._open(sha256)
        try:
            yield from read_through(fd)
        finally:
            os.close(fd)

    def sha256_now(self, sha256: bytes) -> bytes:
        """SHA-256 of what lies under this name now."""
        now = hashlib.sha256()
        for block in self.read(sha256):
            now.update(block)
        return now.digest()

    def kept(self) -> Iterator[tuple[str, bool]]:
        """Names of all kept files, and whether each is a plain one."""
        with os.scandir(self._kept_fd) as entries:
            for entry in entries:
                yield entry.name, entry.is_file(follow_symlinks=False)

    def evict(self, sha256: bytes) -> None:
        """Let a kept file go, durably. The caller knows that the DEMS has it and that nothing rests on it."""
        try:
            os.unlink(sha256.hex(), dir_fd=self._kept_fd)
        except FileNotFoundError:
            return
        durable.force_folder(self._kept_fd)

    def leftovers(self) -> list[Leftover]:
        """What an earlier run left in stage/, with whether it can be continued."""
        with os.scandir(self._stage_fd) as entries:
            names = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        return [
            Leftover(name, continuable=read_about(name, self._stage_fd) is not None and not name.endswith(".doubtful"))
            for name in sorted(names)
            if not name.endswith(ABOUT)
        ]

    # -- leaving ------------------------------------------------------------------------------------------------------

    def blocks(self, sha256: bytes, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """`length` bytes of a kept file from `offset` on, in blocks of at most 512 KiB."""
        if length <= BLOCK:
            return self._short(sha256, offset, length)
        return departing(self._workers, partial(self._open, sha256), sha256, offset, offset + length)

    @asynccontextmanager
    async def leaving(self, sha256: bytes, offset: int, length: int) -> AsyncIterator[KeptReader]:
        """The same bytes, to be read by a thread of the caller's."""
        reader = KeptReader(partial(self._open, sha256), sha256, offset, length)
        try:
            yield reader
        finally:
            self._workers.submit(reader.close)

    async def _short(self, sha256: bytes, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """In one visit to a thread, with others that are asked for now."""
        try:
            block = await self._together.bytes_of(sha256, offset, length)
        except OSError as error:
            raise spool_error("working in the spool", error) from error
        if block:
            yield block

    def small(self, wanted: Sequence[tuple[bytes, int]]) -> list[bytes | None]:
        """The whole of several kept files, by SHA-256 and length; None for one that cannot be read, or is shorter."""
        found: list[bytes | None] = []
        for sha256, length in wanted:
            try:
                found.append(self._some(sha256, 0, length))
            except (OSError, SpoolDamaged):
                found.append(None)
        return found

    def _some(self, sha256: bytes, offset: int, length: int) -> bytes:
        fd = self._open(sha256)
        try:
            block = os.pread(fd, length, offset)
        finally:
            os.close(fd)
        if len(block) < length:
            raise SpoolDamaged(f"the kept file {sha256.hex()} ends at {offset + len(block)}, before {offset + length}")
        return block

    def sha256_of_first(self, sha256: bytes, length: int) -> bytes:
        """SHA-256 of a kept file's first `length` bytes, read now."""
        first, left = hashlib.sha256(), length
        for block in self.read(sha256):
            first.update(block[:left])
            left -= min(left, len(block))
            if not left:
                break
        if left:
            raise SpoolDamaged(f"the kept file {sha256.hex()} is shorter than {length} bytes")
        return first.digest()

    def _open(self, sha256: bytes) -> int:
        try:
            return os.open(sha256.hex(), _KEPT, dir_fd=self._kept_fd)
        except FileNotFoundError as error:
            raise SpoolDamaged(f"the kept file {sha256.hex()} is missing from the spool") from error


def _failed(done: asyncio.Future[tuple[Digest, Parts]], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)


def _translated(act: Callable[[bytes], None], block: bytes) -> None:
    try:
        act(block)
    except OSError as error:
        raise spool_error("working in the spool", error) from error
