"""A camera's volume, the agent and the program that deletes, together: nothing changes on the device before."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent import durable
from agent.anchor import Anchor
from agent.capture import Standing
from agent.clock import Clock
from agent.config import Custody, Policy, WitnessConfig
from agent.custody.trust import Trust
from agent.driver import ReleasesByPath
from agent.errors import DeviceRefused
from agent.note import Verifier
from agent.release import Program, Proving, Release, trust_file, trusted
from agent.release.asking import Line, _Question
from agent.release.own import PROCESSES, Own
from agent.testing.dems import EmulatedDems
from agent.testing.station import Station
from agent.uplink.tus import TusUplink
from drivers.body_worn.usb_volume import UsbVolume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.driver import Offer

pytestmark = pytest.mark.fresh  # the program that deletes is started as a station starts it

KEYS = [b"DCIM/100EVDCK/CLIP0001.MP4", "DCIM/100EVDCK/caf\u00e9 %41\n.MP4".encode()]


class Proven(Station):
    """A station whose releases go through the program, with a DEMS that signs and witnesses."""

    async def ready(self, dems: EmulatedDems) -> None:
        trust = Trust(witnesses=(Verifier.parse(dems.witness_vkey),))
        asked = (WitnessConfig(vkey=dems.witness_vkey, url=dems.witness_url),)
        self.anchor = Anchor(
            self.desk, Custody(witness=asked), trust, log=self.log, state=self.folder, stamp=Clock().stamp
        )
        await self.anchor.start()
        keys = [Verifier.parse(dems.receipt_vkey)]
        told = trusted(trust=trust, logs=self.anchor.ring.verifiers, asked=True, receipt_keys=keys)
        trust_file(self.folder / "trust.json", told)
        self.program = Program(self.folder / "trust.json")
        options = TusUplink.Options(use="tus", name="dems", url=dems.url, receipt_keys=[dems.receipt_vkey])
        self.tus = TusUplink(options)
        self.connect(self.tus, keys=keys)
        self.release = Release(
            self.desk,
            self.spool,
            self.policy,
            keys=keys,
            stamp=self.stamp,
            proving=Proving(asked=True, policy=lambda: self.anchor.policy),
            program=self.program,
        )
        self.offers: list[Offer] = []

    async def take(self, offer: Offer, /) -> Standing:
        self.offers.append(offer)
        return await super().take(offer)

    async def until(self, standing: Standing, count: int) -> None:
        async with asyncio.timeout(10):
            while await self.count(standing) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    for number, key in enumerate(KEYS):
        file = Path(os.fsdecode(os.path.join(os.fsencode(made), key)))  # noqa: PTH118
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(hashlib.shake_128(b"%d" % number).digest(200_000))
        os.utime(file, ns=(10**18, 10**18 + number))
    return made


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Proven]:
    policy = Policy(device="release", receipt="signed")
    async with EmulatedDems(tmp_path / "dems") as dems, Proven(tmp_path / "station", policy=policy) as made:
        await made.ready(dems)
        yield made
        await made.program.aclose()
        await made.tus.aclose()
        assert await dems.violations() == []


def driver(volume: Path) -> UsbVolume:
    options: dict[str, Any] = {
        "use": "body_worn.usb_volume",
        "name": "bay-1",
        "mount": str(volume),
        "must_be_mountpoint": False,
        "device": {"id": "usb:test:1"},
        "rescan": 0.05,
        "settle": 0,
    }
    return UsbVolume(UsbVolume.Options.model_validate(options))


def image(folder: Path) -> dict[str, object]:
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns, path.lstat().st_atime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def started(station: Proven) -> Own:
    """The process of which the next volume is asked."""
    own = Own(station.folder / "trust.json")
    await own._running()
    station.program._own.free.append(own)
    return own


def place_of(root: bytes) -> Any:  # noqa: ANN401
    return SimpleNamespace(root=root, root_id=(1, 2), plugged="once")


async def test_a_device_is_byte_identical_until_all_is_proven_and_then_forgets(station: Proven, volume: Path) -> None:
    before = image(volume)
    task = station.run_driver(driver(volume))
    await station.until(Standing.HELD, 2)
    assert image(volume) == before
    await station.send()
    await asyncio.sleep(0.3)
    assert await station.count(Standing.RECEIPTED) == 2
    assert image(volume) == before
    assert not station.program._own.free  # not even asked
    await station.anchor.sign()
    await station.anchor.publish()
    await station.until(Standing.RELEASED, 2)
    assert image(volume) == {}
    assert not task.done()
    assert isinstance(station.offers[0], ReleasesByPath)


async def test_a_program_that_was_killed_is_started_again(station: Proven, volume: Path) -> None:
    station.run_driver(driver(volume))
    await station.until(Standing.HELD, 2)
    await station.send()
    process = (await started(station)).process
    os.kill(process.pid, signal.SIGSTOP)
    await station.anchor.sign()
    await station.anchor.publish()
    await asyncio.sleep(0.3)
    assert await station.count(Standing.RELEASED) == 0
    process.kill()
    await station.until(Standing.RELEASED, 2)


async def test_what_a_person_writes_anew_is_believed_from_the_next_question_on(station: Proven) -> None:
    own = await started(station)
    first = own.process
    await own._running()
    assert own.process is first
    trust = station.folder / "trust.json"
    durable.replace_file(trust, trust.read_bytes())
    await own._running()
    assert own.process is not first


async def test_a_program_that_cannot_start_deletes_nothing(station: Proven, volume: Path) -> None:
    (station.folder / "trust.json").write_bytes(b"{}")
    station.run_driver(driver(volume))
    await station.until(Standing.HELD, 2)
    await station.send()
    await station.anchor.sign()
    await station.anchor.publish()
    before = image(volume)
    async with asyncio.timeout(30):
        while not (await station.holdings())[0].reason:  # noqa: ASYNC110 - the journal tells nobody
            await asyncio.sleep(0.05)
    assert image(volume) == before
    assert await station.count(Standing.RECEIPTED) == 2
    assert "did not answer" in ((await station.holdings())[0].reason or "")


async def test_a_program_that_hangs_is_given_up(station: Proven, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.release.asking._PATIENCE", 0.2)
    station.run_driver(driver(volume))
    await station.until(Standing.HELD, 2)
    await station.send()
    process = (await started(station)).process
    os.kill(process.pid, signal.SIGSTOP)
    place = station.offers[0].place  # type: ignore[attr-defined]
    with pytest.raises(DeviceRefused, match="did not answer"):
        await station.program.release(place, (await station.holdings())[0], leaf=b"", proof=b"")
    assert await process.wait() == -signal.SIGKILL


async def test_volumes_that_hang_hold_up_no_other(
    station: Proven, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are: their questions are not answered for hours, and others are asked of other processes."""
    monkeypatch.setattr("agent.release.own._LONG", 0.2)
    program, hung = station.program, list[asyncio.Task[Any]]()
    for _ in range(2 * PROCESSES):
        os.kill((await started(station)).process.pid, signal.SIGSTOP)
    for number in range(2 * PROCESSES):
        line = program._line(place_of(b"/hangs/%d" % number))
        hung += [asyncio.create_task(line.ask(b"{}\n", 1 << 40)) for _ in range(3)]
    async with asyncio.timeout(10):
        while program._own.free:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    station.run_driver(driver(volume))
    await station.until(Standing.HELD, 2)
    await station.send()
    await station.anchor.sign()
    await station.anchor.publish()
    await station.until(Standing.RELEASED, 2)
    assert not any(task.done() for task in hung)
    assert len(program._own.busy) == 2 * PROCESSES
    for own in program._own.busy.values():
        own.process.kill()
    await asyncio.wait(hung)


