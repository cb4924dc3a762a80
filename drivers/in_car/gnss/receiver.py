"""A GNSS receiver on a serial line: its speed is found, its sentences and frames are read, and nothing is set on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import Field, field_validator

from agent.capture import Device, printable
from agent.errors import DeviceError, DeviceRefused
from drivers.in_car.gnss.fix import Epochs
from drivers.in_car.gnss.telling import GnssOptions, Teller
from drivers.in_car.serial_line import BAUDS, Port, SerialLine, serial_line
from drivers.in_car.source import Source
from firmware_specs.formats import nmea, ubx
from firmware_specs.formats.gnss_line import Splitter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.capture import Stamp
    from agent.driver import Intake, Notice

__all__ = ["GnssSerial"]

Heard: TypeAlias = nmea.Sentence | ubx.Frame

LISTEN: Final = 2.5
"""Seconds in which a receiver says something: they speak once a second."""
ENOUGH: Final = 2
"""Sentences or frames with a right check sum that noise does not make."""
SILENCE: Final = 0.25
"""Seconds of silence after which what came is all of one moment."""
DEAF: Final = 10.0
"""Seconds without anything whole after which the speed is looked for again: receivers come back with another one."""


class GnssSerial:
    """Positions of a GNSS receiver on a serial line: NMEA 0183 and UBX. See `Options`."""

    class Options(GnssOptions):
        """The `[[driver]]` table with `use = "in_car.gnss_serial"`."""

        port: Port
        """The line, such as `/dev/evidock/serial/gnss`."""
        baud: Annotated[int, Field(ge=300)] | None = None
        """Its speed; left out, it is found."""
        bauds: tuple[int, ...] = (9600, 4800, 38400, 115200, 57600, 19200, 230400, 460800)
        """Speeds that are tried, the likeliest first."""

        @field_validator("baud", "bauds")
        @classmethod
        def _speeds_exist(cls, value: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
            wanted = value if isinstance(value, tuple) else () if value is None else (value,)
            if unknown := [baud for baud in wanted if baud not in BAUDS]:
                raise ValueError(f"no line runs at {unknown[0]} baud; there are: {', '.join(map(str, BAUDS))}")
            if value == ():
                raise ValueError("name one speed at least")
            return value

    def __init__(self, options: Options, *, stamp: Callable[[], Stamp] | None = None, listen: float = LISTEN) -> None:
        self._options, self._stamp, self._listen = options, stamp, listen
        self._source = Source(options.name, options.port)
        self._baud: int | None = options.baud

    async def run(self, intake: Intake, /) -> None:
        """Listen for ever; a line that is not there is looked for again."""
        while True:
            try:
                baud = self._baud or self._options.bauds[0]
                async with serial_line(self._options.port, baud) as line:
                    await self._hear(line, intake)
            except DeviceError as error:
                self._source.silent(error)
            await asyncio.sleep(self._options.rescan)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return {self._options.port: self._source.state}

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return self._source.notices()

    async def _hear(self, line: SerialLine, intake: Intake) -> None:
        splitter, heard = await self._speed(line)
        self._source.heard(baud=self._baud)
        teller, epochs = Teller(self._options, intake, stamp=self._stamp), Epochs()
        last, asked = _now(), False
        while True:
            fixes = [fix for one in heard for fix in epochs.feed(one)]
            if any(isinstance(one, ubx.Frame) for one in heard) and not asked:
                asked = True
                await line.write(ubx.build(ubx.MON_VER))  # asks who it is, and sets nothing
            if heard:
                last = _now()
                await teller.sight(self._device(epochs))
            for fix in fixes:
                await teller.tell(fix)
            self._source.state = f"{self._baud} baud, {teller.state}, {splitter.good} heard, {splitter.bad} damaged"
            if _now() - last > DEAF:
                raise DeviceRefused(
                    f"the receiver at {self._options.port} says nothing that can be read",
                    hint="Is the receiver powered, and is this its line? Its speed is looked for again.",
                )
            while not (data := await line.read(SILENCE)) and _now() - last <= DEAF:
                for fix in epochs.flush():
                    await teller.tell(fix)
            heard = list(splitter.feed(data))

    async def _speed(self, line: SerialLine) -> tuple[Splitter, list[Heard]]:
        """Find the speed at which check sums are right, that of last time first. Raises `DeviceRefused`."""
        known = self._options.baud
        speeds = (known,) if known else dict.fromkeys((*filter(None, (self._baud,)), *self._options.bauds))
        for baud in speeds:
            line.set_speed(baud)
            splitter, heard, until = Splitter(), list[Heard](), _now() + (DEAF if known else self._listen)
            self._source.state = f"listening at {baud} baud"
            while (left := until - _now()) > 0:
                heard += splitter.feed(await line.read(left))
                if splitter.good >= ENOUGH:
                    self._baud = baud
                    return splitter, heard
        tried = ", ".join(map(str, speeds))
        raise DeviceRefused(
            f"nothing that can be read comes over {self._options.port} at {tried} baud",
            hint="Is a receiver at this line, and powered? evidock check lists the lines.",
        )

    def _device(self, epochs: Epochs) -> Device:
        options, told = self._options, epochs.version
        if told is None:
            return Device(options.device_id, "in_car", options.name, place=printable(options.port))
        software, hardware, extensions = told
        model = next((one.removeprefix("MOD") for one in extensions if one.startswith("MOD")), hardware)
        return Device(
            options.device_id,
            "in_car",
            options.name,
            maker="u-blox",
            model=printable(model.strip("= ")) or None,
            firmware=printable(software) or None,
            place=printable(options.port),
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
