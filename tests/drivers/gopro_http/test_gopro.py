"""A GoPro by HTTP: fetched by a real station, busy and asleep; its emulator against the client of its maker."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Standing
from agent.config import Policy
from agent.driver import INDEX, ReadsClock
from agent.errors import DeviceRefused
from agent.testing.conformance import DriverConformance
from agent.testing.devices import some_bytes
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from drivers.body_worn.gopro_http import GoProHttp
from drivers.body_worn.gopro_http.emulator import SERIAL, GoPro
from firmware_specs.formats import open_gopro as spec
from firmware_specs.formats.source import Malformed
from tests.drivers.cards import CardRig, Cards

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web


MIB = 1 << 20


def driver(camera: GoPro, **options: object) -> GoProHttp:
    told = {"use": "body_worn.gopro_http", "name": "bay-1", "address": camera.address, "rescan": 0.05}
    return GoProHttp(GoProHttp.Options.model_validate({**told, **options}))


def card(camera: GoPro) -> dict[str, bytes]:
    """Two chapters of one recording, a photo, and a burst of which one was thrown away."""
    made = {
        "100GOPRO/GX010042.MP4": some_bytes(3 * MIB, 1),
        "100GOPRO/GX020042.MP4": some_bytes(2 * MIB, 2),
        "100GOPRO/GOPR0043.JPG": some_bytes(20_000, 3),
        "101GOPRO/G0010044.JPG": some_bytes(10_000, 4),
        "101GOPRO/G0010046.JPG": some_bytes(11_000, 6),
    }
    for path, data in made.items():
        camera.record(path, data)
    camera.groups["101GOPRO/G0010044.JPG"] = 44, 46, (45,)
    return made


async def test_everything_on_its_card_is_taken_and_nothing_deleted(tmp_path: Path) -> None:
    async with GoPro() as camera, Station(tmp_path, policy=Policy(device="release")) as station:
        made = card(camera)
        station.devices.append(camera)
        station.connect(BenchUplink())
        async with running(driver(camera, wired=True), station):
            await held(station, len(made))
            await station.send()
            await until(lambda: station.release.considered > 2 * len(made))
        holdings = {holding.origin.key.removeprefix("DCIM/"): holding for holding in await station.holdings()}
        assert holdings.keys() == made.keys()
        for path, data in made.items():
            assert b"".join(station.spool.read(holdings[path].digest.sha256)) == data
        first, second = holdings["100GOPRO/GX010042.MP4"], holdings["100GOPRO/GX020042.MP4"]
        assert first.group == second.group == "DCIM/100GOPRO/0042"
        assert (first.clip, second.clip) == (1, 2)
        burst = holdings["101GOPRO/G0010044.JPG"], holdings["101GOPRO/G0010046.JPG"]
        assert {one.members for one in (first, second, *burst)} == {2}
        assert holdings["101GOPRO/G0010044.JPG"].group == holdings["101GOPRO/G0010046.JPG"].group
        assert first.origin.began_at == datetime.fromtimestamp(1_656_931_398, UTC)
        assert {holding.standing for holding in holdings.values()} == {Standing.RECEIPTED}
        assert first.forgets == "is emptied by hand"
        device = station.sighted[0]
        assert (device.id, device.model, device.firmware) == (f"gopro:{SERIAL}", "HERO12 Black", "H23.01.02.32.00")
        (index,) = [one for one in station.observed if one.kind == INDEX][-1:]
        assert (index.detail["listed"], index.detail["unexplained"]) == (len(made), 0)
        assert not [path for path in camera.asked if "delete" in path]
        assert "/gopro/camera/control/wired_usb?p=1" in camera.asked
        await station.verify()


async def test_a_camera_that_records_is_left_alone_until_it_has_ended(tmp_path: Path) -> None:
    async with GoPro() as camera, Station(tmp_path) as station:
        card(camera)
        camera.encoding = True
        made = driver(camera)
        async with running(made, station):
            await until(lambda: made._state == "is recording")
            await asyncio.sleep(0.2)
            assert not [path for path in camera.asked if path.startswith(("/videos", "/gopro/media"))]
            camera.encoding = False
            await held(station, 5)
            await until(lambda: made._state == "5 files, battery 87 %, 31.0 GB free")
            assert (await made.health())[camera.address] == made._state


async def test_a_recording_that_begins_during_a_look_ends_the_look(tmp_path: Path) -> None:
    """Reading would disturb it, and what is recorded then is not finished."""
    async with GoPro() as camera, Station(tmp_path) as station:
        card(camera)
        made, give = driver(camera), camera.give

        async def disturbed(request: web.Request, path: str) -> web.StreamResponse:
            assert not camera.encoding, "a camera that records is read"
            camera.encoding = request.method == "GET"
            return await give(request, path)

        camera.give = disturbed  # type: ignore[method-assign]
        async with running(made, station):
            await until(lambda: made._state == "is recording")
            asked = len(camera.asked)
            await until(lambda: len(camera.asked) > asked + 6)
            assert len([path for path in camera.asked if path.endswith("MP4")]) == 1
            camera.give = give  # type: ignore[method-assign]
            camera.encoding = False
            await held(station, 5)


async def test_what_begins_to_be_recorded_while_the_card_is_listed_is_not_taken_as_it_is_then(tmp_path: Path) -> None:
    async with GoPro() as camera, Station(tmp_path) as station:
        made, told, whole = driver(camera), camera._told, some_bytes(MIB, 1)

        def listing(path: str) -> dict[str, Any] | None:
            if path == "/gopro/media/list" and not camera.files:
                camera.record("100GOPRO/GX010042.MP4", whole[:1000])
                camera.encoding = True
            return told(path)

        camera._told = listing  # type: ignore[method-assign]
        async with running(made, station):
            await until(lambda: made._state == "is recording")
            assert not [path for path in camera.asked if path.startswith("/videos")]
            camera.record("100GOPRO/GX010042.MP4", whole)
            camera.encoding = False
            await held(station, 1)
        (only,) = await station.holdings()
        assert b"".join(station.spool.read(only.digest.sha256)) == whole


async def test_another_camera_at_the_same_address_is_another_device(tmp_path: Path) -> None:
    """In its own Wi-Fi each has the same address, and none of them needs to be away for as long as a look lasts."""
    async with GoPro() as camera, Station(tmp_path) as station:
        camera.record("100GOPRO/GX010001.MP4", some_bytes(1000, 1))
        async with running(driver(camera), station):
            await held(station, 1)
            camera.serial, camera.files = "C34%1325000002", {}
            camera.record("100GOPRO/GX010002.MP4", some_bytes(1000, 2))
            await held(station, 2)
        owners = {holding.origin.key[-12:]: holding.origin.device for holding in await station.holdings()}
    assert owners == {"GX010001.MP4": f"gopro:{SERIAL}", "GX010002.MP4": "gopro:C34%251325000002"}


async def test_it_is_kept_awake_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.body_worn.gopro_http.driver.KEEP_ALIVE_SECONDS", 0.05)
    async with GoPro() as camera, Station(tmp_path) as station, running(driver(camera), station):
        await until(lambda: camera.asked.count("/gopro/camera/keep_alive") > 3)


@pytest.mark.parametrize("wire", ["bkbn"])
async def test_a_bad_network_delays_and_damages_nothing(tmp_path: Path, wire: str) -> None:
    async with GoPro() as camera, Station(tmp_path) as station:
        made = card(camera)
        camera.wire = wire
        async with running(driver(camera), station):
            await held(station, len(made))
        station.devices.append(camera)
        await station.verify()


async def test_its_clock_is_read(tmp_path: Path) -> None:
    async with GoPro() as camera:
        made = driver(camera)
        assert isinstance(made, ReadsClock)
        async with Station(tmp_path) as station, running(made, station):
            await until(lambda: bool(station.sighted))
            reading = await made.read_clock(station.sighted[0])
        assert abs((datetime.now().replace(tzinfo=UTC) - reading.at).total_seconds()) < 60  # noqa: DTZ005
        with pytest.raises(DeviceRefused):
            await made.read_clock(station.sighted[0])


async def test_another_server_at_its_address_is_told(tmp_path: Path) -> None:
    async with GoPro() as camera, Station(tmp_path) as station:
        camera._told = lambda _: {"info": "a router"}  # type: ignore[method-assign]
        made = driver(camera)
        async with running(made, station):
            await until(lambda: any("which camera" in notice.detail for notice in made.notices()))
        assert not station.sighted


# -- formats -----------------------------------------------------------------------------------------------------------

# The example of the maker's documents, as the reference of this project quotes it.
LIST = b"""{"id":"1","media":[{"d":"100GOPRO","fs":[{"n":"GX010001.MP4","cre":"1656931398","mod":"1656931398",
"glrv":"817767","ls":"-1","s":"27469309"}]}]}"""


@pytest.mark.proves("body_worn.gopro_http", vectors="the example of gopro/OpenGoPro")
def test_the_list_of_the_makers_documents() -> None:
    (found,), strange = spec.media(LIST)
    assert (found.path, found.length) == ("100GOPRO/GX010001.MP4", 27_469_309)
    assert found.group is None, "its name says what it belongs to"
    assert found.created_at == datetime(2022, 7, 4, 10, 43, 18, tzinfo=UTC)
    assert strange == 0


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("100GOPRO", {"n": "../../x.MP4"}),
        ("../100GO", {"n": "GX010001.MP4"}),
        ("100GOPRO", {"n": 7}),
        ("100GOPRO", {"n": "G0010001.JPG", "g": "1", "b": "1", "l": "99999999", "m": []}),
        ("100GOPRO", {"n": "G0010001.JPG", "g": "1"}),
        ("100GOPRO", None),
    ],
)
def test_what_is_no_file_is_counted_and_never_asked_for(folder: str, file: object) -> None:
    found, strange = spec.media(json.dumps({"media": [{"d": folder, "fs": [file]}]}).encode())
    assert found == []
    assert strange == 1


def test_info_of_older_firmware_lies_deeper() -> None:
    told = {"model_name": "HERO9 Black", "firmware_version": "HD9.01.01.72.00", "serial_number": "C3441325000000"}
    assert spec.info(json.dumps({"info": told}).encode()) == spec.info(json.dumps(told).encode())


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text(max_size=9), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_an_answer_or_malformed(text: bytes) -> None:
    for parse in (spec.media, spec.state, spec.info, spec.clock):
        try:
            parse(text)
        except Malformed:
            continue


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["n", "g", "b", "l", "m", "s", "cre", "t"]),
            st.none() | st.integers() | st.text(max_size=12) | st.lists(st.text(max_size=4), max_size=3),
        ),
        max_size=3,
    )
)
def test_members_of_any_kind_are_files_or_none(files: list[dict[str, object]]) -> None:
    found, strange = spec.media(json.dumps({"media": [{"d": "100GOPRO", "fs": files}]}).encode())
    assert strange + len(found) >= 0
    assert all(one.path.startswith("100GOPRO/") and ".." not in one.path for one in found)


# -- the client of its maker -------------------------------------------------------------------------------------------

CLIENT = """
import asyncio, json, sys
from pathlib import Path
from open_gopro import WiredGoPro
async def main():
    WiredGoPro._BASE_ENDPOINT = sys.argv[1] + "/"
    camera = WiredGoPro(serial="051")
    await camera.open()
    told = {"info": (await camera.http_command.get_camera_info()).data.serial_number}
    told["files"] = [one.filename for one in (await camera.http_command.get_media_list()).data.files]
    for name in told["files"]:
        await camera.http_command.download_file(camera_file=name, local_file=Path(sys.argv[2]) / name.replace("/", "_"))
    await camera.http_command.set_keep_alive()
    told["date"] = str((await camera.http_command.get_date_time()).data)
    print(json.dumps(told))
