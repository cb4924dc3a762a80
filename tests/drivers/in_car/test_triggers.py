"""Inputs that are on or off: frames against their sources, levels against bounce, a dock on a line."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Device, Stamp
from agent.testing.observing import Watcher
from agent.testing.rig import running, until
from drivers.in_car.emulator.dock import Dock
from drivers.in_car.emulator.line import Line
from drivers.in_car.triggers import TriggerDock
from drivers.in_car.triggers.levels import InputWords, Levels
from firmware_specs.formats import coban_trigger as coban
from firmware_specs.formats.modbus_rtu import Read, Table, crc16
from firmware_specs.formats.source import Malformed
from tests.drivers.in_car.conftest import LONG, VECTORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


pytestmark = pytest.mark.proves("in_car.modbus_inputs", vectors="frames between mbpoll 1.4.11 and pymodbus 3.16.1")


@pytest.fixture(autouse=True)
def _less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.in_car.triggers.asking.ANSWER_SECONDS", 0.25)
    monkeypatch.setattr("drivers.in_car.emulator.line.LATE", 0.6)


# -- frames ------------------------------------------------------------------------------------------------------------


def captured() -> list[tuple[str, bytes]]:
    """Between mbpoll and pymodbus: see the README of the vectors."""
    lines = (VECTORS / "modbus_frames.txt").read_text().splitlines()
    return [(line[:3], bytes.fromhex(line[4:].partition("#")[0])) for line in lines if line[:3] in ("REQ", "RSP")]


def test_every_captured_frame_has_the_check_sum_that_we_compute() -> None:
    frames = captured()
    assert len(frames) == 18
    assert all(crc16(frame[:-2]) == frame[-2:] for _, frame in frames)


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (Read(1, Table.HOLDING, 0, 3), (4660, 42, 7)),
        (Read(1, Table.INPUT, 0, 2), (1300, 25)),
        (Read(1, Table.DISCRETE, 0, 4), (1, 0, 1, 1)),
        (Read(1, Table.COIL, 0, 4), (0, 0, 0, 0)),
    ],
)
def test_a_reading_is_asked_and_answered_as_captured(read: Read, values: tuple[int, ...]) -> None:
    frames = captured()
    at = next(number for number, (_, frame) in enumerate(frames) if frame == read.request)
    answer = frames[at + 1][1]
    assert read.ends(answer)
    assert read.answer(answer) == values
    for cut in range(len(answer)):
        with pytest.raises(Malformed):
            read.answer(answer[:cut])
    for bit in range(len(answer) * 8):
        with pytest.raises(Malformed):
            read.answer((int.from_bytes(answer, "big") ^ 1 << bit).to_bytes(len(answer), "big"))
    with pytest.raises(Malformed, match=r"another request|wrong check sum"):
        Read(2, read.table, read.address, read.count).answer(answer)


def test_an_exception_is_told_with_its_reason() -> None:
    read = Read(1, Table.HOLDING, 60000, 1)
    frames = [frame for _, frame in captured()]
    assert read.request in frames
    exception = frames[frames.index(read.request) + 1]
    assert read.ends(exception)
    with pytest.raises(Malformed, match="no such address"):
        read.answer(exception)


# In-Car Trigger User Guide V1.01, FCC document 3628652: registers and framing; the frames are computed from them.
GUIDE = [
    (coban.IDENTITY, "A1 00 00 00 08 57", "A1 00 00 00 08 00 A1 01 02 01 05 00 04 10 99"),
    (coban.INPUTS, "A1 00 00 06 02 57", "A1 00 00 06 02 00 84 10 C3"),
    (coban.CAMERA, "A1 00 00 19 06 40", "A1 00 00 19 06 00 AC CC 8E 00 00 01 39"),
    (
        coban.OWNER[0],
        "A1 00 00 1F 10 30",
        "A1 00 00 1F 10 00 42 61 64 67 65 20 34 34 37 31 00 00 00 00 00 00 6D",
    ),
    (coban.CAMERA_STATUS, "A1 00 00 60 01 FE", "A1 00 00 60 01 00 02 FC"),
]


@pytest.mark.parametrize(("read", "request_", "answer"), GUIDE)
def test_the_frames_of_the_guide(read: coban.Read, request_: str, answer: str) -> None:
    raw = bytes.fromhex(answer)
    assert read.request == bytes.fromhex(request_)
    assert sum(raw) & 0xFF == 0
    assert read.answer(raw) == raw[6:-1]
    for cut in range(len(raw)):
        assert not read.ends(raw[:cut])
        with pytest.raises(Malformed):
            read.answer(raw[:cut])


def test_what_the_dock_says() -> None:
    identity = coban.Identity.of(coban.IDENTITY.answer(bytes.fromhex(GUIDE[0][2])))
    assert (identity.product, identity.loader, identity.application) == (0xA1, "1.2", "1.5")
    assert coban.Inputs.of(bytes.fromhex("8410")) == coban.Inputs(light_bar=True, aux=False, ignition=True)
    assert coban.Inputs.of(bytes.fromhex("4210")) == coban.Inputs(light_bar=False, aux=True, ignition=True)
    assert coban.Inputs.of(bytes(2)) == coban.Inputs(light_bar=False, aux=False, ignition=False)
    assert coban.owner(coban.OWNER[0].answer(bytes.fromhex(GUIDE[3][2])) + bytes(16)) == "Badge 4471"


def test_an_error_answer_may_come_with_data_or_without() -> None:
    for data in (b"", bytes(2)):
        body = bytes.fromhex("A1 00 00 06 02 07") + data
        with pytest.raises(Malformed, match="error 7"):
            coban.INPUTS.answer(body + bytes([-sum(body) & 0xFF]))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    for question in (coban.INPUTS, coban.IDENTITY, Read(1, Table.DISCRETE, 0, 9), Read(247, Table.INPUT, 65535, 1)):
        question.ends(data)
        try:
            question.answer(data)
        except Malformed:
            continue


# -- levels ------------------------------------------------------------------------------------------------------------


class Desk:
    """Levels with a clock that a test turns."""

    def __init__(self, **words: object) -> None:
        self.now, self.watcher = 0.0, Watcher()
        self.watcher.sighted.append(Device("io:io", "in_car", "io"))
        made = InputWords.model_validate({"name": "light_bar", **words})
        self.levels = Levels("io:io", {"x": (made, "discrete 3")}, stamp=self.stamp, now=lambda: self.now)

    def stamp(self) -> Stamp:
        return Stamp(datetime.fromtimestamp(self.now, UTC), "boot", 0, "kernel", synchronised=True, uncertainty_us=1)

    async def see(self, levels: str, step: float = 0.05) -> None:
        """One letter for each reading: `1` and `0`."""
        for level in levels:
            await self.levels.seen({"x": level == "1"}, self.watcher)
            self.now += step

    @property
    def told(self) -> list[tuple[object, object]]:
        return [(one.detail["edge"], one.detail["on"]) for one in self.watcher.observed]


async def test_the_level_at_the_start_is_told_and_then_each_change() -> None:
    desk = Desk()
    await desk.see("00011100")
    assert desk.told == [("start", False), ("rise", True), ("fall", False)]
    rise = desk.watcher.observed[1]
    assert rise.kind == "vehicle.light_bar"
    assert rise.observed_at == datetime.fromtimestamp(0.15, UTC), "when it was first seen, not when it was believed"
    assert (rise.detail["source"], rise.detail["debounced_ms"]) == ("discrete 3", 30)


async def test_what_bounces_is_told_once() -> None:
    desk = Desk(debounce=0.2)
    await desk.see("000000")
    await desk.see("1010111111")
    assert desk.told == [("start", False), ("rise", True)]


async def test_what_bounces_slowly_is_told_once_too() -> None:
    desk = Desk(debounce=0.2)
    await desk.see("000000" + "110011001111111")
    assert desk.told == [("start", False), ("rise", True)]
    assert desk.watcher.observed[1].observed_at == datetime.fromtimestamp(0.7, UTC)


async def test_one_disturbed_reading_is_not_told() -> None:
    desk = Desk(debounce=0)
    await desk.see("11011")
    assert desk.told == [("start", True)]


async def test_an_inverted_input_is_on_while_its_contact_is_open() -> None:
    desk = Desk(inverted=True, name="gun_rack")
    await desk.see("1100")
    assert desk.told == [("start", False), ("rise", True)]
    assert desk.watcher.observed[0].kind == "trigger.gun_rack"


async def test_a_line_that_chatters_is_reported_and_told_again_when_it_is_calm() -> None:
    desk = Desk(debounce=0)
    await desk.see("00")
    await desk.see("1100" * 8, step=0.02)
    (notice,) = desk.levels.notices()
    assert (notice.id, notice.what) == ("input.chatters", "light_bar")
    count = len(desk.told)
    await desk.see("1100" * 8, step=0.02)
    assert len(desk.told) == count
    await desk.see("1" * 30)
    assert desk.told[-1] == ("rise", True)
    assert not list(desk.levels.notices())


async def test_what_was_away_is_told_anew() -> None:
    desk = Desk()
    await desk.see("11")
    desk.levels.lost()
    await desk.see("11")
    assert desk.told == [("start", True), ("start", True)]


# -- the dock ----------------------------------------------------------------------------------------------------------


def dock_driver(line: Line, **options: object) -> TriggerDock:
    told = {"use": "in_car.trigger_dock", "name": "dock", "port": str(line.path), "rescan": 0.05, "poll": 0.01}
    return TriggerDock(TriggerDock.Options.model_validate({**told, **options}))


@asynccontextmanager
async def docked(tmp_path: Path, *, wire: str = "", **facts: int) -> AsyncIterator[tuple[Line, Dock]]:
    with Line(tmp_path / "dock", wire=wire) as line:
        dock = Dock(line, **facts)
        task = asyncio.create_task(dock.serve())
        try:
            yield line, dock
        finally:
            task.cancel()


def told(watcher: Watcher, kind: str) -> list[object]:
    return [one.detail["on"] for one in watcher.of(kind)]


@pytest.mark.parametrize("wire", ["", "nnnn", "cfgt", "bbbbbbb", "fff", "ddr"] if LONG else ["cfgtb"])
async def test_ignition_light_bar_and_siren_come_through_any_wire(tmp_path: Path, wire: str) -> None:
    async with docked(tmp_path, wire=wire) as (line, dock):
        dock.set(ignition=True)
        watcher = Watcher()
        async with running(dock_driver(line, aux={"name": "siren"}), watcher):
            await until(lambda: told(watcher, "vehicle.ignition") == [True])
            dock.set(light_bar=True, aux=True)
            await until(lambda: told(watcher, "vehicle.siren") == [False, True])
            dock.set(ignition=False)
            await until(lambda: told(watcher, "vehicle.ignition") == [True, False])
    assert told(watcher, "vehicle.light_bar") == [False, True]
    assert watcher.sighted[0].firmware == "1.5 (loader 1.2)"
    assert all(request[1] == 0 for request in dock.asked), "something was written"


async def test_who_is_paired_is_told_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.in_car.triggers.dock.CAMERA_SECONDS", 0.05)
    async with docked(tmp_path) as (line, dock):
        watcher = Watcher()
        async with running(dock_driver(line), watcher):
            await until(lambda: len(watcher.of("dock.paired")) == 1)
            dock.pair(bytes.fromhex("ACCC8E000001"), b"Badge 4471\x07")
            await until(lambda: len(watcher.of("dock.paired")) == 2)
    first, second = watcher.of("dock.paired")
    assert first.detail["camera"] is None
    assert (second.detail["camera"], second.detail["tag"]) == ("ac:cc:8e:00:00:01", "Badge 4471")


async def test_another_product_is_not_asked_for_inputs(tmp_path: Path) -> None:
    async with docked(tmp_path, product=0xA2) as (line, _):
        made, watcher = dock_driver(line), Watcher()
        async with running(made, watcher):
            await until(lambda: "no In-Car Trigger" in made._source.state)
        assert not watcher.observed


async def test_a_dock_that_reports_errors_is_told_and_found_again(tmp_path: Path) -> None:
    async with docked(tmp_path) as (line, dock):
        made, watcher = dock_driver(line), Watcher()
        async with running(made, watcher):
            await until(lambda: bool(told(watcher, "vehicle.ignition")))
            dock.error = 9
            await until(lambda: any("error 9" in notice.detail for notice in made.notices()))
            dock.error = 0
            await until(lambda: not made.notices())
            await until(lambda: len(told(watcher, "vehicle.ignition")) == 2)
