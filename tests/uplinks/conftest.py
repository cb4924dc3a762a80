"""What the tests of the ways out share: servers that are stopped, uplinks that are closed, and waits that are short."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from agent.testing.dems import EmulatedDems
from agent.testing.station import Station
from agent.uplink.http import Door, body, carriage, trip
from agent.uplink.ietf import IetfUplink
from agent.uplink.tus import TusUplink
from tests.uplinks import azurite, swift
from tests.uplinks.azurite import Azurite
from tests.uplinks.bare import way_to
from tests.uplinks.double import Double
from tests.uplinks.memory import MIB

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agent.uplink.http.straight import Straight
    from tests.uplinks.double import Connect, Make, Serve


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "SLOWEST", 8 * 1024 * 1024)
    monkeypatch.setattr(carriage, "SLOWEST", 8 * 1024 * 1024)
    monkeypatch.setattr(trip, "DOUBT_WAIT", 0.01)
    monkeypatch.setattr(trip, "LOCK_WAITS", (0.01, 0.02, 0.04, 0.05, 0.05))


@pytest.fixture(autouse=True)
def by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """How quick a link is, and so which way a body goes, would depend on the machine; some tests ask for either."""
    monkeypatch.setattr(Door, "goes_straight", lambda *_, **__: False)


@pytest.fixture
def straight(by_the_loop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies go as long ones do on a quick link: by threads."""
    monkeypatch.setattr(Door, "goes_straight", lambda door, *_, **__: door.proxy is None)


@pytest.fixture(params=["loop", "thread"])
def both_ways(request: pytest.FixtureRequest) -> None:
    """Once by the event loop and once by threads."""
    if request.param == "thread":
        request.getfixturevalue("straight")


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(*, tls: ssl.SSLContext | None = None, **abilities: object) -> Double:
            double = await Double(**abilities).start(tls)
            stack.push_async_callback(double.stop)
            return double

        yield start


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        def make(url: str, **options: object) -> TusUplink:
            known = {"stall": 1.0, "connect_timeout": 2.0, "receipt_wait": 1.0} | options
            uplink = TusUplink(TusUplink.Options(use="tus", name="dems", url=url, **known))
            stack.push_async_callback(uplink.aclose)
            return uplink

        yield make


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Uplinks over the IETF's protocol, in parts of 1 MiB."""
    async with AsyncExitStack() as stack:

        def made(url: str, **options: object) -> IetfUplink:
            known = {"stall": 1.0, "connect_timeout": 2.0, "receipt_wait": 1.0, "part_length": MIB} | options
            uplink = IetfUplink(IetfUplink.Options(use="ietf", name="dems", url=url, **known))
            stack.push_async_callback(uplink.aclose)
            return uplink

        yield made


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[swift.Swift]:
    """OpenStack Swift, one for all tests of a process."""
    if (why := swift.missing()) is not None:
        pytest.skip(why)
    with swift.Swift(tmp_path_factory.mktemp("swift")) as made:
        yield made


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azurite, one for all tests of a process."""
    if (why := azurite.missing()) is not None:
        pytest.skip(why)
    with Azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield made


@pytest.fixture
def buckets_as_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names such as `evidence.localhost` are this machine; not every resolver knows (RFC 6761 section 6.3)."""
    known = socket.getaddrinfo

    def found(host: str | None, *words: Any, **more: Any) -> Any:  # noqa: ANN401 - the socket's own
        return known("127.0.0.1" if host and host.endswith(".localhost") else host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
async def dems(tmp_path: Path) -> AsyncIterator[EmulatedDems]:
    async with EmulatedDems(tmp_path / "dems") as started:
        yield started


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with Station(tmp_path / "station") as made:
        yield made


@pytest.fixture
def way() -> Iterator[Straight]:
    way = way_to()
    yield way
    way.close()
