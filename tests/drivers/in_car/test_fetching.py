"""Files and lists fetched from servers that can little, and from those that nobody should meet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from agent.capture import LENGTH_MAX
from agent.errors import BadCapture, DeviceError, DeviceGone, DeviceRefused
from agent.fetching import Fetcher, NotThere
from agent.testing.devices import some_bytes
from drivers.in_car.emulator.blackvue import BlackVue
from tests.drivers.in_car.test_blackvue import FRONT, MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
