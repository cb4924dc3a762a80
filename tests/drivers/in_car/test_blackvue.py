"""A recorder by HTTP: fetched from any byte on, by a real station; its emulator against a client of others."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from agent.capture import Priority, Standing
from agent.config import Policy, parse
from agent.driver import INDEX, ReadsClock
from agent.errors import ConfigError, DeviceRefused
from agent.registry import equip
from agent.testing.conformance import DriverConformance
from agent.testing.devices import some_bytes
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from drivers.in_car.blackvue_http import BlackVueHttp
from drivers.in_car.emulator.blackvue import BlackVue
from tests.drivers.cards import CardRig, Cards
from tests.drivers.in_car.conftest import LONG

if TYPE_CHECKING:
    from pathlib import Path


FRONT, REAR = "20181026_135003_EF.mp4", "20181026_135003_ER.mp4"
MIB = 1 << 20


def driver(camera: BlackVue, **options: object) -> BlackVueHttp:
    told = {"use": "in_car.blackvue_http", "name": "car", "address": camera.address, "rescan": 0.05, "settle": 0}
    return BlackVueHttp(BlackVueHttp.Options.model_validate({**told, "device": camera.device, **options}))


def drive(camera: BlackVue, minute: str = "135003") -> dict[str, bytes]:
    """Two films of one minute with all that lies beside them."""
    made = {
        f"20181026_{minute}_EF.mp4": some_bytes(3 * MIB, f"{minute} front"),
        f"20181026_{minute}_ER.mp4": some_bytes(2 * MIB, f"{minute} rear"),
        f"20181026_{minute}_EF.thm": some_bytes(5000, "thumbnail"),
        f"20181026_{minute}_ER.thm": some_bytes(4000, "thumbnail"),
        f"20181026_{minute}_E.gps": b"[1553161574690]\r\n\r\n",
        f"20181026_{minute}_E.3gf": some_bytes(1550, "3gf"),
    }
    for name, data in made.items():
        camera.record(name, data)
    return made


@pytest.mark.parametrize("new", [False, True], ids=["old firmware", "1.009"])
async def test_films_and_what_lies_beside_them_are_one_recording(tmp_path: Path, new: bool) -> None:  # noqa: FBT001
    async with BlackVue(new=new) as camera, Station(tmp_path, policy=Policy(device="release")) as station:
        made = drive(camera)
        wanted = {name: data for name, data in made.items() if not (new and name.endswith("3gf"))}
        station.devices.append(camera)
        station.connect(BenchUplink())
        async with running(driver(camera), station):
            await held(station, len(wanted))
            await station.send()
            await until(lambda: station.release.considered > 2 * len(wanted))
        holdings = {holding.origin.key.rpartition("/")[2]: holding for holding in await station.holdings()}
        assert holdings.keys() == wanted.keys()
        for name, data in wanted.items():
            assert b"".join(station.spool.read(holdings[name].digest.sha256)) == data
        assert {holding.group for holding in holdings.values()} == {"BLACKVUE/RECORD/20181026_135003_E"}
        assert {holding.members for holding in holdings.values()} == {len(wanted)}
        assert {holding.standing for holding in holdings.values()} == {Standing.RECEIPTED}
        assert {holding.forgets for holding in holdings.values()} == {"overwrites its oldest recordings by itself"}
        front = holdings[FRONT]
        assert front.origin.began_at == datetime(2018, 10, 26, 13, 50, 3, tzinfo=UTC)
        assert (front.priority, front.media_type) == (Priority.FLAGGED, "video/mp4"), (
            "an event is flagged by the layout"
        )
        (index,) = [one for one in station.observed if one.kind == INDEX][-1:]
        assert index.detail == {
            "aside": 0, "complete": True, "listed": len(wanted), "refused": 0, "safe": len(wanted), "unexplained": 0,
        }  # fmt: skip
        assert {method for method, _ in camera.asked} <= {"GET", "HEAD", "POST"}
        await station.verify()


async def test_what_was_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    async with BlackVue() as camera, Station(tmp_path) as station:
        drive(camera)
        async with running(driver(camera), station):
            await held(station, 6)
            camera.asked.clear()
            await until(lambda: camera.asked.count(("GET", "/blackvue_vod.cgi")) > 3)
        assert {path for _, path in camera.asked} == {"/blackvue_vod.cgi"}


@pytest.mark.parametrize("wire", ["kkkkkk", "bebebe", "nknkn", "esk"] if LONG else ["kenbsk"])
async def test_a_bad_network_delays_and_damages_nothing(tmp_path: Path, wire: str) -> None:
    async with BlackVue() as camera, Station(tmp_path) as station:
        made = drive(camera)
        camera.wire = wire
        station.devices.append(camera)
        async with running(driver(camera), station):
            await until(lambda: not camera.wire)
            async with asyncio.timeout(30):
                while len(await station.holdings()) < len(made):
                    station.ingest._bad.forgive()  # the pause after a contradiction is not what is looked at
                    await asyncio.sleep(0.05)
        await station.verify()


async def test_a_cut_film_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    async with BlackVue() as camera, Station(tmp_path) as station:
        film = some_bytes(24 * MIB, "long")
        camera.record(FRONT, film)
        camera.wire = "k"
        async with running(driver(camera, sidecars=False), station):
            await held(station, 1)
        read = station.ingest.read[camera.device]
        assert read < len(film) + 4 * MIB, f"{read} bytes were read of a film of {len(film)}"
        assert b"".join(station.spool.read((await station.only()).digest.sha256)) == film


async def test_the_newest_film_waits_until_it_is_finished(tmp_path: Path) -> None:
    async with BlackVue() as camera, Station(tmp_path) as station:
        camera.record("20181026_135003_NF.mp4", some_bytes(1000, 1))
        camera.record("20181026_135103_NF.mp4", some_bytes(500, 2))
        made = driver(camera, settle=1.5, sidecars=False)
        async with running(made, station):
            await held(station, 1)
            for grown in range(4):
                camera.record("20181026_135103_NF.mp4", some_bytes(1000 + grown, 2))
                await asyncio.sleep(0.2)
                assert len(await station.holdings()) == 1
            assert "may still be recording" in (await made.health())[camera.address]
            await held(station, 2)
        lengths = sorted(holding.digest.length for holding in await station.holdings())
        assert lengths == [1000, 1003]


class Recording(BlackVue):
    """One of its films, and what lies beside it, is still being written when it is fetched for the first time."""

    async def give(self, request: web.Request, name: str) -> web.StreamResponse:
        answer = await super().give(request, name)
        if request.method == "GET" and name == "20261122_101112_NF.mp4" and len(self.files[name]) == 500:
            self.record(name, some_bytes(2000, 2))
            self.record("20261122_101112_N.gps", b"[1553161574690]\r\n" * 2)
        return answer


@pytest.mark.parametrize("new", [False, True], ids=["old firmware", "1.009"])
async def test_a_film_that_grows_is_taken_again_though_a_later_one_is_listed(tmp_path: Path, new: bool) -> None:  # noqa: FBT001
    """The clock was wrong once, and a name of the future is the newest for as long as it lies on the card."""
    async with Recording(new=new) as camera, Station(tmp_path) as station:
        camera.record("20991231_235900_NF.mp4", some_bytes(1000, 1))
        camera.record("20261122_101112_NF.mp4", some_bytes(500, 2))
        camera.record("20261122_101112_N.gps", b"[1553161574690]\r\n")
        async with running(driver(camera, settle=0.5), station):
            await held(station, 4)
        lengths = sorted(holding.digest.length for holding in await station.holdings())
    assert lengths == [34, 500, 1000, 2000]


async def test_a_ring_that_turns_costs_nothing_that_was_taken(tmp_path: Path) -> None:
    async with BlackVue(room=8 * MIB) as camera, Station(tmp_path) as station:
        station.devices.append(camera)
        station.connect(BenchUplink())
        async with running(driver(camera, sidecars=False), station):
            for minute in range(6):
                camera.record(f"20181026_1350{minute:02}_NF.mp4", some_bytes(3 * MIB, minute))
                await held(station, minute + 1)
            await station.send()
        assert len(camera.files) < 6
        await station.verify()


async def test_a_film_that_the_card_cannot_give_does_not_keep_the_others(tmp_path: Path) -> None:
    async with BlackVue(heads=False) as camera, Station(tmp_path) as station:
        camera.record("20181026_135003_NF.mp4", some_bytes(1000, 1))
        camera.record("20181026_135103_NF.mp4", some_bytes(1000, 2))
        camera.wire = "e" * 3
        made = driver(camera, sidecars=False)
        async with running(made, station):
            await until(lambda: "damaged on its card" in made._source.state)
            await held(station, 2)


async def test_a_damaged_film_is_a_part_of_its_recording(tmp_path: Path) -> None:
    async with BlackVue() as camera, Station(tmp_path) as station:
        camera.record(FRONT, some_bytes(1000, 1))
        camera.record(REAR, some_bytes(1000, 2))
        camera.damaged.add(REAR)
        async with running(driver(camera, sidecars=False), station):
            await held(station, 1)
        (front,) = await station.holdings()
        assert front.members == 2, "the DEMS is told that one is missing"


async def test_what_is_written_later_than_its_film_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.in_car.blackvue_http.driver.ABSENT_SECONDS", 0.2)
    async with BlackVue() as camera, Station(tmp_path) as station:
        camera.record(FRONT, some_bytes(1000))
        async with running(driver(camera), station):
            await held(station, 1)
            camera.record("20181026_135003_E.gps", b"[1553161574690]\r\n")
            await held(station, 2)


async def test_its_clock_is_compared_by_the_date_of_its_answers(tmp_path: Path) -> None:
    async with BlackVue() as camera:
        made = driver(camera)
        assert isinstance(made, ReadsClock)
        with pytest.raises(DeviceRefused, match="is not here"):
            await made.read_clock(made._device)
        async with Station(tmp_path) as station, running(made, station):
            await until(lambda: bool(station.sighted))
            reading = await made.read_clock(made._device)
    assert abs((datetime.now(UTC) - reading.at).total_seconds()) < 30


async def test_a_date_that_no_calendar_has_is_no_time(tmp_path: Path) -> None:
    class Odd(BlackVue):
        async def answer(self, request: web.Request) -> web.StreamResponse:
            said = await super().answer(request)
            if request.path == "/accessible":
                said.headers["Date"] = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
            return said

    async with Odd(new=True) as camera:
        made = driver(camera)
        async with Station(tmp_path) as station, running(made, station):
            await until(lambda: bool(station.sighted))
            with pytest.raises(DeviceRefused, match="tells no time"):
                await made.read_clock(made._device)


async def test_a_recorder_that_is_away_is_nobodys_trouble(tmp_path: Path) -> None:
    async with BlackVue() as camera:
        made = driver(camera)
        async with Station(tmp_path) as station, running(made, station):
            await until(lambda: bool(station.sighted))
            await camera.unplug()
            await until(lambda: "cannot be reached: Connection refused" in made._source.state)
            assert not made.notices()


async def test_another_server_at_its_address_is_told_and_asked_again(tmp_path: Path) -> None:
    async def other(_: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>a router</html>")

    runner = web.ServerRunner(web.Server(other))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    camera = BlackVue()
    camera.port = runner.addresses[0][1]
    made = driver(camera)
    async with Station(tmp_path) as station, running(made, station):
        await until(lambda: any("no list of a BlackVue" in notice.detail for notice in made.notices()))
        assert not station.sighted
    await runner.cleanup()


def test_agent_toml_names_it() -> None:
    head = '[station]\nname = "car"\nagency = "example.org"\n[[driver]]\nuse = "in_car.blackvue_http"\nname = "car"\n'
    (made,) = equip(parse(head)).drivers
    assert made.options.rescan == 30
    with pytest.raises(ConfigError, match="address"):
        equip(parse(f'{head}address = "file:///etc/passwd"\n'))
    with pytest.raises(ConfigError, match="address"):
        equip(parse(f'{head}address = "http://10.99.77.1:"\n'))


# -- the contract ------------------------------------------------------------------------------------------------------


class TestBlackVueHttp(Cards, DriverConformance):
    def card(self) -> CardRig:
        camera = BlackVue()
        return CardRig(
            camera, "BlackVue/Record/", lambda number: f"20260101_{number:06}_NF.mp4", lambda: driver(camera)
        )
