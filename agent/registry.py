"""Entry points -> drivers and uplinks. A wrong one stops the start: evidence does not wait for what cannot run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import BaseModel, ValidationError

from agent.config import problems_of
from agent.driver import DriverOptions, Enrols
from agent.errors import ConfigError, Problem, Refusal
from agent.meant import nearest
from agent.uplink import UplinkOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config import Config
    from agent.driver import Driver, Enrolment
    from agent.uplink import Uplink

__all__ = [
    "DRIVERS",
    "UPLINKS",
    "Equipment",
    "LoadedDriver",
    "LoadedUplink",
    "assembled",
    "drivers_of",
    "enrolled",
    "equip",
    "installed",
    "stated",
]

DRIVERS: Final = "evidock.drivers"
UPLINKS: Final = "evidock.uplinks"

_Made: TypeAlias = tuple[Any, Any]
"""(options, driver or uplink; None where it cannot be made)."""


@dataclass(frozen=True, slots=True)
class LoadedDriver:
    """A driver that agent.toml asks for, made from its options."""

    options: DriverOptions
    driver: Driver


@dataclass(frozen=True, slots=True)
class LoadedUplink:
    """A destination that agent.toml asks for, made from its options."""

    options: UplinkOptions
    uplink: Uplink


@dataclass(frozen=True, slots=True)
class Equipment:
    """Everything that agent.toml asks for."""

    drivers: tuple[LoadedDriver, ...]
    uplinks: tuple[LoadedUplink, ...]


def installed(group: str) -> dict[str, EntryPoint]:
    """What is installed under an entry-point group, by name.

    Raises `ConfigError` when two packages claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.name in found and found[entry.name].value != entry.value:
            raise ConfigError(
                [Problem(f"{group}: {entry.name}", f"is claimed twice: {found[entry.name].value} and {entry.value}")],
                hint="Two installed packages bring a driver or uplink of one name: remove one of them.",
            )
        found[entry.name] = entry
    return found


def drivers_of(config: Config) -> tuple[LoadedDriver, ...]:
    """Make the drivers of the configuration, and no destination. Raises `ConfigError`."""
    problems: list[Problem] = []
    made = _make(config.driver, "driver", DRIVERS, DriverOptions, problems)
    if problems:
        raise ConfigError(problems)
    return tuple(LoadedDriver(options, driver) for options, driver in made if driver is not None)


def equip(config: Config) -> Equipment:
    """Make every driver and uplink of the configuration. Raises `ConfigError` with the problems of all of them."""
    equipment, problems = assembled(config)
    if problems:
        raise ConfigError(problems)
    return equipment


def assembled(config: Config) -> tuple[Equipment, list[Problem]]:
    """Make what can be made, and say what is wrong with the rest: for those who look, and never for the daemon."""
    drivers, uplinks, problems = _all(config)
    made = Equipment(
        tuple(LoadedDriver(options, driver) for options, driver in drivers if driver is not None),
        tuple(LoadedUplink(options, uplink) for options, uplink in uplinks if uplink is not None),
    )
    return made, problems


def stated(config: Config) -> tuple[list[DriverOptions], list[UplinkOptions], list[Problem]]:
    """What each table says, defaults included, also where it cannot be made here, and what is wrong."""
    drivers, uplinks, problems = _all(config)
    return [options for options, _ in drivers], [options for options, _ in uplinks], problems


def _all(config: Config) -> tuple[list[_Made], list[_Made], list[Problem]]:
    problems: list[Problem] = []
    drivers = _make(config.driver, "driver", DRIVERS, DriverOptions, problems)
    uplinks = _make(config.uplink, "uplink", UPLINKS, UplinkOptions, problems)
    if len(uplinks) == len(config.uplink):  # else what is missing may be the one that is asked for
        problems += _roles([options for options, _ in uplinks], config)
    return drivers, uplinks, problems


