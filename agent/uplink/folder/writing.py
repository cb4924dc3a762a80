"""One capture onto the medium: written, forced, read back past the cache, and only then there under its name.

If power fails, or the medium is pulled: the draft is there with what had arrived, and is continued after its prefix was
read back and compared with the journal; or it is not, and begins anew. A bag that is there under its name is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.capture import PART_LENGTH
from agent.descent import FILE
from agent.errors import BadReceipt, SpoolDamaged, UplinkDown
from agent.opened import opening
from agent.uplink.folder.bag import ABOUT, about_of, payload_name, tag_files
from agent.uplink.folder.medium import CAPTURES, below, read_plain, told

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Holding
    from agent.opened import Opened
    from agent.uplink import Sending
    from agent.uplink.folder.medium import Medium

__all__ = ["place_of", "written"]

_READ: Final = 1 << 20
_ABOUT_MAX: Final = 1 << 20
_AT_WORK: Final[dict[tuple[str, str], list[Opened]]] = {}
"""By medium and draft. Of the process: a configuration that is read anew makes another uplink."""
_LEFT: Final[dict[tuple[str, str], int]] = {}
"""By the same: bytes that are still to be written there, for which the room is promised."""
_MADE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def place_of(medium: Medium, capture: str) -> Path:
    """Where the bag of a capture lies."""
    return medium.path.joinpath(*_shelf(capture), capture)


def _shelf(capture: str) -> tuple[str, str]:
    return (CAPTURES, capture[:2])


async def written(medium: Medium, root: Opened, sending: Sending, *, watermark: int) -> None:
    """Bring it; `root` is the medium's. Raises `UplinkDown`, `BadReceipt`, `SpoolDamaged`, or what `turn` raised."""
    holding = sending.holding
    # Two stations may write the same capture to one drive: each has a draft of its own.
    draft = f".{holding.id}.{_mine(holding)}.part"
    files, place = _at_work(medium, draft, root), (medium.id, draft)
    try:
        if await root.run(_is_there, holding):
            await _is_ours(medium, root, sending)
            return
        before = await root.run(_drafted, holding, draft)
        _promised(medium, place, await root.run(medium.room) + before - watermark, holding.digest.length)
        await root.run(_begun, holding, draft)
        await _copy(root, sending, place, files)
        await _compare(medium, root, sending, draft)
        if not await root.run(_sealed, holding, draft):
            await _is_ours(medium, root, sending)
    except OSError as error:
        raise told(error, medium.path) from error
    finally:
        _LEFT.pop(place, None)


def _promised(medium: Medium, place: tuple[str, str], room: int, length: int) -> None:
    """Promise the room for a draft. Raises `UplinkDown` where it is not there beside what was promised to others.

    Two that do not fit together would fill the medium with two halves, and neither would ever be whole there.
    """
    others = sum(left for (one, _), left in _LEFT.items() if one == medium.id)
    if others and room - others < length:
        raise UplinkDown(
            f"the medium at {medium.path} has no room for this capture beside those that are being written",
            hint="Leave it in until those are written; then put in another one that was prepared.",
            alone=True,
        )
    if room < length:
        raise told(OSError(errno.ENOSPC, "no room above the watermark"), medium.path)
    _LEFT[place] = length


