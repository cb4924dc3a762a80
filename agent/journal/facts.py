"""Observations as entries, and the intervals that follow from them: who had a device, which incident, what was on.

An observation is never changed. A later one may end what went on, take the place of an earlier word of the same name,
or overlap it: then the later word counts for as long as it lasts. Each entry says what it ended or replaced, so that
the table can be made again from the entries alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from agent.capture import canonical, rfc3339
from agent.context import LATEST, Malformed, Sort, told_of, unusable_time
from agent.journal.entry import CLAIMS_MAX, Event, told_reason
from agent.journal.rows import micros, moment
from agent.journal.spans import GOES_ON, SIZES, bits_of, predicate_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.capture import Json, Observation
    from agent.context import Told
    from agent.journal.book import Journal

__all__ = [
    "Fact",
    "abouts",
    "keep",
    "known",
    "newest",
    "observed",
    "overlapping",
    "row_of",
    "said_already",
    "said_by",
    "standing",
    "valued",
]

_COLUMNS: Final = "seq, sort, about, value, began, ended"


@dataclass(frozen=True, slots=True)
class Fact:
    """One interval as it stands, or stood until a moment ago."""

    seq: int
    """Leaf of the observation that began it."""
    sort: Sort
    about: str
    value: str | None
    began_at: datetime
    ended_at: datetime | None


def keep(journal: Journal, observation: Observation, *, actor: str = "agent", why: str | None = None) -> list[Fact]:
    """Write an observation as an entry. Every interval that began, changed or was taken back by it, old and new.

    What cannot be understood is kept all the same; the entry says why it is joined to nothing. In a transaction.
    """
    told: dict[str, Json] = {"observation": observed(observation)}
    if why is not None:
        told["why"] = why
    fact = None
    try:
        fact = told_of(_timed(journal, observation))
    except Malformed as error:
        told["not_joined"] = told_reason(str(error))
    changed: list[Fact] = []
    seq, part = journal.leaves.size, None
    if fact is not None:
        part = _consequences(journal, fact)
        told["fact"] = part
    journal.record(Event.OBSERVED, told, actor=actor)
    if part is not None:
        changed += _touched(journal, part)
        _apply(journal, seq, part)
        changed += known(journal, seq)
    return changed


def observed(observation: Observation) -> dict[str, Json]:
    """An observation as it stands in its entry. `ValueError` where it can stand in none."""
    told: dict[str, Json] = {
        "detail": dict(observation.detail),
        "device": observation.device,
        "kind": observation.kind,
        "observed_at": rfc3339(observation.observed_at),
    }
    if (length := len(canonical(told))) > CLAIMS_MAX:
        raise ValueError(f"an observation of {length} bytes is longer than {CLAIMS_MAX}")
    return told


def row_of(seq: int, part: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The row that an entry's `fact` makes, without what later entries did to it; None where it makes none."""
    if not part["stands"]:
        return None
    began, ended = _micros(part["from"]), None if part["until"] is None else _micros(part["until"])
    return seq, part["sort"], part["about"], part["value"], part["name"], began, ended, bits_of(began, ended)


def known(journal: Journal, seq: int) -> list[Fact]:
    """The fact that this leaf began, where it began one."""
    rows = journal.connection.execute(f"SELECT {_COLUMNS} FROM fact WHERE seq = ?", (seq,))  # noqa: S608 - our names
    return [_fact(row) for row in rows]


def overlapping(journal: Journal, sort: Sort, abouts: Iterable[str], since: datetime, until: datetime) -> list[Fact]:
    """What stands about any of these and overlaps an interval, in the order of the log. By index, no scan."""
    return _overlapping(journal, "about", sort, abouts, since, until)


def valued(journal: Journal, sort: Sort, value: str, since: datetime, until: datetime) -> list[Fact]:
    """The same by value: every device that was this unit's, or this officer's."""
    return _overlapping(journal, "value", sort, (value,), since, until)


def standing(journal: Journal, sort: Sort, abouts: Iterable[str], at: datetime) -> Fact | None:
    """The assignment that counts at one moment: the last word about any of these."""
    found = overlapping(journal, sort, abouts, at, at)
    lasting = [fact for fact in found if fact.ended_at is None or fact.ended_at > at or fact.began_at == at]
    return max(lasting, key=lambda fact: fact.seq, default=None)


