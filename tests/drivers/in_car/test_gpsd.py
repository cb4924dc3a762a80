"""A real gpsd between receiver and driver; and a server that says what gpsd never should."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import pytest

from agent.testing.child import end
from agent.testing.observing import ObserverBench, ObserverConformance, Watcher
from agent.testing.ports import free_port
from agent.testing.rig import running, until
from drivers.in_car.emulator.line import Line
from drivers.in_car.emulator.receiver import Receiver, logged
from drivers.in_car.gnss import Gpsd, choosing
from tests.drivers.in_car.conftest import LONG, VECTORS, at_length
from tests.drivers.in_car.logs import oracle
from tests.drivers.in_car.test_gnss_line import place, stamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.proves("in_car.gpsd", peer="gpsd and gpsfake 3.22")

HELLO = b'{"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}\r\n'
TPV = b'{"class":"TPV","device":"/dev/ttyUSB0","mode":3,"time":"2026-11-28T12:00:00.000Z","lat":42.9,"lon":-81.2}\r\n'

needs_gpsd = pytest.mark.skipif(shutil.which("gpsd") is None, reason="gpsd is not installed")


def driver(port: int, **options: object) -> Gpsd:
    told = {"use": "in_car.gpsd", "name": "gnss", "port": port, "rescan": 0.05, "every": 0, **options}
    return Gpsd(Gpsd.Options.model_validate(told), stamp=stamp())


@asynccontextmanager
async def gpsd(line: Line, port: int, *more: Line) -> AsyncIterator[None]:
    """The daemon of Debian, on the lines of receivers."""
    words = ("gpsd", "-N", "-n", "-S", str(port), *(str(one.path.resolve()) for one in (line, *more)))
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        await end(process, 5)


@needs_gpsd
@pytest.mark.interop
@pytest.mark.parametrize("name", ["bu353s4", "ublox-neo-m8n"] if LONG else ["bu353s4"])
async def test_positions_come_through_a_real_gpsd(tmp_path: Path, name: str) -> None:
    path, watcher, port = VECTORS / f"{name}.log", Watcher(), free_port()
    log = logged(path.read_bytes())
    with Line(tmp_path / "gnss") as line:
        async with gpsd(line, port), running(driver(port), watcher):
            receiver = Receiver(line, log, pause=0.01)
            speaking = asyncio.create_task(receiver.speak(again=True))
            try:
                await until(lambda: len({place(one) for one in watcher.of("position")}) >= 15)
            finally:
                speaking.cancel()
    assert {place(one)[1:] for one in watcher.of("position")} <= {one[1:] for one in oracle(path)}
    assert watcher.sighted[0].model == "gpsd"
    assert watcher.sighted[0].firmware
    if name == "bu353s4":  # gpsd lifts what lies before 2017 by 1024 weeks: both are told, and neither believed
        assert all(one.detail["time"]["source"] == "station" for one in watcher.of("position"))  # type: ignore[index, call-overload]


@at_length
@pytest.mark.skipif(shutil.which("gpsfake") is None, reason="gpsfake is not installed")
@pytest.mark.interop
async def test_positions_come_from_gpsds_own_test_bench(tmp_path: Path) -> None:
    path, watcher, port = VECTORS / "ublox-neo-m8n.log", Watcher(), free_port()
    words = ("gpsfake", "-q", "-n", "-c", "0.02", "-P", str(port), str(path))
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        async with running(driver(port), watcher):
            await until(lambda: len({place(one) for one in watcher.of("position")}) >= 15)
    finally:
        await end(process, 5)
    assert {place(one) for one in watcher.of("position")} <= oracle(path)


class Server:
    """Says what a test puts into its mouth."""

    def __init__(self, *lines: bytes, port: int = 0, again: bool = False) -> None:
        self.lines, self.port, self.again = lines, port, again
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        writer.writelines(self.lines[:1])
        await reader.readline()
        while True:
            writer.writelines(self.lines[1:])
            if not self.again or writer.is_closing():
                return
            await asyncio.sleep(0.02)


async def test_a_line_that_was_cut_costs_itself(tmp_path: Path) -> None:
    cut = b'{"class":"SKY","satellites":[' + b'{"PRN":1},' * 1020 + b"\r\n"
    assert len(cut) > 10_000
    longer = b'{"class":"SKY",' + b"x" * 50_000 + b"\r\n"
    async with Server(HELLO, cut, longer, b"\xff\xfe\r\n", b'{"class":"TPV","mode":9}\r\n', TPV) as server:
        made, watcher = driver(server.port), Watcher()
        async with running(made, watcher):
            await until(lambda: bool(watcher.of("position")))
    assert made.damaged >= 4
    assert watcher.of("position")[0].detail["latitude"] == "42.9"


async def test_another_program_at_its_port_is_told(tmp_path: Path) -> None:
    async with Server(b"SSH-2.0-OpenSSH_9.2\r\n", b'{"class":"VERSION","proto_major":4}\r\n') as server:
        made = driver(server.port)
        async with running(made, Watcher()):
            await until(lambda: "no gpsd of protocol 3" in made._source.state)


async def test_only_the_receiver_that_is_wanted_counts(tmp_path: Path) -> None:
    other = TPV.replace(b"ttyUSB0", b"ttyUSB9").replace(b"42.9", b"1.0")
    async with Server(HELLO, other, TPV, again=True) as server:
        watcher = Watcher()
        async with running(driver(server.port, receiver="/dev/ttyUSB0"), watcher):
            await until(lambda: len(watcher.of("position")) > 3)
    assert {one.detail["latitude"] for one in watcher.of("position")} == {"42.9"}


def tpv(number: int, mode: int = 3) -> bytes:
    """What gpsd says of one of several receivers, each at a latitude of its own."""
    said = {"class": "TPV", "device": f"/dev/ttyUSB{number}", "mode": mode}
    return json.dumps(said | ({"lat": 40.0 + number, "lon": -81.2} if mode > 1 else {})).encode() + b"\r\n"


def latitudes(watcher: Watcher) -> list[object]:
    return [one.detail["latitude"] for one in watcher.of("position")]


async def test_of_two_receivers_one_gives_the_position_and_a_person_is_told_which(tmp_path: Path) -> None:
    """Both in turn would be one car at two places, and two devices that say that they are one."""
    async with Server(HELLO, tpv(0), tpv(1), again=True) as server:
        made, watcher = driver(server.port), Watcher()
        async with running(made, watcher):
            await until(lambda: len(watcher.of("position")) > 5)
            (notice,) = made.notices()
    assert set(latitudes(watcher)) == {"40.0"}
    assert len({device.place for device in watcher.sighted}) == 1
    assert notice.id == "gnss.receivers"
    assert "/dev/ttyUSB0 gives" in notice.detail
    assert "/dev/ttyUSB1" in notice.detail


@pytest.mark.parametrize("silent", [False, True])
async def test_where_one_receiver_loses_its_fix_the_other_gives_the_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    monkeypatch.setattr(choosing, "LOST_SECONDS", 0.2)
    async with Server(HELLO, tpv(0), tpv(1), again=True) as server:
        made, watcher = driver(server.port, receiver=["/dev/ttyUSB0", "/dev/ttyUSB1"]), Watcher()
        async with running(made, watcher):
            await until(lambda: len(watcher.of("position")) > 3)
            server.lines = (HELLO, tpv(1)) if silent else (HELLO, tpv(0, mode=1), tpv(1))
            await until(lambda: "41.0" in latitudes(watcher))
            server.lines = (HELLO, tpv(0), tpv(1))
            told = len(watcher.observed)
            await until(lambda: len(watcher.observed) > told + 10)
            assert made.notices() == ()
    found = latitudes(watcher)
    first = found.index("41.0")
    assert (set(found[:first]), set(found[first:])) == ({"40.0"}, {"41.0"}), "it went to and fro"
    receivers = [one.detail["receiver"] for one in watcher.of("gnss.fix") if one.detail["fix"]]
    assert receivers == ["/dev/ttyUSB0", "/dev/ttyUSB1"]
    assert len({device.place for device in watcher.sighted}) == 1


@needs_gpsd
@pytest.mark.interop
async def test_a_real_gpsd_with_two_receivers_is_one_device(tmp_path: Path) -> None:
    log, watcher, port = logged((VECTORS / "bu353s4.log").read_bytes()), Watcher(), free_port()
    made = driver(port)
    with Line(tmp_path / "one") as one, Line(tmp_path / "other") as other:
        paths = {str(line.path.resolve()) for line in (one, other)}
        async with gpsd(one, port, other), running(made, watcher):
            lines = [asyncio.create_task(Receiver(line, log, pause=0.01).speak(again=True)) for line in (one, other)]
            try:
                await until(lambda: len(watcher.of("position")) >= 15 and bool(made.notices()))
            finally:
                for line in lines:
                    line.cancel()
    assert len(told := {one.detail["receiver"] for one in watcher.of("gnss.fix")}) == 1
    assert told < paths
    assert len({device.place for device in watcher.sighted}) == 1


class GpsdBench(ObserverBench):
    def __init__(self) -> None:
        self.port = free_port()
        self._server: asyncio.Task[None] | None = None

    def driver(self) -> Gpsd:
        return driver(self.port)

    def begin(self) -> None:
        self.plug_in()

    async def _serve(self) -> None:
        async with Server(HELLO, TPV, port=self.port, again=True):
            await asyncio.Event().wait()

    def plug_in(self) -> None:
        if self._server is None:
            self._server = asyncio.create_task(self._serve())

    def unplug(self) -> None:
        if self._server is not None:
            self._server.cancel()
            self._server = None

    async def end(self) -> None:
        self.unplug()
        await asyncio.sleep(0.05)


class TestGpsd(ObserverConformance):
    def bench(self, tmp_path: Path) -> GpsdBench:  # noqa: ARG002 - it needs a port, and no folder
        return GpsdBench()
