"""What the daemon is doing right now, as JSON: devices, what arrives, what leaves, and how fast."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.capture import rfc3339
from agent.driver import ReportsHealth
from agent.journal.entry import agent_version
from agent.machine.disk import ground_of
from agent.station import views
from agent.station.bays import Moving, bays, care_view, cared, others
from agent.station.forecast import Measuring
from agent.station.problems import of_full, problems

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from agent.capture import Stamp
    from agent.config import Config
    from agent.machine.disk import Ground
    from agent.spool import Room
    from agent.station.forecast import Forecast
    from agent.station.running import Running
    from agent.station.views import View

__all__ = ["Live", "clock_view", "room_view", "station_view"]

_SELDOM: Final = 120.0
"""Seconds between two looks at what changes slowly."""
_AGAIN: Final = 0.4
"""Seconds after which a sample is taken for whoever asks."""
_WINDOW: Final = 3.0
"""Seconds over which a rate is measured."""


class Live:
    """Looks at the running daemon. `sample` now and then, so that rates are known."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._rates = _Rates()
        self._seldom_at = float("-inf")
        self._forecast: Forecast | None = None
        self._ground: Ground | None = None
        self._moving, self._sampled_at = Moving(), 0.0

    def sample(self) -> None:
        """Note how far everything is."""
        running = self._running
        marks: dict[Hashable, int] = {
            ("in", token): arrival.arrived for token, arrival in running.ingest.arrivals.items()
        }
        for forward in running.forwards:
            place = forward.link.name
            marks |= {("out", place, name): going.confirmed for name, going in forward.departures.items()}
        self._rates.note(marks)
        self._moving.note(running.ingest.arrivals)
        self._sampled_at = monotonic()

    @property
    def moving(self) -> bool:
        """Something is being copied or sent."""
        running = self._running
        return bool(running.ingest.arrivals) or any(forward.departures for forward in running.forwards)

    def _look(self) -> None:
        """Whoever asks before the next sample is told of what began since the last one."""
        if self.moving and monotonic() - self._sampled_at > _AGAIN:
            self.sample()

    def bays(self, roster: Mapping[str, str], *, no_room: bool) -> View:
        """`bays`: see `agent.station.bays`; `others`: devices that are here and stand in none."""
        self._look()
        rates = {token: self._rates.of(("in", token)) for token in self._running.ingest.arrivals}
        no_room = no_room or self._running.desk.full is not None
        told = bays(self._running, rates=rates, moving=self._moving, roster=roster, no_room=no_room)
        return {"bays": told, "others": others(self._running)}

    async def status(self) -> View:
        """Everything at one look; costs the same with ten captures and with ten million."""
        running, now = self._running, datetime.now(UTC)
        self._look()
        summary = await running.desk.read(views.summary)
        room = await running.spool.run(running.spool.room)
        stamp = running.clock.stamp()
        links = self._links()
        forecast = await self.forecast()
        full_in = None if forecast is None else forecast.full_in(room.usable)
        troubles = [*running.troubles(), *(one for forward in running.forwards for one in forward.notices())]
        if (full := running.desk.full) is not None:
            troubles.insert(0, of_full(full, summary["tally"]["held"]["captures"]))
        found = problems(running.config, summary, room, stamp, links, troubles, full_in=full_in, ground=self._ground)
        return {
            "running": True,
            "version": agent_version(),
            "station": station_view(running.config),
            "started_at": rfc3339(running.started_at),
            "uptime": (now - running.started_at).total_seconds(),
            "clock": clock_view(stamp),
            "room": room_view(room, forecast),
            **summary,
            "devices": self.devices(),
            "arrivals": self._arrivals(),
            "departures": self._departures(),
            "links": links,
            "broker": running.announcing(),
            "traffic": running.gate.told(),
            "drivers": await self._drivers(),
            "problems": running.raised.look(found),
        }

    async def forecast(self) -> Forecast | None:
        """Look, now and then, at what changes slowly and costs more than a glance: today's rate, the spool's disk."""
        if monotonic() - self._seldom_at > _SELDOM:
            self._seldom_at = monotonic()
            running = self._running
            work = await running.desk.read(lambda journal: Measuring(journal, running.config.policy))
            while not await running.desk.read(work.step):
                pass
            self._forecast = work.forecast
            try:
                self._ground = await asyncio.to_thread(ground_of, running.config.station.state)
            except OSError:
                self._ground = None
        return self._forecast

    def devices(self) -> list[View]:
        """Every device seen since the start, those that are here first."""
        read, care = self._running.ingest.read, cared(self._running.equipment.drivers)
        seen = sorted(self._running.devices.values(), key=lambda one: (not one.present, one.device.id))
        return [
            {
                **{name: getattr(one.device, name) for name in one.device.__slots__},
                "present": one.present,
                "index": one.index,
                "clock": one.clock,
                **care_view(care.get(one.device.id)),
                "first_seen_at": rfc3339(one.first_at),
                "last_seen_at": rfc3339(one.last_at),
                "read": read[one.device.id],
            }
            for one in seen
        ]

    def _arrivals(self) -> list[View]:
        return [
            {
                "device": arrival.capture.device.id,
                "key": arrival.capture.key,
                "length": arrival.capture.length,
                "arrived": arrival.arrived,
                "resumed_at": arrival.resumed_at,
                "rate": self._rates.of(("in", token)),
            }
            for token, arrival in self._running.ingest.arrivals.items()
        ]

    def _departures(self) -> list[View]:
        return [
            {
                "capture": name,
                "destination": forward.link.name,
                "key": going.holding.origin.key,
                "length": going.holding.digest.length,
                "confirmed": going.confirmed,
                "resumed_at": going.resumed_at,
                "rate": self._rates.of(("out", forward.link.name, name)),
            }
            for forward in self._running.forwards
            for name, going in forward.departures.items()
        ]

    def _links(self) -> list[View]:
        now = monotonic()
        return [
            {
                "name": link.name,
                "role": link.role,
                "serves": link.serves,
                "up": link.up,
                "problem": link.problem,
                "todo": link.todo,
                "again_in": max(0.0, link.again_at - now),
            }
            for link in (forward.link for forward in self._running.forwards)
        ]

    async def _drivers(self) -> list[View]:
        return [
            {
                "name": loaded.options.name,
                "use": loaded.options.use,
                "health": await loaded.driver.health() if isinstance(loaded.driver, ReportsHealth) else {},
            }
            for loaded in self._running.equipment.drivers
        ]


