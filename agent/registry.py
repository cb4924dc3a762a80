"""Entry points -> drivers and uplinks. A wrong one stops the start: evidence does not wait for what cannot run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from agent.config import problems_of
from agent.driver import DriverOptions
from agent.errors import ConfigError, Problem
from agent.uplink import UplinkOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config import Config
    from agent.driver import Driver
    from agent.uplink import Uplink

__all__ = ["DRIVERS", "UPLINKS", "Equipment", "LoadedDriver", "LoadedUplink", "equip", "installed"]

DRIVERS: Final = "evidock.drivers"
UPLINKS: Final = "evidock.uplinks"


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


def equip(config: Config) -> Equipment:
    """Make every driver and uplink of the configuration. Raises `ConfigError` with the problems of all of them."""
    problems: list[Problem] = []
    drivers = [
        LoadedDriver(options, made)
        for options, made in _make(config.driver, "driver", DRIVERS, DriverOptions, problems)
    ]
    uplinks = [
        LoadedUplink(options, made)
        for options, made in _make(config.uplink, "uplink", UPLINKS, UplinkOptions, problems)
    ]
    if len(uplinks) > 1:
        problems.append(Problem("uplink", "there can be one destination"))
    if problems:
        raise ConfigError(problems)
    return Equipment(tuple(drivers), tuple(uplinks))


def _make(
    tables: tuple[dict[str, Any], ...], word: str, group: str, base: type[Any], problems: list[Problem]
) -> list[tuple[Any, Any]]:
    known = installed(group)
    made: list[tuple[Any, Any]] = []
    names: set[str] = set()
    for number, table in enumerate(tables):
        place = f"{word}[{number}]"
        entry = known.get(str(table.get("use")))
        if entry is None:
            problems.append(
                Problem(f"{place}.use", f"must be one of: {', '.join(sorted(known)) or 'none is installed'}")
            )
            continue
        if (one := _make_one(entry, table, place, base, problems)) is None:
            continue
        if one[0].name in names:
            problems.append(Problem(f"{place}.name", f"{one[0].name} is used twice"))
        names.add(one[0].name)
        made.append(one)
    return made


def _make_one(
    entry: EntryPoint, table: Mapping[str, Any], place: str, base: type[Any], problems: list[Problem]
) -> tuple[Any, Any] | None:
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
        options = options_type.model_validate(dict(table))
        return options, kind(options)
    except ValidationError as error:
        problems.extend(problems_of(error, f"{place}."))
    except ConfigError as error:
        problems.extend(Problem(f"{place}.{found.path}", found.message) for found in error.problems)
    return None
