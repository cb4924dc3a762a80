"""The long copy: blocks are read while earlier ones are hashed and written, and an earlier mark is forced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.errors import BadCapture
from agent.tasks import whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from agent.capture import Capture
    from agent.driver import Readable
    from agent.spool import Spool, Stage
    from agent.spool.lanes import Lanes

__all__ = ["BLOCK", "Arrival", "closing", "contradiction", "other_than_stated", "pump"]

BLOCK: Final = 1024 * 1024
"""Bytes of what is there already that are read again when a copy continues, to see that they are still the same."""

_GATHER: Final = 512 * 1024
"""Bytes that are worth a step of their own: smaller blocks are joined up to this."""


@dataclass(slots=True)
class Arrival:
    """One capture under way, for whoever watches."""

    capture: Capture
    arrived: int = 0
    resumed_at: int = 0


async def pump(spool: Spool, offer: Readable, stage: Stage, arrival: Arrival, *, count: Callable[[int], None]) -> None:
    """Bring the stage to the device's end. Whatever is raised, the stage keeps what arrived, and nothing runs on.

    `count` is told how many bytes were read from the device. Raises what `Offer.open` raised, `BadCapture` where the
    device contradicts itself, `SpoolFull`, or `SpoolDamaged`.
    """
    capture, limit = offer.capture, offer.capture.length
    # One block of what is there already is read again: if the device gives other bytes now, it is another capture.
    overlap = await spool.run(stage.last, BLOCK)
    arrival.arrived = arrival.resumed_at = stage.offset
    fed = stage.offset
    lanes, marking = spool.lanes(stage.absorb, stage.hasher.whole), _Errand()
    try:
        async with closing(_gathered(offer.open(stage.offset - len(overlap)))) as source:
            async for block in source:
                count(len(block))
                fresh, overlap = _past_overlap(capture, block, overlap)
                fed += len(fresh)
                if limit is not None and fed > limit:
                    raise BadCapture(contradiction(capture, fed))
                if fresh:
                    await lanes.give(fresh)
                arrival.arrived = stage.offset
                if stage.due:
                    if limit is None:
                        spool.require(BLOCK)
                    await marking.finish()
                    marking.begin(spool.run(stage.mark, *stage.due.popleft()))
        await lanes.finish()
        await marking.finish()
        if overlap:
            raise BadCapture(f"{capture.key}: the device now gives fewer bytes than before it went away")
    finally:
        # Threads may still be using the stage's descriptor, whatever failed and whoever is cancelled.
        await whole(_settled(lanes, marking))
    arrival.arrived = stage.offset


async def _settled(lanes: Lanes, marking: _Errand) -> None:
    await lanes.settle()
    await marking.settle()


class _Errand:
    """At most one thing under way beside the reading; never left behind, never cancelled half-way."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[object, object, None]) -> None:
        self._task = asyncio.ensure_future(work)

    async def finish(self) -> None:
        """Wait for it and raise what it raised."""
        if self._task is not None:
            await asyncio.shield(self._task)
            self._task = None

    async def settle(self) -> None:
        """Wait for it whatever it raised."""
        if self._task is not None:
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.exception()  # seen: whatever ended the copy is being raised already
        self._task = None


def contradiction(capture: Capture, arrived: int) -> str:
    """The sentence about a device that gave another length than it stated."""
    more = arrived > (capture.length or 0)
    gave = "more" if more else f"only {arrived}"
    return f"{capture.key}: the device stated {capture.length} bytes and gave {gave}"


def other_than_stated(capture: Capture) -> str:
    """The sentence about bytes that are not those of the digest that the device stated."""
    return f"{capture.key}: the bytes are not those of the SHA-256 that the device stated"


def _past_overlap(capture: Capture, block: bytes, overlap: bytes) -> tuple[bytes, bytes]:
    """(what is new in the block, what of the overlap is still to be compared)."""
    if not overlap:
        return block, overlap
    same = min(len(overlap), len(block))
    if block[:same] != overlap[:same]:
        raise BadCapture(f"{capture.key}: the device now gives other bytes than before it went away")
    return block[same:], overlap[same:]


async def _gathered(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in blocks that are worth a step each: tiny ones joined, large ones as they are."""
    small: list[bytes] = []
    length = 0
    async with closing(source) as blocks:
        async for block in blocks:
            if not small and len(block) >= _GATHER:
                yield block
                continue
            small.append(block)
            length += len(block)
            if length >= _GATHER:
                yield b"".join(small)
                small, length = [], 0
    if small:
        yield b"".join(small)


def closing(source: AsyncIterator[bytes]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """Close a generator however the loop over it ends, so that its driver can let go of the device."""
    if isinstance(source, AsyncGenerator):
        return aclosing(source)
    return nullcontext(source)