async def test_a_volume_that_gives_slowly_is_waited_for_and_one_that_gives_nothing_is_not(
    station: Proven, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its film is: the program says as long as something comes."""
    monkeypatch.setattr("agent.release.asking._PATIENCE", 0.5)
    monkeypatch.setattr("agent.release.own.Own._running", lambda _: ends())
    reader = asyncio.StreamReader()

    async def ends() -> Any:  # noqa: ANN401
        return reader, SimpleNamespace(write=lambda _: None)

    line = station.program._line(place_of(b"/slow"))
    asking = asyncio.create_task(line.ask(b"{}\n", 1 << 40))
    for _ in range(10):
        await asyncio.sleep(0.2)
        reader.feed_data(b'{"result": "reading"}\n')
    assert not asking.done()
    reader.feed_data(b'{"result": "released"}\n')
    assert (await asking)["result"] == "released"
    with pytest.raises(DeviceRefused, match="did not answer"):
        async with asyncio.timeout(20):
            await line.ask(b"{}\n", 1 << 40)


async def test_of_a_volume_that_hangs_no_second_process_is_asked(
    station: Proven, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one was killed, and lives on in the kernel: the next would come to hang beside it, and so on."""
    monkeypatch.setattr("agent.release.own._ENDED_WITHIN", 0.1)
    program = station.program
    own = await started(station)
    process = own.process
    monkeypatch.setattr(process, "kill", lambda: None)  # as if it were held in the kernel
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr("agent.release.asking._PATIENCE", 0.2)
    line, other = place_of(b"/hangs"), place_of(b"/other")
    for _ in range(3):
        with pytest.raises(DeviceRefused, match="did not answer"):
            await program._line(line).ask(b"{}\n", 0)
    assert own.process is None, "another one was asked"
    monkeypatch.setattr("agent.release.asking._PATIENCE", 20)
    assert (await program._line(other).ask(b"{}\n", 0))["result"] == "refused"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert (await program._line(line).ask(b"{}\n", 0))["result"] == "refused"


async def test_no_batch_is_of_too_many_bytes() -> None:
    line = Line(cast("Any", None))
    for number, length in enumerate([1, 1 << 40, 1]):
        line._waiting.append(_Question(b"%d" % number, length, asyncio.get_running_loop().create_future()))
    batches = []
    while line._waiting:
        batches.append([int(one.line) for one in line._batch()])
    assert batches == [[0, 2], [1]]
