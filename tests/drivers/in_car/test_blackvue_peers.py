"""Lists of BlackVue recorders; a client of others at our emulator, and our driver at their mock."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agent.testing.rig import held, running, until
from agent.testing.station import Station
from drivers.in_car.emulator.blackvue import BlackVue
from firmware_specs.formats import blackvue_http as spec
from firmware_specs.formats.source import Malformed
from tests.drivers.in_car.test_blackvue import FRONT, REAR, drive, driver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
