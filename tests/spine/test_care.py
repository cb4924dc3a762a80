"""What a device needs: firmware that is told of, and its clock, compared and, where the policy says so, set."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agent import care
from agent.capture import Device, Stamp
from agent.clock import Clock
from agent.config import FirmwareRule
from agent.driver import ClockReading
from agent.errors import DeviceRefused
from agent.presence import Presence
from firmware_specs.devices import DeviceSpec
from firmware_specs.devices.versions import fitting, order, within
from tests.spine.test_presence import desk, events

if TYPE_CHECKING:
    from agent.journal import Desk

__all__ = ["desk"]

CAMERA = Device("usb:1:2:3", "body_worn", "bay-1", maker="Evidock", model="Emulated BWC", spec="emulated_bwc")


# --- versions ---------------------------------------------------------------------------------------------------------


def test_versions_are_ordered_as_people_read_them() -> None:
    told = ["1.9", "1.10", "2.0-rc1", "2.0", "2.0b", "2.0.1", "2.10", "2.10.0.1"]
    mixed = [*told[4:], *told[:4]]
    assert sorted(mixed, key=order) == told
    assert order("v1.2") == order("1.2") == order("V1.2")
    assert order("H19.03.01.30.00") < order("H19.03.01.31.00") < order("h19.03.02")


@pytest.mark.parametrize(
    ("version", "versions", "inside"),
    [
        ("1.3", "1.3", True), ("1.3.1", "1.3", False), ("1.3", "1.2..1.4", True), ("1.4", "1.2..1.4", True),
        ("1.4.1", "1.2..1.4", False), ("0.9", "..1.2", True), ("1.3", "..1.2", False), ("9", "2..", True),
    ],
)  # fmt: skip
def test_a_range_has_both_of_its_ends(version: str, versions: str, inside: bool) -> None:  # noqa: FBT001 - a case
    assert within(version, versions) is inside


def spec(name: str, version: str | None = None) -> DeviceSpec:
    more = {} if version is None else {"of": "x", "version": version}
    told = {"name": name, "family": "body_worn", "layout": "dcf", "match": {"paths": ["DCIM"]}}
    return DeviceSpec.model_validate(told | more)


@pytest.mark.parametrize(
    ("firmware", "chosen", "how"),
    [
        ("2.0", "x_2", "exact"),
        ("2.4", "x_2", "newest older: 2.0"),
        ("3.1", "x_3", "newest older: 3.0"),
        ("1.9", "x", "any firmware"),
        (None, "x", "firmware not told"),
    ],
)
def test_the_exact_spec_counts_else_the_newest_older_one(firmware: str | None, chosen: str, how: str) -> None:
    found = fitting((one, firmware) for one in (spec("x_3", "3.0"), spec("x"), spec("x_2", "2.0")))
    assert found is not None
    assert (found.spec.name, found.how) == (chosen, how)


def test_what_is_older_than_everything_described_is_not_guessed_at() -> None:
    assert fitting([(spec("x_2", "2.0"), "1.9"), (spec("x_3", "3.0"), "1.9")]) is None


# --- notices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("firmware", "told"),
    [
        ("1.4.2", []),
        ("1.3.1", ["firmware.known_bad"]),
        ("1.1.9", ["firmware.old"]),
        (None, []),
    ],
)
def test_a_spec_tells_of_firmware_that_is_bad_or_old(firmware: str | None, told: list[str]) -> None:
    found = list(care.notices([replace(CAMERA, firmware=firmware)], ()))
    assert [one["id"] for one in found] == told
    assert all("emulator" in str(one["detail"]) for one in found)  # who says so


def test_an_agency_adds_what_it_knows() -> None:
    rules = [
        FirmwareRule(maker="evidock", minimum="2.0", why="of our order 7"),
        FirmwareRule(spec="emulated_bwc", bad=("1.4..1.4.9",), why="it loses sound"),
        FirmwareRule(maker="Other", minimum="9"),
    ]
    found = list(care.notices([replace(CAMERA, firmware="1.4.2")], rules))
    assert [(one["id"], one["detail"]) for one in found] == [
        ("firmware.old", "usb:1:2:3 has firmware 1.4.2: at least 2.0: of our order 7 (agent.toml)"),
        ("firmware.known_bad", "usb:1:2:3 has firmware 1.4.2: it loses sound (agent.toml)"),
    ]
    assert list(care.notices([replace(CAMERA, spec=None, maker=None, firmware="0.1")], rules)) == []


@pytest.mark.parametrize("rule", [{"minimum": "1"}, {"maker": "x"}, {"maker": "x", "bad": [".."]}])
def test_a_rule_says_whose_firmware_and_what_is_wrong(rule: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"say |write a version"):
        FirmwareRule.model_validate(rule)


def test_there_is_an_end_to_notices() -> None:
    many = [replace(CAMERA, id=f"usb:{number}", firmware="1.0") for number in range(500)]
    assert len(list(care.notices(many, ()))) == 100


# --- clocks -----------------------------------------------------------------------------------------------------------


class Settable:
    """A camera an hour ahead, whose clock can be set."""

    def __init__(self, *, fails: bool = False) -> None:
        self.off, self.fails, self.set = timedelta(hours=1), fails, 0

    async def run(self, intake: object, /) -> None:
        raise NotImplementedError

    async def read_clock(self, _: Device, /) -> ClockReading:
        return ClockReading(datetime.now(UTC) + self.off, timedelta(0))

    async def set_clock(self, _: Device, /) -> None:
        self.set += 1
        if self.fails:
            raise DeviceRefused("it is locked")
        self.off = timedelta(0)


class Kept(Clock):
    """Our own clock; `right`: something keeps it so."""

    def __init__(self, *, right: bool = True) -> None:
        super().__init__()
        self.right = right

    def stamp(self) -> Stamp:
        return replace(super().stamp(), synchronised=self.right, uncertainty_us=100 if self.right else None)


async def kinds(desk: Desk) -> list[str]:
    return [said["observation"]["kind"] for said in await events(desk) if "observation" in said]


async def test_a_clock_is_set_between_two_entries(desk: Desk) -> None:
    driver = Settable()
    presence = Presence(desk, Kept(), {"bay-1": driver}, sets_clocks=timedelta(seconds=2))
    await presence.sight(CAMERA)
    assert await kinds(desk) == ["clock.compared", "clock.to_be_set", "clock.set"]
    last = (await events(desk))[-1]["observation"]["detail"]
    assert abs(last["before"]["offset_us"] - 3_600_000_000) < 5_000_000
    assert abs(last["after"]["offset_us"]) < 5_000_000
    seen = presence.devices[CAMERA.id].clock
    assert seen is not None
    assert abs(int(str(seen["was_off_us"])) - 3_600_000_000) < 5_000_000


@pytest.mark.parametrize(
    ("least", "right", "off"),
    [
        (None, True, timedelta(hours=1)),
        (timedelta(seconds=2), False, timedelta(hours=1)),
        (timedelta(hours=2), True, timedelta(hours=1)),
    ],
    ids=["the policy says no", "ours is not known to be right", "it is near enough"],
)
async def test_it_is_not_set(desk: Desk, least: timedelta | None, right: bool, off: timedelta) -> None:  # noqa: FBT001
    driver = Settable()
    driver.off = off
    await Presence(desk, Kept(right=right), {"bay-1": driver}, sets_clocks=least).sight(CAMERA)
    assert driver.set == 0
    assert await kinds(desk) == ["clock.compared"]


async def test_a_device_that_cannot_be_set_is_told_of_and_taken_all_the_same(desk: Desk) -> None:
    driver = Settable(fails=True)
    presence = Presence(desk, Kept(), {"bay-1": driver}, sets_clocks=timedelta(seconds=2))
    assert await presence.sight(CAMERA)
    assert await kinds(desk) == ["clock.compared", "clock.to_be_set"]
