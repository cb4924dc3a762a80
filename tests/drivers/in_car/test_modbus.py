"""Inputs of a Modbus module: a real server on a real line, and a wire that damages what comes."""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent.testing.child import end
from agent.testing.observing import Watcher
from agent.testing.rig import running, until
from drivers.in_car.emulator.line import Line
from drivers.in_car.serial_line import serial_line
from drivers.in_car.triggers import ModbusInputs
from drivers.in_car.triggers.asking import Asker
from firmware_specs.formats.modbus_rtu import Read, Table, crc16
from tests.drivers.in_car.conftest import LONG
from tests.drivers.in_car.test_triggers import told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


pytestmark = pytest.mark.proves("in_car.modbus_inputs", peer="pymodbus")


@pytest.fixture(autouse=True)
def _less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.in_car.triggers.asking.ANSWER_SECONDS", 0.25)
    monkeypatch.setattr("drivers.in_car.emulator.line.LATE", 0.6)


SERVER = """
import asyncio, sys
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice
bits = lambda: [SimData(0, count=100, values=False, datatype=DataType.BITS)]
words = lambda: [SimData(0, count=100, values=0, datatype=DataType.REGISTERS)]
async def main():
    device = SimDevice(1, simdata=(bits(), bits(), words(), words()))
    server = ModbusSerialServer(device, framer=FramerType.RTU, port=sys.argv[1], baudrate=19200, parity="N")
    task = asyncio.create_task(server.serve_forever())
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        function, address, value = map(int, line.split())
        failed = await server.async_setValues(1, function, address, [bool(value) if function < 3 else value])
        print(failed or "set", flush=True)
asyncio.run(main())
"""


class Module:
    """A Modbus module of another author, at the far end of a pair of terminals."""

    def __init__(self, path: Path, process: asyncio.subprocess.Process) -> None:
        self.path, self._process = path, process

    async def set(self, table: Table, address: int, value: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{int(table)} {address} {value}\n".encode())
        assert await self._process.stdout.readline() == b"set\n"


@asynccontextmanager
async def module(tmp_path: Path) -> AsyncIterator[Module]:
    near, far = tmp_path / "near", tmp_path / "far"
    pair = await asyncio.create_subprocess_exec(
        "socat", f"pty,raw,echo=0,link={near}", f"pty,raw,echo=0,link={far}", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: near.exists() and far.exists())
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-c", SERVER, str(far),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            assert await server.stdout.readline() == b"ready\n"
            yield Module(near, server)
        finally:
            await end(server, 5)
    finally:
        await end(pair, 5)


def modbus_driver(path: Path, *inputs: dict[str, object], **options: object) -> ModbusInputs:
    told_ = {"use": "in_car.modbus_inputs", "name": "io", "port": str(path), "rescan": 0.05, "poll": 0.01}
    told_["parity"] = "none"  # a pseudo-terminal has no other
    return ModbusInputs(ModbusInputs.Options.model_validate({**told_, "input": inputs, **options}))


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
async def test_inputs_of_a_real_modbus_server_on_a_real_line(tmp_path: Path) -> None:
    async with module(tmp_path) as io:
        await io.set(Table.DISCRETE, 0, 1)
        driver = modbus_driver(
            io.path,
            {"name": "ignition", "address": 0},
            {"name": "siren", "address": 70},
            {"name": "light_bar", "table": "holding", "address": 5, "bit": 9},
            {"name": "door", "table": "coil", "address": 2, "inverted": True},
        )
        watcher = Watcher()
        async with running(driver, watcher):
            await until(lambda: len(watcher.observed) == 4)
            assert {(one.kind, one.detail["on"]) for one in watcher.observed} == {
                ("vehicle.ignition", True),
                ("vehicle.siren", False),
                ("vehicle.light_bar", False),
                ("trigger.door", True),
            }
            await io.set(Table.HOLDING, 5, 0x0200)
            await until(lambda: told(watcher, "vehicle.light_bar") == [False, True])
            await io.set(Table.DISCRETE, 70, 1)
            await until(lambda: told(watcher, "vehicle.siren") == [False, True])
            await io.set(Table.DISCRETE, 0, 0)
            await until(lambda: told(watcher, "vehicle.ignition") == [True, False])
        assert watcher.sighted[0].id == "io:io"
        assert len(driver._reads) == 4, "neighbours are read together, and what lies far apart is not"
        wrong = modbus_driver(io.path, {"name": "ignition", "address": 60000})
        async with running(wrong, Watcher()):
            await until(lambda: any("no such address" in notice.detail for notice in wrong.notices()))


class Frames:
    """A module that only knows how to say a frame."""

    def __init__(self, line: Line, level: bool) -> None:  # noqa: FBT001
        self.line, self.level = line, level

    async def serve(self) -> None:
        waiting = b""
        while True:
            waiting += await self.line.receive(0.05)
            while len(waiting) >= 8:
                request, waiting = waiting[:8], waiting[8:]
                assert request[-2:] == crc16(request[:-2])
                body = b"\x01\x02\x01" + bytes([self.level])
                await self.line.send(body + crc16(body))


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(tmp_path: Path) -> None:
    read = Read(1, Table.DISCRETE, 0, 1)
    with Line(tmp_path / "io") as line:
        async with serial_line(str(line.path), 19200) as near:
            body = b"\x01\x02\x01\x01"
            await line.send(body + crc16(body))  # of a question that nobody waits for any more
            served = Frames(line, level=False)
            task = asyncio.create_task(served.serve())
            assert await Asker(near, silence=0.02).ask(read) == (0,)
            task.cancel()


@pytest.mark.parametrize("wire", ["nn", "cfgt", "bb", "ff", "d"] if LONG else ["cfgtd"])
async def test_a_bad_wire_delays_a_level_and_never_invents_one(tmp_path: Path, wire: str) -> None:
    with Line(tmp_path / "io") as line:
        served, watcher = Frames(line, level=True), Watcher()
        task = asyncio.create_task(served.serve())
        async with running(modbus_driver(line.path, {"name": "ignition", "address": 0}), watcher):
            await until(lambda: told(watcher, "vehicle.ignition") == [True])
            line.wire = wire
            await until(lambda: not line.wire)
            served.level = False
            await until(lambda: told(watcher, "vehicle.ignition") == [True, False])
        task.cancel()


def test_two_inputs_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one name"):
        modbus_driver(tmp_path / "x", {"name": "a", "address": 0}, {"name": "a", "address": 1})
