"""A station inside a machine: a camera, a DEMS that no fault touches, and one daemon after another, each forked."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import agent.journal.entry
import agent.uplink.tus
import drivers.body_worn.usb_volume  # noqa: F401 - imported once, before anything is forked
from agent.belief import install
from agent.capture import Standing
from agent.config import load
from agent.daemon import Agent
from agent.errors import AgentError
from agent.release import Release
from agent.spool import stage
from agent.testing.audit import Book, audit_arrivals
from agent.testing.dems import process
from agent.testing.process import DaemonProcess, audit_state, read_state, tus
from tests.faults.straight import by_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random
    from typing import Any

    from agent.testing.audit import Witness
    from agent.testing.cameras import CameraFolder
    from agent.testing.dems.options import DemsOptions

POLICY = {"device": "release", "receipt": "signed", "grace": "0 s", "spool": "released", "spool_keep": "0 s"}
PROMISED = (Standing.HELD, Standing.RECEIPTED, Standing.RELEASED, Standing.PURGED)
PR_SET_PDEATHSIG = 1
MARK_EVERY = 256 * 1024
"""So that captures of a few megabytes have marks, too."""


def recording(chance: Random) -> bytes:
    """Mostly small, sometimes of several blocks, now and then so long that it has a stage file and marks."""
    kind = chance.random()
    bounds = (0, 40_000) if kind < 0.85 else (1_048_577, 2_000_000) if kind < 0.93 else (4_194_305, 5_000_000)
    return chance.randbytes(chance.randrange(*bounds))


def _forked(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    code = 70
    try:
        code = work()
    except AgentError as error:
        print(repr(error), file=sys.stderr, flush=True)  # noqa: T201
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - as the interpreter would
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    finally:
        os._exit(code)


class Bench:
    """See above. `folder`: where the station is; `words`: what its daemons say."""

    def __init__(
        self, folder: Path, dems: DemsOptions, drivers: Sequence[Mapping[str, Any]], *, words: Path, **spool: object
    ) -> None:
        agent.journal.entry.build_digest()
        self.words = words
        reading, writing = os.pipe()
        serving = lambda: asyncio.run(process.serve(dems, say=lambda line: os.write(writing, line.encode() + b"\n")))  # noqa: E731
        self._dems = _forked(lambda: serving() or 0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = json.loads(pipe.readline())
        self.url = said["url"]
        uplink = tus(said["url"], said["receipt_vkey"], part_length=MARK_EVERY)
        self.daemon = DaemonProcess(folder, drivers=drivers, uplink=uplink, policy=POLICY, spool=spool)
        self.config = load(self.daemon.config)
        self._starts = 0

    def start(self, told: Callable[[str], None], before: Callable[[], None] = lambda: None) -> int:
        """A daemon that tells each promise of its life as soon as it is given; its number.

        Of each second one what it sends goes by threads.
        """
        self._starts += 1
        if not self.config.trust.exists():
            install(self.config)
        return _forked(lambda: self._live(told, before))

    def _live(self, told: Callable[[str], None], before: Callable[[], None]) -> int:
        log = os.open(self.words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        stage.MARK_EVERY = MARK_EVERY  # type: ignore[misc]
        if self._starts % 2:
            by_threads()
        promising(told)
        before()
        asyncio.run(Agent(self.config).run())
        return 0

    def end(self, pid: int, number: signal.Signals = signal.SIGKILL) -> int:
        """End one, and wait for it."""
        os.kill(pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def ended(self, pid: int) -> int | None:
        """Its exit code, where it ended by itself."""
        found, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if found else None

    def arrived(self) -> dict[str, list[str]]:
        """SHA-256 of what the DEMS stored under each capture's id. `AssertionError` with what it complains of."""
        complaints = self._ask("/violations.json")
        assert not complaints, complaints
        found: dict[str, list[str]] = {}
        for upload in self._ask("/evidence/index.json"):
            if upload["state"] == "stored":
                found.setdefault(upload["capture"], []).append(upload["sha256"])
        return found

    def wrong(self, devices: Sequence[Witness], *, at_rest: bool = True) -> list[str]:
        """`station.verify()` of a station that does not run: device, stage, spool, journal and what the DEMS has."""
        found = asyncio.run(audit_state(self.daemon.state, devices, at_rest=at_rest))
        book = read_state(self.daemon.state) or Book()
        arrived = {capture: [bytes.fromhex(one) for one in shas] for capture, shas in self.arrived().items()}
        return found + audit_arrivals(book, arrived)

    def _ask(self, path: str) -> Any:  # noqa: ANN401
        with urllib.request.urlopen(urljoin(self.url, path)) as answer:  # noqa: S310 - our own DEMS
            return json.load(answer)

    def close(self) -> None:
        """End the DEMS in order."""
        self.end(self._dems, signal.SIGTERM)


def promising(told: Callable[[str], None]) -> None:
    """Tell each promise once: `held-TOKEN` when a driver hears that its capture is safe, `forget-ID` and
    `forget-STEM` before a device is told to forget it, `gone-STEM` when it stands in the journal that it did.
    """
    take, delete, known = Agent.take, Release._delete, set[str]()

    async def taking(self: Agent, offer: Any, /) -> Standing:  # noqa: ANN401
        standing = await take(self, offer)
        if standing in PROMISED and (token := offer.capture.origin.token.hex()) not in known:
            known.add(token)
            told(f"held-{token}")
        if standing is Standing.RELEASED:
            told(f"gone-{Path(offer.capture.key).stem}")
        return standing

    async def deleting(self: Release, offer: Any, holding: Any, *rest: Any) -> str:  # noqa: ANN401
        told(f"forget-{holding.id}")
        told(f"forget-{Path(holding.origin.key).stem}")
        return await delete(self, offer, holding, *rest)

    Agent.take, Release._delete = taking, deleting  # type: ignore[method-assign]


def until(condition: Callable[[], bool], within: float) -> bool:
    """Wait for it; False where it does not come in time."""
    ends = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def empty(camera: CameraFolder) -> bool:
    """Whether it has forgotten everything."""
    return not any((camera.root / "DCIM" / "100MEDIA").iterdir())
