"""The COBAN In-Car Trigger, a vehicle dock: ignition, light bar, AUX, and which camera is paired. It is only read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from agent.capture import Device, Json, Observation, printable
from agent.clock import Clock
from agent.driver import DriverOptions
from agent.errors import DeviceError, DeviceRefused
from drivers.in_car.serial_line import Port, serial_line
from drivers.in_car.source import Source
from drivers.in_car.triggers.asking import Asker
from drivers.in_car.triggers.levels import InputWords, Levels
from firmware_specs.formats import coban_trigger as coban

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.capture import Stamp
    from agent.driver import Intake, Notice

__all__ = ["TriggerDock"]

BAUD: Final = 115200
CAMERA_SECONDS: Final = 2.0
"""Between two looks at who is paired."""
SIGHT_SECONDS: Final = 5.0


class TriggerDock:
    """A COBAN trigger dock: light bar, siren and other inputs, read only. See `Options`."""

    class Options(DriverOptions):
        """The `[[driver]]` table with `use = "in_car.trigger_dock"`."""

        port: Port
        device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")] | None = None
        """The dock's id in the record; default `dock:` and the name."""
        poll: Annotated[float, Field(ge=0.01, le=10)] = 0.05
        """Seconds between two looks at the inputs."""
        flow_control: bool = True
        """RTS/CTS, as the dock's guide asks for."""
        ignition: InputWords = InputWords(name="ignition")
        light_bar: InputWords = InputWords(name="light_bar")
        aux: InputWords = InputWords(name="aux")
        """What is wired to AUX: `aux = { name = "siren" }`."""

        @property
        def device_id(self) -> str:
            """The id that observations bear."""
            return self.device or f"dock:{self.name}"

    def __init__(self, options: Options, *, stamp: Callable[[], Stamp] | None = None) -> None:
        self._options, self._stamp = options, stamp or Clock().stamp
        self._source = Source(options.name, options.port)
        wired = {"ignition": options.ignition, "light_bar": options.light_bar, "aux": options.aux}
        self._levels = Levels(
            options.device_id, {key: (words, f"dock {key}") for key, words in wired.items()}, stamp=self._stamp
        )
        self._paired: dict[str, Json] | None = None

    async def run(self, intake: Intake, /) -> None:
        """Ask for ever; a dock that is away is looked for again."""
        options = self._options
        while True:
            try:
                async with serial_line(options.port, BAUD, flow_control=options.flow_control) as line:
                    await self._ask(Asker(line), intake)
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
        device = await self._identity(asker)
        self._source.heard(firmware=device.firmware)
        sighted = looked = -1e9
        while True:
            found = await asker.ask(coban.INPUTS)
            if found is not None:
                if _now() - sighted >= SIGHT_SECONDS:
                    sighted = _now()
                    await intake.sight(device)
                inputs = coban.Inputs.of(found)
                levels = {"ignition": inputs.ignition, "light_bar": inputs.light_bar, "aux": inputs.aux}
                await self._levels.seen(levels, intake)
                self._source.state = f"{self._levels.state()}, {asker.damaged} answers damaged"
                if _now() - looked >= CAMERA_SECONDS:
                    looked = _now()
                    await self._camera(asker, intake)
            await asyncio.sleep(self._options.poll)

    async def _identity(self, asker: Asker) -> Device:
        options = self._options
        while (found := await asker.ask(coban.IDENTITY)) is None:
            pass
        identity = coban.Identity.of(found)
        if identity.product != coban.PRODUCT:
            raise DeviceRefused(
                f"what is at {options.port} says that it is product {identity.product:02X}, and no In-Car Trigger",
                hint="Look at `port` in agent.toml: it is another device's line.",
            )
        return Device(
            options.device_id,
            "in_car",
            options.name,
            maker="COBAN",
            model="In-Car Trigger",
            firmware=f"{identity.application} (loader {identity.loader})",
            place=printable(options.port),
        )

    async def _camera(self, asker: Asker, intake: Intake) -> None:
        """Who is paired is told when it changes."""
        address = await asker.ask(coban.CAMERA)
        halves = [await asker.ask(half) for half in coban.OWNER]
        if address is None or None in halves:
            return
        here = any(address) and address != b"\xff" * len(address)
        text = coban.owner(b"".join(half for half in halves if half))
        paired: dict[str, Json] = {"camera": address.hex(":") if here else None, "tag": text if here else None}
        if paired != self._paired:
            self._paired = paired
            detail: dict[str, Json] = {**paired, "time": {"source": "station"}}
            observation = Observation(self._options.device_id, "dock.paired", self._stamp().at, detail)
            await intake.observe(observation)


def _now() -> float:
    return asyncio.get_running_loop().time()
