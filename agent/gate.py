"""The gate that every request with bytes passes: may this class go over this link now, within the budget, and how fast.

One for the whole station, so that a cap holds for all destinations together. What is asked here is asked anew before
each request: a link that changes, a window that closes, a configuration that is read again count from the next one on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import Priority
from agent.errors import NotNow, for_people
from agent.journal import spending
from agent.repairs import repair
from agent.sides import Sides
from agent.traffic import Bucket, LinkClass, Traffic, day_of, verdict
from agent.traffic.rules import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.journal import Desk

__all__ = ["Charge", "Gate"]

_LOOK: Final = 30.0
"""Seconds between two looks at the clock, for windows that open and days that begin."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Bytes that were counted before they go."""

    day: str
    link: LinkClass
    length: int


class Gate:
    """See above. `now` is the wall clock."""

    def __init__(
        self, desk: Desk, traffic: Traffic, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._desk, self._now = desk, now
        self.traffic = traffic
        self.link = traffic.link
        """What the machine is on now."""
        self.offline_since: float | None = None
        """Since when there is no network, on the monotonic clock."""
        self.portal = False
        """NetworkManager sees the login page of a network where the world should be."""
        self.bucket = Bucket()
        self._full: set[tuple[str, LinkClass]] = set()
        self._listeners: list[Callable[[], None]] = []
        self._sides = Sides()
        self._log = structlog.get_logger("gate")
        self._reread = asyncio.Event()
        self._follow_link()

    # -- what may go --------------------------------------------------------------------------------------------------

    def verdict(self, priority: Priority, *, network: bool = True) -> Verdict:
        """What this class may do now; its bytes not while the budget is known to be spent.

        `network`: they go over one. What goes to a disk here does not wait for a network to come.
        """
        if self.link is LinkClass.OFFLINE and not network:
            return Verdict(content=True, metadata=True, beyond_budget=True, reason="")
        now = self._now()
        found = verdict(self.traffic, priority, self.link, now)
        if found.content and not found.beyond_budget and (day_of(self.traffic, now), self.link) in self._full:
            return Verdict(
                content=False,
                metadata=found.metadata,
                beyond_budget=False,
                reason=f"today's budget for {self.link} is spent",
            )
        return found

    def classes(self, *, network: bool = True) -> tuple[Priority, ...]:
        """Those whose bytes may go now, the most urgent first."""
        return tuple(one for one in Priority if self.verdict(one, network=network).content)

    def told_classes(self) -> tuple[Priority, ...]:
        """Those of which the DEMS is told before their bytes go."""
        verdicts = {one: self.verdict(one) for one in Priority}
        first = self.traffic.metadata_first
        return tuple(one for one, found in verdicts.items() if found.metadata and (first or not found.content))

    def kept_up_classes(self) -> tuple[Priority, ...]:
        """Those whose places at the DEMS may be kept up while they wait."""
        return tuple(one for one in Priority if self.verdict(one).metadata)

    def waiting(self) -> dict[str, str]:
        """Why classes have to wait now, by their names."""
        found = {one.name.lower(): self.verdict(one).reason for one in Priority}
        return {name: reason for name, reason in found.items() if reason}

    def told(self) -> dict[str, Any]:
        """For whoever watches: the link, what it bears, and who has to wait."""
        return {
            "link": self.link.value,
            "portal": self.portal,
            "bandwidth": self.bucket.rate,
            "waiting": self.waiting(),
        }

    def troubles(self) -> list[dict[str, str | None]]:
        """Repair notices."""
        if not self.portal:
            return []
        detail = f"the network ({self.link}) shows a login page where the world should be (captive portal)"
        todo = "Open a browser on this station and log in to the network, or use another one."
        return [repair("network.portal", "warning", "network", detail, todo)]

    async def admit(
        self, priority: Priority, length: int, *, several: bool = False, network: bool = True
    ) -> Charge | None:
        """Let a request with so many bytes go, counted durably where the link has a budget. Raises `NotNow`.

        `several`: of several captures, of which each by itself may still fit where they do not together.
        """
        found = self.verdict(priority, network=network)
        if not found.content:
            raise NotNow(found.reason)
        table = self.traffic.on.get(self.link)
        if table is None or table.budget is None:
            return None
        charge = Charge(day_of(self.traffic, self._now()), self.link, length)
        most = None if found.beyond_budget else table.budget
        if not await self._desk.write(
            lambda journal: spending.spend(journal, charge.day, charge.link.value, length, most)
        ):
            if several:
                raise NotNow(f"today's budget for {charge.link} is too small for all of it")
            # One request that no longer fits ends the day: the same capture would ask again and again.
            self._full.add((charge.day, charge.link))
            self._log.info("budget_spent", link=charge.link.value, day=charge.day)
            self._tell()
            raise NotNow(f"today's budget for {charge.link} is spent")
        return charge

    async def settle(self, charge: Charge, unsent: int) -> None:
        """Give back what did not go after all."""
        if unsent:
            await self._desk.write(
                lambda journal: spending.spend(journal, charge.day, charge.link.value, -unsent, None)
            )

    # -- what changes -------------------------------------------------------------------------------------------------

    def on_change(self, listener: Callable[[], None]) -> None:
        """Tell whoever waits that something may go now that might not before, or the other way round."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """It waits no more: it was ended."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def move(self, link: LinkClass, *, portal: bool = False) -> None:
        """The machine is on another link now."""
        if (link, portal) != (self.link, self.portal):
            self._log.info("link_changed", link=link.value, was=self.link.value, portal=portal)
            self.link, self.portal = link, portal
            self._follow_link()
            self._tell()

    def configure(self, traffic: Traffic) -> None:
        """Other rules from now on, for uploads under way too."""
        if traffic.source == "configured":
            self.link, self.portal = traffic.link, False
        self.traffic = traffic
        self._reread.set()
        self._full.clear()
        self._follow_link()
        self._tell()

    def _follow_link(self) -> None:
        if self.link is not LinkClass.OFFLINE:
            self.offline_since = None
        elif self.offline_since is None:
            self.offline_since = monotonic()
        table = self.traffic.on.get(self.link)
        rates = [rate for rate in (self.traffic.bandwidth, None if table is None else table.bandwidth) if rate]
        self.bucket.rate = min(rates, default=None)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    async def run(self) -> None:
        """Follow the network, and notice when windows open and days begin."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_network())
            group.create_task(self._follow_clock())

    async def _follow_clock(self) -> None:
        seen = self.classes()
        while True:
            await asyncio.sleep(_LOOK)
            self._full = {one for one in self._full if one[0] == day_of(self.traffic, self._now())}
            if (now := self.classes()) != seen:
                seen = now
                self._tell()

    async def _follow_network(self) -> None:
        while True:
            traffic = self.traffic
            self._reread.clear()
            if traffic.source == "networkmanager":
                from agent.traffic import networkmanager  # noqa: PLC0415 - D-Bus, for those who follow it

                try:
                    await self._until_other_rules(traffic)
                except networkmanager.SILENT as error:
                    todo = "Is NetworkManager running? Else write `source` and `link` of [traffic] in agent.toml."
                    self._sides.broke("bus", for_people(error), self._log.warning, "networkmanager_silent", todo=todo)
                    if self.traffic is traffic:
                        self.move(traffic.link)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._reread.wait()

    async def _until_other_rules(self, traffic: Traffic) -> None:
        """Follow NetworkManager as long as these rules are the station's. Raises its `SILENT`."""
        from agent.traffic import networkmanager  # noqa: PLC0415 - as above

        def tell(link: LinkClass, portal: bool) -> None:  # noqa: FBT001 - the watch calls it
            self._sides.works("bus", self._log.info, "networkmanager_answers")
            if self.traffic.source == "networkmanager":
                self.move(link, portal=portal)

        watching = asyncio.create_task(networkmanager.watch(tell, station_wifi=traffic.station_wifi))
        others = asyncio.create_task(self._reread.wait())
        try:
            await asyncio.wait({watching, others}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
        finally:
            for task in (watching, others):
                task.cancel()
            await asyncio.wait({watching, others})