class _Rates:
    """Bytes per second of things that grow, over the last few seconds."""

    def __init__(self) -> None:
        self._marks: dict[Hashable, deque[tuple[float, int]]] = {}

    def note(self, marks: Mapping[Hashable, int]) -> None:
        now = monotonic()
        for gone in self._marks.keys() - marks.keys():
            del self._marks[gone]
        for name, value in marks.items():
            seen = self._marks.setdefault(name, deque())
            if seen and value < seen[-1][1]:
                seen.clear()  # it began anew
            seen.append((now, value))
            while now - seen[0][0] > _WINDOW:
                seen.popleft()

    def of(self, name: Hashable) -> float | None:
        """None as long as it is not known."""
        seen = self._marks.get(name)
        if seen is None or len(seen) < 2 or seen[-1][0] == seen[0][0]:  # noqa: PLR2004 - a rate needs two marks
            return None
        return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


def station_view(config: Config) -> View:
    """Which station this is."""
    return {"name": config.station.name, "agency": config.station.agency, "state": str(config.station.state)}


def clock_view(stamp: Stamp) -> View:
    """What the station's clock says, and how far it can be believed."""
    return {"at": rfc3339(stamp.at), **stamp.claims}


def room_view(room: Room, forecast: Forecast | None = None) -> View:
    """Bytes on the spool's disk, the bytes that a day adds to them, and the seconds until it is full at that rate."""
    return {
        "total": room.total,
        "free": room.free,
        "watermark": room.watermark,
        "usable": room.usable,
        "a_day": None if forecast is None else forecast.a_day,
        "full_in": None if forecast is None else forecast.full_in(room.usable),
    }