def _drafted(root: int, holding: Holding, draft: str) -> int:
    """Bytes of the medium that an earlier draft takes: it is built upon, or its room is given back."""
    try:
        with below(root, *_shelf(holding.id), draft, "data") as data:
            found = os.stat(payload_name(holding), dir_fd=data, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return min(found.st_blocks * 512, holding.digest.length)


def _at_work(medium: Medium, draft: str, root: Opened) -> list[Opened]:
    """What is open for a draft from now on: the medium's root, and what is added. Raises `UplinkDown`.

    Whoever is cancelled waits for his threads, but not for ever. Where the medium keeps one waiting for longer, it goes
    on when the medium does: it would give the draft its name, or cut it, while the next try has begun to continue it.
    """
    for place in [place for place, files in _AT_WORK.items() if all(one.closed for one in files)]:
        del _AT_WORK[place]
    if (medium.id, draft) in _AT_WORK:
        raise UplinkDown(
            f"an earlier try to write this capture to the medium at {medium.path} has not come to its end",
            hint="If it stays so, the medium hangs: take it out, and put in another one that was prepared.",
            alone=True,
        )
    files = _AT_WORK[medium.id, draft] = [root]
    return files


def _mine(holding: Holding) -> str:
    return hashlib.sha256(holding.log.encode()).hexdigest()[:8]


def _is_there(root: int, holding: Holding) -> bool:
    try:
        with below(root, *_shelf(holding.id)) as shelf:
            return stat.S_ISDIR(os.stat(holding.id, dir_fd=shelf, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _begun(root: int, holding: Holding, draft: str) -> None:
    with below(root, *_shelf(holding.id), draft, "data", make=True):
        pass


def _file(root: int, holding: Holding, bag: str, flags: int) -> int:
    with below(root, *_shelf(holding.id), bag, "data") as data:
        return os.open(payload_name(holding), flags, 0o666, dir_fd=data)


async def _copy(root: Opened, sending: Sending, place: tuple[str, str], files: list[Opened]) -> None:
    holding, length = sending.holding, sending.holding.digest.length
    async with opening(lambda: root.do(_file, holding, place[1], _MADE)) as draft:
        files.append(draft)
        await draft.run(_fits, length)
        offset = await _continued(sending, draft)
        sending.progress(offset)
        while offset < length:
            part = min(PART_LENGTH - offset % PART_LENGTH, length - offset)
            await sending.turn(part)
            async with aclosing(sending.outgoing(offset, part)) as blocks:  # type: ignore[type-var]
                async for block in blocks:
                    await draft.run(durable.write_all, block, offset)
                    offset += len(block)
                    _LEFT[place] = length - offset
            await draft.run(os.fdatasync)
            sending.progress(offset)
        await draft.run(durable.force)
        await draft.run(durable.drop_cache)


def _fits(fd: int, length: int) -> None:
    """Raise `OSError` (EFBIG) where the file system has no files of this length, before 4 GiB of it are written."""
    try:
        os.lseek(fd, length, os.SEEK_SET)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from error


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


async def _compare(medium: Medium, root: Opened, sending: Sending, draft: str) -> None:
    """Read the copy back; where it differs, find out whose side it is."""
    holding = sending.holding
    if await root.run(_read_back, holding, draft) == holding.digest.sha256:
        return
    await root.run(_removed, holding, draft)
    whole = hashlib.sha256()
    async for block in sending.blocks(0, holding.digest.length):
        whole.update(block)
    if whole.digest() != holding.digest.sha256:
        raise SpoolDamaged(f"capture {holding.id} in the spool is not what the journal says")
    raise UplinkDown(
        f"the medium at {medium.path} gave back other bytes than were written to it",
        hint="Do not use this medium any more: put in another one that was prepared.",
    )


async def _is_ours(medium: Medium, root: Opened, sending: Sending) -> None:
    holding = sending.holding
    try:
        await root.run(_forced, holding)
        found = await root.run(_read_back, holding, holding.id)
    except FileNotFoundError:
        found = b""
    if found != holding.digest.sha256:
        raise BadReceipt(
            f"{place_of(medium, holding.id)} holds other bytes than this capture",
            hint="Somebody changed what lies on this medium, or it is failing. The capture stays here.",
        )
    await root.run(_spoken_of, holding)
    sending.progress(holding.digest.length)


def _spoken_of(root: int, holding: Holding) -> None:
    """Our entry stands in the bag: another station, or an earlier entry of ours, may have made it.

    A receipt speaks of one entry of one log, so that one for theirs would never be ours.
    """
    with below(root, *_shelf(holding.id), holding.id) as bag:
        log, index = _entry_in(bag, ABOUT)
        if (log, index) == (holding.log, holding.index):
            return
        files = tag_files(holding)
        if log is not None and log != holding.log:
            name = about_of(_mine(holding))
            if _entry_in(bag, name) != (holding.log, holding.index):
                durable.replace_below(name, files[ABOUT], bag, 0o644)
            return
        # What is looked at above comes last: where this ends in between, it is done again.
        for name in (*(files.keys() - {ABOUT}), ABOUT):
            durable.replace_below(name, files[name], bag, 0o644)


def _entry_in(bag: int, name: str) -> tuple[str | None, int | None]:
    """Log and index of which a file in a bag speaks; None for what no station wrote."""
    try:
        said = json.loads(read_plain(name, _ABOUT_MAX, bag))
        log, index = said["log"], said["index"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, None
    return (log, index) if isinstance(log, str) and isinstance(index, int) else (None, None)


def _sealed(root: int, holding: Holding, draft: str) -> bool:
    """Give the draft its name; False where another station was quicker with the same capture."""
    with below(root, *_shelf(holding.id)) as shelf:
        with below(shelf, draft) as bag:
            for name, content in tag_files(holding).items():
                durable.replace_below(name, content, bag, 0o644)
            with below(bag, "data") as data:
                durable.force_folder(data)
            durable.force_folder(bag)
        try:
            os.rename(draft, holding.id, src_dir_fd=shelf, dst_dir_fd=shelf)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(draft, dir_fd=shelf)
            return False
        durable.force_folder(shelf)
    return True


def _removed(root: int, holding: Holding, draft: str) -> None:
    with below(root, *_shelf(holding.id)) as shelf:
        shutil.rmtree(draft, dir_fd=shelf)


def _forced(root: int, holding: Holding) -> None:
    """Whoever gave the bag its name may have ended before that was on the medium, or was told that it failed."""
    fd = _file(root, holding, holding.id, FILE)
    try:
        durable.force(fd)
    finally:
        os.close(fd)
    with below(root, *_shelf(holding.id)) as shelf, below(shelf, holding.id) as bag, below(bag, "data") as data:
        for folder in (data, bag, shelf):
            durable.force_folder(folder)


def _read_back(root: int, holding: Holding, bag: str) -> bytes:
    fd = _file(root, holding, bag, FILE)
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
