"""The whole process: alone in its folder, ended in order by SIGTERM, and ended when its journal cannot be written."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import apsw
import pytest

from agent import durable
from agent.clock import Clock
from agent.config import parse
from agent.daemon import Agent
from agent.errors import AgentError, ConfigError, JournalError, Refusal, SpoolError, SpoolFull
from agent.journal import Journal
from agent.process import ALIVE, locked, tell_systemd
from agent.supervising import supervised
from agent.testing.cameras import CameraFolder
from agent.testing.devices import some_bytes
from agent.testing.process import BARE, COMMAND, LOG, DaemonProcess, read_state, toml, tus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.testing.dems import EmulatedDems


def events(state: Path) -> list[str]:
    journal = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    found = [json.loads(leaf)["predicate"]["event"] for _, leaf in journal.leaves.between(0, journal.leaves.size)]
    journal.close()
    return found


async def until_empty(camera: CameraFolder) -> None:
    async with asyncio.timeout(60):
        while not camera.empty():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.fresh
@pytest.mark.parametrize("command", [BARE, COMMAND], ids=["bare", "command line"])
async def test_sigterm_ends_it_in_order(tmp_path: Path, command: tuple[str, ...]) -> None:
    camera = CameraFolder(tmp_path / "camera")
    camera.record(some_bytes(1000))
    async with DaemonProcess(tmp_path / "station", drivers=[camera.driver()], command=command) as daemon:
        await daemon.ready()
        assert await daemon.stop(within=60) == 0
        assert events(daemon.state)[0] == "log.opened"
        assert events(daemon.state)[-1] == "agent.stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_while_it_copies(tmp_path: Path, number: signal.Signals) -> None:
    camera = CameraFolder(tmp_path / "camera")
    camera.record(some_bytes(50_000_000))
    async with DaemonProcess(tmp_path / "station", drivers=[camera.driver()]) as daemon:
        await daemon.ready()
        os.kill(daemon.pid, number)
        assert await daemon.wait(within=60) == 0
        await daemon.verify([camera])


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.EIO, SpoolError), (errno.EROFS, SpoolError), (errno.ENOSPC, SpoolFull), (errno.EACCES, ConfigError)],
)
def test_a_disk_that_fails_before_anything_ends_it_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[AgentError]
) -> None:
    """As a file system that has stopped itself does."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    config = parse(toml({"station": {"name": "d", "agency": "example.org", "state": str(tmp_path / "state")}}))
    monkeypatch.setattr(durable, "make_folder", fails)
    with pytest.raises(AgentError, match=os.strerror(number)) as found:
        Agent(config)
    assert type(found.value) is error


async def test_a_second_one_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with DaemonProcess(tmp_path / "station") as daemon:
        await daemon.ready()
        second = DaemonProcess(tmp_path / "station")
        await second.start()
        assert await second.wait(within=60) == Refusal.exit_code
        assert "another Evidock" in daemon.words.read_text()
    with locked(tmp_path / "station" / "state"):
        pass


@pytest.mark.parametrize("damage", ["other program", "garbage", "newer"])
async def test_a_journal_that_cannot_be_used_ends_it_with_its_own_exit_code(tmp_path: Path, damage: str) -> None:
    daemon = DaemonProcess(tmp_path / "station")
    daemon.state.mkdir(parents=True)
    path = daemon.state / "journal.db"
    if damage == "garbage":
        path.write_bytes(b"garbage" * 1000)
    else:
        connection = apsw.Connection(str(path))
        connection.execute("CREATE TABLE theirs (x)" if damage == "other program" else "PRAGMA user_version = 99")
        connection.close()
    await daemon.start()
    assert await daemon.wait(within=60) == JournalError.exit_code == 30


async def test_a_journal_that_fails_later_ends_it_with_the_same_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = toml({"station": {"name": "dock-1", "agency": "example.org", "state": str(tmp_path / "state")}})
    agent = Agent(parse(text))
    running = asyncio.create_task(agent.run())
    async with asyncio.timeout(60):
        while agent.desk._thread is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)

        def fail(_: Journal) -> None:
            raise apsw.IOError("disk I/O error")

        with pytest.raises(JournalError):
            await agent.desk.write(fail)
        monkeypatch.setattr("asyncio.sleep", _at_once(asyncio.sleep))
        with pytest.raises(JournalError):
            await running


def _at_once(true_sleep: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        await true_sleep(min(seconds, 0.01))

    return sleep


@pytest.mark.fresh
async def test_a_whole_life_in_a_process_of_its_own(tmp_path: Path, dems: EmulatedDems) -> None:
    camera = CameraFolder(tmp_path / "camera")
    for number in range(20):
        camera.record(some_bytes(1000 * number, number))
    policy = {"device": "release", "spool": "released", "spool_keep": "0 s"}
    async with DaemonProcess(
        tmp_path / "station", drivers=[camera.driver()], uplink=tus(dems.url, dems.receipt_vkey), policy=policy
    ) as daemon:
        await until_empty(camera)
        await asyncio.sleep(0.1)
        assert await daemon.stop() == 0
        await daemon.verify([camera], dems, at_rest=True)
        book = read_state(daemon.state)
    assert len(book.holdings) == 20


async def test_a_driver_that_fails_is_started_again_and_keeps_no_other_from_working(tmp_path: Path) -> None:
    agent = Agent(parse(toml({"station": {"name": "d", "agency": "example.org", "state": str(tmp_path / "state")}})))
    runs = []

    class Failing:
        async def run(self, _: object) -> None:
            runs.append(1)
            raise ZeroDivisionError

    class Loaded:
        driver = Failing()

        class options:  # noqa: N801
            name = "bay"

    task = asyncio.create_task(supervised(Loaded, agent, agent._troubles))
    async with asyncio.timeout(60):
        while len(runs) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert task.cancelled()
    agent.spool.close()


async def test_a_driver_that_stumbles_while_it_ends_has_ended(tmp_path: Path) -> None:
    agent = Agent(parse(toml({"station": {"name": "d", "agency": "example.org", "state": str(tmp_path / "state")}})))
    runs = []

    class Stumbling:
        async def run(self, _: object) -> None:
            runs.append(1)
            try:
                await asyncio.sleep(60)
            finally:
                raise AttributeError("what was to be closed is gone")

    class Loaded:
        driver = Stumbling()

        class options:  # noqa: N801
            name = "bay"

    task = asyncio.create_task(supervised(Loaded, agent, agent._troubles))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()
    assert runs == [1]
    agent.spool.close()


async def test_a_manager_that_does_not_listen_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def alive() -> None:
            for _ in range(1000):
                tell_systemd(ALIVE)

        await asyncio.wait_for(asyncio.to_thread(alive), 20)
