"""The listener by real sockets and by curl: who comes in, how much, how slowly, and what is left after the stop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from aiohttp import web
from pydantic import ValidationError

from agent.errors import AgentError, ConfigError, DeviceRefused, JournalError, SpoolDamaged
from agent.listening import Bound, ListenOptions, check_certificates, listening
from agent.listening.door import _Line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class House:
    """An application that keeps what it was given, and notes how each request ended."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.ends: list[str] = []
        self.wait = asyncio.Event()
        self.wait.set()
        self.app = web.Application()
        self.app.router.add_put("/{name}", self.put)
        self.app.router.add_get("/long", self.long)

    async def put(self, request: web.Request) -> web.Response:
        body = bytearray()
        if request.path == "/late":
            await self.wait.wait()
        try:
            async for block in request.content.iter_any():
                body += block
            await self.wait.wait()
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        self.stored.append(bytes(body))
        return web.Response(status=201)

    async def long(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(bytes(1 << 20))
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise


@asynccontextmanager
async def open_house(house: House, **options: Any) -> AsyncIterator[Bound]:  # noqa: ANN401
    options = {"address": "127.0.0.1", "port": 0, "plain": True, **options}
    async with listening(house.app, ListenOptions.model_validate(options)) as bound:
        yield bound


async def knock(bound: Bound, *parts: bytes, pause: float = 0.0, tls: ssl.SSLContext | None = None) -> bytes:
    """Send the parts and read until the other side closes."""
    reader, writer = await asyncio.open_connection(bound.address, bound.port, ssl=tls)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def put(length: int, *, close: bool = True) -> bytes:
    end = "Connection: close\r\n" if close else ""
    return f"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{end}\r\n".encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    server, device, stranger = ca.issue_cert("127.0.0.1"), ca.issue_cert("cam-1"), other.issue_cert("cam-2")
    server.private_key_pem.write_to_path(folder / "server.key")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    device.private_key_and_cert_chain_pem.write_to_path(folder / "device.pem")
    stranger.private_key_and_cert_chain_pem.write_to_path(folder / "stranger.pem")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    return {"folder": folder, "ca": folder / "ca.pem"}


def tls_of(authority: dict[str, Any]) -> dict[str, Any]:
    folder: Path = authority["folder"]
    return {"plain": False, "certificate": folder / "server.pem", "key": folder / "server.key"}


async def test_a_body_arrives_and_the_answer_comes_after_it() -> None:
    house = House()
    async with open_house(house) as bound:
        answer = await knock(bound, put(5) + b"he", b"llo", pause=0.01)
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert house.stored == [b"hello"]
        assert bound.url == f"http://127.0.0.1:{bound.port}"


async def test_curl_over_tls(authority: dict[str, Any], tmp_path: Path) -> None:
    house, film = House(), tmp_path / "film"
    film.write_bytes(bytes(range(256)) * 5000)
    async with open_house(house, **tls_of(authority)) as bound:
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--fail", "--cacert", authority["ca"], "-T", film, f"{bound.url}/film", "-w", "%{http_code}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await curl.communicate()
        assert (curl.returncode, said) == (0, b"201")
        assert house.stored[0] == film.read_bytes()


async def test_tls_older_than_1_2_is_refused(authority: dict[str, Any]) -> None:
    async with open_house(House(), **tls_of(authority)) as bound:
        for version, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            client = await asyncio.create_subprocess_exec(
                "openssl", "s_client", "-connect", f"127.0.0.1:{bound.port}", version, "-cipher", "ALL:@SECLEVEL=0",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            said, _ = await client.communicate()
            assert (b"Cipher is (NONE)" not in said) is works, version


async def test_a_device_without_our_certificate_stays_outside(authority: dict[str, Any]) -> None:
    house = House()
    async with open_house(house, **tls_of(authority), client_ca=authority["ca"]) as bound:
        for name, comes_in in (("device.pem", True), ("stranger.pem", False), (None, False)):
            tls = ssl.create_default_context(cafile=authority["ca"])
            if name:
                tls.load_cert_chain(authority["folder"] / name)
            assert (b"201" in await knock(bound, put(1) + b"x", tls=tls)) is comes_in, name
        assert bound.turned_away["handshake"] == 2
    assert len(house.stored) == 1


async def test_a_stranger_s_network_is_closed_before_a_word() -> None:
    house = House()
    async with open_house(house, networks=["10.0.0.0/8", "2001:db8::/32"]) as bound:
        assert await knock(bound, put(1) + b"x") == b""
        assert bound.turned_away["network"] == 1
    async with open_house(House(), address="::", networks=["127.0.0.0/8"]) as bound:
        bound.address = "127.0.0.1"
        assert b"201" in await knock(bound, put(1) + b"x"), "an IPv4 device by an IPv6 socket"


async def test_a_burst_waits_with_the_system_while_we_are_busy() -> None:
    """Cameras of several makers at once: none is turned away because the loop has something else to do."""
    async with open_house(House(), connections=1000) as bound:
        # Nothing of ours runs meanwhile.
        socks = [socket.create_connection((bound.address, bound.port), timeout=10) for _ in range(300)]
        for sock in socks:
            sock.sendall(put(1) + b"x")
            sock.setblocking(False)  # noqa: FBT003 - the standard library's own
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            answers = [await loop.sock_recv(sock, 100) for sock in socks]
        for sock in socks:
            sock.close()
    assert all(answer.startswith(b"HTTP/1.1 201") for answer in answers)


async def test_no_more_connections_than_there_may_be() -> None:
    house = House()
    async with open_house(house, connections=2) as bound:
        two = [await asyncio.open_connection(bound.address, bound.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert await knock(bound, put(1) + b"x") == b""
        assert bound.turned_away["full"] == 1
        for _, writer in two:
            writer.close()
        async with asyncio.timeout(30):
            while bound.open:  # noqa: ASYNC110 - a listener tells nobody
                await asyncio.sleep(0.01)
        assert b"201" in await knock(bound, put(1) + b"x")


@pytest.mark.parametrize(
    "said",
    [b"", b"PUT /x HTTP/1.1\r\nHost: h\r\n", b"PUT /x HTTP/1.1\r\nHost: h\r\nX: ", put(0, close=False)],
    ids=["nothing", "half a head", "half a line", "a request, and then nothing"],
)
async def test_silence_before_a_head_is_cut(said: bytes) -> None:
    async with open_house(House(), idle=0.1) as bound:
        await knock(bound, said)  # ends, because the other side closes
        async with asyncio.timeout(30):
            while bound.open:  # noqa: ASYNC110 - a listener tells nobody
                await asyncio.sleep(0.01)


async def test_silence_before_tls_is_cut(authority: dict[str, Any]) -> None:
    async with open_house(House(), **tls_of(authority), handshake=0.1) as bound:
        assert await knock(bound, b"") == b""
        assert bound.turned_away["handshake"] == 1


@pytest.mark.parametrize("drops", [0, 3])
async def test_a_body_that_comes_too_slowly_is_cut(drops: int) -> None:
    house = House()
    async with open_house(house, stall=0.1, slowest=1000) as bound:
        assert b"201" not in await knock(bound, put(100), *[b"x"] * drops, pause=0.05)
        assert bound.turned_away["stalled"] == 1
    assert house.stored == []
    assert house.ends in (["ClientConnectionResetError"], ["ConnectionResetError"])


async def test_a_hand_that_is_slow_is_not_held_against_the_device() -> None:
    """The body waits on the wire while we do not read, and is whole when we do."""
    house = House()
    house.wait.clear()
    async with open_house(house, stall=0.05, slowest=1 << 20) as bound:
        head = put(4 << 20).replace(b"/x", b"/late")
        sending = asyncio.create_task(knock(bound, head + bytes(4 << 20)))
        await asyncio.sleep(0.4)
        house.wait.set()
        assert b"201" in await sending


async def test_who_does_not_take_our_answer_is_cut() -> None:
    house = House()
    async with open_house(house, stall=0.1) as bound:
        _, writer = await asyncio.open_connection(bound.address, bound.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /long HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(30):
            while not house.ends:  # noqa: ASYNC110 - a handler tells nobody
                await asyncio.sleep(0.01)
        writer.close()
        assert bound.turned_away["stalled"] == 1


async def test_a_head_that_is_too_long_is_refused() -> None:
    async with open_house(House(), header_max="4 KiB") as bound:
        line = b"PUT /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: h\r\n\r\n"
        field = b"PUT /x HTTP/1.1\r\nHost: h\r\nX-Meta: " + b"a" * 5000 + b"\r\n\r\n"
        many = b"PUT /x HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 1000 + b"\r\n"
        for head in (line, field, many):
            assert (await knock(bound, head)).partition(b" ")[2].startswith(b"400 ")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_refused(chunked: bool) -> None:  # noqa: FBT001
    house = House()
    async with open_house(house, body_max=1000) as bound:
        head = b"PUT /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"1f4\r\n" + bytes(500) + b"\r\n"
        answer = await (knock(bound, head, *[chunk] * 3, pause=0.01) if chunked else knock(bound, put(1001)))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"201" in await (
            knock(bound, head, chunk * 2 + b"0\r\n\r\n") if chunked else knock(bound, put(1) + b"x")
        )
    assert len(house.stored) == 1


async def test_a_stop_ends_what_is_half_here_and_lets_end_what_is_whole() -> None:
    house = House()
    house.wait.clear()
    async with open_house(house, grace=5) as bound:
        half = asyncio.create_task(knock(bound, put(100) + b"half"))
        whole = asyncio.create_task(knock(bound, put(5) + b"whole"))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.1, house.wait.set)
    assert house.stored == [b"whole"]
    assert house.ends == ["CancelledError"]
    assert b"201" in await whole
    assert await half == b""
    assert bound.open == 0


async def test_whoever_has_just_come_in_when_it_stops_is_closed_like_the_others(
    authority: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS stands, and the one who waited for it does not know it yet."""
    lines: list[_Line] = []
    true = _Line.connection_made

    def comes_in(line: _Line, transport: asyncio.BaseTransport) -> None:
        true(line, transport)
        lines.append(line)
        for visit in line._door._visits:
            visit.cancel()

    monkeypatch.setattr(_Line, "connection_made", comes_in)
    async with open_house(House(), **tls_of(authority)) as bound:
        assert await knock(bound, put(1) + b"x", tls=ssl.create_default_context(cafile=authority["ca"])) == b""
    assert [line.gone.done() for line in lines] == [True]


async def test_an_address_that_is_taken_is_told() -> None:
    async with open_house(House()) as bound:
        with pytest.raises(DeviceRefused, match=f"port {bound.port}"):
            async with open_house(House(), port=bound.port):
                pass


def test_wrong_files_are_told(tmp_path: Path, authority: dict[str, Any]) -> None:
    (tmp_path / "not.pem").write_text("nothing")
    right = {"address": "127.0.0.1", "port": 0, **tls_of(authority)}
    for name, value in (("certificate", tmp_path / "no"), ("key", tmp_path / "not.pem"), ("client_ca", tmp_path)):
        options = ListenOptions.model_validate({**right, name: value})
        with pytest.raises(ConfigError, match=str(value)):
            check_certificates(options)


@pytest.mark.parametrize(
    "wrong", [{}, {"key": "k"}, {"plain": True, "certificate": "c", "key": "k"}, {"plain": True, "client_ca": "c"}]
)
def test_tls_is_left_out_only_on_purpose(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ListenOptions.model_validate({"address": "127.0.0.1", "port": 0, **wrong})


@pytest.mark.parametrize("error", [JournalError, SpoolDamaged])
async def test_what_makes_promises_impossible_is_answered_by_nobody_and_raised(error: type[AgentError]) -> None:
    async def put(request: web.Request) -> web.Response:
        raise error("as a test asked")

    house = House()
    house.app.router.add_put("/bad/now", put)
    async with open_house(house) as bound:
        serving = asyncio.create_task(bound.serve())
        assert await knock(bound, b"PUT /bad/now HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n") == b""
        with pytest.raises(error):
            await serving
