"""The ignition goes off and comes back: by a real daemon at an emulated dock, and with copies under way."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from agent.capture import Observation, Standing
from agent.clock import Clock
from agent.config import PowerConfig, parse
from agent.errors import ConfigError, DeviceGone
from agent.journal import Journal
from agent.power import Power
from agent.testing.cameras import CameraFolder
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.process import LOG, DaemonProcess, tally
from agent.testing.rig import until
from agent.testing.station import Station
from drivers.in_car.emulator.dock import Dock
from drivers.in_car.emulator.line import Line
from tests.drivers.in_car.conftest import at_length

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def ignition(*, on: bool, device: str = "dock:dock") -> Observation:
    return Observation(device, "vehicle.ignition", datetime.now(UTC), {"on": on})


def events(state: Path) -> list[str]:
    journal = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    found = [json.loads(leaf)["predicate"]["event"] for _, leaf in journal.leaves.between(0, journal.leaves.size)]
    journal.close()
    return [event for event in found if event.startswith("power.")]


class Car:
    """A daemon in a car: a camera in its dock, and a trigger dock on a line."""

    def __init__(self, tmp_path: Path) -> None:
        self.camera = CameraFolder(tmp_path / "camera")
        self.line = Line(tmp_path / "dock")
        self.dock = Dock(self.line)
        trigger = {"use": "in_car.trigger_dock", "name": "dock", "port": str(self.line.path), "rescan": 0.05}
        self.daemon = DaemonProcess(tmp_path / "station", drivers=[self.camera.driver(), trigger])
        text = self.daemon.config.read_text()
        self.daemon.config.write_text(f'{text}\n[power]\nhold_up = "4 s"\ndevice = "dock:dock"\n')

    @property
    def word(self) -> str:
        file = self.daemon.state / "power"
        return file.read_text().strip() if file.exists() else ""

    @property
    def said(self) -> list[str]:
        """What systemd was told of the power since it was asked last."""
        found: list[str] = []
        assert self.daemon._bell is not None
        with suppress(BlockingIOError):
            while True:
                found.append(self.daemon._bell.recv(200).decode())
        return [one for one in found if one.startswith("STATUS=")]

    async def held(self, count: int) -> None:
        async with asyncio.timeout(60):
            while (await tally(self.daemon.state))["held"] < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@asynccontextmanager
async def car(tmp_path: Path) -> AsyncIterator[Car]:
    made = Car(tmp_path)
    made.dock.set(ignition=True)
    with made.line:
        serving = asyncio.create_task(made.dock.serve())
        try:
            async with made.daemon as daemon:
                await daemon.ready()
                yield made
        finally:
            serving.cancel()


async def test_a_daemon_comes_to_rest_says_so_and_goes_on(tmp_path: Path) -> None:
    async with car(tmp_path) as made:
        made.camera.record(some_bytes(3_000_000, 1))
        await made.held(1)
        await until(lambda: made.word == "on")
        made.dock.set(ignition=False)
        await until(lambda: made.word == "safe")
        assert made.said[-2:] == [
            "STATUS=ignition off: what is under way comes to its end",
            "STATUS=ignition off: safe, power may go",
        ]
        made.camera.record(some_bytes(1000, 2))
        await asyncio.sleep(0.5)
        assert (await tally(made.daemon.state))["held"] == 1, "something was taken while power may go"
        made.dock.set(ignition=True)
        await made.held(2)
        await until(lambda: made.word == "on")
        assert made.said == ["STATUS=ignition on"]
        log = made.daemon.words.read_text()
        assert "power_may_go" in log
        assert "not_safe_in_time" not in log
        await made.daemon.stop()
        assert events(made.daemon.state) == ["power.holding", "power.safe", "power.resumed"]
        await made.daemon.verify([made.camera], at_rest=True)


@at_length
async def test_power_that_goes_when_it_may_costs_nothing(tmp_path: Path) -> None:
    async with car(tmp_path) as made:
        for number in range(5):
            made.camera.record(some_bytes(1_500_000, number))
        await made.held(1)
        made.dock.set(ignition=False)
        await until(lambda: made.word == "safe")
        made.daemon.kill()
        await made.daemon.verify([made.camera])
        await made.daemon.start()
        await made.daemon.ready()
        # Its ignition is still off: the level at the start counts.
        await until(lambda: len(made.said) > 0 and made.word == "safe")
        standing = await tally(made.daemon.state)
        made.camera.record(some_bytes(1000))
        await asyncio.sleep(0.3)
        assert await tally(made.daemon.state) == standing
        made.dock.set(ignition=True)
        await made.held(6)
        await made.daemon.stop()
        await made.daemon.verify([made.camera], at_rest=True)


# -- with copies under way ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def power(
    station: Station, hold_up: float, tell: Callable[[str], None] = lambda _: None, **options: object
) -> AsyncIterator[Power]:
    async def flush() -> None:
        flushed.append(True)

    flushed: list[bool] = []
    made = Power(
        PowerConfig(hold_up=timedelta(seconds=hold_up), **options),  # type: ignore[arg-type]
        station.desk,
        beside=station.folder / "control.sock",
        flush=flush,
        mark=station.ingest.mark_ends,
        tell=tell,
    )
    task = asyncio.create_task(made.run())
    try:
        yield made
        assert flushed or made.word != "safe"
    finally:
        task.cancel()


async def test_a_copy_that_takes_too_long_is_marked_where_it_stands(tmp_path: Path) -> None:
    film = some_bytes(120 << 20, "film")
    device = BenchDevice()
    clip = device.record("film", film, wire="D" * 10_000)
    async with Station(tmp_path) as station:
        async with power(station, 2) as made:

            async def take() -> Standing:
                async with made.taking():
                    return await station.take(device.offer("film"))

            taking = asyncio.create_task(take())
            await until(lambda: clip.given > 8 << 20)
            began = asyncio.get_running_loop().time()
            await made.observe(ignition(on=False))
            with pytest.raises(DeviceGone, match="ignition is off"):
                await taking
            assert asyncio.get_running_loop().time() - began > 1, "it was given no time to end"
            await until(lambda: made.word == "safe")
            taken = clip.given
            assert taken < len(film)
        clip.wire = ""
        await station.restart(boot_id="after the cut")
        assert await station.take(device.offer("film")) is Standing.HELD
        resumed = clip.opened_at[-1]
        assert taken - resumed < 4 << 20, f"{taken} bytes had come, and it went on from {resumed}"
        station.devices.append(device)
        await station.verify()


async def test_a_copy_that_ends_in_time_is_held_before_it_is_safe(tmp_path: Path) -> None:
    device = BenchDevice()
    device.record("film", some_bytes(20 << 20), wire="D" * 15)
    async with Station(tmp_path) as station, power(station, 20) as made:

        async def take() -> Standing:
            async with made.taking():
                return await station.take(device.offer("film"))

        taking = asyncio.create_task(take())
        await asyncio.sleep(0.05)
        await made.observe(ignition(on=False))
        await until(lambda: made.word == "safe")
        assert taking.done()
        assert taking.result() is Standing.HELD


async def test_an_ignition_that_comes_back_at_once_ends_nothing(tmp_path: Path) -> None:
    device = BenchDevice()
    device.record("film", some_bytes(110 << 20), wire="D" * 120)
    async with Station(tmp_path) as station, power(station, 2) as made:

        async def take() -> Standing:
            async with made.taking():
                return await station.take(device.offer("film"))

        taking = asyncio.create_task(take())
        await asyncio.sleep(0.05)
        for _ in range(3):
            await made.observe(ignition(on=False))
            await until(lambda: made.word == "holding")
            await made.observe(ignition(on=True))
            await until(lambda: made.word == "on")
        assert await taking is Standing.HELD


async def test_a_toggle_quicker_than_anybody_looks_leaves_it_off_and_safe(tmp_path: Path) -> None:
    async with Station(tmp_path) as station, power(station, 2) as made:
        for on in (False, True, False):
            await made.observe(ignition(on=on))
        await until(lambda: made.word == "safe")
        waiting = asyncio.create_task(made.taking().__aenter__())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        (notice,) = made.notices()
        assert notice["id"] == "power.off"
        await made.observe(ignition(on=True))
        await waiting


async def test_a_copy_that_is_ending_when_the_ignition_comes_back_ends_nothing_else(tmp_path: Path) -> None:
    async with Station(tmp_path) as station, power(station, 2) as made:
        ending = asyncio.Event()

        async def slow() -> None:
            async with made.taking():
                try:
                    await asyncio.sleep(60)
                finally:
                    ending.set()
                    await asyncio.sleep(0.5)  # a thread that cannot be hurried

        copy = asyncio.create_task(slow())
        await asyncio.sleep(0)
        await made.observe(ignition(on=False))
        await ending.wait()
        await made.observe(ignition(on=True))
        await until(lambda: made.word == "on")
        with pytest.raises(DeviceGone):
            await copy
        async with made.taking():
            await asyncio.sleep(0.05)  # the limit of the last time is gone
            assert made.on


async def test_it_is_safe_when_the_last_copy_ended_and_not_the_first(tmp_path: Path) -> None:
    async with Station(tmp_path) as station, power(station, 20) as made:
        ends = [asyncio.Event(), asyncio.Event()]

        async def copy(end: asyncio.Event) -> None:
            async with made.taking():
                await end.wait()

        copies = [asyncio.create_task(copy(end)) for end in ends]
        await asyncio.sleep(0)
        await made.observe(ignition(on=False))
        await until(lambda: made.word == "holding")
        ends[0].set()
        await copies[0]
        await asyncio.sleep(0.1)
        assert made.word == "holding"
        ends[1].set()
        await until(lambda: made.word == "safe")


async def test_nobody_says_that_it_is_safe_when_the_ignition_came_back(tmp_path: Path) -> None:
    told: list[str] = []
    async with Station(tmp_path) as station, power(station, 20, told.append) as made, made.taking():
        await made.observe(ignition(on=False))
        await until(lambda: made.word == "holding")
        await made.observe(ignition(on=True))
        await until(lambda: made.word == "on")
    assert told == [
        "STATUS=ignition on",
        "STATUS=ignition off: what is under way comes to its end",
        "STATUS=ignition on",
    ]


async def test_a_device_that_hangs_is_said_and_it_is_not_safe(tmp_path: Path) -> None:
    async with Station(tmp_path) as station:
        with structlog.testing.capture_logs() as log:
            async with power(station, 2) as made:
                hangs = asyncio.Event()

                async def copy() -> None:
                    async with made.taking():
                        try:
                            await asyncio.sleep(60)
                        finally:
                            await hangs.wait()  # a thread that cannot be hurried

                task = asyncio.create_task(copy())
                await asyncio.sleep(0)
                await made.observe(ignition(on=False))
                await until(lambda: "not_safe_in_time" in [line["event"] for line in log])
                assert made.word == "holding"
                hangs.set()
                with pytest.raises(DeviceGone):
                    await task
                await until(lambda: made.word == "safe")


async def test_an_ignition_that_nobody_tells_of_is_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.power._UNTOLD_SECONDS", 0.1)
    async with Station(tmp_path) as station, power(station, 2) as made:
        await until(lambda: [notice["id"] for notice in made.notices()] == ["power.untold"])
        await made.observe(ignition(on=True))
        assert not list(made.notices())


async def test_other_devices_and_other_facts_mean_nothing(tmp_path: Path) -> None:
    async with Station(tmp_path) as station, power(station, 2, device="dock:dock") as made:
        await made.observe(ignition(on=False, device="dock:other"))
        await made.observe(Observation("dock:dock", "vehicle.siren", datetime.now(UTC), {"on": False}))
        await made.observe(Observation("dock:dock", "vehicle.ignition", datetime.now(UTC), {"on": "no"}))
        await asyncio.sleep(0.05)
        assert made.word == "on"


async def test_a_failure_inside_that_looks_like_a_time_out_stays_what_it_is(tmp_path: Path) -> None:
    async with Station(tmp_path) as station, power(station, 2) as made:
        with pytest.raises(TimeoutError):
            async with made.taking():
                raise TimeoutError


def test_a_supply_that_holds_up_for_no_time_is_no_supply() -> None:
    head = '[station]\nname = "car"\nagency = "example.org"\n'
    with pytest.raises(ConfigError, match=r"power\.hold_up"):
        parse(f'{head}[power]\nhold_up = "1 s"\n')
    assert parse(head).power is None
    assert Path("/x") == (parse(f'{head}[power]\nfile = "/x"\n').power or PowerConfig()).file