def said_already(journal: Journal, observation: Observation, told: Told) -> Fact | None:
    """The word that stands and says just this of an assignment or an incident: whoever repeats it says nothing new."""
    if told.sort is Sort.INCIDENT and told.name is not None:
        stands = _named(journal, told.sort, told.name, "1")
        same = stands is not None and said_by(journal, stands.seq)["observation"]["detail"] == observation.detail
        return stands if same else None
    if told.sort not in (Sort.OFFICER, Sort.UNIT):
        return None
    stands = standing(journal, told.sort, (told.about,), told.began_at)
    if stands is None or stands.value != told.value:
        return None
    if "from" in observation.detail and rfc3339(stands.began_at) != rfc3339(told.began_at):
        return None
    return stands if _as_long(journal, stands, told) and not _overlaid(journal, stands, told) else None


def _as_long(journal: Journal, stands: Fact, told: Told) -> bool:
    """Whether both last equally long; until further notice as it was told, whatever may have ended the one since."""
    if told.ended_at is not None:
        return stands.ended_at == told.ended_at
    return said_by(journal, stands.seq)["observation"]["detail"].get("until") is None


def _overlaid(journal: Journal, stands: Fact, told: Told) -> bool:
    """Whether a later word counts in a part of it: then to say it again makes it the last word."""
    since, until = told.began_at, stands.ended_at or LATEST
    later = [one for one in overlapping(journal, told.sort, (told.about,), since, until) if one.seq > stands.seq]
    return any(one.began_at < until and (one.ended_at is None or one.ended_at > since) for one in later)


def newest(journal: Journal, sort: Sort, about: str, limit: int) -> list[int]:
    """Leaves of the last words of a sort about one thing."""
    rows = journal.connection.execute(
        "SELECT seq FROM fact WHERE sort = ? AND about = ? AND replaced IS NULL ORDER BY seq DESC LIMIT ?",
        (sort.value, about, limit),
    )
    return [seq for (seq,) in rows]


def abouts(journal: Journal, sort: Sort) -> list[str]:
    """Everything about which facts of a sort are known. One look into an index for each."""
    rows = journal.connection.execute(
        "WITH RECURSIVE known (about) AS (SELECT min(about) FROM fact WHERE sort = ?1 AND replaced IS NULL UNION ALL"
        " SELECT (SELECT min(about) FROM fact WHERE sort = ?1 AND replaced IS NULL AND about > known.about)"
        " FROM known WHERE known.about IS NOT NULL) SELECT about FROM known WHERE about IS NOT NULL",
        (sort.value,),
    )
    return [about for (about,) in rows]


def _overlapping(
    journal: Journal, column: str, sort: Sort, words: Iterable[str], since: datetime, until: datetime
) -> list[Fact]:
    same = f"FROM json_each(?2) named CROSS JOIN {{}} fact f WHERE f.sort = ?1 AND f.{column} = named.value"
    columns = "SELECT " + ", ".join(f"f.{name}" for name in _COLUMNS.split(", "))
    ended = f"{columns} {same.format(f'{SIZES} CROSS JOIN')} AND f.replaced IS NULL AND f.bits = size.bits"
    ended += " AND f.began BETWEEN ?3 - size.reach AND ?4 AND f.ended >= ?3"
    going_on = f"{columns} {same.format('')} AND f.replaced IS NULL AND f.bits = {GOES_ON} AND f.began <= ?4"
    rows = journal.connection.execute(
        f"{ended} UNION ALL {going_on}", (sort.value, json.dumps(list(words)), micros(since), micros(until))
    )
    return sorted((_fact(row) for row in rows), key=lambda fact: fact.seq)


def said_by(journal: Journal, seq: int) -> dict[str, Any]:
    """What an entry says: the predicate of its statement."""
    return predicate_at(journal.connection, seq)


# -- what follows ------------------------------------------------------------------------------------------------------


