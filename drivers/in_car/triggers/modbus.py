"""Digital inputs of a Modbus RTU module: what each address means is the site's to say. It is only read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from agent.capture import Device, printable
from agent.driver import DriverOptions
from agent.errors import DeviceError
from drivers.in_car.serial_line import BAUDS, Port, serial_line
from drivers.in_car.source import Source
from drivers.in_car.triggers.asking import Asker
from drivers.in_car.triggers.levels import InputWords, Levels
from firmware_specs.formats.modbus_rtu import Read, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.capture import Stamp
    from agent.driver import Intake, Notice

__all__ = ["ModbusInputs"]

SIGHT_SECONDS: Final = 5.0
_SPAN: Final = 32
"""Addresses that are read at once although not each of them is wanted."""
_SILENCE: Final = 3.5 * 11
"""Bits of silence between two frames; above 19200 baud it is 1.75 ms."""


class Wired(InputWords):
    """One input of the module."""

    table: Literal["discrete", "coil", "input", "holding"] = "discrete"
    address: Annotated[int, Field(ge=0, le=65535)]
    """As it goes over the line: counted from 0. (Makers' papers often count from 1, or from 10001.)"""
    bit: Annotated[int, Field(ge=0, le=15)] = 0
    """Of a register: bit 0 is the lowest."""

    @property
    def source(self) -> str:
        """Where it is wired, for people."""
        return f"{self.table} {self.address}" + (f" bit {self.bit}" if self.table in ("input", "holding") else "")


class ModbusInputs:
    """Digital inputs by Modbus RTU: ignition, light bar, siren, doors. See `Options`."""

    class Options(DriverOptions):
        """The `[[driver]]` table with `use = "in_car.modbus_inputs"`."""

        port: Port
        baud: int = 19200
        parity: Literal["none", "even", "odd"] = "even"
        """8 data bits; two stop bits where there is no parity is what the standard says, and one what modules do."""
        unit: Annotated[int, Field(ge=1, le=247)] = 1
        device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")] | None = None
        """The module's id in the record; default `io:` and the name."""
        poll: Annotated[float, Field(ge=0.01, le=10)] = 0.05
        """Seconds between two looks at the inputs."""
        input: Annotated[tuple[Wired, ...], Field(min_length=1, max_length=64)]

        @field_validator("baud")
        @classmethod
        def _speed_exists(cls, baud: int) -> int:
            if baud not in BAUDS:
                raise ValueError(f"no line runs at {baud} baud; there are: {', '.join(map(str, BAUDS))}")
            return baud

        @model_validator(mode="after")
        def _once(self) -> ModbusInputs.Options:
            names = [one.name for one in self.input]
            if len(set(names)) != len(names):
                raise ValueError("two inputs have one name")
            return self

        @property
        def device_id(self) -> str:
            """The id that observations bear."""
            return self.device or f"io:{self.name}"

    def __init__(self, options: Options, *, stamp: Callable[[], Stamp] | None = None) -> None:
        self._options = options
        self._source = Source(options.name, options.port)
        wired = {one.name: (one, f"unit {options.unit} {one.source}") for one in options.input}
        self._levels = Levels(options.device_id, wired, stamp=stamp)
        self._reads = _reads(options)

    async def run(self, intake: Intake, /) -> None:
        """Ask for ever; a module that is away is looked for again."""
        options = self._options
        silence = 0.00175 if options.baud > 19200 else _SILENCE / options.baud  # noqa: PLR2004 - the standard's speed
        while True:
            try:
                async with serial_line(options.port, options.baud, parity=options.parity) as line:
                    await self._ask(Asker(line, silence=silence), intake)
            except DeviceError as error:
                self._source.silent(error)
                self._levels.lost()
            await asyncio.sleep(options.rescan)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return {self._options.port: self._source.state}

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return (*self._source.notices(), *self._levels.notices())

    async def _ask(self, asker: Asker, intake: Intake) -> None:
        options, heard, sighted = self._options, False, -1e9
        device = Device(options.device_id, "in_car", options.name, model="Modbus RTU", place=printable(options.port))
        while True:
            levels: dict[str, bool] = {}
            for read, wanted in self._reads:
                if (found := await asker.ask(read)) is not None:
                    levels |= {one.name: bool(found[one.address - read.address] >> one.bit & 1) for one in wanted}
            if levels:
                if not heard:
                    heard = True
                    self._source.heard(unit=options.unit)
                if _now() - sighted >= SIGHT_SECONDS:
                    sighted = _now()
                    await intake.sight(device)
                await self._levels.seen(levels, intake)
                self._source.state = f"{self._levels.state()}, {asker.damaged} answers damaged"
            await asyncio.sleep(options.poll)


def _reads(options: ModbusInputs.Options) -> list[tuple[Read, list[Wired]]]:
    """As few questions as there can be: neighbours are read together, what lies far apart is not."""
    made: list[tuple[Read, list[Wired]]] = []
    for name in ("discrete", "coil", "input", "holding"):
        table, run = Table[name.upper()], list[Wired]()
        for one in sorted((one for one in options.input if one.table == name), key=lambda one: one.address):
            if run and one.address - run[0].address >= _SPAN:
                made.append((_read(options.unit, table, run), run))
                run = []
            run = [*run, one]
        if run:
            made.append((_read(options.unit, table, run), run))
    return made


def _read(unit: int, table: Table, run: list[Wired]) -> Read:
    return Read(unit, table, run[0].address, run[-1].address - run[0].address + 1)


def _now() -> float:
    return asyncio.get_running_loop().time()