asyncio.run(main())
"""


@pytest.mark.interop
@pytest.mark.proves("body_worn.gopro_http", peer="open-gopro 0.22, the maker's client, drives the emulator")
async def test_the_client_of_its_maker_takes_our_emulator_for_a_camera(tmp_path: Path) -> None:
    """EVIDOCK_OPEN_GOPRO names a Python that has open-gopro, whose dependencies are not ours."""
    if not (python := os.environ.get("EVIDOCK_OPEN_GOPRO")):
        pytest.skip("EVIDOCK_OPEN_GOPRO names no Python with open-gopro")
    async with GoPro() as camera:
        made = card(camera)
        process = await asyncio.create_subprocess_exec(
            python, "-c", CLIENT, camera.address, str(tmp_path),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()[-2000:]
    told: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    assert told["info"] == SERIAL
    for name in told["files"]:
        assert (tmp_path / name.replace("/", "_")).read_bytes() == made[name]
    assert len(told["files"]) == 4, "of a group the list names the first"


# -- the contract ------------------------------------------------------------------------------------------------------


class TestGoProHttp(Cards, DriverConformance):
    def card(self) -> CardRig:
        camera = GoPro()
        return CardRig(camera, "DCIM/", lambda number: f"100GOPRO/GX01{number:04}.MP4", lambda: driver(camera))
