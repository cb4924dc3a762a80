"""ONVIF events through a real mosquitto, published by its own client: acknowledged when held, given again when not."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import drivers.alpr.broker
from agent.errors import BadCapture, SpoolFull
from agent.journal import queries
from agent.testing.broker import Mosquitto, mosquitto_program
from agent.testing.probe import Probe
from agent.testing.rig import WantsAll, running
from agent.testing.station import Station
from drivers.alpr.broker import Broker
from drivers.alpr.emulator import MESSAGES, Passage, jpeg
from tests.drivers.alpr.conftest import eventually
from tests.drivers.alpr.oracle import sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.proves("alpr.mqtt", peer="mosquitto and its clients"),
    pytest.mark.skipif(
        mosquitto_program() is None or shutil.which("mosquitto_pub") is None,
        reason="mosquitto and mosquitto-clients are not installed",
    ),
    pytest.mark.interop,
]

TOPIC = "town/car42/onvif-ej/RuleEngine/Recognition/LicensePlate/&1/LPR-Detector_1"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with Mosquitto(tmp_path / "broker", settings=["message_size_limit 1048576"]) as made:
        yield made


def driver(broker: Mosquitto, **more: Any) -> Broker:  # noqa: ANN401
    camera = {"name": "front", "prefix": "town/car42", **more}
    camera = {name: value for name, value in camera.items() if value is not None}
    table = {"host": "127.0.0.1", "port": broker.port, "tls": False}
    told = {"use": "alpr.mqtt", "name": "car42", "rescan": 0.05, "broker": table, "camera": [camera]}
    return Broker(Broker.Options.model_validate(told))


async def publish(broker: Mosquitto, payload: bytes, topic: str = TOPIC, *more: str) -> None:
    how = [*more, "-s" if payload else "-n"]
    process = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", topic, *how, stdin=asyncio.subprocess.PIPE
    )
    await process.communicate(payload)
    assert process.returncode == 0


def event(number: int = 0) -> bytes:
    return MESSAGES["onvif"](Passage(pictures={"plate": jpeg(20_000, number)}).later(number), "").body


async def test_what_a_camera_publishes_is_held(tmp_path: Path, broker: Mosquitto) -> None:
    async with (
        Station(tmp_path / "station", screens=[WantsAll("alpr")]) as station,
        running(driver(broker), station) as task,
    ):
        await eventually(lambda: "SUBSCRIBE" in broker.log)
        for number in range(5):
            await publish(broker, event(number))
        await publish(broker, event(4))  # once more
        async with asyncio.timeout(60):
            while len(await station.holdings()) < 5:  # noqa: ASYNC110 - a journal tells nobody
                await asyncio.sleep(0.02)
        assert not task.done()
        assert not any("EVDK" in holding.origin.key for holding in await station.holdings())
        await station.verify()


async def test_what_cannot_be_kept_stays_with_the_broker(broker: Mosquitto) -> None:
    """The broker gives it again, after a restart of ours too."""

    async def full(_: object) -> None:
        raise SpoolFull("EVDK042 does not fit")

    first = Probe(full)
    async with running(driver(broker), first):
        await eventually(lambda: "SUBSCRIBE" in broker.log)
        await publish(broker, event())
        await eventually(lambda: bool(first.done))
    second = Probe()
    async with running(driver(broker), second):
        await eventually(lambda: bool(second.done))
    assert {one.capture.origin for one in first.offered} == {one.capture.origin for one in second.offered}


async def test_what_must_not_be_taken_stops_no_other(broker: Mosquitto) -> None:
    seen = 0

    async def look(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise BadCapture("it contradicts itself")

    probe = Probe(look)
    async with running(driver(broker), probe):
        await eventually(lambda: "SUBSCRIBE" in broker.log)
        await publish(broker, event(1))
        await publish(broker, event(2))
        await eventually(lambda: len(probe.done) == 2)
    assert [data for _, data, _ in probe.aside] == [event(1)]


class Failing:
    """A screen that keeps everything, and fails at one plate: so many times, or each time."""

    screens = "alpr"

    def __init__(self, plate: str, times: float) -> None:
        self.plate, self.times, self.failed = plate, times, 0

    def screen(self, offer: Any, stamp: object, /) -> Any:  # noqa: ANN401, ARG002
        if offer.read.plate.number == self.plate and self.failed < self.times:
            self.failed += 1
            raise KeyError(self.plate)
        return offer


class Broken(Station):
    """A station in whose own code there is a fault that one plate meets."""

    async def take(self, offer: Any, /) -> Any:  # noqa: ANN401
        if offer.read.plate.number == POISON:
            raise OSError(f"{POISON}: the disk says no")
        return await super().take(offer)


POISON = "EVDK066"


def poison(number: int) -> bytes:
    return MESSAGES["onvif"](Passage(POISON).later(number), "").body


async def held(station: Station, count: int) -> None:
    async with asyncio.timeout(60):
        while len(await station.holdings()) < count:  # noqa: ASYNC110 - a journal tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("ours", [False, True])
async def test_a_message_that_fails_each_time_steps_aside_and_holds_up_no_other(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, *, ours: bool
) -> None:
    """Its bytes lie among the parts, an entry says why without a word of it, and the broker is rid of it."""
    monkeypatch.setattr(drivers.alpr.broker, "PAUSES", (0.01, 0.01, 0.01))
    kind = Broken if ours else Station
    screen = WantsAll("alpr") if ours else Failing(POISON, float("inf"))
    async with kind(tmp_path / "station", screens=[screen]) as station:
        one = driver(broker)
        async with running(one, station):
            await eventually(lambda: "SUBSCRIBE" in broker.log)
            for payload in (poison(0), event(1), poison(2), poison(3), event(4)):
                await publish(broker, payload)
            await held(station, 2)
            health, notices = await one.health(), one.notices()
        parts = {sha256: reason for sha256, _, reason in await station.desk.read(queries.parts)}
        lying = {path.name: path.read_bytes() for path in (tmp_path / "station" / "spool" / "parts").iterdir()}
        assert sorted(lying.values()) == sorted(poison(number) for number in (0, 2, 3))
        assert set(lying) == set(parts)
        assert all(("OSError at" if ours else "DeviceRefused") in reason for reason in parts.values())
        assert "aside 3" in health["camera front"]
        (notice,) = (notice for notice in notices if notice.id == "alpr.aside")
        assert not any(POISON in said for said in (*parts.values(), str(health), notice.detail, notice.todo))
        await station.verify()
    again = Probe()
    async with running(driver(broker), again):
        await publish(broker, event(5))
        await eventually(lambda: bool(again.done))
    assert len(again.offered) == 1, "the broker gave again what had stepped aside"


async def test_what_fails_for_a_while_is_taken_when_it_is_over(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers.alpr.broker, "PAUSES", (0.01,) * 5)
    screen = Failing(POISON, 5)
    async with Station(tmp_path / "station", screens=[screen]) as station, running(driver(broker), station):
        await eventually(lambda: "SUBSCRIBE" in broker.log)
        for number in range(3):
            await publish(broker, poison(number))
        await held(station, 3)
        assert screen.failed == 5
        assert await station.desk.read(queries.parts_count) == 0
        await station.verify()


async def test_reads_of_a_station_that_was_away_come_when_it_is_back(broker: Mosquitto) -> None:
    async with running(driver(broker), Probe()):
        await eventually(lambda: "SUBSCRIBE" in broker.log)
    for number in range(3):
        await publish(broker, event(number))
    probe = Probe()
    async with running(driver(broker), probe):
        await eventually(lambda: len(probe.offered) == 3)


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_broker_that_kept_nothing_while_we_were_away_is_told(tmp_path: Path, *, keeps: bool) -> None:
    """It lost power, and wrote nothing of whom it knows: what was published then never comes, and nobody would know."""
    settings = ["persistence true", "autosave_interval 1", "autosave_on_changes true"] if keeps else []
    async with Mosquitto(tmp_path / "broker", settings=settings) as broker:
        one = driver(broker)
        async with running(one, probe := Probe()):
            await eventually(lambda: "SUBSCRIBE" in broker.log)
            await publish(broker, event(0))
            await eventually(lambda: bool(probe.done))
            await eventually(lambda: (tmp_path / "broker" / "mosquitto.db").exists() is keeps)
            await broker.kill()
            await eventually(lambda: one._session.trouble is not None)
            await broker.start()
            one._session.nudge()
            await eventually(lambda: one._session.up)
            told = {notice.id for notice in one.notices()}
    assert ("alpr.broker_forgot" in told) is not keeps


async def test_what_the_broker_retained_and_empty_ones_are_no_reads(broker: Mosquitto) -> None:
    await publish(broker, event(1), TOPIC, "-r")
    probe, one = Probe(), driver(broker)
    async with running(one, probe):
        await eventually(lambda: "SUBSCRIBE" in broker.log)
        await publish(broker, b"", TOPIC)
        await publish(broker, event(2))
        await eventually(lambda: bool(probe.done))
        health = await one.health()
    assert len(probe.offered) == 1
    assert "other 1" in health["camera front"]


async def test_an_event_with_a_large_picture_comes_with_the_options_as_they_are(broker: Mosquitto) -> None:
    """What is longer than we say that we take, a broker throws away, and tells nobody."""
    large = MESSAGES["onvif"](Passage(pictures={"plate": jpeg(600_000)}), "").body
    assert len(large) > 700_000
    probe = Probe()
    async with running(driver(broker), probe):
        await eventually(lambda: "SUBSCRIBE" in broker.log)
        await publish(broker, large)
        await publish(broker, event(1))
        await eventually(lambda: len(probe.offered) == 2)


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"Data": 1}', b"\xff", b'{"Data": {"Likelihood": {}}}'])
async def test_what_cannot_be_read_is_done_with(broker: Mosquitto, payload: bytes) -> None:
    probe, one = Probe(), driver(broker)
    async with running(one, probe) as task:
        await eventually(lambda: "SUBSCRIBE" in broker.log)
        await publish(broker, payload)
        await publish(broker, event())
        await eventually(lambda: any(offer.capture.began_at for offer in probe.offered))
        assert not task.done()


async def test_frigate_and_what_a_mapping_describes(broker: Mosquitto) -> None:
    payload = sample("real/frigate/tracked_object_update_lpr.json")
    probes = {}
    for maker, more in (("frigate", {}), ("generic", {"mapping": {"encoding": "json", "plate": "$.plate"}})):
        probes[maker] = probe = Probe()
        topic = f"{maker}/tracked_object_update"
        async with running(driver(broker, maker=maker, prefix=None, topic=topic, **more), probe):
            await eventually(lambda topic=topic: topic in broker.log)
            await publish(broker, payload, topic)
            await eventually(lambda probe=probe: bool(probe.done))
    for maker, probe in probes.items():
        read = probe.offered[0].read  # type: ignore[attr-defined]
        assert (read.vendor, read.plate.normalized) == (maker, json.loads(payload)["plate"])
