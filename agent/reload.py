"""A changed agent.toml, taken up while the daemon runs: what may change, what waits for a restart, what was refused.

Drivers and destinations are exchanged where their own table changed, or a file that it names (a renewed certificate).
The rules of `[traffic]` count from the next request on, for uploads under way too, those of `[context]` for what is
observed or taken from now on. Everything else is kept: the tables
of the station, the spool, the policy and the custody log are read at the start alone, and what changed there is named
and waits. A configuration with a problem changes nothing at all.
"""

from __future__ import annotations

import asyncio
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog
from pydantic import BaseModel

from agent.registry import Equipment, equip
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterator, Mapping, Sequence

    from agent.config import Config
    from agent.errors import ConfigError
    from agent.registry import LoadedDriver, LoadedUplink

__all__ = ["NOW", "Crew", "Prints", "Reloads", "Renewal", "renewal"]

Loaded = TypeVar("Loaded", "LoadedDriver", "LoadedUplink")
Prints = dict[tuple[str, str], object]
"""What a table says, and which files it names, by what it is (`driver`, `uplink`) and its name."""

NOW = ("driver", "uplink", "identity", "traffic", "context", "firmware")
"""Tables that are taken up while the daemon runs."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a changed configuration means for the daemon that runs."""

    config: Config
    """What runs from now on: the tables that may change, from the new file."""
    equipment: Equipment
    """What was made anew, and what is kept."""
    prints: Prints
    begun: frozenset[tuple[str, str]]
    """Made anew."""
    ended: frozenset[tuple[str, str]]
    """Not there any more, or made anew."""
    waits: tuple[str, ...]
    """Settings that changed and are read at the next start, as a person wrote them: `station.socket`."""

    @property
    def changes(self) -> bool:
        """Whether anything happens now."""
        return bool(self.begun or self.ended)


def prints(equipment: Equipment) -> Prints:
    """What now stands in the tables and the files that they name."""
    return {
        (word, loaded.options.name): _print(loaded.options)
        for word, group in (("driver", equipment.drivers), ("uplink", equipment.uplinks))
        for loaded in group
    }


def renewal(
    now: Config, equipment: Equipment, before: Prints, new: Config, check: Callable[[Equipment, Config], object]
) -> Renewal:
    """Compare what runs with a new configuration. Raises `ConfigError` with all its problems; then nothing happens."""
    check(equip(new), new)
    effective = now.model_copy(update={name: getattr(new, name) for name in NOW})
    made = equip(effective)
    check(made, effective)
    after = prints(made)
    same = {key for key in before.keys() & after.keys() if before[key] == after[key]}
    return Renewal(
        config=effective,
        equipment=Equipment(
            _kept("driver", equipment.drivers, made.drivers, same),
            _kept("uplink", equipment.uplinks, made.uplinks, same),
        ),
        prints=after,
        begun=frozenset(after.keys() - same),
        ended=frozenset(before.keys() - same),
        waits=tuple(_waiting(now, new)),
    )


def _kept(word: str, old: Sequence[Loaded], new: Sequence[Loaded], same: set[tuple[str, str]]) -> tuple[Loaded, ...]:
    known = {loaded.options.name: loaded for loaded in old}
    return tuple(known[loaded.options.name] if (word, loaded.options.name) in same else loaded for loaded in new)


def _print(options: BaseModel) -> object:
    return options.model_dump_json(), tuple(_files(options.model_dump()))


def _files(value: object) -> Iterator[tuple[str, int, int, int]]:
    """The files that a table names, and the tables within it: a certificate of `listen`, a password of a camera."""
    match value:
        case Path():
            with suppress(OSError):
                there = value.stat()
                if stat.S_ISREG(there.st_mode):
                    yield str(value), there.st_ino, there.st_size, there.st_mtime_ns
        case dict():
            for inner in value.values():
                yield from _files(inner)
        case list() | tuple():
            for inner in value:
                yield from _files(inner)


def _waiting(now: Config, new: Config) -> Iterator[str]:
    for table in type(now).model_fields:
        if table in NOW:
            continue
        old, wanted = getattr(now, table), getattr(new, table)
        if not isinstance(old, BaseModel) or not isinstance(wanted, BaseModel):  # a table came or went, or is a list
            if old != wanted:
                yield table
            continue
        for field in type(old).model_fields:
            if getattr(old, field) != getattr(wanted, field):
                yield f"{table}.{field}"


class Reloads:
    """How the last reload went: told to the log once, and as a repair notice for as long as it is so."""

    def __init__(self) -> None:
        self._refused: ConfigError | None = None
        self._waits: tuple[str, ...] = ()
        self._log = structlog.get_logger("agent")

    def refused(self, error: ConfigError) -> None:
        """The new file cannot be used; the daemon goes on with the old one."""
        self._refused = error
        self._log.error("config_refused", error=str(error), todo=error.what_to_do)

    def taken(self, found: Renewal) -> None:
        """It is in use."""
        self._refused, self._waits = None, found.waits
        named = {"begun": _named(found.begun), "ended": _named(found.ended - found.begun), "waits": list(found.waits)}
        self._log.info("config_reloaded", **named)

    def notices(self) -> Iterator[dict[str, str | None]]:
        """Repair notices."""
        if self._refused is not None:
            detail = (
                f"agent.toml was changed and cannot be used; the station works with the one before: {self._refused}"
            )
            yield repair("config.refused", "warning", "configuration", detail, self._refused.what_to_do)
        if self._waits:
            detail = f"changed in agent.toml, and read at the next start: {', '.join(self._waits)}"
            yield repair("config.waits", "warning", "configuration", detail, "systemctl restart evidock")


def _named(keys: frozenset[tuple[str, str]]) -> list[str]:
    return [" ".join(key) for key in sorted(keys)]


class Crew:
    """The tasks of drivers and destinations, by name, so that one of them can be ended while the others work."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def begin(self, work: Mapping[Hashable, Coroutine[None, None, None]]) -> None:
        """Start these."""
        for key, one in work.items():
            self._tasks[key] = self._group.create_task(one)

    async def end(self, key: Hashable) -> None:
        """Cancel one and wait until it has ended; whatever it promised is kept."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def cancel(self) -> None:
        """Cancel all."""
        for task in self._tasks.values():
            task.cancel()
