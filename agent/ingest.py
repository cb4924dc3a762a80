"""Device -> spool -> journal: a capture is copied and hashed in one pass, forced to the disk, and then promised.

If power fails here: before the file has its final name, the stage file is continued (or set aside) and the device
still has the capture; between the name and the journal, the same bytes land on the same name when it is offered
again; after the journal's commit it is held.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Capture, Json, Standing, printable
from agent.errors import AgentError, BadCapture, CannotResume, DeviceGone, SpoolDamaged
from agent.journal import Desk, Journal, queries
from agent.journal.entry import told_claims

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from agent.capture import Digest, Holding, Parts
    from agent.driver import Offer
    from agent.spool import Spool, Stage

__all__ = ["SMALL", "Arrival", "Ingest"]

SMALL: Final = 1024 * 1024
"""Bytes up to which a capture of known length is gathered in memory and written at once."""

_GATHER: Final = 512 * 1024
"""Bytes that are worth a step of their own: smaller blocks are joined up to this."""
_BAD_FIRST: Final = 30.0
_BAD_MOST: Final = 3600.0
_BAD_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class Arrival:
    """One capture under way, for whoever watches."""

    capture: Capture
    arrived: int = 0
    resumed_at: int = 0


@dataclass(slots=True)
class _Bad:
    """A capture that was not accepted: it is looked at again later, and later each time."""

    length: int | None
    reason: str
    pause: float
    until: float


@dataclass(slots=True)
class _Lock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Ingest:
    """The agent's hand, as far as taking goes. One for the whole station."""

    def __init__(
        self,
        desk: Desk,
        spool: Spool,
        *,
        on_held: Callable[[Holding], None],
        on_damage: Callable[[SpoolDamaged], None],
        large_in_flight: int = 8,
        small_in_flight: int = 64,
    ) -> None:
        self._desk, self._spool = desk, spool
        self._on_held, self._on_damage = on_held, on_damage
        self._large = asyncio.Semaphore(large_in_flight)
        self._small = asyncio.Semaphore(small_in_flight)
        self._locks: dict[bytes, _Lock] = {}
        self._log = structlog.get_logger("ingest")
        self.arrivals: dict[bytes, Arrival] = {}
        """What is being copied right now."""
        self.read: Counter[str] = Counter()
        """Bytes read from each device since the start: to see what was read twice."""
        self._bad: OrderedDict[bytes, _Bad] = OrderedDict()

    async def recover(self) -> None:
        """Look at what an earlier run left; nothing is deleted. Run once, before anything is taken."""
        for leftover in await self._spool.run(self._spool.leftovers):
            if leftover.continuable:
                self._log.info("stage_found", name=leftover.name)
            else:
                await self._set_part_aside(leftover.name, "an earlier run ended before it was complete")
        names = await self._spool.run(lambda: list(self._spool.kept()))
        for name in names:
            await self._explain_kept(name)
        await self._explain_parts()
        await self._miss_nothing()

    async def take(self, offer: Offer) -> Standing:
        """See `agent.driver.Intake.take`."""
        capture = offer.capture
        token = capture.origin.token
        async with self._alone(token):
            known = await self._desk.read(lambda journal: journal.of_origin(token))
            if known is not None and _still_the_same(known, capture):
                return known.standing
            self._not_again_so_soon(token, capture)
            try:
                if capture.length is not None and capture.length <= SMALL:
                    async with self._small:
                        taken = await self._take_small(offer, token)
                else:
                    async with self._large:
                        taken = await self._take_large(offer, token)
            except BadCapture as error:
                self._remember_bad(token, capture, str(error))
                raise
            except SpoolDamaged as error:
                # What the disk did cannot be known any more; a restart looks at everything again.
                self._on_damage(error)
                raise
        return taken.standing

    # -- small: gathered in memory ------------------------------------------------------------------------------------

    async def _take_small(self, offer: Offer, token: bytes) -> Holding:
        capture = offer.capture
        length = capture.length or 0
        self._spool.require(length)
        blocks: list[bytes] = []
        arrived = 0
        async with _closing(offer.open(0)) as source:
            async for block in source:
                arrived += len(block)
                if arrived > length:
                    break
                blocks.append(block)
        self.read[capture.device.id] += arrived
        if arrived != length:
            raise BadCapture(_contradiction(capture, arrived))
        digest, parts = await self._spool.press(token, blocks[0] if len(blocks) == 1 else b"".join(blocks))
        return await self._hold(capture, digest, parts)

    # -- large: through a stage file that survives ---------------------------------------------------------------------

    async def _take_large(self, offer: Offer, token: bytes) -> Holding:
        capture = offer.capture
        arrival = self.arrivals[token] = Arrival(capture)
        try:
            stage = await self._open_stage(capture, token)
            try:
                await self._copy(offer, stage, arrival)
            except CannotResume as error:
                self._log.info("taken_from_the_beginning", key=printable(capture.key), reason=str(error))
                stage = await self._begin_anew(stage, capture, token, str(error))
                arrival.arrived = arrival.resumed_at = 0
                await self._copy(offer, stage, arrival)
            digest, parts = await self._spool.keep(stage)
        finally:
            del self.arrivals[token]
        return await self._hold(capture, digest, parts)

    async def _open_stage(self, capture: Capture, token: bytes) -> Stage:
        about = _about(capture)
        try:
            return await self._spool.run(self._spool.stage, token, about)
        except AgentError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
        await self._set_part_aside(token.hex(), "the device now offers something else under this origin")
        return await self._spool.run(self._spool.stage, token, about)

    async def _begin_anew(self, stage: Stage, capture: Capture, token: bytes, reason: str) -> Stage:
        """Set what arrived aside and open an empty stage; an empty one is opened again."""
        if stage.offset:
            await self._set_part_aside(stage.name, reason)
        return await self._spool.run(self._spool.stage, token, _about(capture))

    async def _copy(self, offer: Offer, stage: Stage, arrival: Arrival) -> None:
        """Bring the stage to the capture's end. Whatever is raised, the stage keeps what arrived."""
        capture = offer.capture
        try:
            # Of a capture that knows no length at least a block must fit: the watermark is not for captures.
            self._spool.require(SMALL if capture.length is None else capture.length - stage.offset)
            if capture.length is not None:
                await self._spool.run(stage.reserve, capture.length)
            await self._pump(offer, stage, arrival)
            if capture.length is not None and stage.offset != capture.length:
                raise BadCapture(_contradiction(capture, stage.offset))  # noqa: TRY301 - its handling is below
        except CannotResume:
            stage.close()
            raise
        except BadCapture as error:
            stage.close()
            await self._set_part_aside(stage.name, str(error))
            raise
        except SpoolDamaged:
            stage.close()
            await self._spool.run(self._spool.doubt, stage.name)
            raise
        except BaseException:
            stage.close()
            raise

    async def _pump(self, offer: Offer, stage: Stage, arrival: Arrival) -> None:
        """Read the next block while the last one is hashed and written, and an earlier mark is forced."""
        capture, limit = offer.capture, offer.capture.length
        # One block of what is there already is read again: if the device gives other bytes now, it is another capture.
        overlap = await self._spool.run(stage.last, SMALL)
        arrival.arrived = arrival.resumed_at = stage.offset
        fed = stage.offset
        absorbing, marking = _Errand(), _Errand()
        try:
            async with _closing(_gathered(offer.open(stage.offset - len(overlap)))) as source:
                async for block in source:
                    self.read[capture.device.id] += len(block)
                    fresh, overlap = _past_overlap(capture, block, overlap)
                    fed += len(fresh)
                    if limit is not None and fed > limit:
                        raise BadCapture(_contradiction(capture, fed))
                    await absorbing.finish()
                    arrival.arrived = stage.offset
                    if stage.mark_is_due:
                        if limit is None:
                            self._spool.require(SMALL)
                        await marking.finish()
                        marking.begin(self._spool.run(stage.mark, stage.offset, stage.hasher.fast_so_far()))
                    if fresh:
                        absorbing.begin(self._absorb(stage, fresh))
            await absorbing.finish()
            await marking.finish()
            if overlap:
                raise BadCapture(f"{capture.key}: the device now gives fewer bytes than before it went away")
        finally:
            await absorbing.settle()
            await marking.settle()
        arrival.arrived = stage.offset

    async def _absorb(self, stage: Stage, block: bytes) -> None:
        """One block through all lanes at once; the file's length grows last, so it never runs ahead of the hashes."""
        hasher = stage.hasher

        def fast_and_write() -> None:
            stage.write(block)
            hasher.fast(block)

        lanes = [
            self._spool.run(hasher.whole, block),
            self._spool.run(hasher.part, block),
            self._spool.run(fast_and_write),
        ]
        for result in await asyncio.gather(*lanes, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    # -- promising ----------------------------------------------------------------------------------------------------

    async def _hold(self, capture: Capture, digest: Digest, parts: Parts) -> Holding:
        def promise(journal: Journal) -> Holding:
            # Looked at here, in the journal's thread: a purge of the same bytes from another device may just have let
            # the file go. Then it is taken once more.
            if self._spool.length(digest.sha256) != digest.length:
                raise DeviceGone("its file left the spool while it was taken; it is taken again")
            return journal.hold(capture, digest, parts)

        try:
            held = await self._desk.write(promise)
        except ValueError as error:
            raise BadCapture(f"what the device says of {capture.key} cannot stand in the journal: {error}") from error
        self._on_held(held)
        self._log.debug("held", capture=held.id, key=capture.key, device=capture.device.id, length=digest.length)
        return held

    # -- aside --------------------------------------------------------------------------------------------------------

    async def _set_part_aside(self, name: str, reason: str) -> None:
        part = await self._spool.run(self._spool.seal_part, name)
        about: dict[str, Json] = {} if part.about is None else json.loads(part.about)
        await self._desk.write(
            lambda journal: journal.quarantine_part(part.digest, reason, origin=_token_of(name), about=about)
        )
        self._log.warning("part_set_aside", part=part.digest.sha256.hex(), length=part.digest.length, reason=reason)

    async def _explain_kept(self, name: str) -> None:
        """A kept file on which nothing rests was never promised: it moves to the parts, and is taken if offered."""
        try:
            sha256 = bytes.fromhex(name)
        except ValueError:
            self._log.error(
                "unknown_file_in_spool", name=printable(name), todo="look at it; Evidock did not put it there"
            )
            return
        if await self._desk.read(lambda journal: queries.keepers(journal, sha256)):
            return
        if await self._desk.read(lambda journal: queries.was_purged(journal, sha256)):
            await self._spool.run(self._spool.evict, sha256)
            return
        part = await self._spool.run(self._spool.set_kept_aside, sha256)
        reason = "it was complete in the spool, and the agent ended before it could promise it"
        await self._explain_part(part.digest, reason)

    async def _explain_part(self, digest: Digest, reason: str) -> None:
        await self._desk.write(lambda journal: journal.quarantine_part(digest, reason, origin=None, about={}))

    async def _explain_parts(self) -> None:
        """A part that came to lie there just before an earlier run ended gets the entry that it lacks."""
        told = {sha256 for sha256, _, _ in await self._desk.read(queries.parts)}
        for name in await self._spool.run(self._spool.set_aside):
            if name in told:
                continue
            part = await self._spool.run(self._spool.part, name)
            reason = "it was set aside, and the agent ended before it could write why"
            await self._explain_part(part.digest, reason)

    async def _miss_nothing(self) -> None:
        """What the journal says lies in the spool must lie there with its length; else it is taken again if offered."""
        after = 0
        while page := await self._spooled_after(after):
            after = page[-1][0]
            for holding in await self._spool.run(self._missing, [holding for _, holding in page]):
                self._log.critical("kept_file_missing", capture=holding.id, todo="dock its device again")
                await self._desk.write(lambda journal, id_=holding.id: journal.lose(id_))  # type: ignore[misc]

    async def _spooled_after(self, row: int) -> list[tuple[int, Holding]]:
        return await self._desk.read(lambda journal: queries.spooled(journal, row))

    def _missing(self, holdings: list[Holding]) -> list[Holding]:
        return [holding for holding in holdings if self._spool.length(holding.digest.sha256) != holding.digest.length]

    # -- order --------------------------------------------------------------------------------------------------------

    def _not_again_so_soon(self, token: bytes, capture: Capture) -> None:
        bad = self._bad.get(token)
        if bad is not None and bad.length == capture.length and monotonic() < bad.until:
            raise BadCapture(f"{bad.reason} (it is tried again in {bad.until - monotonic():.0f} s)")

    def _remember_bad(self, token: bytes, capture: Capture, reason: str) -> None:
        before = self._bad.pop(token, None)
        if before is not None and monotonic() < before.until:
            self._bad[token] = before
            return
        pause = _BAD_FIRST if before is None else min(_BAD_MOST, before.pause * 2)
        self._bad[token] = _Bad(capture.length, reason, pause, monotonic() + pause)
        while len(self._bad) > _BAD_REMEMBERED:
            self._bad.popitem(last=False)

    @asynccontextmanager
    async def _alone(self, token: bytes) -> AsyncIterator[None]:
        """One take of one origin at a time: whoever comes second finds it held."""
        entry = self._locks.setdefault(token, _Lock())
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if not entry.users:
                del self._locks[token]


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
        """Wait for it whatever it raised: a thread may still be using the stage's descriptor."""
        while self._task is not None and not self._task.done():
            try:
                await asyncio.shield(self._task)
            except asyncio.CancelledError:
                continue
            except AgentError:
                break
        if self._task is not None and not self._task.cancelled():
            self._task.exception()  # seen: whatever ended the copy is being raised already
        self._task = None


def _still_the_same(known: Holding, capture: Capture) -> bool:
    """Whether what is offered is what we have, as far as can be told without reading it."""
    if known.standing in (Standing.RELEASED, Standing.PURGED):
        return False
    return capture.length is None or capture.length == known.digest.length


def _about(capture: Capture) -> dict[str, Json]:
    """What a stage file is of; a copy continues only where all of it is the same."""
    return {"claims": told_claims(capture.claims), "length": capture.length, "origin": dict(capture.origin.claims)}


def _token_of(name: str) -> bytes | None:
    try:
        return bytes.fromhex(name.split("-", maxsplit=1)[0].split(".", maxsplit=1)[0])
    except ValueError:
        return None


def _contradiction(capture: Capture, arrived: int) -> str:
    more = arrived > (capture.length or 0)
    gave = "more" if more else f"only {arrived}"
    return f"{capture.key}: the device stated {capture.length} bytes and gave {gave}"


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
    async with _closing(source) as blocks:
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


def _closing(source: AsyncIterator[bytes]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """Close a generator however the loop over it ends, so that its driver can let go of the device."""
    if isinstance(source, AsyncGenerator):
        return aclosing(source)
    return nullcontext(source)
