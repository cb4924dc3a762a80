"""How far a driver is proven, as it stands in `quality.toml` beside its module: five marks, each with its evidence.

    emulator      the device is emulated, and the driver is tried with it
    conformance   it passes the shipped suite of all drivers
    vectors       what it reads was compared with bytes from outside our code: a standard's, a recorded device's
    peer          a program of another author was on the other end
    device        a real device was

`python -m agent.testing.quality` writes the file from what it finds in the tests; nobody writes it by hand.
"""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["FILE", "MARKS", "Quality", "folder_of", "quality_of"]

FILE: Final = "quality.toml"
MARKS: Final = ("emulator", "conformance", "vectors", "peer", "device")


@dataclass(frozen=True, slots=True)
class Quality:
    """The marks of one driver. `evidence`: where each is proven, or from whom it comes; no mark without any."""

    evidence: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def marks(self) -> int:
        """How many of the five it has."""
        return sum(bool(self.evidence.get(name)) for name in MARKS)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Those that it has not."""
        return tuple(name for name in MARKS if not self.evidence.get(name))

    def __str__(self) -> str:
        """As a person reads it: `4 of 5, no device`."""
        lacking = "".join(f", no {name}" for name in self.lacking)
        return f"{self.marks} of {len(MARKS)}{lacking}"


def folder_of(entry: EntryPoint) -> Path | None:
    """The folder in which a driver's module lies; found without running it. None where it is not there."""
    try:
        found = importlib.util.find_spec(entry.module)
    except (ImportError, ValueError):
        return None
    return None if found is None or found.origin is None else Path(found.origin).parent


def quality_of(entry: EntryPoint) -> Quality | None:
    """What is known of a driver; None where nobody has judged it, or the file cannot be read."""
    if (folder := folder_of(entry)) is None:
        return None
    try:
        told = tomllib.loads((folder / FILE).read_text("utf-8")).get(entry.name)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    if not isinstance(told, dict):
        return None
    lists = {name: told.get(name) for name in MARKS}
    return Quality({name: tuple(map(str, one)) for name, one in lists.items() if isinstance(one, list)})