def _roles(uplinks: list[UplinkOptions], config: Config) -> list[Problem]:
    """What does not fit together: one destination is the primary, and the policy names only those that there are."""
    names = {options.name for options in uplinks}
    primaries = [options.name for options in uplinks if options.role == "primary"]
    found = [
        Problem("policy.receipts_from", f"no [[uplink]] is named {name}")
        for name in config.policy.receipts_from
        if uplinks and name not in names
    ]
    if uplinks and len(primaries) != 1:
        told = f"{', '.join(primaries)} are" if primaries else "none is"
        found.append(
            Problem("uplink", f'one destination must be the primary, and {told}: write role = "copy" or "fallback"')
        )
    return found


def enrolled(config: Config, wanted: str) -> Enrolment:
    """What the devices of one driver are given so that they find us; the driver itself is not made.

    `wanted` is its name, or a part of its `use` that no other table has. Raises `Refusal` and `ConfigError`.
    """
    tables = list(enumerate(config.driver))
    found = [one for one in tables if one[1].get("name") == wanted]
    found = found or [one for one in tables if wanted in str(one[1].get("use"))]
    if len(found) != 1:
        how = "no [[driver]] table is" if not found else f"{len(found)} [[driver]] tables are"
        raise Refusal(f"{how} called {wanted!r} in agent.toml", hint="List them: evidock driver list.")
    (number, table), problems = found[0], list[Problem]()
    made = _options(table, f"driver[{number}]", DRIVERS, DriverOptions, problems)
    if made is None:
        raise ConfigError(problems)
    kind, options = made
    if not isinstance(kind, Enrols):
        raise Refusal(f"the devices of {options.use} need no file to find this station", hint="Plug them in.")
    try:
        return kind.enrol(options)
    except ConfigError as error:
        places = [Problem(f"driver[{number}].{problem.path}", problem.message) for problem in error.problems]
        raise ConfigError(places, hint=error.what_to_do) from error


def _make(
    tables: tuple[dict[str, Any], ...], word: str, group: str, base: type[Any], problems: list[Problem]
) -> list[_Made]:
    """Those whose options are right, each with what was made of them, or None."""
    made: list[_Made] = []
    names: set[str] = set()
    for number, table in enumerate(tables):
        place = f"{word}[{number}]"
        if (found := _options(table, place, group, base, problems)) is None:
            continue
        kind, options = found
        if options.name in names:
            problems.append(Problem(f"{place}.name", f"{options.name} is used twice"))
        names.add(options.name)
        made.append((options, _made(kind, options, place, problems)))
    return made


def _made(kind: type[Any], options: Any, place: str, problems: list[Problem]) -> Any | None:  # noqa: ANN401 - either's
    try:
        return kind(options)
    except ConfigError as error:
        problems.extend(Problem(f"{place}.{found.path}", found.message) for found in error.problems)
    return None


def _options(
    table: Mapping[str, Any], place: str, group: str, base: type[Any], problems: list[Problem]
) -> tuple[Any, Any] | None:
    """(the class that a table's `use` names, its options)."""
    known = installed(group)
    entry = known.get(str(table.get("use")))
    if entry is None:
        meant = nearest(str(table.get("use", "")), known)
        hint = "" if meant is None else f"; is {meant} meant?"
        told = f"must be one of: {', '.join(sorted(known)) or 'none is installed'}{hint}"
        problems.append(Problem(f"{place}.use", told))
        return None
    try:
        kind = entry.load()
    except Exception as error:  # noqa: BLE001 - whatever a stranger's package does while it is imported
        problems.append(Problem(f"{place}.use", f"{entry.value} cannot be loaded: {error}"))
        return None
    options_type = getattr(kind, "Options", None)
    if not (isinstance(options_type, type) and issubclass(options_type, BaseModel) and issubclass(options_type, base)):
        problems.append(Problem(f"{place}.use", f"{entry.value} has no Options derived from {base.__name__}"))
        return None
    try:
        return kind, options_type.model_validate(dict(table))
    except ValidationError as error:
        problems.extend(problems_of(error, options_type, f"{place}."))
    return None
