"""What belongs to one capture, worked out from the journal: each join names its rule, its sources, its doubt."""

from __future__ import annotations

import json
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent.capture import Priority, rfc3339
from agent.context import (
    Overlap,
    Sort,
    about_device,
    about_officer,
    about_unit,
    overlap,
    place_of,
    uncertainty_of,
    unusable_time,
)
from agent.journal import batches, contexts, facts
from agent.journal.spans import interval_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from agent.capture import Holding, Json
    from agent.context import ContextOptions, Interval, Vehicle
    from agent.journal import Journal
    from agent.journal.facts import Fact

__all__ = ["LIST_MAX", "PARTS", "look", "look_at_all"]

LIST_MAX: Final = 32
"""Joins of one sort that an entry tells one by one; the others are counted."""
MARK_LONGEST: Final = timedelta(hours=12)
"""What was switched on and never off is taken to be off by then: the power may have gone first."""
PARTS: Final = ("officers", "units", "incidents", "marks", "track")

BY_TIME: Final = "device and time"
BY_VEHICLE: Final = "vehicle and time"
BY_UNIT: Final = "unit and time"
BY_OFFICER: Final = "officer and time"
NOBODY: Final = "nobody was assigned"


def look(journal: Journal, options: ContextOptions, row: int) -> Holding | None:
    """Look at one capture again; what it is now where an entry had to be written. In a transaction."""
    contexts.settled(journal, row)
    held = contexts.held_of(journal, row)
    if held is None:
        return None
    name, predicate = held
    known, before = journal.get(name), contexts.current(journal, name)
    interval = interval_of(journal.connection, predicate, known.held_at)
    if interval is None:
        return None
    found = _Look(journal, options, predicate["device"], interval).all()
    context: dict[str, Json] = {"interval": interval.claims, **found.parts}
    if before is None and not any(found.parts[part] for part in PARTS):
        return None
    if before is not None and all(before.get(part) == context[part] for part in ("interval", *PARTS)):
        return None
    raised = found.priority if _may_raise(journal, known, row, found.priority) else None
    context["priority"] = None if raised is None else raised.name.lower()
    if raised is None and found.priority is not None and found.priority < contexts.class_of(journal, name):
        context["class"] = found.priority.name.lower()  # it is sent as a person ordered, and kept as what it is
    return contexts.join(journal, name, context, raised)


def look_at_all(journal: Journal, options: ContextOptions) -> None:
    """Look at everything that is due, where no daemon does. In a transaction."""
    while rows := contexts.due(journal, 1000):
        for row in rows:
            look(journal, options, row)


def _may_raise(journal: Journal, known: Holding, row: int, priority: Priority | None) -> bool:
    """A rule makes a capture more urgent and never less, and says nothing against a person's word."""
    if priority is None or priority >= known.priority:
        return False
    ordered = journal.connection.execute(
        'SELECT 1 FROM entry WHERE capture = ? AND instr(leaf, \'"command":"prioritise \') > 0 LIMIT 1', (row,)
    ).get
    return ordered is None


class _Found(NamedTuple):
    parts: dict[str, Json]
    priority: Priority | None


class _Piece(NamedTuple):
    """Part of a capture's time in which one assignment counts, or none."""

    fact: Fact | None
    began_at: datetime
    ended_at: datetime


