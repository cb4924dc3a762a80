"""A recorder by HTTP: fetched from any byte on, by a real station; its emulator against a client of others."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import LENGTH_MAX, Priority, Standing
from agent.config import Policy, parse
from agent.driver import INDEX, ReadsClock
from agent.errors import BadCapture, ConfigError, DeviceError, DeviceGone, DeviceRefused
from agent.fetching import Fetcher, NotThere
from agent.registry import equip
from agent.testing.conformance import DriverConformance, Rig
from agent.testing.devices import some_bytes
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from drivers.in_car.blackvue_http import BlackVueHttp
from drivers.in_car.emulator.blackvue import BlackVue
from firmware_specs.formats import blackvue_http as spec
from firmware_specs.formats.source import Malformed
from tests.drivers.in_car.conftest import LONG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.driver import Intake

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


# -- a real station ----------------------------------------------------------------------------------------------------


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
        made = driver(camera, settle=0.6, sidecars=False)
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


# -- the fetcher -------------------------------------------------------------------------------------------------------


async def read(fetcher: Fetcher, path: str, offset: int, length: int | None) -> bytes:
    return b"".join([block async for block in fetcher.read(path, offset, length)])


async def test_a_file_is_read_from_any_byte_on_whatever_the_server_can() -> None:
    async with BlackVue() as camera, Fetcher(camera.address) as fetcher:
        data = some_bytes(3 * MIB + 17)
        camera.record(FRONT, data)
        for letter in "rn":
            for offset in (0, 1, MIB, len(data) - 1, len(data)):
                for length in (len(data), None):
                    camera.wire = letter
                    assert await read(fetcher, f"/Record/{FRONT}", offset, length) == data[offset:]


async def test_what_contradicts_what_is_known_is_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.fetching._SILENCE", 0.2)
    async with BlackVue() as camera, Fetcher(camera.address) as fetcher:
        path = f"/Record/{FRONT}"
        camera.record(FRONT, some_bytes(MIB))
        for wire, offset, length, error in (
            ("s", 0, MIB, BadCapture),
            ("s", MIB // 2 + 1, MIB, BadCapture),
            ("r", 2 * MIB, None, BadCapture),
            ("k", 0, MIB, DeviceGone),
            ("h", 0, MIB, DeviceGone),
            ("b", 0, MIB, DeviceGone),
            ("e", 0, MIB, DeviceRefused),
        ):
            camera.wire = wire
            with pytest.raises(error):
                await read(fetcher, path, offset, length)
        with pytest.raises(NotThere):
            await read(fetcher, "/Record/none.mp4", 0, None)
        with pytest.raises(DeviceRefused, match="more than 10 bytes"):
            await fetcher.get("/blackvue_vod.cgi", most=10)
        await camera.unplug()
        with pytest.raises(DeviceGone, match="cannot be reached") as gone:
            await fetcher.get("/blackvue_vod.cgi", most=10)
        assert "Wi-Fi" in gone.value.what_to_do


async def test_a_body_that_is_shorter_than_its_range_says_is_no_quiet_end() -> None:
    said = b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nContent-Range: bytes 2-6/10\r\n\r\nxxxxx"
    async with raw(said) as address, Fetcher(address) as fetcher:
        with pytest.raises(DeviceGone, match="broke off at byte 7 of 10"):
            await read(fetcher, "/x", 2, 10)


async def test_a_redirect_is_not_followed() -> None:
    async def away(_: web.BaseRequest) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/")

    runner = web.ServerRunner(web.Server(away))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Fetcher(f"http://127.0.0.1:{runner.addresses[0][1]}") as fetcher:
        with pytest.raises(DeviceRefused, match="HTTP 302"):
            await fetcher.get("/", most=10)
    await runner.cleanup()


# -- the list ----------------------------------------------------------------------------------------------------------

# As blackvuesync's mock of a recorder writes it (features/mock_dashcam/server.py).
LIST = b"v:1.00\r\nn:/Record/20181026_135003_PF.mp4,s:1000000\r\nn:/Record/20181026_135003_PR.mp4,s:1000000\r\n"


@pytest.mark.proves("in_car.blackvue_http", vectors="lists of blackvuesync's mock and documents")
def test_lists_of_both_firmwares() -> None:
    films, strange = spec.old_list(LIST)
    assert [film.name for film in films] == ["20181026_135003_PF.mp4", "20181026_135003_PR.mp4"]
    assert strange == 0
    assert spec.new_list(b'{"filelist":[{"filename":"20260702_141045_PF.mp4"}]}')[0][0].time == "20260702_141045"
    assert spec.sidecars(films[0]) == {
        "thumbnail": "20181026_135003_PF.thm",
        "gps": "20181026_135003_P.gps",
        "3gf": "20181026_135003_P.3gf",
    }


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "20181026_135003_PF.mp4/..",
        "x.mp4",
        "20181026_135003_PF.mp4%00",
        "\u0662\u0660\u0661\u06681026_135003_PF.mp4",
    ],
)
def test_names_that_are_none_are_counted_and_never_asked_for(name: str) -> None:
    assert spec.old_list(f"v:1.00\r\nn:/Record/{name},s:1\r\n".encode()) == ([], 1)
    assert spec.new_list(json.dumps({"filelist": [{"filename": name}]}).encode()) == ([], 1)


@given(st.binary(max_size=500))
def test_any_bytes_are_a_list_or_malformed(text: bytes) -> None:
    for read_as in (spec.old_list, spec.new_list, lambda text: spec.metadata(text, "gps")):
        try:
            read_as(text)
            read_as(b"v:1" + text)
        except Malformed:
            continue


@pytest.mark.parametrize("text", [b"null", b"[]", b'{"filelist":[1]}', b'{"filelist":{}}', b"[" * 3000])
def test_json_that_is_no_list_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        spec.new_list(text)
    with suppress(Malformed):
        assert spec.metadata(text, "gps") is None


# -- peers -------------------------------------------------------------------------------------------------------------


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("2018*")}


@pytest.mark.interop
@pytest.mark.skipif(importlib.util.find_spec("blackvuesync") is None, reason="blackvuesync is not installed")
@pytest.mark.parametrize("new", [False, True], ids=["old firmware", "1.009"])
async def test_a_client_of_others_takes_our_emulator_for_a_recorder(tmp_path: Path, new: bool) -> None:  # noqa: FBT001
    async with BlackVue(new=new) as camera:
        made = drive(camera)
        command = [sys.executable, "-m", "blackvuesync", f"127.0.0.1:{camera.port}", "--destination", str(tmp_path)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = files_below(tmp_path)
    assert found == {name: data for name, data in made.items() if not (new and name.endswith("3gf"))}


MOCK = """
import sys
sys.path.insert(0, sys.argv[1])
from features.mock_dashcam.server import MockDashcam
MockDashcam(port=int(sys.argv[2])).app.run(host="127.0.0.1", port=int(sys.argv[2]), use_reloader=False)
"""


@asynccontextmanager
async def with_affinity(port: int) -> AsyncIterator[int]:
    """The mock asks for a header that no recorder asks for: it is added on the way."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            headers = {**request.headers, "X-Affinity-Key": "evidock"}
            url = f"http://127.0.0.1:{port}{request.raw_path}"
            async with session.request(request.method, url, headers=headers, data=await request.read()) as answer:
                kept = {name: value for name, value in answer.headers.items() if name != "Connection"}
                body = await answer.read()
                if request.method == "HEAD":
                    return web.Response(status=answer.status, headers=kept)
                return web.Response(status=answer.status, headers=kept, body=body)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


