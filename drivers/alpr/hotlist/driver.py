"""The driver `alpr.hotlist`: it offers nothing, and is the screen for what the receivers of its family offer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from agent import durable
from agent.capture import Observation, rfc3339
from agent.clock import Clock
from agent.driver import Notice
from agent.driver.unhurried import Unhurried
from agent.errors import ConfigError, Problem
from drivers.alpr.hotlist.alerts import Alerts
from drivers.alpr.hotlist.arriving import Arrivals, Proof
from drivers.alpr.hotlist.counting import Counts
from drivers.alpr.hotlist.enrolling import enrolment
from drivers.alpr.hotlist.hits import Hits
from drivers.alpr.hotlist.keeping import Sealed
from drivers.alpr.hotlist.layouts import known_layouts
from drivers.alpr.hotlist.options import HotlistOptions
from drivers.alpr.hotlist.orders import ordered
from drivers.alpr.hotlist.pushed import Pushed
from drivers.alpr.hotlist.screen import Matcher, ScreenedReads
from drivers.alpr.hotlist.secrecy import leaks, no_cores
from drivers.alpr.hotlist.shelf import Freshness, Shelf
from drivers.alpr.hotlist.showing import Showing
from drivers.alpr.hotlist.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from agent.capture import Json, Stamp
    from agent.driver import Enrolment, Intake, Lead, Offer, Record
    from drivers.alpr.hotlist.hits import Hit, ReadOffer

__all__ = ["ACTIVATED", "PURGED", "Hotlists"]

ACTIVATED: Final = "hotlist.activated"
"""Kind of the observation that a list is put to use."""
PURGED: Final = "alpr.purged"
"""Kind of the observation that a span of sealed reads was forgotten."""

_SAVED: Final = 60.0
"""Seconds between two times that the counts are written down."""
_KEEP_TIME: Final = "Let the station keep its time by NTP or GNSS; timedatectl tells how it does."


class Hotlists:
    """All lists of one station. See `agent.driver.Screen`, `TakesOrders`, `RaisesNotices` and `ReportsHealth`."""

    Options = HotlistOptions
    screens: Final = "alpr"

    def __init__(self, options: HotlistOptions) -> None:
        self.options = options
        layouts = known_layouts(options.layouts)
        problems = [
            Problem(f"list.{one.name}.layout", f"no layout is named {one.layout}; there are {', '.join(layouts)}")
            for one in options.list
            if one.layout not in layouts
        ]
        if problems:
            raise ConfigError(problems)
        self.shelves = {one.name: Shelf(one, layouts[one.layout], options.folder) for one in options.list}
        self.arrivals = {
            name: Arrivals(shelf, self._arrived(shelf), options.folder) for name, shelf in self.shelves.items()
        }
        self.pushed = None if options.listen is None else Pushed(options.listen, self.arrivals, options.folder)
        self.matcher = Matcher(options, self.shelves)
        self.hits, self.alerts = Hits(options.folder / "hits.json"), Alerts(options.alert)
        self.counts = Counts(options.folder / "counts.json", options.policy)
        self.sealed = Sealed(options.folder / "sealed", window=options.keep_window, keep=options.keep_non_hits)
        self.waiting = Waiting(self.sealed, self.counts, keep=options.keep_non_hits) if self.sealed.on else None
        self.showing = Showing(options.on_screen, self.hits)
        told = (self.alerts.tell, self.showing.keep)
        self._reads = ScreenedReads(options, self.matcher, self.hits, self.counts, self.waiting, *told)
        self._clock = Clock()
        self._intake: Intake | None = None
        self._forgetting: Unhurried | None = None
        self._opened, self._telling = False, asyncio.Lock()
        self._log = structlog.get_logger("hotlist")

    @classmethod
    def enrol(cls, options: HotlistOptions) -> Enrolment:
        """See `agent.driver.Enrols`."""
        return enrolment(options)

    def stamp(self) -> Stamp:
        """What our clocks say now."""
        return self._clock.stamp()

    def screen(self, offer: Offer, stamp: Stamp, /) -> Offer | None:
        """See `agent.driver.Screen`."""
        self._open()
        return self._reads.screen(_read_of(offer), stamp)

    async def order(
        self,
        word: str,
        arguments: Mapping[str, Json],
        /,
        *,
        actor: str,  # noqa: ARG002 - who it was stands in the entry
        record: Record,
    ) -> Json:
        """See `agent.driver.TakesOrders`."""
        await asyncio.to_thread(self._open)
        return await ordered(self, word, arguments, record)

    async def run(self, intake: Intake, /) -> None:
        """Watch for lists, count, forget what is due, and tell of hits, until cancelled."""
        no_cores()
        self._intake, self._forgetting = intake, Unhurried(intake)
        await asyncio.to_thread(self._open)
        for shelf in self.shelves.values():
            await shelf.check()
        try:
            async with asyncio.TaskGroup() as group:
                for arrivals in self.arrivals.values():
                    group.create_task(arrivals.watch(self.options.rescan))
                    group.create_task(arrivals.fetch())
                    group.create_task(arrivals.hear())
                if self.pushed is not None:
                    group.create_task(self.pushed.run())
                group.create_task(self.alerts.run())
                group.create_task(self._keep_house())
                group.create_task(self._tell_hours())
                await asyncio.Event().wait()
        finally:
            if self.waiting is not None:
                self.waiting.close()
            self.sealed.close()
            await self.counts.save()
            if self.hits.changed:
                await self.hits.save()

    def _open(self) -> None:
        """Take up what an earlier run left: also for a read that comes before this driver runs."""
        if self._opened:
            return
        self._opened = True
        durable.make_folder(self.options.folder)
        self.counts.load()
        self.hits.load()
        for shelf in self.shelves.values():
            shelf.open()

    # -- lists ---------------------------------------------------------------------------------------------------------

    def _arrived(self, shelf: Shelf) -> Callable[[Path, Proof], Awaitable[dict[str, Json]]]:
        async def put_up(path: Path, proof: Proof) -> dict[str, Json]:
            return await self.put_up(shelf, path, proof, announce=_nobody)

        return put_up

    async def put_up(
        self,
        shelf: Shelf,
        path: Path,
        proof: Proof,
        *,
        announce: Callable[[Mapping[str, Json]], Awaitable[None]],
        confirmed: bool = False,
    ) -> dict[str, Json]:
        """Put a file to use; before it is, the custody log knows of it. Raises `BadList`."""

        async def tell(told: Mapping[str, Json]) -> None:
            await announce(told)
            if self._intake is not None:
                now = datetime.now(UTC)
                await self._intake.observe(Observation(f"hotlist:{shelf.options.name}", ACTIVATED, now, told))

        told = await shelf.put_up(
            path, proof.manifest, signer=proof.signer, digest=proof.digest, confirmed=confirmed, announce=tell
        )
        self._log.info("hotlist_activated", list=shelf.options.name, plates=told["plates"], sha256=told["sha256"])
        return told

    # -- the hours -----------------------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        saved = 0.0
        while True:
            if self.waiting is not None:
                self.waiting.settle(datetime.now(UTC))
            await self._purge()
            saved += self.options.rescan
            if saved >= _SAVED:
                saved = 0.0
                await self.counts.save()
            if self.hits.changed:
                await self.hits.save()
            await asyncio.sleep(self.options.rescan)

    async def _tell_hours(self) -> None:
        """Apart from the house: what is told waits for the journal, and what is to be forgotten does not."""
        while True:
            await self.tell_counts()
            await asyncio.sleep(self.options.rescan)

    async def tell_counts(self, *, all_: bool = False) -> None:
        """Let the sums of hours that are over become entries."""
        if self._intake is None:
            return
        async with self._telling:
            now = datetime.now(UTC)
            if not self.counts.close(now, all_=all_) or not await self.counts.save():
                return
            for name, observation in list(self.counts.due(now, self._lists())):
                await self._intake.observe(observation)
                self.counts.told(name)
            await self.counts.save()

    def _lists(self) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for name, (shelf, age) in self.matcher.ages(self.stamp()).items():
            as_of = shelf.as_of
            found[name] = {
                "as_of": None if as_of is None else rfc3339(as_of),
                "age_s": age.seconds,
                "state": age.state.value,
                "sha256": shelf.about.get("source_sha256"),
            }
        return found

    async def _purge(self) -> None:
        now = datetime.now(UTC)
        for gone in await asyncio.to_thread(self.sealed.due, now):
            if self._forgetting is not None:
                # Told before it is done: what was told and not done is told again, and its name says which it is. Where
                # the disk has no room for the entry it is done in its time all the same: the law waits for no disk.
                detail: dict[str, Json] = {
                    "count": gone.count,
                    "from": rfc3339(gone.begin),
                    "to": rfc3339(gone.end),
                    "kept_s": int(self.options.keep_non_hits.total_seconds()),
                    "policy": self.options.policy,
                    "span": gone.name,
                }
                await self._forgetting.observe(Observation(f"hotlist:{self.options.name}", PURGED, now, detail))
            await asyncio.to_thread(self.sealed.destroy, gone)
            self._log.info("reads_forgotten", count=gone.count)

    async def answered(self, hit: Hit) -> None:
        """A person said what a hit was."""
        self.counts.count(hit.camera, datetime.now(UTC), f"outcome:{hit.state}")
        self.showing.answered(hit)
        await self.hits.save()

    # -- what is told --------------------------------------------------------------------------------------------------

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        pushed = () if self.pushed is None else self.pushed.notices()
        waiting = () if self.waiting is None else self.waiting.notices()
        return [*self._of_ages(), *self._of_hits(), *self._of_leaks(), *waiting, *pushed]

    def _of_ages(self) -> Iterator[Notice]:
        stamp = self.stamp()
        for name, (shelf, age) in self.matcher.ages(stamp).items():
            what, old = f"hotlist {name}", "" if age.seconds is None else f"{age.seconds // 3600} h old"
            more = "each hit is marked as degraded" if shelf.searched(age) else "nothing is held against it"
            match age.state:
                case Freshness.MISSING:
                    todo = "Bring the list: evidock hotlist import, its folder, or its server."
                    yield Notice(
                        "hotlist.missing",
                        "problem",
                        what,
                        f"{what}: there is no list, nothing is held against it",
                        todo,
                    )
                case Freshness.EXPIRED:
                    todo = "Have a newer one sent at once; its sender says that this one must not be used."
                    by = "" if stamp.synchronised else " by this station's clock, which is not kept right"
                    detail = f"{what} has expired{by} ({old}): nothing is held against it any more"
                    if not stamp.synchronised:
                        todo += f" {_KEEP_TIME} A list that has not expired is used again once the clock is right."
                    yield Notice("hotlist.expired", "problem", what, detail, todo)
                case Freshness.STALE:
                    yield Notice("hotlist.stale", "problem", what, f"{what} is {old}: {more}", "Have a newer one sent.")
                case Freshness.UNKNOWN:
                    detail = f"nobody knows how old {what} is, for this station's clock is not kept right: {more}"
                    yield Notice("hotlist.unknown_age", "problem", what, detail, _KEEP_TIME)
                case Freshness.AGEING:
                    yield Notice("hotlist.ageing", "warning", what, f"{what} is {old}", "Have a newer one sent.")
                case Freshness.FRESH:
                    pass
            if shelf.trouble is not None:
                yield Notice(
                    "hotlist.not_taken",
                    "warning",
                    what,
                    f"a newer {what} was not put to use: {shelf.trouble}",
                    shelf.todo,
                )

    def _of_hits(self) -> Iterator[Notice]:
        if pending := self.hits.pending():
            urgent = sum(hit.urgent for hit in pending)
            count = "1 hit waits" if len(pending) == 1 else f"{len(pending)} hits wait"
            detail = f"{count} for an answer, {urgent} of them urgent, the first since "
            detail += pending[0].at.strftime("%H:%M:%SZ")
            todo = "Look at the pictures, ask the live database, and answer: evidock hotlist hits."
            yield Notice("hotlist.hit", "warning", "hits", detail, todo)
        for name, why in self.alerts.troubles.items():
            todo = "Look at [[driver.alert]] in agent.toml: hits are kept, and nobody hears of them."
            yield Notice(
                "hotlist.alert_failed",
                "problem",
                f"alert {name}",
                f"the alert {name} does not tell of hits: {why}",
                todo,
            )

    def _of_leaks(self) -> Iterator[Notice]:
        for what, todo in leaks():
            yield Notice("hotlist.leak", "warning", "memory", f"{what}: a read could reach a disk", todo)

    def leads(self) -> list[Lead]:
        """See `agent.driver.ShowsLeads`."""
        return self.showing.leads()

    def picture(self, lead: str, number: int, /) -> bytes | None:
        """See `agent.driver.ShowsLeads`."""
        return self.showing.picture(lead, number)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        told: dict[str, str] = {}
        for name, (shelf, age) in self.matcher.ages(self.stamp()).items():
            as_of = shelf.as_of
            said = "no list" if as_of is None else f"{shelf.about.get('plates')} plates of {as_of:%Y-%m-%d %H:%MZ}"
            told[name] = f"{said}, {age.state.value}"
        if self.pushed is not None and self.pushed.bound is not None:
            told["lists are sent to"] = self.pushed.bound.url
        return told


async def _nobody(_: object) -> None:
    """Nobody ordered it."""


def _read_of(offer: Offer) -> ReadOffer:
    return offer  # type: ignore[return-value]  # receivers of this family offer nothing else as screened by it
