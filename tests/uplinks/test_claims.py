"""What we say of a capture, on a wire that TLS does not guard: a bit that turns over makes it no other camera's."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest
from yarl import URL

from agent.capture import Standing
from agent.note import Verifier
from agent.testing.dems.claims import read_claims
from agent.testing.dems.wire import CHECKSUM_MISMATCH, RefusedRequest, parse_metadata
from agent.testing.devices import BenchDevice
from agent.testing.station import Station
from agent.uplink.http.claims import metadata
from agent.uplink.tus import TusUplink
from tests.uplinks.arriving import settled, verified
from tests.uplinks.double import says
from tests.uplinks.memory import MIB, MemorySending, holding_of, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.dems import EmulatedDems
    from tests.uplinks.double import Connect, Make, Serve

DEVICE = b"device "


class Turning:
    """A relay that turns over one bit of the first device that goes by, so that it is named all the same."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self.turned = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Its port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := bytearray(await reader.read(65536)):
                if not self.turned and (at := data.find(DEVICE)) >= 0:
                    self.turned = True
                    data[at + len(DEVICE) + 3] ^= 1  # of base64, which stands for the lowest of three characters
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()


def test_no_bit_of_it_can_turn_over_unseen() -> None:
    holding = holding_of(b"abc")
    said = metadata(holding)
    as_sent, claims = parse_metadata(said), read_claims(said, 3)
    del as_sent["check"]
    seen = 0
    for bit in range(8 * len(said)):
        turned = bytearray(said.encode())
        turned[bit // 8] ^= 1 << bit % 8
        text = turned.decode("latin-1")
        with suppress(RefusedRequest):
            assert read_claims(text, 3) == claims
            assert as_sent.items() <= parse_metadata(text).items()
            seen += 1
    assert 0 < seen < 8 * len(",check "), "of its own key alone, which is another key then"
    for length in (2, 11, 30):
        with pytest.raises(RefusedRequest, match="not what its check says"):
            read_claims(said, length)


def test_who_says_nothing_of_it_is_believed_as_before() -> None:
    said = metadata(holding_of(b"abc")).partition(",check ")[0]
    assert read_claims(said, 3) == read_claims(metadata(holding_of(b"abc")), 3)


@pytest.mark.parametrize("words", ["tus", "tus, announced", "ietf"])
async def test_a_device_whose_name_changed_on_the_way_is_told_again(
    dems: EmulatedDems, connect: Connect, make: Make, words: Literal["tus", "tus, announced", "ietf"]
) -> None:
    url = URL(dems.captures_url if words == "ietf" else dems.url)
    relay, sending = Turning(url.port or 0), MemorySending(some_bytes(MIB))
    async with relay.running() as port, asyncio.timeout(20):
        address = str(url.with_port(port))
        uplink: Any = make(address) if words == "ietf" else connect(address)
        if words == "tus, announced":
            await uplink.announce(sending)
        verified(await uplink.send(sending), sending, dems)
    assert relay.turned
    await settled(dems, sending)
    assert [entry.metadata for entry in await dems.index()] == [metadata(sending.holding)]


async def test_so_is_one_of_many_in_a_request(tmp_path: Path, dems: EmulatedDems) -> None:
    relay = Turning(URL(dems.url).port or 0)
    device = BenchDevice()
    for number in range(5):
        device.record(f"{number:04}", some_bytes(1000 + number, number))
    async with relay.running() as port, Station(tmp_path / "station") as station:
        await station.dock(device)
        url = str(URL(dems.url).with_port(port))
        uplink = TusUplink(TusUplink.Options(use="tus", name="dems", url=url))
        station.connect(uplink, dems, keys=[Verifier.parse(dems.receipt_vkey)])
        await uplink.door.abilities()
        await station.send()
        assert relay.turned
        assert await station.count(Standing.RECEIPTED) == 5
        said = [metadata(one) for one in await station.holdings()]
        await uplink.aclose()
    assert sorted(entry.metadata for entry in await dems.index()) == sorted(said)


@pytest.mark.parametrize("announced", [False, True])
async def test_a_server_that_says_so_once_is_told_once_more(serve: Serve, connect: Connect, *, announced: bool) -> None:
    double = await serve(signs=True)
    double.next("POST", says(CHECKSUM_MISMATCH))
    sending, uplink = MemorySending(some_bytes(MIB)), connect(double.url)
    if announced:
        await uplink.announce(sending)
    await uplink.send(sending)
    assert double.made == 1