def _timed(journal: Journal, observation: Observation) -> Observation:
    """The observation with a time that can be used.

    Ours, where its own is that of a device whose clock was just measured, or bears the mark of a week that rolled over.
    """
    if observation.kind == "clock.compared" or unusable_time(observation.detail):
        return replace(observation, observed_at=journal.now())
    return observation


def _consequences(journal: Journal, told: Told) -> dict[str, Json]:
    """The part `fact` of the entry: the interval, and what it does to earlier ones."""
    stands, ends, replaces, until = not told.withdrawn, None, None, told.ended_at
    if told.sort is Sort.MARK and told.name is not None:
        went_on = _named(journal, told.sort, told.name, "ended IS NULL")
        if told.ends:
            stands, ends = False, went_on if went_on is not None and went_on.began_at <= told.began_at else None
        else:
            stands = went_on is None  # said again: it still goes on
    elif told.sort is Sort.INCIDENT and told.name is not None:
        replaces = _named(journal, told.sort, told.name, "1")
    elif told.sort in (Sort.OFFICER, Sort.UNIT) and until is None:
        # It lasts until the next one that is known by now; only the newest of all goes on.
        until = _next_began(journal, told)
        if until is None:
            ends = _going_on(journal, told)
    return {
        "about": told.about,
        "ends": None if ends is None else ends.seq,
        "from": rfc3339(told.began_at),
        "name": told.name,
        "replaces": None if replaces is None else replaces.seq,
        "sort": told.sort.value,
        "stands": stands,
        "until": None if until is None else rfc3339(until),
        "value": told.value,
    }


def _named(journal: Journal, sort: Sort, name: str, more: str) -> Fact | None:
    row = journal.connection.execute(
        f"SELECT {_COLUMNS} FROM fact WHERE sort = ? AND name = ? AND replaced IS NULL AND {more}"  # noqa: S608 - ours
        " ORDER BY seq DESC LIMIT 1",
        (sort.value, name),
    ).fetchone()
    return None if row is None else _fact(row)


def _next_began(journal: Journal, told: Told) -> datetime | None:
    found = journal.connection.execute(
        f"SELECT min((SELECT min(f.began) FROM fact f WHERE f.sort = ?1 AND f.about = ?2 AND f.replaced IS NULL"  # noqa: S608
        f" AND f.bits = size.bits AND f.began > ?3)) FROM (SELECT bits FROM {SIZES} UNION ALL SELECT {GOES_ON}) size",
        (told.sort.value, told.about, _micros(rfc3339(told.began_at))),
    ).get
    return None if found is None else moment(found)


def _going_on(journal: Journal, told: Told) -> Fact | None:
    row = journal.connection.execute(
        f"SELECT {_COLUMNS} FROM fact WHERE sort = ? AND about = ? AND replaced IS NULL AND bits = {GOES_ON}"  # noqa: S608
        " ORDER BY seq DESC LIMIT 1",
        (told.sort.value, told.about),
    ).fetchone()
    return None if row is None else _fact(row)


def _touched(journal: Journal, part: Mapping[str, Any]) -> list[Fact]:
    return [
        fact for name in ("ends", "replaces") if (other := part[name]) is not None for fact in known(journal, other)
    ]


def _apply(journal: Journal, seq: int, part: Mapping[str, Any]) -> None:
    connection = journal.connection
    if (other := part["ends"]) is not None:
        began: int = connection.execute("SELECT began FROM fact WHERE seq = ?", (other,)).get
        at = _micros(part["from"])
        connection.execute(
            "UPDATE fact SET closed = ?, ended = ?, bits = ? WHERE seq = ?", (seq, at, bits_of(began, at), other)
        )
    if (other := part["replaces"]) is not None:
        connection.execute("UPDATE fact SET replaced = ? WHERE seq = ?", (seq, other))
    if (row := row_of(seq, part)) is not None:
        connection.execute("INSERT INTO fact VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)", row)


def _fact(row: tuple[Any, ...]) -> Fact:
    seq, sort, about, value, began, ended = row
    return Fact(seq, Sort(sort), about, value, moment(began), None if ended is None else moment(ended))


def _micros(text: str) -> int:
    return micros(datetime.fromisoformat(text))
