"""What an observation tells of an interval, read with bounds: who had a device, which incident, what was on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from agent.capture import rfc3339
from agent.context.intervals import folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Observation

__all__ = [
    "EARLIEST",
    "INCIDENT_LONGEST",
    "LATEST",
    "POSITION",
    "WORD_MAX",
    "Malformed",
    "Sort",
    "Told",
    "about_device",
    "about_officer",
    "about_unit",
    "moment_of",
    "place_of",
    "told_of",
    "uncertainty_of",
    "unusable_time",
]

POSITION: Final = "position"
WORD_MAX: Final = 200
"""Characters of an officer, a unit, an incident, a category: what is longer is none."""
INCIDENT_LONGEST: Final = timedelta(hours=24)
"""A unit that nobody took off an incident is taken to have left it by then: a forgotten end tags no later shift."""

EARLIEST: Final = datetime(1980, 1, 6, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Times beyond these are joined to nothing: nobody recorded anything then."""
_COMPARED: Final = ("offset_us", "uncertainty_us")
_OFFSET_MAX: Final = 100 * 365 * 86_400_000_000
"""Microseconds: a clock that began at 1970 is closer."""


class Malformed(ValueError):
    """What was told cannot be understood; it is kept as it is, and joined to nothing."""


class Sort(StrEnum):
    """What sort of fact has an interval."""

    CLOCK = "clock"
    INCIDENT = "incident"
    MARK = "mark"
    OFFICER = "officer"
    UNIT = "unit"


@dataclass(frozen=True, slots=True)
class Told:
    """One fact with an interval, as its observation tells it."""

    sort: Sort
    about: str
    """A device, a unit or an officer: see the `about_` functions."""
    began_at: datetime
    ended_at: datetime | None
    """None: until further notice."""
    value: str | None = None
    """The officer, unit or incident, folded; None: nobody, or nothing of the kind."""
    name: str | None = None
    """A later word with the same name takes the place of this one."""
    ends: bool = False
    """It only says that what went on under this name is over."""
    withdrawn: bool = False


def about_device(device: str) -> str:
    """How facts about a device are found, by its id or serial number."""
    return f"device {folded(device)}"


def about_unit(unit: str) -> str:
    """How facts about a unit are found."""
    return f"unit {folded(unit)}"


def about_officer(officer: str) -> str:
    """How facts about an officer are found."""
    return f"officer {folded(officer)}"


def told_of(observation: Observation) -> Told | None:
    """What an observation tells of an interval; None where it tells of none. Raises `Malformed`."""
    told = _told(observation)
    for at in (None,) if told is None else (told.began_at, told.ended_at):
        if at is not None and not EARLIEST <= at <= LATEST:
            raise Malformed(f"a time of the year {at.year} cannot be true")
    return told


def _told(observation: Observation) -> Told | None:
    kind = observation.kind
    if kind == "clock.compared":
        at, micros = observation.observed_at, [observation.detail.get(name) for name in _COMPARED]
        if any(isinstance(one, bool) or not isinstance(one, int) or abs(one) > _OFFSET_MAX for one in micros):
            raise Malformed("a comparison of clocks has an offset and an uncertainty")
        return Told(Sort.CLOCK, about_device(observation.device), at, at)
    if kind == "assignment.officer":
        return _assigned(observation, Sort.OFFICER)
    if kind == "assignment.unit":
        return _assigned(observation, Sort.UNIT)
    if kind == "incident":
        return _incident(observation)
    if kind.startswith(("vehicle.", "trigger.")):
        return _marked(observation)
    return None


def _marked(observation: Observation) -> Told:
    on = observation.detail.get("on")
    if on is not None and not isinstance(on, bool):
        raise Malformed("`on` is true, false or left out")
    about, at = about_device(observation.device), observation.observed_at
    return Told(
        Sort.MARK,
        about,
        at,
        None if on else at,
        value=observation.kind,
        name=None if on is None else f"{about} {observation.kind}",
        ends=on is False,
    )


