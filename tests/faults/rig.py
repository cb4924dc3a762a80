"""A camera, an emulated DEMS and a daemon that is forked from the nursery: what the fault tests do their harm to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.clock import Clock
from agent.journal import Journal
from agent.station.acts import act
from agent.testing.audit import Book, digested
from agent.testing.cameras import CameraFolder
from agent.testing.process import LOG, DaemonProcess, audit_state, read_state, tally, tus
from tests.faults.remembering import Remembering

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.capture import Stamp
    from agent.testing.dems import DemsProcess, EmulatedDems

POLICY = {"device": "release", "receipt": "signed", "grace": "0 s", "spool": "released", "spool_keep": "0 s"}
PART = 256 * 1024
DRAIN = float(os.environ.get("EVIDOCK_DRAIN", "90"))
"""Seconds in which everything arrives, once nothing harms it any more."""


class Nursery:
    """See `nursery.py`. One for all rounds, and for tests that follow each other; it starts when it is first asked."""

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End it, and every daemon of it that still runs."""
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            process.wait()
            process.stdout.close()

    def _started(self) -> subprocess.Popen[bytes]:
        root = Path(__file__).parents[2]
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("nursery.py"))],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(root), **self._environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        return self._process

    async def _ask(self, **order: object) -> int:
        process, answered, loop = self._started(), asyncio.Event(), asyncio.get_running_loop()
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        loop.add_reader(process.stdout, answered.set)
        try:
            await answered.wait()
        except BaseException:
            process.kill()  # its answer would be taken for that to the next question
            raise
        finally:
            loop.remove_reader(process.stdout)
        return int(process.stdout.readline())

    async def fork(
        self,
        config: Path,
        words: Path,
        fault: str = "",
        *,
        counts: Path | str = "",
        told: Path | str = "",
        straight: bool = False,
    ) -> int:
        """`straight`: what it sends goes by threads."""
        paths = {"config": str(config), "words": str(words), "counts": str(counts), "told": str(told)}
        return await self._ask(**paths, fault=fault, straight=straight)

    async def dies(self, pid: int, within: float) -> bool:
        """Whether it ends by itself in time; it stays to be waited for."""
        ended, loop, fd = asyncio.Event(), asyncio.get_running_loop(), os.pidfd_open(pid)
        loop.add_reader(fd, ended.set)
        try:
            async with asyncio.timeout(within):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return True

    async def end(self, pid: int, number: signal.Signals | None = signal.SIGKILL) -> int:
        """Send a signal (or none) and wait for the end; the pid stays ours until then, for its parent waits with us."""
        if number is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return await self._ask(wait=pid)


class Rig:
    """One camera, one DEMS, one state folder."""

    def __init__(
        self,
        folder: Path,
        nursery: Nursery,
        dems: EmulatedDems | DemsProcess,
        *,
        uplink: Mapping[str, object] | None = None,
        policy: Mapping[str, object] | None = None,
        straight: bool | None = None,
        **spool: object,
    ) -> None:
        """`straight`: whether what its daemons send goes by threads; None for each second one, from the first on."""
        self._remembering = Remembering()
        self.camera = CameraFolder(folder / "camera", digested=self._remembering)
        self.folder, self.dems, self.nursery = folder, dems, nursery
        self.told = folder / "told"
        """Which calls failed, a line each."""
        table = {**tus(dems.url, dems.receipt_vkey), "part_length": PART, **(uplink or {})}
        self.daemon = DaemonProcess(
            folder / "station",
            drivers=[self.camera.driver()],
            uplink=table,
            policy={**POLICY, **(policy or {})},
            spool=spool,
        )
        self._installed = False
        self._straight, self._starts = straight, 0

    @property
    def count(self) -> int:
        """How many recordings there ever were: a seed for one that is like no other."""
        return len(list(self.camera.ever()))

    async def start(self, fault: str = "", *, counts: Path | str = "") -> int:
        if not self._installed:
            await self.daemon.install()
            self._installed = True
        self._starts += 1
        straight = self._starts % 2 == 1 if self._straight is None else self._straight
        return await self.nursery.fork(
            self.daemon.config, self.daemon.words, fault, counts=counts, told=self.told, straight=straight
        )

    def fired(self) -> int:
        """How many faults there really were."""
        return len(self.told.read_text().splitlines()) if self.told.exists() else 0

    async def wrong(self, *, at_rest: bool = False) -> list[str]:
        how = digested if at_rest else self._remembering  # once more everything is read, at the end
        return await audit_state(self.daemon.state, [self.camera], self.dems, at_rest=at_rest, digested=how)

    async def book(self) -> Book:
        return await asyncio.to_thread(read_state, self.daemon.state) or Book()

    async def drain(self, within: float = DRAIN) -> None:
        """Run without harm until the camera is empty, end in order, and verify everything."""
        pid = await self.start()
        try:
            async with asyncio.timeout(within):
                while not self.camera.empty() or not await self._let_go():
                    if await self.nursery.dies(pid, 0.02):  # a camera tells nobody; who ended says why below
                        break
        except TimeoutError:
            told = f"{await tally(self.daemon.state)}, on the camera {len(list(self.camera.still()))}"
            raise AssertionError(f"it does not drain: {told}\n{self.daemon.words.read_text()[-5000:]}") from None
        finally:
            code = await self.nursery.end(pid, signal.SIGTERM)
        assert code == 0, self.daemon.words.read_text()[-5000:]
        await self.verify_all()

    async def drained(self) -> list[str]:
        """What is wrong after `drain`."""
        try:
            await self.drain()
        except AssertionError as error:
            return [f"{error}"]
        return []

    async def retry(self, captures: list[str]) -> None:
        """A person has these sent again, while no daemon runs."""
        await asyncio.to_thread(ordered, self.daemon.state, [("retry", capture) for capture in captures])

    async def _let_go(self) -> bool:
        standings = await tally(self.daemon.state)
        return not any(standings.get(one, 0) for one in (Standing.HELD, Standing.RECEIPTED))

    async def verify_all(self) -> None:
        """Nothing lost, nothing doubled, nothing released without a receipt; each recording is at the DEMS once."""
        wrong = await self.wrong(at_rest=True)
        assert not wrong, "\n".join(wrong)
        stored = [entry for entry in await self.dems.index() if entry.state == "stored"]
        assert sorted(entry.sha256 for entry in stored) == sorted(one.sha256.hex() for one in self.camera.ever())
        for holding in (await self.book()).holdings.values():
            # Also where the entry about a deletion was cut off: a later look at the whole camera shows it.
            assert holding.standing in (Standing.RELEASED, Standing.PURGED)


def ordered(state: Path, acts: list[tuple[str, str]], stamp: Callable[[], Stamp] | None = None) -> None:
    """A person orders (verb, capture) one after another, while no daemon runs; `stamp`: where other clocks count."""
    journal = Journal.open(state / "journal.db", log=LOG, stamp=stamp or Clock().stamp)
    try:
        with journal.transaction():
            for verb, capture in acts:
                act(journal, verb, capture, actor="user:anna(1000)", why="everything is in order again")
    finally:
        journal.close()
