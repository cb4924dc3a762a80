"""A state folder without a daemon: the same questions and acts, on the journal itself."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from agent.clock import Clock
from agent.journal import Journal
from agent.journal.entry import agent_version
from agent.journal.verify import Verification
from agent.machine.disk import ground_of
from agent.spool import Room
from agent.station import acts, assigning, views
from agent.station.dossiers import exported
from agent.station.forecast import measured
from agent.station.live import clock_view, room_view, station_view
from agent.station.peers import me
from agent.station.problems import problems

if TYPE_CHECKING:
    from agent.config import Config

__all__ = ["Folder"]


class Folder:
    """See `agent.cli.asking.Source`."""

    running = False

    def __init__(self, config: "Config", journal: Journal, clock: Clock) -> None:
        self._config, self._journal, self._clock = config, journal, clock

    @classmethod
    @contextmanager
    def opened(cls, config: "Config") -> Iterator[Self]:
        """Open the journal for as long as the block lasts. The caller holds the lock of the state folder."""
        clock = Clock()
        journal = Journal.open(config.station.state / "journal.db", log=config.station.log, stamp=clock.stamp)
        try:
            yield cls(config, journal, clock)
        finally:
            journal.close()

    def status(self) -> dict[str, Any]:
        """See `Source`: the keys of the daemon's answer, with nothing in those that only it knows."""
        summary, room, stamp = views.summary(self._journal), self._room(), self._clock.stamp()
        forecast = measured(self._journal, self._config.policy)
        full_in = None if forecast is None else forecast.full_in(room.usable)
        ground = ground_of(self._config.station.state)
        found = problems(self._config, summary, room, stamp, [], full_in=full_in, ground=ground)
        return {
            "running": False,
            "version": agent_version(),
            "station": station_view(self._config),
            "started_at": None,
            "uptime": None,
            "clock": clock_view(stamp),
            "room": room_view(room, forecast),
            **summary,
            "devices": [],
            "arrivals": [],
            "departures": [],
            "links": [],
            "broker": None,
            "traffic": None,
            "drivers": [],
            "problems": [{**one, "since": None} for one in found],
        }

    def devices(self) -> dict[str, Any]:
        """See `Source`."""
        return {**views.devices(self._journal), "here": []}

    def captures(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        drills: bool = False,
        **wanted: str | None,
    ) -> dict[str, Any]:
        """See `Source`."""
        return views.captures(self._journal, limit=limit, before=before, drills=drills, **wanted)

    def capture(self, beginning: str) -> dict[str, Any]:
        """See `Source`."""
        return views.capture(self._journal, beginning)

    def act(self, verb: str, beginning: str, *, why: str, priority: str | None = None) -> dict[str, Any]:
        """See `Source`."""
        with self._journal.transaction():
            done = acts.act(self._journal, verb, beginning, actor=me().actor, why=why, priority=priority)
        return {"capture": views.describe(done)}

    def assign(self, rows: list[dict[str, Any]], *, why: str) -> dict[str, Any]:
        """See `Source`."""
        asked = {"assignments": rows, "why": why}
        with self._journal.transaction():
            return assigning.write(self._journal, self._config.context, asked, actor=me().actor, at_once=True)

    def assigned(self, names: list[str]) -> dict[str, Any]:
        """See `Source`."""
        return assigning.assigned(self._journal, self._config.context, names)

    def head(self) -> dict[str, Any]:
        """See `Source`."""
        return views.head(self._journal)

    def entries(self, *, first: int | None = None, limit: int = 20) -> dict[str, Any]:
        """See `Source`."""
        return views.entries(self._journal, first=first, limit=limit)

    def leaves(self) -> Iterator[bytes]:
        """See `Source`."""
        for _, leaf in self._journal.leaves.between(0, self._journal.leaves.size):
            yield leaf

    def verify(self, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """See `Source`."""
        work = Verification(self._journal)
        while not work.done:
            work.step(self._journal)
            progress(work.seen, work.total)
        return work.report().told()

    def room(self) -> dict[str, Any]:
        """See `Source`."""
        return room_view(self._room(), measured(self._journal, self._config.policy))

    def dossiers(self, captures: list[str], *, why: str) -> dict[str, Any]:
        """See `Source`."""
        with self._journal.transaction():
            return exported(self._journal, captures, actor=me().actor, why=why)

    def expected(self, after: int) -> dict[str, Any]:
        """See `Source`."""
        return views.expected(self._journal, after)

    def keepers(self, names: list[str]) -> dict[str, int]:
        """See `Source`."""
        found: dict[str, int] = views.keepers(self._journal, names)["keepers"]
        return found

    def _room(self) -> Room:
        disk = os.statvfs(self._config.station.state)
        return Room(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize, self._config.spool.watermark)
