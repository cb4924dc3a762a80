"""A case of the benchmarks: entrants that do the same work in turn, round after round, and what it cost each of them.

What one entrant does wrong costs nobody else a run: it is written down beside its name, and the others go on. After
each run everything that was measured so far is written out, so that a case which is ended has its runs all the same.
"""

from __future__ import annotations

import inspect
import json
import statistics
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from benchmarks.measured import Measured

__all__ = ["Contest", "Entrant", "Figures", "Goal", "Row", "hold", "judged", "ratio"]

_WHY_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who does the work. `run` gets the number of the round, and makes its own place clean."""

    name: str
    run: Callable[[int], Awaitable[Measured] | Measured]
    ours: bool = False
    limit: bool = False
    """No peer: a part of the work alone, which bounds what anybody could reach."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What was asked for, and what was found; `met` is None where it could not be measured."""

    text: str
    asked: str
    found: str
    met: bool | None


@dataclass(slots=True)
class Row:
    """One line of a table: what somebody reached, run by run."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Processor seconds of each run, of every process that did the work."""
    memory: int = 0
    """Bytes resident at most; 0 where nobody looked."""
    ours: bool = False
    limit: bool = False
    failed: str = ""

    @property
    def median(self) -> float | None:
        """Of the values; None where there is none."""
        return statistics.median(self.values) if self.values else None


@dataclass(slots=True)
class Figures:
    """What a case found."""

    name: str
    title: str
    about: str
    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    drawn: bool = True
    """All rows have one unit, and stand in one picture."""
    when: str = ""
    """Date, commit, time that it had, and the load when it began."""
    machine: str = ""

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        fresh.rename(path)

    @classmethod
    def read(cls, path: Path) -> Figures:
        """The inverse of `write`."""
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows, goals = [Row(**row) for row in told.pop("rows")], [Goal(**goal) for goal in told.pop("goals")]
        return cls(**told, rows=rows, goals=goals)

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True, slots=True)
class Contest:
    """Several entrants and the work that each does once in a round."""

    name: str
    title: str
    about: str
    work: float
    unit: str
    entrants: Sequence[Entrant]
    goals: Callable[[Figures], list[Goal]] = lambda _: []


async def hold(contest: Contest, out: Path, *, rounds: int, until: float) -> Figures:
    """Let them run, at most `rounds` times each, and begin no round that would probably end later than `until`."""
    figures = Figures(contest.name, contest.title, contest.about)
    for one in contest.entrants:
        figures.rows.append(Row(one.name, contest.unit, ours=one.ours, limit=one.limit))
    began = monotonic()
    for number in range(rounds):
        if number and monotonic() + (monotonic() - began) / number > until:
            break
        # The order moves on by one each round: nobody always comes after the same one.
        for place in range(len(contest.entrants)):
            at = (place + number) % len(contest.entrants)
            await _once(contest, contest.entrants[at], figures.rows[at], number)
            figures.goals = contest.goals(figures)
            figures.write(out)
    return figures


async def _once(contest: Contest, entrant: Entrant, row: Row, number: int) -> None:
    if row.failed:
        return
    try:
        found = entrant.run(number)
        told = await found if inspect.isawaitable(found) else found
    except Exception as error:  # noqa: BLE001 - whatever a peer does wrong is its own
        row.failed = f"{type(error).__name__}: {error}"[:_WHY_MAX]
        return
    row.values.append(contest.work / told.seconds)
    row.cpu.append(told.cpu)
    row.memory = max(row.memory, told.memory)


def judged(
    text: str, found: float | None, *, least: float | None = None, most: float | None = None, unit: str = ""
) -> Goal:
    """A goal that is a number: at least, or at most."""
    word, bound = ("at least", least) if least is not None else ("at most", most)
    met = None if found is None or bound is None else (found >= bound if least is not None else found <= bound)
    shown = "-" if found is None else f"{found:.3g} {unit}".strip()
    return Goal(text, f"{word} {bound:g} {unit}".strip(), shown, met)


def ratio(figures: Figures, above: str, below: str) -> float | None:
    """The rate of `above` in times of that of `below`: the median of the rounds that both ran."""
    pairs = list(zip(figures.row(above).values, figures.row(below).values, strict=False))
    return statistics.median(one / other for one, other in pairs) if pairs else None
