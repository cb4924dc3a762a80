"""The agency's roster file: what changes in it is an assignment from then on, and what was said before stays.

The file says who has which device now. Only a change of the file is a word: what a person assigned meanwhile counts
until the file says something new of that device. What it said last stands in the journal's settings, so that nothing is
said twice after a restart.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import KEY_MAX, Observation
from agent.context import WORD_MAX, Sort, about_device
from agent.joining.assigning import own_name
from agent.joining.touched import tell
from agent.journal import facts

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Json
    from agent.context import ContextOptions
    from agent.journal import Desk, Journal

__all__ = ["ROSTER_MAX", "Roster", "read"]

ROSTER_MAX: Final = 4 << 20
"""Bytes of a roster: a line for each of fifty thousand devices."""
_AT_ONCE: Final = 500
"""Assignments of one transaction."""
_ACTOR: Final = "roster"
_log = structlog.get_logger("joining")


class Roster:
    """Looks at the file now and then."""

    def __init__(self, desk: Desk, path: Path | None) -> None:
        self._desk, self._path = desk, path
        self._seen: tuple[int, int] | None = None

    @property
    def asked(self) -> bool:
        """There is a file to look at."""
        return self._path is not None

    async def look(self, options: ContextOptions) -> int:
        """Take up what changed; how many assignments were written. A file that cannot be read changes nothing.

        The status service tells that it cannot be read.
        """
        if self._path is None:
            return 0
        try:
            found = self._path.stat()
            if (seen := (found.st_mtime_ns, found.st_size)) == self._seen:
                return 0
            names = await asyncio.to_thread(read, self._path)
        except (OSError, ValueError):
            return 0
        self._seen = seen
        before = await self._desk.read(_before)
        both = sorted(names.keys() | before.keys())
        changed = [(name, names.get(name)) for name in both if names.get(name) != before.get(name)]
        for first in range(0, len(changed), _AT_ONCE):
            part = changed[first : first + _AT_ONCE]
            before = {name: who for name, who in {**before, **dict(part)}.items() if who is not None}
            await self._desk.write(lambda journal, some=part, told=before: _tell(journal, options, some, told))  # type: ignore[misc]
        if changed:
            _log.info("roster_taken_up", assignments=len(changed))
        return len(changed)


def read(path: Path) -> dict[str, str]:
    """Officer by id or serial number. Raises `OSError` or `ValueError`."""
    with path.open("rb") as file:
        raw = file.read(ROSTER_MAX + 1)
    if len(raw) > ROSTER_MAX:
        raise ValueError(f"{path} has more than {ROSTER_MAX} bytes")
    told = json.loads(raw)
    if not isinstance(told, dict):
        raise ValueError(f"{path} is no JSON object")  # noqa: TRY004 - what a file says is no matter of types
    return {
        str(name): shown[:WORD_MAX]
        for name, who in told.items()
        if 0 < len(name) <= KEY_MAX
        and name.isprintable()
        and isinstance(who, str)
        and (shown := "".join(c for c in who if c.isprintable()).strip())
    }


def _before(journal: Journal) -> dict[str, str]:
    found = journal.connection.execute("SELECT value FROM meta WHERE name = 'roster'").get
    told: dict[str, str] = {} if found is None else json.loads(found)
    return told


def _tell(
    journal: Journal, options: ContextOptions, changed: list[tuple[str, str | None]], told: dict[str, str]
) -> None:
    for called, who in changed:
        name = own_name(journal, called)
        stands = facts.standing(journal, Sort.OFFICER, (about_device(name),), journal.now())
        if who is None and stands is None:
            continue
        detail: dict[str, Json] = {"officer": who, "time": {"source": "station"}}
        tell(journal, options, Observation(name, "assignment.officer", journal.now(), detail), actor=_ACTOR)
    journal.connection.execute("INSERT OR REPLACE INTO meta VALUES ('roster', ?)", (json.dumps(told),))
