"""Entry points -> drivers and uplinks: a wrong one stops the start, with the problems of all of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from agent import registry
from agent.config import parse
from agent.driver import DriverOptions
from agent.errors import ConfigError
from agent.registry import DRIVERS, UPLINKS, equip, installed

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = '[station]\nname = "d"\nagency = "example.org"\n'
HERE = __name__


class Fine:
    class Options(DriverOptions):
        path: str

    def __init__(self, options: Options) -> None:
        self.options = options


class NoOptions:
    pass


class Base:
    Options = DriverOptions


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    found = {DRIVERS: [], UPLINKS: []}

    class Made(EntryPoint):
        def load(self) -> object:
            if self.value == "breaks":
                raise RuntimeError("boom")
            return globals()[self.value]

    def add(name: str, value: str) -> None:
        found[DRIVERS].append(Made(name, value, DRIVERS))

    monkeypatch.setattr(registry, "entry_points", lambda group: found[group])
    return add


def problems(toml: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        equip(parse(HEAD + toml))
    return {problem.path: problem.message for problem in caught.value.problems}


def test_what_is_shipped_is_installed() -> None:
    assert "body_worn.usb_volume" in installed(DRIVERS)
    assert "tus" in installed(UPLINKS)


def test_nothing_asked_for_is_nothing_made() -> None:
    made = equip(parse(HEAD))
    assert (made.drivers, made.uplinks) == ((), ())


def test_a_driver_is_made_from_its_own_options(entries: Callable[[str, str], None]) -> None:
    entries("fine", "Fine")
    (loaded,) = equip(parse(f'{HEAD}[[driver]]\nuse = "fine"\nname = "bay"\npath = "/x"')).drivers
    assert (loaded.options.path, loaded.options.rescan) == ("/x", 5.0)


def test_all_that_is_wrong_is_told_at_once(entries: Callable[[str, str], None]) -> None:
    entries("fine", "Fine")
    entries("plain", "NoOptions")
    entries("broken", "breaks")
    found = problems(
        """
        [[driver]]
        use = "missing"
        name = "a"
        [[driver]]
        use = "plain"
        name = "b"
        [[driver]]
        use = "broken"
        name = "c"
        [[driver]]
        use = "fine"
        name = "d e"
        extra = 1
        [[driver]]
        name = "f"
        [[driver]]
        use = "fine"
        name = "g"
        path = "/x"
        [[driver]]
        use = "fine"
        name = "g"
        path = "/x"
        """
    )
    assert found.keys() == {
        "driver[0].use",
        "driver[1].use",
        "driver[2].use",
        "driver[3].name",
        "driver[3].path",
        "driver[3].extra",
        "driver[4].use",
        "driver[6].name",
    }
    assert "broken, fine, plain" in found["driver[0].use"]
    assert "no Options" in found["driver[1].use"]
    assert "boom" in found["driver[2].use"]
    assert "used twice" in found["driver[6].name"]


def test_two_packages_of_one_name_stop_the_start(entries: Callable[[str, str], None]) -> None:
    entries("same", "Fine")
    entries("same", "Base")
    with pytest.raises(ConfigError, match="claimed twice"):
        installed(DRIVERS)
