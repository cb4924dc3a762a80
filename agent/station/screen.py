"""What anybody may see who stands before the dock: chosen field by field, so that nothing new is shown by accident.

No name, key or claim of a capture, no path and no key id is in it: counts, bytes, bays, and what a person must do. What
drivers want to be looked at (`leads`) is there by its id alone.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import rfc3339
from agent.errors import in_words
from agent.joining import officers_of
from agent.joining.roster import read
from agent.journal import queries
from agent.station.leads import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from agent.station.live import Live
    from agent.station.running import Running
    from agent.station.views import View

__all__ = ["Roster", "Screen"]

_FRESH: Final = 1.0
_log = structlog.get_logger("station")
_ROOM: Final = ("total", "free", "watermark", "usable", "a_day", "full_in")
_LINK: Final = ("name", "role", "serves", "up", "problem")


class Screen:
    """The picture of the moment."""

    def __init__(self, running: Running, live: Live, roster: Path | None = None) -> None:
        self._running, self._live = running, live
        self._roster = Roster(roster)
        self._status: View = {}
        self._looked_at = float("-inf")
        self._assigned: Mapping[str, str] = {}

    async def picture(self) -> View:
        """`status`, at most a second old, and `bays` as they stand now: what must not be removed is shown at once."""
        if monotonic() - self._looked_at > _FRESH:
            self._status, self._looked_at = await self.status(), monotonic()
        status = {**self._status, "at": rfc3339(self._running.clock.stamp().at)}
        return {"status": status, **self._bays(status)}

    async def bays(self) -> View:
        """`bays` and `others`."""
        return self._bays(await self.status())

    def _bays(self, status: View) -> View:
        names = {**self._roster.names(), **self._assigned}
        return self._live.bays(names, no_room=not status["room"]["usable"])

    async def _whose(self) -> Mapping[str, str]:
        """Officers of the devices that are here, as they were assigned: such a word goes before the roster."""
        here = [(one.device.id, one.device.serial) for one in self._running.devices.values() if one.present]
        return await self._running.desk.read(lambda journal: officers_of(journal, here))

    async def status(self) -> View:
        """Everything beside the bays."""
        told = await self._live.status()
        self._assigned = await self._whose()
        oldest = await self._running.desk.read(queries.oldest_held)
        signed = told["checkpoint"]
        return {
            "at": told["clock"]["at"],
            "version": told["version"],
            "station": {name: told["station"][name] for name in ("name", "agency")},
            "started_at": told["started_at"],
            "uptime": told["uptime"],
            "clock": {name: told["clock"][name] for name in ("source", "synchronised", "uncertainty_us")},
            "policy": {"device": self._running.config.policy.device},
            "room": {name: told["room"][name] for name in _ROOM},
            "log": {name: told["log"][name] for name in ("origin", "size")},
            "checkpoint": {
                **{name: signed[name] for name in ("size", "signed_at", "cosigned_size", "cosigned_at")},
                "contradictions": len(signed["contradicted_by"]),
            },
            "tally": told["tally"],
            "aside": told["aside"],
            "backlog": {**told["tally"]["held"], "oldest_at": None if oldest is None else rfc3339(oldest)},
            "taking": _moving(told["arrivals"], "arrived"),
            "sending": _moving(told["departures"], "confirmed"),
            "links": [{name: link[name] for name in _LINK} for link in told["links"]],
            "problems": [_notice(one) for one in told["problems"]],
            "leads": names(self._running.equipment.drivers),
        }


_QUOTES: Final = frozenset({"room.contradicts", "room.folder_unseen", "room.unread", "room.unsettled"})
"""Notices about an interview room whose detail names files."""


def _notice(one: Mapping[str, Any]) -> View:
    """A repair notice. What is said of captures may quote their names, and is for those who may look at captures."""
    told = {name: one[name] for name in ("id", "state", "what", "detail", "todo", "since")}
    for kind in ("captures", "recording"):
        if one["id"].startswith(f"{kind}."):
            return {**told, "what": kind, "detail": None}
    return {**told, "detail": None} if one["id"] in _QUOTES else told


def _moving(captures: Iterable[Mapping[str, Any]], done: str) -> View:
    rates = [one["rate"] for one in captures if one["rate"] is not None]
    return {
        "captures": len(list(captures)),
        "done": sum(one[done] for one in captures),
        "length": sum(one["length"] or one[done] for one in captures),
        "rate": sum(rates) if rates else None,
    }


class Roster:
    """Who has which device, as the agency says: a file that others write, read again when it changed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._names: dict[str, str] = {}

    def names(self) -> Mapping[str, str]:
        """Name by device id or serial number. A file that cannot be read leaves the last one standing, and is told."""
        if self._path is None:
            return {}
        try:
            facts = self._path.stat()
            if (facts.st_mtime_ns, facts.st_size) != self._seen:
                self._seen = (facts.st_mtime_ns, facts.st_size)
                self._names = read(self._path)
        except (OSError, ValueError) as error:
            todo = 'Write an object of names: {"SN-0001": "A. Tremblay"}.'
            if self._seen != (0, 0) or isinstance(error, ValueError):
                _log.warning("roster_unreadable", error=in_words(error), todo=todo)
            if isinstance(error, OSError):
                self._seen = (0, 0)
        return self._names
