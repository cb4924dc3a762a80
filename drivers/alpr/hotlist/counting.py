"""What is told of reads that are forgotten: how many, by camera and hour. No plate, no place, no time of a single one.

An hour's sum is an entry of the custody log, and the audit report is made of those. What stands on the disk between two
entries is the sum so far, so that a kill costs no more than a minute of counting.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.capture import Json, Observation, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["COUNT", "FORMAT", "Counts"]

COUNT: Final = "alpr.count"
"""Kind of the observation that holds one camera's sums of one hour."""
FORMAT: Final = "alpr-count/1"

_HOUR: Final = timedelta(hours=1)
_CAMERAS_MAX: Final = 1000


class Counts:
    """Sums by camera and hour."""

    def __init__(self, path: Path, policy: str) -> None:
        self._path, self._policy = path, policy
        self._sums: dict[tuple[str, int], Counter[str]] = {}
        self._changed = False

    def load(self) -> None:
        """Take up what an earlier run did not tell."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            for camera, hour, sums in json.loads(self._path.read_bytes()):
                self._of(str(camera), int(hour)).update({str(name): int(count) for name, count in sums.items()})

    async def save(self) -> None:
        """Write what was counted and not told yet."""
        if self._changed:
            self._changed = False
            told = [[camera, hour, dict(sums)] for (camera, hour), sums in self._sums.items()]
            try:
                await asyncio.to_thread(durable.replace_file, self._path, json.dumps(told).encode())
            except OSError:  # no room, say: reads are screened all the same, and it is tried again
                self._changed = True

    def count(self, camera: str, at: datetime, what: str, number: int = 1) -> None:
        """One more. `what`: `reads`, `unread`, `passed_by`, `sealed`, `hit:LIST:RULE`, `outcome:WORD`, `degraded`."""
        self._of(camera, int(at.timestamp()) // 3600)[what] += number
        self._changed = True

    def _of(self, camera: str, hour: int) -> Counter[str]:
        key = (camera, hour)
        if key not in self._sums and len(self._sums) >= _CAMERAS_MAX:
            key = ("others", hour)
        return self._sums.setdefault(key, Counter())

    def due(self, now: datetime, lists: Mapping[str, Json], *, all_: bool = False) -> Iterator[Observation]:
        """The sums of hours that are over (`all_`: of every hour), each once."""
        this = int(now.timestamp()) // 3600
        for camera, hour in sorted(self._sums):
            if all_ or hour < this:
                sums = self._sums.pop((camera, hour))
                self._changed = True
                begin = datetime.fromtimestamp(hour * 3600, UTC)
                yield Observation(camera, COUNT, min(now, begin + _HOUR), self._told(begin, now, sums, lists))

    def _told(self, begin: datetime, now: datetime, sums: Counter[str], lists: Mapping[str, Json]) -> dict[str, Json]:
        hits: dict[str, Json] = {}
        outcomes: dict[str, Json] = {}
        for what, number in sorted(sums.items()):
            word, _, rest = what.partition(":")
            if word == "hit":
                name, _, rule = rest.partition(":")
                by_rule = hits.setdefault(name, {})
                if isinstance(by_rule, dict):
                    by_rule[rule] = number
            elif word == "outcome":
                outcomes[rest] = number
        plain = ("reads", "unread", "passed_by", "sealed", "hits", "degraded")
        return {
            "format": FORMAT,
            "from": rfc3339(begin),
            "to": rfc3339(min(now, begin + _HOUR)),
            **{name: sums[name] for name in plain},
            "by_rule": hits,
            "outcomes": outcomes,
            "lists": dict(lists),
            "policy": self._policy,
        }
