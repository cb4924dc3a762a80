"""What is told of reads that are forgotten: how many, by camera and hour. No plate, no place, no time of a single one.

An hour's sum is an entry of the custody log, and the audit report is made of those. What stands on the disk between two
entries is the sum so far, so that a kill costs no more than a minute of counting. Before a sum is told, it is closed:
written down under a name that its entry bears. A kill after the entry, and before that is written down, lets the same
sum be told again under the same name, and the report counts it once.
"""

from __future__ import annotations

import asyncio
import json
import secrets
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
        self._closed: dict[str, tuple[str, int, Counter[str]]] = {}
        """What is about to be told, by the name that its entry bears: nothing is added to it."""
        self._changed, self._saving = False, asyncio.Lock()

    def load(self) -> None:
        """Take up what an earlier run did not tell."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            for camera, hour, sums, *named in json.loads(self._path.read_bytes()):
                counted = Counter({str(name): int(count) for name, count in sums.items()})
                if named:
                    self._closed[str(named[0])] = str(camera), int(hour), counted
                else:
                    self._of(str(camera), int(hour)).update(counted)

    async def save(self) -> bool:
        """Write what was counted and not told yet. False where it cannot be: it is tried again."""
        async with self._saving:
            if not self._changed:
                return True
            self._changed = False
            told: list[list[object]] = [[camera, hour, dict(sums)] for (camera, hour), sums in self._sums.items()]
            told += [[camera, hour, dict(sums), name] for name, (camera, hour, sums) in self._closed.items()]
            try:
                await asyncio.to_thread(durable.replace_file, self._path, json.dumps(told).encode())
            except OSError:  # no room, say: reads are screened all the same
                self._changed = True
            return not self._changed

    def count(self, camera: str, at: datetime, what: str, number: int = 1) -> None:
        """One more. `what`: one of the sums that an entry has, or `hit:LIST:RULE`, or `outcome:WORD`."""
        self._of(camera, int(at.timestamp()) // 3600)[what] += number
        self._changed = True

    def _of(self, camera: str, hour: int) -> Counter[str]:
        key = (camera, hour)
        if key not in self._sums and len(self._sums) >= _CAMERAS_MAX:
            key = ("others", hour)
        return self._sums.setdefault(key, Counter())

    def close(self, now: datetime, *, all_: bool = False) -> bool:
        """Close the sums of hours that are over (`all_`: of every hour). Whether there is anything to be told.

        They may be told once this was saved.
        """
        this = int(now.timestamp()) // 3600
        for key in [key for key in self._sums if all_ or key[1] < this]:
            self._closed[secrets.token_hex(8)] = (*key, self._sums.pop(key))
            self._changed = True
        return bool(self._closed)

    def due(self, now: datetime, lists: Mapping[str, Json]) -> Iterator[tuple[str, Observation]]:
        """(name, entry) of each sum that is closed; `told` says that the entry is in the custody log."""
        for name, (camera, hour, sums) in sorted(self._closed.items(), key=lambda one: one[1][:2]):
            begin = datetime.fromtimestamp(hour * 3600, UTC)
            detail = {**self._told(begin, now, sums, lists), "part": name}
            yield name, Observation(camera, COUNT, min(now, begin + _HOUR), detail)

    def told(self, name: str) -> None:
        """It is in the custody log, and need not be told again."""
        if self._closed.pop(name, None) is not None:
            self._changed = True

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
        plain = ("reads", "unread", "passed_by", "sealed", "not_sealed", "hits", "degraded")
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