def _assigned(observation: Observation, sort: Sort) -> Told:
    detail = observation.detail
    if sort.value not in detail:
        raise Malformed(f"`{sort.value}` is missing; null says that there is none")
    value = None if detail[sort.value] is None else _word(detail, sort.value)
    began_at, ended_at = _interval(observation)
    return Told(sort, about_device(observation.device), began_at, ended_at, None if value is None else folded(value))


def _incident(observation: Observation) -> Told | None:
    detail = observation.detail
    incident = _word(detail, "incident")
    abouts = [
        about(_word(detail, name))
        for name, about in (("unit", about_unit), ("officer", about_officer), ("device", about_device))
        if detail.get(name) is not None
    ]
    if not abouts:
        return None  # an incident that concerns nobody of ours yet
    if len(abouts) > 1:
        raise Malformed("an incident is told for one unit, one officer or one device at a time")
    if detail.get("category") is not None:
        _word(detail, "category")
    began_at, ended_at = _interval(observation)
    # Without an id of the sender a unit's second time on an incident is another interval.
    name = f"{abouts[0]} {folded(incident)} {rfc3339(began_at) if 'from' in detail else ''}"
    if detail.get("id") is not None:
        name = folded(_word(detail, "id"))
    return Told(
        Sort.INCIDENT,
        abouts[0],
        began_at,
        began_at + INCIDENT_LONGEST if ended_at is None else ended_at,
        folded(incident),
        f"{observation.device} {name}",
        withdrawn=detail.get("withdrawn") is True,
    )


def _word(detail: Mapping[str, Any], name: str) -> str:
    said = detail.get(name)
    if isinstance(said, bool) or not isinstance(said, (str, int)):
        raise Malformed(f"`{name}` is a word")
    text = str(said).strip()
    if not 0 < len(text) <= WORD_MAX or not text.isprintable():
        raise Malformed(f"`{name}` has 1 to {WORD_MAX} printable characters")
    return text


def _interval(observation: Observation) -> tuple[datetime, datetime | None]:
    began_at = moment_of(observation.detail, "from") or observation.observed_at
    ended_at = moment_of(observation.detail, "until")
    if ended_at is not None and ended_at < began_at:
        raise Malformed("`until` is before `from`")
    return began_at, ended_at


def moment_of(detail: Mapping[str, Any], name: str) -> datetime | None:
    """A time of a detail. Raises `Malformed` where it is none, or names no zone."""
    said = detail.get(name)
    if said is None:
        return None
    found = None
    if isinstance(said, str):
        with suppress(ValueError, OverflowError):
            read = datetime.fromisoformat(said)
            found = None if read.utcoffset() is None else read.astimezone(UTC)
    if found is None or not EARLIEST <= found <= LATEST:
        raise Malformed(f"`{name}` is a time with its zone, such as 2026-11-22T07:02:17Z")
    return found


def unusable_time(detail: Mapping[str, Any]) -> bool:
    """Whether the time that was told is that of a receiver whose week has rolled over."""
    told = detail.get("time")
    return isinstance(told, dict) and bool(told.get("week_rollover")) and told.get("source") != "station"


def uncertainty_of(detail: Mapping[str, Any]) -> timedelta:
    """How far the time that was told may be off, where it says so: at most a day."""
    told = detail.get("time")
    micros = told.get("uncertainty_us") if isinstance(told, dict) else None
    if isinstance(micros, bool) or not isinstance(micros, int):
        return timedelta(0)
    return timedelta(microseconds=min(max(micros, 0), 86_400_000_000))


def place_of(detail: Mapping[str, Any]) -> dict[str, str] | None:
    """Latitude and longitude of a position, where it has both and they can be true."""
    try:
        found = {name: str(detail[name]) for name in ("latitude", "longitude")}
        if abs(float(found["latitude"])) <= 90 and abs(float(found["longitude"])) <= 180:  # noqa: PLR2004 - degrees
            return found
    except (KeyError, ValueError):
        pass
    return None
