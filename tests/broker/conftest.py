"""A real daemon at a real mosquitto, with a camera, and an emulated DEMS that listens there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.clock import Clock
from agent.config import load
from agent.daemon import Agent
from agent.journal import Journal, queries
from agent.mqtt.session import Pauses
from agent.testing.cameras import CameraFolder
from agent.testing.process import LOG, DaemonProcess, tus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from agent.capture import Standing
    from agent.testing.broker import Mosquitto
    from agent.testing.dems import EmulatedDems

STATION = "example-org/main/dock-1"
"""As it stands in topics, of the station that tests start."""


def at(broker: Mosquitto, **more: object) -> dict[str, object]:
    """The `[mqtt]` table for a broker."""
    table: dict[str, object] = {"host": "127.0.0.1", "port": broker.port, "tls": broker.tls}
    if broker.tls:
        table |= {"ca_file": str(broker.folder / "ca.pem"), "client_cert": str(broker.certificate("dock-1"))}
    return {**table, **more}


@contextmanager
def told_with(daemon: DaemonProcess) -> Iterator[None]:
    """What is waited for in vain is told with what the daemon wrote meanwhile."""
    try:
        yield
    except TimeoutError as error:
        error.add_note(daemon.words.read_text()[-6000:])
        raise


async def until(true: Callable[[], object], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.02)


def entries(state: Path, event: str) -> list[dict[str, Any]]:
    """The predicates of an event, of a daemon that does not run."""
    journal = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    found = [json.loads(leaf)["predicate"] for _, leaf in journal.leaves.between(0, journal.leaves.size)]
    journal.close()
    return [one for one in found if one["event"] == event]


class Dock:
    """One station in a folder, with its camera."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.camera = CameraFolder(folder / "camera")
        self.state = folder / "station" / "state"

    def daemon(
        self, mqtt: Mapping[str, Any] | None, dems: EmulatedDems | None = None, **uplink: object
    ) -> DaemonProcess:
        table = None if dems is None else tus(dems.url, dems.receipt_vkey, **uplink)
        return DaemonProcess(self.folder / "station", drivers=[self.camera.driver()], uplink=table, mqtt=mqtt)

    @asynccontextmanager
    async def here(
        self, mqtt: Mapping[str, Any] | None, dems: EmulatedDems | None = None, *, also: str = "", **uplink: object
    ) -> AsyncIterator[Agent]:
        """The same daemon in this process, which starts in a tenth of the time; ended as systemd ends it."""
        made = self.daemon(mqtt, dems, **uplink)
        with made.config.open("a") as config:
            config.write(also)
        agent = Agent(load(made.config))
        running = asyncio.create_task(agent.run())
        try:
            async with asyncio.timeout(20):
                while agent.desk._thread is None and not running.done():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield agent
        finally:
            if not running.done():
                os.kill(os.getpid(), signal.SIGTERM)
            await running
        await made.verify([self.camera], *(() if dems is None else (dems,)))


async def standing(agent: Agent, word: Standing, count: int) -> None:
    """Wait until so many captures stand there."""
    async with asyncio.timeout(40):
        while True:
            found = (await agent.desk.read(queries.tally)).get(word)
            if (0 if found is None else found.captures) == count:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
def dock(tmp_path: Path) -> Dock:
    return Dock(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process nobody waits long to come back; the daemon's own process does as it always does."""
    monkeypatch.setattr(Pauses, "after", lambda *_, **__: 0.05)