class _Look:
    """One look at one capture."""

    def __init__(
        self, journal: Journal, options: ContextOptions, device: Mapping[str, Any], interval: Interval
    ) -> None:
        self._journal, self._options, self._interval = journal, options, interval
        self._device: str = device["id"]
        self._vehicle: Vehicle | None = options.vehicle_of(self._device)
        names = [self._device, device.get("serial"), None if self._vehicle is None else self._vehicle.name]
        self._abouts = list(dict.fromkeys(about_device(name) for name in names if name))
        self._since, self._until = interval.widest
        self._priorities: list[Priority] = []

    def all(self) -> _Found:
        """Everything that belongs to it."""
        officers, units = self._pieces(Sort.OFFICER), self._pieces(Sort.UNIT)
        parts: dict[str, Json] = {
            "officers": self._assigned(officers, "officer"),
            "units": self._assigned(units, "unit"),
            "incidents": self._incidents(officers, units),
            "marks": self._marks(),
            "track": self._track(),
        }
        if not parts["units"] and self._vehicle is not None and self._vehicle.unit is not None and _any(parts):
            parts["units"] = [
                {"rule": "unit of the vehicle", "unit": self._vehicle.unit, "vehicle": self._vehicle.name}
            ]
        return _Found(parts, min(self._priorities, default=None))

    # -- who had it ----------------------------------------------------------------------------------------------------

    def _pieces(self, sort: Sort) -> list[_Piece]:
        """The capture's widest interval, cut where another assignment counts: the later word does."""
        told = facts.overlapping(self._journal, sort, self._abouts, self._since, self._until)
        return list(_cut(told, self._since, self._until)) if told else []

    def _assigned(self, pieces: Iterable[_Piece], word: str) -> list[Json]:
        told: list[dict[str, Json]] = []
        for piece in pieces:
            sure = overlap(self._interval, piece.began_at, piece.ended_at)
            if sure is None:
                continue
            if piece.fact is None:
                told.append(
                    {"overlap": sure.value, "rule": NOBODY, **_times(piece.began_at, piece.ended_at), word: None}
                )
                continue
            said = facts.said_by(self._journal, piece.fact.seq)
            named = said["observation"]["detail"][word]
            told.append(
                {
                    "by": said["actor"],
                    "entry": piece.fact.seq,
                    "overlap": sure.value,
                    "rule": BY_TIME,
                    **_times(piece.fact.began_at, piece.fact.ended_at),
                    word: None if named is None else str(named).strip(),
                }
            )
        return _bounded(told)

    # -- what happened -------------------------------------------------------------------------------------------------

    def _incidents(self, officers: Iterable[_Piece], units: list[_Piece]) -> list[Json]:
        told: dict[int, dict[str, Json]] = {}
        static = None if self._vehicle is None else self._vehicle.unit
        if not units and static is not None:
            self._happened(told, (about_unit(static),), BY_UNIT, None, self._since, self._until)
        for pieces, about, rule in ((units, about_unit, BY_UNIT), (officers, about_officer, BY_OFFICER)):
            for fact, since, until in pieces:
                if fact is not None and fact.value is not None:
                    self._happened(told, (about(fact.value),), rule, fact.seq, since, until)
        self._happened(told, self._abouts, BY_TIME, None, self._since, self._until)
        return _bounded([told[seq] for seq in sorted(told)])

    def _happened(
        self,
        told: dict[int, dict[str, Json]],
        abouts: Iterable[str],
        rule: str,
        through: int | None,
        since: datetime,
        until: datetime,
    ) -> None:
        for fact in facts.overlapping(self._journal, Sort.INCIDENT, abouts, since, until):
            began_at, ended_at = (
                max(fact.began_at, since),
                until if fact.ended_at is None else min(fact.ended_at, until),
            )
            if fact.seq in told:
                continue
            said = facts.said_by(self._journal, fact.seq)["observation"]
            detail = said["detail"]
            sure = overlap(self._interval, began_at, ended_at, uncertainty_of(detail))
            if sure is None:
                continue
            told[fact.seq] = {
                "entry": fact.seq,
                "incident": str(detail["incident"]),
                "overlap": sure.value,
                "rule": rule,
                "source": said["device"],
                "through": through,
                **_times(fact.began_at, fact.ended_at),
                **{name: str(detail[name]) for name in ("category", "unit", "officer") if detail.get(name) is not None},
            }
            self._raise_by_category(detail.get("category"))

    def _raise_by_category(self, category: object) -> None:
        for rule in self._options.category:
            if category is not None and fnmatchcase(str(category).lower(), rule.category.lower()):
                self._priorities.append(rule.priority)
                return

    def _near(self, abouts: Iterable[str]) -> Iterator[tuple[str, str]]:
        """(what it is about, rule): of those that told something, this device and those that ride with it."""
        for about in abouts:
            if about in self._abouts:
                yield about, BY_TIME
            elif self._vehicle is not None and self._vehicle.has(about.partition(" ")[2]):
                yield about, BY_VEHICLE

    def _marks(self) -> list[Json]:
        told: list[dict[str, Json]] = []
        longest = max((rule.before + rule.after for rule in self._options.trigger), default=timedelta())
        for about, by in self._near(facts.abouts(self._journal, Sort.MARK)):
            since, until = self._since - longest, self._until + longest
            found = facts.overlapping(self._journal, Sort.MARK, (about,), since, until)
            told += [mark for fact in found if (mark := self._mark(fact, by)) is not None]
        told.sort(key=lambda one: (str(one["from"]), str(one["kind"])))
        return _bounded(told)

    def _mark(self, fact: Fact, by: str) -> dict[str, Json] | None:
        rule, kind = self._options.rule_of(fact.value or ""), fact.value or ""
        ended_at = fact.ended_at
        if rule.ignore or (ended_at is None and fact.began_at + MARK_LONGEST < self._since):
            return None
        doubt = uncertainty_of(facts.said_by(self._journal, fact.seq)["observation"]["detail"])
        last = None if ended_at is None else ended_at + rule.after
        sure = overlap(self._interval, fact.began_at - rule.before, last, doubt)
        if sure is None:
            return None
        if rule.priority is not None:
            self._priorities.append(rule.priority)
        return {
            "after": _seconds(rule.after),
            "before": _seconds(rule.before),
            "entry": fact.seq,
            "kind": kind,
            "overlap": sure.value,
            "rule": by,
            **_times(fact.began_at, ended_at),
        }

    # -- where it was --------------------------------------------------------------------------------------------------

    def _track(self) -> list[Json]:
        """Positions during the capture: for each device that told some, how many, the first and the last."""
        told: list[dict[str, Json]] = []
        for about, by in self._near(batches.abouts(self._journal)):
            found = batches.overlapping(self._journal, about, self._interval.began_at, self._interval.ended_at)
            if found and (track := self._positions(about, by, found)) is not None:
                told.append(track)
        return _bounded(told)

    def _positions(self, about: str, by: str, found: list[tuple[int, int]]) -> dict[str, Json] | None:
        """Only the outermost batches are opened; those between them lie inside as wholes."""
        edges = {found[0][0], found[-1][0]}
        inside = {seq: self._inside(seq) for seq in edges}
        rows = [row for seq, _ in found if seq in edges for row in inside[seq]]
        count = sum(len(inside[seq]) if seq in edges else number for seq, number in found)
        if not rows:
            return None
        rows.sort(key=_used_at)
        return {
            "batches": {"count": len(found), "entries": [seq for seq, _ in found[:LIST_MAX]]},
            "count": count,
            "device": about.partition(" ")[2],
            "first": _position(rows[0]),
            "last": _position(rows[-1]),
            "overlap": (Overlap.LIKELY if self._interval.uncertainty is None else Overlap.CERTAIN).value,
            "rule": by,
        }

    def _inside(self, seq: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(batches.opened(self._journal, seq))
        # All times of a batch have one form, in which they sort as text.
        first, last = rfc3339(self._interval.began_at), rfc3339(self._interval.ended_at)
        return [row for row in rows if first <= _used_at(row) <= last]


def _cut(told: list[Fact], since: datetime, until: datetime) -> Iterator[_Piece]:
    """Pieces of an interval, each with the last word about it."""
    newest_first = sorted(told, key=lambda fact: -fact.seq)
    bounds = {since, until}
    for fact in told:
        bounds |= {one for one in (fact.began_at, fact.ended_at) if one is not None and since < one < until}
    edges = sorted(bounds)
    last: _Piece | None = None
    for begin, end in zip(edges, edges[1:] or edges, strict=False):
        holder = next(
            (
                fact
                for fact in newest_first
                if fact.began_at <= begin and (fact.ended_at is None or fact.ended_at >= end)
            ),
            None,
        )
        if last is not None and last.fact == holder:
            last = last._replace(ended_at=end)
            continue
        if last is not None:
            yield last
        last = _Piece(holder, begin, end)
    if last is not None:
        yield last


def _used_at(row: Mapping[str, Any]) -> str:
    """The time by which a position is joined: its own, or ours where its week has rolled over."""
    at: str = row["heard_at"] if unusable_time(row["detail"]) else row["observed_at"]
    return at


def _position(row: Mapping[str, Any]) -> dict[str, Json]:
    at: dict[str, Json] = {"at": _used_at(row), "place": None}
    if (place := place_of(row["detail"])) is not None:
        at["place"] = dict(place)
    if isinstance(row["detail"].get("time"), dict):
        at["time"] = row["detail"]["time"]
    return at


def _bounded(told: list[dict[str, Json]]) -> list[Json]:
    listed: list[Json] = list(told[:LIST_MAX])
    return listed if len(told) <= LIST_MAX else [*listed, {"more": len(told) - LIST_MAX}]


def _times(began_at: datetime, ended_at: datetime | None) -> dict[str, Json]:
    return {"from": rfc3339(began_at), "until": None if ended_at is None else rfc3339(ended_at)}


def _seconds(length: timedelta) -> str:
    return f"{length.total_seconds():g}"


def _any(parts: Mapping[str, Json]) -> bool:
    return any(parts[part] for part in PARTS)
