"""The shipped drivers of the car's lines pass the shipped suite for drivers that only tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.testing.observing import ObserverBench, ObserverConformance
from drivers.in_car.emulator.dock import Dock
from drivers.in_car.emulator.line import Line
from drivers.in_car.emulator.receiver import Receiver, logged
from drivers.in_car.gnss import GnssSerial
from drivers.in_car.triggers import ModbusInputs, TriggerDock
from tests.drivers.in_car.conftest import VECTORS
from tests.drivers.in_car.test_modbus import Frames, modbus_driver

if TYPE_CHECKING:
    from pathlib import Path


class LineBench(ObserverBench):
    """Something at the end of a line that does its work in a task."""

    def __init__(self, tmp_path: Path) -> None:
        self.line = Line(tmp_path / "line")
        self._tasks: list[asyncio.Task[None]] = []

    async def work(self) -> None:
        raise NotImplementedError

    def begin(self) -> None:
        self.line.plug_in()
        self._tasks.append(asyncio.create_task(self.work()))

    def unplug(self) -> None:
        self.line.unplug()

    def plug_in(self) -> None:
        self.line.plug_in()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.line.unplug()


class GnssBench(LineBench):
    async def work(self) -> None:
        log = logged((VECTORS / "bu353s4.log").read_bytes())
        await Receiver(self.line, log, pause=0.004).speak(again=True)

    def driver(self) -> GnssSerial:
        options = {"use": "in_car.gnss_serial", "name": "gnss", "port": str(self.line.path), "rescan": 0.05, "every": 0}
        return GnssSerial(GnssSerial.Options.model_validate(options), listen=1.0)


class TestGnssSerial(ObserverConformance):
    def bench(self, tmp_path: Path) -> GnssBench:
        return GnssBench(tmp_path)


class DockBench(LineBench):
    async def work(self) -> None:
        dock = Dock(self.line)
        tasks = asyncio.create_task(dock.serve())
        try:
            while True:
                await asyncio.sleep(0.15)
                dock.set(light_bar=not dock.registers[6] & 4)
        finally:
            tasks.cancel()

    def driver(self) -> TriggerDock:
        told = {"use": "in_car.trigger_dock", "name": "dock", "port": str(self.line.path), "rescan": 0.05, "poll": 0.01}
        return TriggerDock(TriggerDock.Options.model_validate(told))


class TestTriggerDock(ObserverConformance):
    def bench(self, tmp_path: Path) -> DockBench:
        return DockBench(tmp_path)


class ModbusBench(LineBench):
    async def work(self) -> None:
        served = Frames(self.line, level=False)
        task = asyncio.create_task(served.serve())
        try:
            while True:
                await asyncio.sleep(0.15)
                served.level = not served.level
        finally:
            task.cancel()

    def driver(self) -> ModbusInputs:
        return modbus_driver(self.line.path, {"name": "light_bar", "address": 0})


class TestModbusInputs(ObserverConformance):
    def bench(self, tmp_path: Path) -> ModbusBench:
        return ModbusBench(tmp_path)