@pytest.mark.interop
@pytest.mark.proves("in_car.blackvue_http", peer="blackvuesync 2.2 drives the emulator; its mock of a recorder is read")
async def test_our_driver_takes_from_the_mock_of_others(tmp_path: Path) -> None:
    """EVIDOCK_BLACKVUESYNC names a checkout of acolomba/blackvuesync and a Python that has flask and requests."""
    checkout, _, python = os.environ.get("EVIDOCK_BLACKVUESYNC", "").partition(":")
    if not checkout:
        pytest.skip("EVIDOCK_BLACKVUESYNC names no checkout")
    port = 45_671
    process = await asyncio.create_subprocess_exec(
        python, "-c", MOCK, checkout, str(port), stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    names = [FRONT, REAR, "20181026_135003_EF.thm", "20181026_135003_E.gps", "20181026_135003_E.3gf"]
    try:
        async with with_affinity(port) as near, Station(tmp_path) as station:
            async with aiohttp.ClientSession() as session:
                for _ in range(100):
                    try:
                        said: Any = {"recordings": names}
                        await session.post(f"http://127.0.0.1:{near}/mock/recordings/filenames", json=said)
                        answer = await session.get(f"http://127.0.0.1:{near}/blackvue_vod.cgi")
                        if FRONT in await answer.text():
                            break
                    except aiohttp.ClientError:
                        pass
                    await asyncio.sleep(0.1)
                await session.post(f"http://127.0.0.1:{near}/mock/downloads/errors", json={"filenames": [REAR]})
            camera = BlackVue()
            camera.port = near
            made = driver(camera)
            async with running(made, station):
                await held(station, len(names) - 1)
                await until(lambda: "damaged on its card" in made._source.state)
            keys = {holding.origin.key.rpartition("/")[2] for holding in await station.holdings()}
            assert keys == set(names) - {REAR}
            files = Path(checkout) / "features" / "mock_dashcam" / "files"
            for holding in await station.holdings():
                data = (files / f"mock.{holding.origin.key.rpartition('.')[2]}").read_bytes()
                assert b"".join(station.spool.read(holding.digest.sha256)) == data
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(tmp_path, ignore_errors=True)


# -- the contract ------------------------------------------------------------------------------------------------------


class BlackVueRig(Rig):
    forgets = True

    def __init__(self) -> None:
        self.camera = BlackVue()
        self._ready = asyncio.ensure_future(self.camera.plug_in())
        self._names: dict[str, str] = {}

    def driver(self) -> BlackVueHttp:
        return _Later(self)

    def record(self, name: str, data: bytes) -> str:
        film = self._names.setdefault(name, f"20260101_{len(self._names):06}_NF.mp4")
        return self.camera.record(film, data)

    def holds(self, key: str) -> bool:
        return key.rpartition("/")[2] in self.camera.files

    def unplug(self) -> None:
        self._ready = asyncio.ensure_future(_after(self._ready, self.camera.unplug))

    def plug_in(self) -> None:
        self._ready = asyncio.ensure_future(_after(self._ready, self.camera.plug_in))

    def shorten(self, key: str) -> None:
        self.camera.shortened.add(key.rpartition("/")[2])


async def _after(before: asyncio.Future[None], act: Callable[[], Awaitable[None]]) -> None:
    await before
    await act()


class _Later(BlackVueHttp):
    """The port of a rig's camera is known once its server stands."""

    def __init__(self, rig: BlackVueRig) -> None:
        self._rig = rig

    async def run(self, intake: Intake, /) -> None:
        await asyncio.shield(self._rig._ready)
        super().__init__(driver(self._rig.camera)._options)
        await super().run(intake)


class TestBlackVueHttp(DriverConformance):
    made: list[BlackVueRig]

    @pytest.fixture(autouse=True)
    async def _cameras_end(self) -> AsyncIterator[None]:
        self.made = []
        yield
        for rig in self.made:
            rig.unplug()
            await rig._ready

    def rig(self, tmp_path: Path) -> BlackVueRig:  # noqa: ARG002 - it lives in memory
        self.made.append(BlackVueRig())
        return self.made[-1]


# -- servers that nobody should meet -----------------------------------------------------------------------------------


@asynccontextmanager
async def raw(answer: bytes) -> AsyncIterator[str]:
    """A server that says these bytes to whoever comes, for as long as they are taken."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            for _ in range(200 if answer.endswith(b"...") else 0):
                writer.write(b"x" * 65536)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


HOSTILE = [
    b"",
    b"\x00" * 5000,
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n...",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n...",
    b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/999999999999999999999999\r\n\r\nxxxxx",
    b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\nxxxxx",
    b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nContent-Range: bytes 3-7/10\r\n\r\nxxxxx",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nno gzip..",
    b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
async def test_whatever_a_server_says_is_bytes_or_an_error_of_ours(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.fetching._SILENCE", 1.0)
    async with raw(answer) as address, Fetcher(address) as fetcher:
        for length in (9, None):
            for offset in (0, 2):
                with suppress(DeviceError):
                    assert len(await read(fetcher, "/x", offset, length)) <= 9
        with suppress(DeviceError):
            assert len(await fetcher.get("/x", most=1000)) <= 1000
        with suppress(DeviceError):
            assert ((await fetcher.head("/x")).length or 0) < LENGTH_MAX
