"""The driver: looks through the folder, waits until each recording is complete, and offers it, again and again."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import printable
from agent.driver import BLOCK_LENGTH, Notice, offer_all, reckoning
from agent.errors import DeviceError, DeviceGone, DeviceRefused
from drivers.interview_room.drop_folder.film import Film
from drivers.interview_room.drop_folder.hands import Hands
from drivers.interview_room.drop_folder.lease import Lease
from drivers.interview_room.drop_folder.looking import look_through
from drivers.interview_room.drop_folder.names import Listing, Names
from drivers.interview_room.drop_folder.options import FolderOptions
from drivers.interview_room.drop_folder.reading import SideCars
from drivers.interview_room.drop_folder.settling import Known, Settling
from drivers.interview_room.drop_folder.share import Share
from drivers.interview_room.drop_folder.sidecars import Beside, told_of
from drivers.interview_room.drop_folder.watching import Watching
from drivers.interview_room.drop_folder.wire import Wire
from drivers.interview_room.room import device_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.capture import Standing
    from agent.driver import Intake
    from drivers.interview_room.drop_folder.looking import Look
    from drivers.interview_room.drop_folder.settling import Ready, Sorted

__all__ = ["DropFolder"]

_STAY: Final = 5.0
"""Seconds between two sights of a folder that is there."""
_LOOK_MAX: Final = 3600.0
"""Seconds that a look through everything may take: that the share answers at all is asked beside it."""
_REST: Final = 5.0
"""A look is followed by a pause of so many times its length: a slow share is not kept busy with being looked at. What
is copied then does not count: during hours of copying more was recorded, which nobody tells us of on a share."""
_SMALL_IN_FLIGHT: Final = 16
_SPARE: Final = 3
"""Threads beside those that read: to look, to ask whether the share is there, to keep the lease."""
_TOLD_MAX: Final = 50_000
_SHOWN: Final = 3
"""Names that a notice quotes."""

_LATE_TODO: Final = "Look at the recorder: an export may have stopped half-way. Repeat it, or remove what it left."
_CONTRADICTS_TODO: Final = "Keep the recorder's copy, have the recording exported again, and tell whoever runs it."
_AWAY_TODO: Final = "Look at the share and at the network; what lies there is taken when it is back."


class DropFolder:
    """A folder that a recorder, or its software, puts recordings into. See `Options`."""

    class Options(FolderOptions):
        """The `[[driver]]` table with `use = "interview_room.drop_folder"`."""

    def __init__(self, options: Options, *, wire: Wire | None = None) -> None:
        self._options, self._wire = options, wire or Wire()
        self._names = None if options.names is None else Names(options.names, options.zone)
        self._device = device_of(options, place=printable(os.fsencode(options.folder)))
        self._hands = Hands(options.name, options.copies + _SPARE, options.answer)
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._share: Share | None = None
        self._settling = Settling(options)
        self._side_cars = SideCars(self._hands)
        self._lease: Lease | None = None
        self._away: DeviceError | None = None
        self._sorted: Sorted | None = None
        self._look: Look | None = None
        self._contradictions: dict[tuple[object, ...], str] = {}
        self._said: set[int] = set()
        self._summary: tuple[object, ...] = ()
        self._ours = not options.shared

    async def run(self, intake: Intake, /) -> None:
        """Offer every complete recording, again and again, until cancelled."""
        options = self._options
        with Watching(options.folder if options.share is None else None) as watching:
            lease = Lease(self._fresh(), options.lease, time.monotonic) if options.shared else None
            self._lease = lease
            try:
                async with asyncio.TaskGroup() as group:
                    turn = asyncio.Event()
                    if lease is not None:
                        group.create_task(self._keep(lease, turn))
                    while True:
                        heard = watching.rings
                        pause = await self._turn(intake, watching, turn)
                        await watching.wait(heard, pause)
            finally:
                self._ours = not options.shared
                if lease is not None:
                    with suppress(DeviceError, asyncio.CancelledError):
                        await asyncio.wait({self._hands.start(lease.give_back)}, timeout=1.0)

    def _fresh(self) -> Share:
        return Share(self._options.folder, self._options.share, self._wire)

    async def _keep(self, lease: Lease, turn: asyncio.Event) -> None:
        """Renew the lease, or wait for it; who loses it stops at once."""
        while True:
            try:
                share = self._fresh()
                await self._hands.call(share.look)
                lease.stand_on(share)
                ours = await self._hands.call(lease.turn)
            except DeviceError as error:
                ours = False
                self._once("lease", "drop_lease_trouble", why=str(error), todo=error.what_to_do)
            if ours is not self._ours:
                self._ours = ours
                turn.set()
                if ours:
                    self._log.info("drop_lease_taken", folder=str(self._options.folder))
                else:
                    self._log.warning("drop_lease_lost", holder=lease.holder, todo="nothing: another station goes on")
            await asyncio.sleep(self._options.lease / 4)

    async def _turn(self, intake: Intake, watching: Watching, turn: asyncio.Event) -> float:
        """One look and what follows from it; how long to wait until the next. Nothing here may hang."""
        try:
            share = await self._ground(watching)
        except DeviceError as error:
            self._lost(error, watching)
            return self._options.rescan
        await intake.sight(self._device)
        if not self._ours:
            return self._options.rescan
        turn.clear()
        passing = asyncio.create_task(self._pass(share, intake, watching))
        asking = asyncio.create_task(self._ask(share, intake, turn))
        try:
            await asyncio.wait({passing, asking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, asking):
                task.cancel()
            await asyncio.wait({passing, asking})
        try:
            if passing.cancelled():
                asking.result()  # raises where the share is away
                return 0.0  # the lease is lost
            return passing.result()
        except DeviceError as error:
            self._lost(error, watching)
            return self._options.rescan

    async def _ask(self, share: Share, intake: Intake, turn: asyncio.Event) -> None:
        """While recordings are looked at and copied: is the share still there? Ends by raising, or when we lost it."""
        while self._ours:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STAY):
                    await turn.wait()
            turn.clear()
            await self._hands.call(share.check)
            await intake.sight(self._device)

    async def _ground(self, watching: Watching) -> Share:
        """What is there now: the same share as long as it is the same folder of the same mount."""
        share = self._fresh()
        try:
            ground = await self._hands.call(share.look)
        except OSError as error:
            raise DeviceRefused(f"{self._options.folder}: {error.strerror}") from error
        if self._away is not None or self._share is None:
            self._log.info("drop_here", folder=str(self._options.folder), file_system=ground.file_system)
            self._away = None
        if self._share is None or self._share.ground != ground:
            self._share, self._settling = share, Settling(self._options)
            self._side_cars.forget()
        await self._hands.call(watching.begin)  # a deep folder takes its time
        return self._share

    def _lost(self, error: DeviceError, watching: Watching) -> None:
        if self._away is None or str(self._away) != str(error):
            self._log.warning("drop_away", error=str(error), todo=error.what_to_do)
        self._away = error
        if isinstance(error, DeviceGone):
            watching.lost()

    async def _pass(self, share: Share, intake: Intake, watching: Watching) -> float:
        began, options = time.monotonic(), self._options
        look = await self._hands.call(
            partial(look_through, share, options.max_entries, options.unfinished), within=_LOOK_MAX
        )
        still = self._settling.still(look.entries, began)
        beside = Beside(entry.key for entry in look.entries)
        read, unread = await self._side_cars.read(share, look.entries, still, beside)
        found = self._settling.sort(
            look, began, Known(still, watching.writing(), beside, told_of(read, beside), unread)
        )
        self._look, self._sorted = look, found
        known = {(*one.entry, one.told) for one in found.ready}
        self._contradictions = {key: why for key, why in self._contradictions.items() if key in known}
        self._report(look, found)
        looked = time.monotonic() - began
        standings = await self._offer(share, found.ready, Listing.of(self._names, look, beside), intake)
        complete = look.whole and not found.waiting
        sums = reckoning.counted(len(found.ready), look.refusals, standings, complete=complete)
        await intake.observe(reckoning.observation(self._device.id, sums))
        pause = max(options.rescan, _REST * looked)
        return pause if found.due is None else min(pause, max(0.0, found.due - time.monotonic()))

    async def _offer(self, share: Share, ready: Sequence[Ready], listing: Listing, intake: Intake) -> Counter[Standing]:
        """Films first and side-cars after them, so that none is deleted while its film still leans on it."""
        standings: Counter[Standing] = Counter()
        rounds = (
            (lambda one: one.beside is None and one.entry.length <= BLOCK_LENGTH, _SMALL_IN_FLIGHT),
            (lambda one: one.beside is None and one.entry.length > BLOCK_LENGTH, self._options.copies),
            (lambda one: one.beside is not None, _SMALL_IN_FLIGHT),
        )
        for wanted, in_flight in rounds:
            offers = self._films(share, [one for one in ready if wanted(one)], listing)
            standings.update(await offer_all(intake, offers, in_flight=in_flight))
        return standings

    def _films(self, share: Share, ready: Sequence[Ready], listing: Listing) -> Iterator[Film]:
        for one in ready:
            said = listing.said.get(one.entry.key)
            yield Film(
                self._device,
                one,
                said,
                listing.members(said),
                share,
                self._hands,
                may_delete=self._may_delete,
                contradicts=partial(self._contradicts, one),
            )

    def _may_delete(self) -> None:
        if self._options.shared:
            if self._lease is None:
                raise DeviceGone("the lease of the folder is not ours")
            self._lease.check()

    def _contradicts(self, one: Ready, key: str, why: str) -> None:
        self._contradictions[*one.entry, one.told] = why
        self._once(f"{key} {why}", "drop_contradicts", why=why, todo=_CONTRADICTS_TODO)

    def _report(self, look: Look, found: Sorted) -> None:
        """Say each refusal once, and the sum whenever it changed."""
        for key, why in look.refused.items():
            self._once(key, "drop_refused", why=why)
        for one in found.waiting:
            if one.late:
                self._once(one.key, "drop_late", why=one.why, todo=_LATE_TODO)
        for ready in found.ready:
            if ready.how == "patience":
                self._once(ready.entry.key, "drop_taken_incomplete", todo=_LATE_TODO)
        summary = (len(found.ready), len(found.waiting), look.refusals, look.whole)
        if summary != self._summary:
            self._summary = summary
            counts = dict(zip(("offered", "waiting", "refused", "whole"), summary, strict=True))
            self._log.info("drop_listed", device=self._device.id, **counts)

    def _once(self, key: str, event: str, **said: object) -> None:
        mark = hash((key, event, str(said.get("why"))))
        if mark not in self._said and len(self._said) < _TOLD_MAX:
            self._said.add(mark)
            self._log.warning(event, key=key, **said)

    # -- for people ---------------------------------------------------------------------------------------------------

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        folder = str(self._options.folder)
        if self._away is not None:
            return {folder: str(self._away)}
        if not self._ours:
            holder = "another station" if self._lease is None else self._lease.holder
            return {folder: f"{holder} takes from here; this station stands by"}
        if self._sorted is None or self._look is None:
            return {folder: "not looked at yet"}
        refused, ready, waiting = self._look.refusals, len(self._sorted.ready), len(self._sorted.waiting)
        return {folder: f"{ready} files complete, {waiting} not yet, {refused} refused"}

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        what, found = f"room {self._options.name}", list[Notice]()
        if self._away is not None:
            todo = self._away.what_to_do if self._away.what_to_do != DeviceGone.hint else _AWAY_TODO
            found.append(Notice("room.folder_away", "problem", what, str(self._away), todo))
        late = [one for one in self._sorted.waiting if one.late] if self._sorted is not None else []
        if late:
            detail = _quoted("not complete for too long", [f"{one.key}: {one.why}" for one in late])
            found.append(Notice("room.unsettled", "warning", what, detail, _LATE_TODO))
        if self._contradictions:
            detail = _quoted("not as their side-cars say", list(self._contradictions.values()))
            found.append(Notice("room.contradicts", "problem", what, detail, _CONTRADICTS_TODO))
        if self._look is not None and not self._look.whole:
            detail = _quoted("not everything could be looked at", [f"{k}: {v}" for k, v in self._look.refused.items()])
            todo = "Look at the rights and at what lies there, or raise `max_entries`."
            found.append(Notice("room.folder_unseen", "warning", what, detail, todo))
        return found


def _quoted(what: str, words: Sequence[str]) -> str:
    rest = len(words) - _SHOWN
    return f"{what}: {'; '.join(islice(words, _SHOWN))}{f'; and {rest} more' if rest > 0 else ''}"
