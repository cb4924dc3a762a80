"""A disk that somebody else fills to the last block: the daemon stays, says so, promises nothing, and goes on again."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from agent import supervising
from agent.clock import Clock
from agent.errors import JournalFull, SpoolFull
from agent.journal import Desk, Event, Journal
from agent.testing.audit import read_journal
from agent.testing.cameras import CameraFolder
from agent.testing.devices import some_bytes
from agent.testing.ports import free_port
from agent.testing.process import COMMAND, LOG, DaemonProcess, tus
from tests.spine.full_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from agent.testing.dems import EmulatedDems
    from tests.spine.full_disk import Disk

POLICY = {"device": "release", "spool": "released", "spool_keep": "0 s", "grace": "0 s"}
FULL = "journal.full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path) as made:
        yield made


async def asked(daemon: DaemonProcess, path: str = "/status", body: object = None) -> tuple[int, Any]:
    """What whoever asks at the socket is told."""
    connector = aiohttp.UnixConnector(str(daemon.state / "control.sock"))
    how = "GET" if body is None else "POST"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(how, f"http://station{path}", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def page(port: int, path: str) -> tuple[int, Any]:
    """What the status service tells."""
    async with aiohttp.ClientSession() as session, session.get(f"http://localhost:{port}{path}") as answer:
        return answer.status, json.loads(await answer.text())


async def notices(daemon: DaemonProcess) -> dict[str, Any]:
    """By their ids; nothing where nobody answers."""
    with suppress(aiohttp.ClientError, FileNotFoundError, json.JSONDecodeError):
        return {one["id"]: one for one in (await asked(daemon))[1]["problems"]}
    return {}


async def until(found: Callable[[], Any], within: float = 60) -> None:
    async with asyncio.timeout(within):
        while True:
            told = found()
            if await told if asyncio.iscoroutine(told) else told:
                return
            await asyncio.sleep(0.05)


async def is_full(daemon: DaemonProcess) -> bool:
    return FULL in await notices(daemon)


@pytest.fixture
async def desk(disk: Disk) -> AsyncIterator[Desk]:
    made = Desk(lambda: Journal.open(disk.top / "journal.db", log=LOG, stamp=Clock().stamp))
    await made.open()
    yield made
    await made.close()


async def is_well(daemon: DaemonProcess) -> bool:
    told = await notices(daemon)
    return bool(told) and FULL not in told


def station(
    disk: Disk, dems: EmulatedDems, *cameras: CameraFolder, status: dict[str, object] | None = None
) -> DaemonProcess:
    uplink = tus(dems.url, dems.receipt_vkey)
    drivers = [camera.driver() for camera in cameras]
    made = DaemonProcess(
        disk.top / "station", drivers=drivers, uplink=uplink, policy=POLICY, command=COMMAND, status=status
    )
    made.words = disk.top.with_name("daemon.log")
    return made


async def evidock(daemon: DaemonProcess, *words: str) -> tuple[int, str]:
    """The command line: its exit code, and all that it said."""
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", "--config", str(daemon.config), *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await done.communicate()
    return done.returncode or 0, said.decode()


@pytest.mark.slow
async def test_a_disk_that_fills_up_ends_nothing_and_is_told_of(tmp_path: Path, disk: Disk, dems: EmulatedDems) -> None:
    camera = CameraFolder(tmp_path / "camera")
    async with station(disk, dems, camera) as daemon:
        await daemon.ready()
        camera.record(some_bytes(1000))
        await until(camera.empty)
        disk.fill()
        camera.record(some_bytes(20_000, 1))
        camera.record(some_bytes(2_000_000, 2))
        await until(lambda: is_full(daemon))
        told = (await notices(daemon))[FULL]
        assert told["state"] == "problem"
        assert "nothing is taken" in told["detail"]
        assert "make room" in told["todo"]
        assert "room.full" not in await notices(daemon), "one word for one thing"
        await asyncio.sleep(3)
        assert await is_full(daemon)
        assert len(list(camera.still())) == 2
        disk.give_back()
        await until(camera.empty)
        await until(lambda: is_well(daemon))
        assert await daemon.stop() == 0
        await daemon.verify([camera], dems, at_rest=True)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
async def test_a_start_without_room_can_be_looked_at_and_goes_on_by_itself(
    tmp_path: Path,
    disk: Disk,
    dems: EmulatedDems,
    killed: bool,  # noqa: FBT001
) -> None:
    camera, port = CameraFolder(tmp_path / "camera"), free_port()
    async with station(disk, dems, camera, status={"port": port}) as daemon:
        await daemon.ready()
        camera.record(some_bytes(1000))
        await until(camera.empty)
        if killed:
            disk.fill()
            camera.record(some_bytes(3000, 2))
            await until(lambda: is_full(daemon))
            daemon.kill()
            await daemon.wait()
        else:
            await daemon.stop()
            disk.fill()
        await daemon.start()
        await daemon.ready()
        camera.record(some_bytes(20_000, 1))
        await until(lambda: is_full(daemon))
        assert (await page(port, "/ready"))[0] == 503
        code, told = await page(port, "/v1/status")
        assert code == 200
        assert FULL in [one["id"] for one in told["problems"]]
        id_ = (await asked(daemon, "/captures"))[1]["captures"][0]["id"]
        code, said = await evidock(daemon, "status")
        assert code == 0
        assert "the disk is full" in said
        code, said = await evidock(daemon, "capture", "hold", id_, "--why", "court")
        assert code == JournalFull.exit_code
        assert "make room" in said
        assert len(list(camera.still())) >= 1
        disk.give_back()
        await until(camera.empty)
        await until(lambda: is_well(daemon))
        assert (await page(port, "/ready"))[0] == 200
        assert await daemon.stop() == 0
        await daemon.verify([camera], dems, at_rest=True)


@pytest.mark.slow
async def test_a_start_that_waits_for_room_ends_when_it_is_told_to(
    tmp_path: Path, disk: Disk, dems: EmulatedDems
) -> None:
    camera = CameraFolder(tmp_path / "camera")
    async with station(disk, dems, camera) as daemon:
        await daemon.ready()
        await daemon.stop()
        disk.fill()
        await daemon.start()
        await daemon.ready()
        await until(lambda: is_full(daemon))
        assert await daemon.stop() == 0
        await daemon.verify([camera], dems, at_rest=True)
        code, said = await evidock(daemon, "status")
        assert (code, "not running" in said) == (0, True), "without a daemon it can be looked at as well"


@pytest.mark.slow
@pytest.mark.parametrize("words", ["elsewhere", "on the same disk"])
async def test_a_station_that_never_began_says_that_it_needs_room(disk: Disk, dems: EmulatedDems, words: str) -> None:
    daemon = station(disk, dems)
    if words != "elsewhere":
        daemon.words = disk.top / "daemon.log"
        daemon.words.touch()
    await daemon.install()
    disk.fill()
    await daemon.start()
    assert await daemon.wait() in {SpoolFull.exit_code, JournalFull.exit_code}
    said = daemon.words.read_text()
    assert words != "elsewhere" or "ake room on" in said


async def test_an_act_too_large_for_the_disk_waits_or_is_refused(disk: Disk, desk: Desk) -> None:
    """It fails in its midst, where memory for what changes is used up, and SQLite undoes it before we can."""

    def much(journal: Journal) -> str:
        journal.connection.execute("CREATE TABLE much (bytes)")
        for _ in range(18):
            journal.connection.execute("INSERT INTO much VALUES (zeroblob(1000000))")
        return "done"

    disk.fill()
    with pytest.raises(JournalFull):
        await desk.write(much, waits=False)
    assert desk.full is not None
    waiting = asyncio.create_task(desk.write(much))
    assert await desk.read(lambda journal: journal.leaves.size) == 1, "what stands there can be looked at"
    with pytest.raises(JournalFull):
        await desk.write(lambda journal: journal.record(Event.POWER_SAFE, {}), waits=False)
    disk.give_back()
    async with asyncio.timeout(60):
        assert await waiting == "done"
    assert desk.full is None
    await desk.write(lambda journal: journal.connection.execute("DROP TABLE much"), waits=False)
    await desk.write(lambda journal: journal.record(Event.POWER_SAFE, {}), waits=False)
    assert (await desk.read(read_journal)).problems == []


async def test_a_desk_that_is_closed_keeps_nobody_waiting(disk: Disk, desk: Desk) -> None:
    disk.fill()

    def entry(journal: Journal) -> None:
        for _ in range(100):
            journal.record(Event.OBSERVED, {"lots": "x" * 50_000})

    waiting = [asyncio.create_task(desk.write(entry)) for _ in range(3)]
    async with asyncio.timeout(60):
        await desk.until_full()
    await desk.close()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in done] == [JournalFull] * 3


async def test_steps_of_the_clock_are_told_of_when_there_is_room(
    disk: Disk, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "_HOUSEKEEPING", 0.01)
    clock, ahead = Clock(), [timedelta()]
    true = clock.stamp
    monkeypatch.setattr(clock, "stamp", lambda: replace(stamp := true(), at=stamp.at + ahead[0]))
    watching = asyncio.create_task(supervising.clock_watched(desk, clock))
    await asyncio.sleep(0.1)
    disk.fill()
    with pytest.raises(JournalFull):
        await desk.write(
            lambda journal: journal.connection.execute("CREATE TABLE x AS SELECT zeroblob(9000000)"), waits=False
        )
    for _ in range(3):
        ahead[0] += timedelta(hours=1)
        await asyncio.sleep(0.1)
    disk.give_back()

    def told(journal: Journal) -> list[int]:
        said = [json.loads(leaf)["predicate"] for _, leaf in journal.leaves.between(0, journal.leaves.size)]
        return [one["by_us"] for one in said if one["event"] == Event.CLOCK_STEPPED]

    async def all_of_it() -> bool:
        return round(sum(await desk.read(told)) / 3_600_000_000) == 3

    await until(all_of_it)
    watching.cancel()
    await asyncio.wait({watching})
