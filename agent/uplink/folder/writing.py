"""One capture onto the medium: written, forced, read back past the cache, and only then there under its name.

If power fails, or the medium is pulled: the draft is there with what had arrived, and is continued after its prefix was
read back and compared with the journal; or it is not, and begins anew. A bag that is there under its name is whole.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.capture import PART_LENGTH
from agent.descent import FILE
from agent.errors import BadReceipt, SpoolDamaged, UplinkDown
from agent.opened import opening
from agent.uplink.folder.bag import payload_name, tag_files
from agent.uplink.folder.medium import CAPTURES, told

if TYPE_CHECKING:
    from pathlib import Path

    from agent.opened import Opened
    from agent.uplink import Sending
    from agent.uplink.folder.medium import Medium

__all__ = ["place_of", "written"]

_READ: Final = 1 << 20


def place_of(medium: Medium, capture: str) -> Path:
    """Where the bag of a capture lies."""
    return medium.path / CAPTURES / capture[:2] / capture


async def written(medium: Medium, sending: Sending, *, watermark: int) -> None:
    """Bring it. Raises `UplinkDown`, `BadReceipt`, `SpoolDamaged`, or what `Sending.turn` raised."""
    holding, place = sending.holding, place_of(medium, sending.holding.id)
    # Two stations may write the same capture to one drive: each has a draft of its own.
    mine = hashlib.sha256(holding.log.encode()).hexdigest()[:8]
    draft = place.with_name(f".{holding.id}.{mine}.part")
    try:
        if await asyncio.to_thread(place.is_dir):
            await _is_ours(place, sending)
            return
        await asyncio.to_thread(medium.require, holding.digest.length + watermark)
        file = draft / "data" / payload_name(holding)
        await asyncio.to_thread(durable.make_folder, file.parent, 0o777)
        await _copy(sending, file)
        await _compare(sending, file, draft)
        if not await asyncio.to_thread(_sealed, draft, place, tag_files(holding)):
            await _is_ours(place, sending)
    except OSError as error:
        raise told(error, medium.path) from error


async def _copy(sending: Sending, file: Path) -> None:
    length = sending.holding.digest.length
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    async with opening(lambda: os.open(file, flags, 0o666)) as draft:
        offset = await _continued(sending, draft)
        sending.progress(offset)
        while offset < length:
            part = min(PART_LENGTH - offset % PART_LENGTH, length - offset)
            await sending.turn(part)
            async with aclosing(sending.outgoing(offset, part)) as blocks:  # type: ignore[type-var]
                async for block in blocks:
                    await draft.run(durable.write_all, block, offset)
                    offset += len(block)
            await draft.run(os.fdatasync)
            sending.progress(offset)
        await draft.run(durable.force)
        await draft.run(durable.drop_cache)


async def _continued(sending: Sending, draft: Opened) -> int:
    """How much of an earlier draft is ours: whole parts, read back and compared with the journal."""
    there = (await draft.run(os.fstat)).st_size
    offset = min(there, sending.holding.digest.length) // PART_LENGTH * PART_LENGTH
    if offset:
        await draft.run(durable.drop_cache)
        if await draft.run(_sha256_of, offset) != await sending.sha256_through(offset):
            offset = 0
    await draft.run(os.ftruncate, offset)
    return offset


async def _compare(sending: Sending, file: Path, draft: Path) -> None:
    """Read the copy back; where it differs, find out whose side it is."""
    if await asyncio.to_thread(_read_back, file) == sending.holding.digest.sha256:
        return
    await asyncio.to_thread(shutil.rmtree, draft)
    whole = hashlib.sha256()
    async for block in sending.blocks(0, sending.holding.digest.length):
        whole.update(block)
    if whole.digest() != sending.holding.digest.sha256:
        raise SpoolDamaged(f"capture {sending.holding.id} in the spool is not what the journal says")
    raise UplinkDown(
        f"the medium at {file} gave back other bytes than were written to it",
        hint="Do not use this medium any more: put in another one that was prepared.",
    )


async def _is_ours(place: Path, sending: Sending) -> None:
    file = place / "data" / payload_name(sending.holding)
    try:
        await asyncio.to_thread(_forced, place, file)
        found = await asyncio.to_thread(_read_back, file)
    except FileNotFoundError:
        found = b""
    if found != sending.holding.digest.sha256:
        raise BadReceipt(
            f"{place} holds other bytes than this capture",
            hint="Somebody changed what lies on this medium, or it is failing. The capture stays here.",
        )
    sending.progress(sending.holding.digest.length)


def _sealed(draft: Path, place: Path, files: dict[str, bytes]) -> bool:
    """Give the draft its name; False where another station was quicker with the same capture."""
    for name, content in files.items():
        durable.replace_file(draft / name, content, mode=0o644)
    for folder in (draft / "data", draft):
        with durable.folder(folder) as fd:
            durable.force_folder(fd)
    try:
        draft.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(draft)
        return False
    with durable.folder(place.parent) as fd:
        durable.force_folder(fd)
    return True


def _forced(place: Path, file: Path) -> None:
    """Whoever gave the bag its name may have ended before that was on the medium, or was told that it failed."""
    fd = os.open(file, FILE)
    try:
        durable.force(fd)
    finally:
        os.close(fd)
    for folder in (place / "data", place, place.parent):
        with durable.folder(folder) as folder_fd:
            durable.force_folder(folder_fd)


def _read_back(file: Path) -> bytes:
    fd = os.open(file, FILE)
    try:
        durable.drop_cache(fd)
        return _sha256_of(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def _sha256_of(fd: int, length: int) -> bytes:
    whole, offset = hashlib.sha256(), 0
    while offset < length and (block := os.pread(fd, min(_READ, length - offset), offset)):
        whole.update(block)
        offset += len(block)
    return whole.digest()
