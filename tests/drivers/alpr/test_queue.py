"""Reads out of a real beanstalkd, filled by another author's client: each job is done with when its reads are held."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import BadCapture, DeviceGone, DeviceRefused, SpoolFull
from agent.testing.ports import free_port
from agent.testing.probe import Probe
from agent.testing.rig import WantsAll, running
from agent.testing.station import Station
from drivers.alpr.beanstalk import Tube
from drivers.alpr.emulator import MESSAGES, Passage, jpeg
from drivers.alpr.queue import Queue
from tests.drivers.alpr.conftest import eventually
from tests.drivers.alpr.oracle import sample
from tests.drivers.alpr.peers import Beanstalkd, needs_beanstalkd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.proves("alpr.queue", peer="beanstalkd, greenstalk"), needs_beanstalkd, pytest.mark.interop]


def queue(server: Beanstalkd, **more: Any) -> Queue:  # noqa: ANN401
    told = {"use": "alpr.queue", "name": "car42", "rescan": 0.05, "port": server.port, "camera": {"name": "scout"}}
    return Queue(Queue.Options.model_validate({**told, **more}))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Beanstalkd]:
    made = Beanstalkd(tmp_path / "beanstalkd", free_port())
    made.start()
    yield made
    made.kill()


def group(number: int = 0, length: int = 60_000) -> bytes:
    passage = Passage(f"EVDK{number:03}", identity=f"u-{number}", pictures={"overview": jpeg(length, number)})
    return MESSAGES["openalpr"](passage.later(number), "").body


async def test_a_job_is_deleted_when_its_read_is_held(tmp_path: Path, server: Beanstalkd) -> None:
    numbers = [server.put(group(number)) for number in range(20)]
    async with (
        Station(tmp_path / "station", screens=[WantsAll("alpr")]) as station,
        running(queue(server), station),
    ):
        for number in numbers:
            await server.until(number, "gone")
        assert len(await station.holdings()) == 20
        await station.verify()


@pytest.mark.proves("alpr.queue", vectors="the test message of the agent's maker")
async def test_the_makers_own_message_is_longer_than_a_job_may_be_by_default(server: Beanstalkd) -> None:
    """70 kB: the server of an agent must be told to take more, as docs/alpr.md says."""
    data, probe = sample("real/openalpr/alpr_group.json"), Probe()
    assert len(data) > 65_535
    async with running(queue(server), probe):
        await server.until(server.put(data), "gone")
    assert len(probe.offered) == 1


@pytest.mark.parametrize("error", [SpoolFull, DeviceRefused])
async def test_what_cannot_be_kept_goes_back_and_comes_again(server: Beanstalkd, error: type[Exception]) -> None:
    seen = 0

    async def look(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise error("not now")

    driver = queue(server)
    async with running(driver, Probe(look)):
        number = server.put(group())
        await server.until(number, "delayed")
        assert {notice.id for notice in driver.notices()} == {"alpr.not_kept", "alpr.clock"}
        assert seen == 1


async def test_a_job_that_meets_a_fault_of_ours_each_time_steps_aside(
    server: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be handed out every ten seconds for ever."""

    async def look(_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr("drivers.alpr.queue._AGAIN", 0)
    driver, probe = queue(server), Probe(look)
    async with running(driver, probe):
        await server.until(server.put(group()), "gone")
        assert "alpr.aside" in {notice.id for notice in driver.notices()}
    assert [data for _, data, _ in probe.aside] == [group()]
    assert len(probe.offered) == 2


async def test_what_must_not_be_taken_is_set_aside_in_the_queue(server: Beanstalkd) -> None:
    async def look(_: object) -> None:
        raise BadCapture("it contradicts itself")

    driver = queue(server)
    async with running(driver, Probe(look)):
        await server.until(server.put(group()), "buried")
        await eventually(lambda: "alpr.buried" in {notice.id for notice in driver.notices()})
        assert "alpr.not_kept" not in {notice.id for notice in driver.notices()}, "nothing of it is repeated"


async def test_a_job_stays_ours_while_its_read_is_taken(server: Beanstalkd) -> None:
    """Its time to run is a second, and the taking takes three."""
    taken = 0

    async def look(_: object) -> None:
        nonlocal taken
        taken += 1
        await asyncio.sleep(3)

    async with running(queue(server, touch_every=0.3), Probe(look)):
        await server.until(server.put(group(), ttr=1), "gone")
    assert taken == 1, "it was handed out twice"


async def test_a_station_that_dies_leaves_the_job_to_the_next(server: Beanstalkd) -> None:
    reached = asyncio.Event()

    async def look(_: object) -> None:
        reached.set()
        await asyncio.sleep(60)

    async with running(queue(server), Probe(look)):
        number = server.put(group())
        await reached.wait()
    await server.until(number, "ready")
    probe = Probe()
    async with running(queue(server), probe):
        await server.until(number, "gone")
    assert len(probe.offered) == 1


async def test_a_server_that_is_killed_is_found_again(server: Beanstalkd) -> None:
    probe = Probe()
    driver = queue(server)
    async with running(driver, probe) as task:
        await server.until(server.put(group(1)), "gone")
        server.kill()
        await eventually(lambda: "alpr.queue" in {notice.id for notice in driver.notices()})
        await asyncio.to_thread(server.start)
        await server.until(await asyncio.to_thread(server.put, group(2)), "gone")
        await eventually(lambda: "alpr.queue" not in {notice.id for notice in driver.notices()})
        assert not task.done()
    assert len(probe.keys) == 2


@pytest.mark.parametrize("body", [b"no JSON", b'{"data_type": "heartbeat"}', b""])
async def test_what_holds_no_read_is_done_with(server: Beanstalkd, body: bytes) -> None:
    probe = Probe()
    async with running(queue(server), probe):
        await server.until(server.put(body), "gone")
    assert probe.offered == []


async def test_a_job_that_is_too_long_is_set_aside_in_the_queue(server: Beanstalkd) -> None:
    driver, probe = queue(server, job_max=4096), Probe()
    async with running(driver, probe):
        await server.until(server.put(group()), "buried")
        await server.until(server.put(group(1, 100)), "gone")
        await eventually(lambda: "alpr.buried" in {notice.id for notice in driver.notices()})
        assert "`job_max`" in next(notice.todo for notice in driver.notices() if notice.id == "alpr.buried")
    again, probe = queue(server), Probe()
    async with running(again, probe):
        await eventually(lambda: "alpr.buried" in {notice.id for notice in again.notices()})
        await asyncio.to_thread(server.kick)
        await eventually(lambda: len(probe.offered) == 1)
        again._look_at = 0.0
        await asyncio.to_thread(server.put, group(2, 100))
        await eventually(lambda: "alpr.buried" not in {notice.id for notice in again.notices()})


# -- a server that says anything ---------------------------------------------------------------------------------------


@pytest.fixture
async def liar(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    said: bytes = request.param

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readline()
            writer.write(b"WATCHING 1\r\n")
        await reader.readline()
        writer.write(said)
        await writer.drain()
        writer.close()

    served = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with served:
        yield served.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "liar",
    [
        b"",
        b"RESERVED 1 5\r\nabc",
        b"RESERVED 1 999999999999\r\nabc",
        b"RESERVED 99999999999999999999999 5\r\nabcde\r\n",
        b"RESERVED -1 5\r\nabcde\r\n",
        b"x" * 100_000,
        b"OUT_OF_MEMORY\r\n",
        b"RESERVED 1 5",
    ],
    indirect=True,
)
async def test_whatever_a_server_says_is_an_error_of_ours(liar: int) -> None:
    tube = await Tube.open("127.0.0.1", liar, "alprd")
    try:
        with pytest.raises((DeviceGone, DeviceRefused)):
            await tube.reserve(1 << 20)
    finally:
        await tube.close()
