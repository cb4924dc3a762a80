"""The hand, as far as taking goes: a capture is copied into the spool, and then promised in the journal."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import ExitStack, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import structlog

from agent.capture import Capture, Json, Priority, Standing, printable
from agent.driver import GATHERED_LENGTH
from agent.errors import AgentError, BadCapture, CannotResume, DeviceGone, JournalFull, SpoolDamaged, SpoolFull
from agent.ingest.comparing import Comparing
from agent.ingest.copying import BLOCK, Arrival, closing, contradiction, other_than_stated, pump
from agent.ingest.leavings import Leavings
from agent.ingest.line import Line
from agent.ingest.order import BadOnes, OneAtATime
from agent.journal import queries
from agent.journal.entry import told_claims
from agent.places import Places
from agent.tasks import whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from agent.capture import Device, Digest, Holding, Origin, Parts
    from agent.driver import Readable
    from agent.journal import Desk, Journal
    from agent.spool import Spool, Stage

__all__ = ["SMALL", "Ingest"]

SMALL: Final = BLOCK
"""Bytes up to which a capture of known length is always gathered in memory and written at once."""

TINY: Final = 64 * 1024
"""Bytes up to which more of them may be in memory at once."""
_GATHERED_AT_ONCE: Final = 16
_GATHERED_OF_ONE: Final = 4
"""The same of one device: one that hangs must not keep the others from the memory that there is."""
_LARGE_AT_ONCE: Final = 60
_LARGE_OF_ONE: Final = 30
_SMALL_AT_ONCE: Final = 64
_SMALL_OF_ONE: Final = 16
_TINY_AT_ONCE: Final = 512
_TINY_OF_ONE: Final = 128

_FLIPS: Final = 10_000
"""Origins whose bytes came back to what they had been, of which that is remembered; of others they are read again."""

_TWINS: Final = 100_000
"""Captures of devices that claim to be one of which it is remembered where they were read; others are read again."""


class Ingest:
    """The agent's hand, as far as taking goes. One for the whole station."""

    def __init__(
        self,
        desk: Desk,
        spool: Spool,
        *,
        on_held: Callable[[Holding], None],
        on_damage: Callable[[SpoolDamaged], None],
        classify: Callable[[Capture], Priority] = lambda capture: capture.priority,
        words: Callable[[Capture, Path], Awaitable[Capture]] | None = None,
        on_begun: Callable[[Capture], None] = lambda _: None,
        twice: Callable[[Device], bool] = lambda _: False,
    ) -> None:
        self._desk, self._spool = desk, spool
        self._on_held, self._on_damage, self._classify = on_held, on_damage, classify
        self._words, self._on_begun, self._twice = words, on_begun, twice
        self._large = Places(_LARGE_AT_ONCE, _LARGE_OF_ONE)
        self._small = Places(_SMALL_AT_ONCE, _SMALL_OF_ONE)
        self._tiny = Places(_TINY_AT_ONCE, _TINY_OF_ONE)
        self._gathered = asyncio.Semaphore(_GATHERED_AT_ONCE)
        self._mine: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._order, self._bad = OneAtATime(), BadOnes()
        self.comparing = Comparing(desk, spool)
        self._leavings = Leavings(desk, spool)
        self._line = Line(spool.room)
        self._log = structlog.get_logger("ingest")
        self._given: OrderedDict[bytes, Holding] = OrderedDict()
        self._read_at: OrderedDict[tuple[bytes, str, str | None], None] = OrderedDict()
        self.arrivals: dict[bytes, Arrival] = {}
        """What is being copied right now."""
        self._marks_ends = False
        self.read: Counter[str] = Counter()
        """Bytes read from each device since the start: to see what was read twice."""

    async def recover(self) -> None:
        """Look at what an earlier run left; nothing is deleted. Run once, before anything is taken."""
        await self._leavings.explain()

    def mark_ends(self, power_may_go: bool, /) -> None:  # noqa: FBT001 - a switch
        """While power may go, a copy that ends early is forced and marked where it stands, and goes on from there."""
        self._marks_ends = power_may_go

    async def take(self, offer: Readable) -> Standing:
        """See `agent.driver.Intake.take`."""
        capture = offer.capture
        if hasattr(offer, "release") == (capture.forgets is not None):
            # The driver's mistake, seen at its first offer: else nothing would ever be released, and nobody would know.
            raise TypeError("an offer has a `release`, or its capture says how its device `forgets`: one of both")
        token = capture.origin.token
        async with self._order.alone(token):
            known, read = await self._known(token, capture), self._to_be_read(token, offer)
            if known is not None and not read:
                if await self.comparing.same(offer, token):
                    return known
                read = self._to_be_read(token, offer)
            self._bad.check(token, capture)
            if (full := self._desk.full) is not None:
                raise _not_promised(full)
            self._on_begun(capture)
            try:
                taken = await self._taken(offer, token)
            except BadCapture as error:
                self._bad.remember(token, capture, str(error))
                raise
            except SpoolDamaged as error:
                # What the disk did cannot be known any more; a restart looks at everything again.
                self._on_damage(error)
                raise
            if read:
                self._read_at[read] = None
                while len(self._read_at) > _TWINS:
                    self._read_at.popitem(last=False)
        return taken.standing

    async def recall(self, origin: Origin) -> tuple[Digest, ...]:
        """See `agent.driver.Recalls`."""
        return await self._desk.read(lambda journal: queries.digests_of(journal, origin.token))

    async def set_aside(self, capture: Capture, data: bytes, reason: str) -> None:
        """See `agent.driver.SetsAside`."""
        token = capture.origin.token
        async with self._order.alone(token):
            self._line.require(capture.device.id, len(data))
            try:
                await self._set_aside(capture, token, data, reason)
            except SpoolDamaged as error:
                self._on_damage(error)
                raise

    async def _set_aside(self, capture: Capture, token: bytes, data: bytes, reason: str) -> None:
        stage = await self._open_stage(capture, token)
        if stage.offset:  # an earlier run ended while it wrote this
            stage.close()
            stage = await self._begin_anew(stage, capture, token, reason)
        try:
            await self._spool.run(stage.write, data)
        finally:
            stage.close()
        await self._leavings.set_aside(stage.name, reason)

    def _to_be_read(self, token: bytes, offer: Readable) -> tuple[bytes, str, str | None] | None:
        """Where two devices claim to be one, the name of a capture says nothing: each gives its own to read, once."""
        capture = offer.capture
        if capture.volatile:
            return None
        if self._twice(capture.device):
            there = (token, capture.device.driver, capture.device.place)
        elif (plugged := self.comparing.differs(offer)) is not None:
            there = (token, capture.device.driver, plugged)
        else:
            return None
        return None if there in self._read_at else there

    async def _known(self, token: bytes, capture: Capture) -> Standing | None:
        """The standing of what is offered, where we have it, as far as can be told without reading it."""
        given = self._given.get(token)
        if given is None:
            known = await self._desk.read(lambda journal: queries.standing_of(journal, token))
        elif capture.length != given.digest.length:
            return None  # it flips: what it gives now may be anything
        else:
            now = await self._desk.read(lambda journal: journal.get(given.id))
            known = (now.standing, given.digest.length)
        return known[0] if known is not None and _still_the_same(*known, capture) else None

    async def _taken(self, offer: Readable, token: bytes) -> Holding:
        """By its length: those that end together share a forcing and a commit, and all of them lie in memory."""
        length, device = offer.capture.length, offer.capture.device.id
        if length is None or length > GATHERED_LENGTH:
            async with self._large.of(device):
                return await self._take_large(offer, token)
        if length <= SMALL:
            async with (self._tiny if length <= TINY else self._small).of(device):
                return await self._take_small(offer, token)
        mine = self._mine.get(device) or self._mine.setdefault(device, asyncio.Semaphore(_GATHERED_OF_ONE))
        await mine.acquire()
        with ExitStack() as memory:
            memory.callback(mine.release)
            if not self._gathered.locked() and not self._spool.begun(token):
                await self._gathered.acquire()
                memory.callback(self._gathered.release)
                return await self._take_small(offer, token, written=memory.close)
            # Too many are in memory, or an earlier take has begun to stage it.
            async with self._large.of(device):
                return await self._take_large(offer, token)

    def _count(self, capture: Capture, length: int) -> None:
        self.read[capture.device.id] += length

    # -- small: gathered in memory ------------------------------------------------------------------------------------

    async def _take_small(self, offer: Readable, token: bytes, *, written: Callable[[], None] | None = None) -> Holding:
        capture = offer.capture
        length = capture.length or 0
        self._line.require(capture.device.id, length)
        blocks: list[bytes] = []
        arrived = 0
        async with closing(offer.open(0)) as source:
            async for block in source:
                arrived += len(block)
                if arrived > length:
                    break
                blocks.append(block)
        self._count(capture, arrived)
        if arrived != length:
            raise BadCapture(contradiction(capture, arrived))
        if (stated := _stated(offer)) is not None and sha256(data := b"".join(blocks)).digest() != stated:
            await self._set_aside(capture, token, data, reason := other_than_stated(capture))
            raise BadCapture(reason)
        digest, parts = await self._spool.press(token, blocks, written=written)
        return await self._hold(capture, digest, parts)

    # -- large: through a stage file that survives ---------------------------------------------------------------------

    async def _take_large(self, offer: Readable, token: bytes) -> Holding:
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
            return await self._staged(token, about)
        except AgentError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
        await self._leavings.set_aside(token.hex(), "the device now offers something else under this origin")
        return await self._staged(token, about)

    async def _staged(self, token: bytes, about: Mapping[str, Json]) -> Stage:
        """Open or continue a stage; who is cancelled meanwhile leaves none open, and no thread that makes files."""
        opened: list[Stage] = []

        async def opening() -> None:
            opened.append(await self._spool.run(self._spool.stage, token, about))

        try:
            await whole(opening())
        except asyncio.CancelledError:
            for stage in opened:
                stage.close()
            raise
        return opened[0]

    async def _begin_anew(self, stage: Stage, capture: Capture, token: bytes, reason: str) -> Stage:
        """Set what arrived aside and open an empty stage; an empty one is opened again."""
        if stage.offset:
            await self._leavings.set_aside(stage.name, reason)
        return await self._staged(token, _about(capture))

    async def _copy(self, offer: Readable, stage: Stage, arrival: Arrival) -> None:
        """Bring the stage to the capture's end. Whatever is raised, the stage keeps what arrived."""
        capture = offer.capture
        try:
            # Of a capture that knows no length at least a block must fit: the watermark is not for captures.
            needed = SMALL if capture.length is None else capture.length - stage.offset
            self._line.require(capture.device.id, needed)
            if capture.length is not None:
                await self._spool.run(stage.reserve, capture.length)
            await pump(self._spool, offer, stage, arrival, count=lambda length: self._count(capture, length))
            if capture.length is not None and stage.offset != capture.length:
                raise BadCapture(contradiction(capture, stage.offset))  # noqa: TRY301 - its handling is below
            if (stated := _stated(offer)) is not None and stage.hasher.whole_so_far() != stated:
                raise BadCapture(other_than_stated(capture))  # noqa: TRY301
        except CannotResume:
            stage.close()
            raise
        except BadCapture as error:
            stage.close()
            await self._leavings.set_aside(stage.name, str(error))
            raise
        except SpoolDamaged:
            stage.close()
            await self._spool.run(self._spool.doubt, stage.name)
            raise
        except BaseException:
            if self._marks_ends:
                with suppress(AgentError):
                    await whole(self._spool.run(stage.mark, stage.offset, stage.hasher.fast_so_far()))
            stage.close()
            raise

    # -- promising ----------------------------------------------------------------------------------------------------

    async def _hold(self, offered: Capture, digest: Digest, parts: Parts) -> Holding:
        priority = self._classify(offered)
        capture = offered if priority is offered.priority else offered.told(priority=priority)
        if self._words is not None:
            capture = await self._words(capture, self._spool.root / "kept" / digest.sha256.hex())

        def promise(journal: Journal) -> tuple[Holding, bool, list[tuple[bytes, int]]]:
            # Looked at here, in the journal's thread: a purge of the same bytes from another device may just have let
            # the file go. Then it is taken once more.
            if self._spool.length(digest.sha256) != digest.length:
                raise DeviceGone("its file left the spool while it was taken; it is taken again")
            held = journal.hold(capture, digest, parts)
            aside = queries.parts_of(journal, capture.origin.token, digest.length)
            if held.index == journal.leaves.size - 1:  # it was not known before
                return held, True, aside
            last = queries.of_origin(journal, capture.origin.token)
            return held, last is None or last.id == held.id, aside

        try:
            # A device that waits for its answer is told no: it keeps the capture, and gives it again.
            held, newest, aside = await self._desk.write(promise, waits=False)
        except JournalFull as error:
            raise _not_promised(error) from error
        except ValueError as error:
            raise BadCapture(f"what the device says of {capture.key} cannot stand in the journal: {error}") from error
        self._remember(held, newest=newest)
        self._on_held(held)
        await self._leavings.resolve(held, aside)
        self._log.debug("held", capture=held.id, key=capture.key, device=capture.device.id, length=digest.length)
        return held

    def _remember(self, held: Holding, *, newest: bool) -> None:
        """A device that gave other bytes under this name, and now gives the old ones, is not read again for ever.

        The journal knows what was taken last of an origin; what was given last may be older than that.
        """
        token = held.origin.token
        self._given.pop(token, None)
        if not newest:
            self._given[token] = held
            while len(self._given) > _FLIPS:
                self._given.popitem(last=False)


def _not_promised(full: JournalFull) -> SpoolFull:
    """Nothing can be promised without the journal; for who offers it, that is a spool without room."""
    return SpoolFull(str(full), hint=full.what_to_do)


def _stated(offer: Readable) -> bytes | None:
    """See `agent.driver.StatesDigest`; asked of each small capture, and `isinstance` of a protocol is slow."""
    return getattr(offer, "stated_sha256", None)


def _still_the_same(standing: Standing, length: int, capture: Capture) -> bool:
    """Whether what is offered is what we have, as far as can be told without reading it."""
    if standing in (Standing.RELEASED, Standing.PURGED):
        return False
    return capture.length is None or capture.length == length


def _about(capture: Capture) -> dict[str, Json]:
    """What a stage file is of; a copy continues only where all of it is the same."""
    return {"claims": told_claims(capture.claims), "length": capture.length, "origin": dict(capture.origin.claims)}
