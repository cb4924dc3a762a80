"""Positions from gpsd, which keeps the receiver: the way to choose where other programs want positions too."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import Field

from agent.capture import Device, printable
from agent.driver import Notice
from agent.errors import DeviceError, DeviceGone, DeviceRefused
from drivers.in_car.gnss.choosing import Choice
from drivers.in_car.gnss.fix import of_tpv
from drivers.in_car.gnss.telling import LOST_SECONDS, GnssOptions, Teller
from drivers.in_car.source import Source
from firmware_specs.formats import gpsd_json
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from agent.capture import Stamp
    from agent.driver import Intake

__all__ = ["Gpsd"]

Path: TypeAlias = Annotated[str, Field(min_length=1, max_length=255)]

CONNECT: Final = 5.0
SILENT: Final = 30.0
"""Seconds without a line after which gpsd is asked anew; with a receiver it speaks once a second."""


class Gpsd:
    """Positions of a GNSS receiver, from gpsd. See `Options`."""

    class Options(GnssOptions):
        """The `[[driver]]` table with `use = "in_car.gpsd"`."""

        host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
        port: Annotated[int, Field(ge=1, le=65535)] = 2947
        receiver: Path | Annotated[tuple[Path, ...], Field(max_length=16)] = ()
        """The receiver's path as gpsd knows it, where it has several, or the paths of those that stand in for each
        other. Left out, every one counts. One at a time gives the position."""

        @property
        def receivers(self) -> tuple[str, ...]:
            """Paths of those that count; empty: every one does."""
            return (self.receiver,) if isinstance(self.receiver, str) else self.receiver

    def __init__(self, options: Options, *, stamp: Callable[[], Stamp] | None = None) -> None:
        self._options, self._stamp = options, stamp
        self._source = Source(options.name, f"{options.host}:{options.port}")
        self._choice = Choice(options.receivers)
        self.damaged = 0
        """Lines that were cut, or no JSON."""

    async def run(self, intake: Intake, /) -> None:
        """Listen for ever; gpsd may come later, and go."""
        while True:
            try:
                await self._listen(intake)
            except DeviceError as error:
                self._source.silent(error)
            await asyncio.sleep(self._options.rescan)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return {f"gpsd at {self._source.place}": self._source.state}

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return (*self._source.notices(), *self._several())

    def _several(self) -> Iterator[Notice]:
        chosen, others = self._choice.chosen, self._choice.others
        if self._options.receivers or chosen is None or not others:
            return
        yield Notice(
            "gnss.receivers",
            "warning",
            self._options.name,
            f"gpsd at {self._source.place} has several receivers: {printable(chosen)} gives the position, and "
            f"{printable(', '.join(others))} only where it has no fix for {LOST_SECONDS:.0f} s.",
            "Name the one that counts as `receiver` in agent.toml, or as a list those of this vehicle that stand in "
            "for each other.",
        )

    async def _listen(self, intake: Intake) -> None:
        options = self._options
        try:
            async with asyncio.timeout(CONNECT):
                reader, writer = await asyncio.open_connection(options.host, options.port, limit=2 * gpsd_json.LINE_MAX)
        except OSError as error:  # a time-out is one
            raise DeviceGone(
                f"no gpsd answers at {options.host}:{options.port}",
                hint="Start gpsd (systemctl start gpsd), or let Evidock read the receiver's line itself.",
            ) from error
        try:
            writer.write(gpsd_json.WATCH)
            await self._hear(reader, intake)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _hear(self, reader: asyncio.StreamReader, intake: Intake) -> None:
        teller, greeted, last = Teller(self._options, intake, stamp=self._stamp), False, ""
        while True:
            found = await self._next(reader)
            if found is None:
                continue
            kind = found["class"]
            if not greeted:
                last = _version(found)
                greeted = True
                self._source.heard(version=last)
                self._source.state = f"{last}, no receiver yet"
            if kind == "TPV":
                try:
                    tpv = gpsd_json.tpv(found)
                except Malformed:
                    self.damaged += 1
                    continue
                fix, path = of_tpv(tpv), tpv.device or self._source.place
                if not self._choice.gives(path, fixed=bool(fix.dimensions)):
                    continue
                await teller.sight(self._device(last))
                await teller.tell(fix, path)
                self._source.state = f"{last}, {teller.state}"
            elif kind == "DEVICE" and found.get("activated") == 0:
                self._source.state = f"{last}, no receiver"

    async def _next(self, reader: asyncio.StreamReader) -> dict[str, Any] | None:
        """The next object; None where the line was none. Raises `DeviceGone`."""
        try:
            async with asyncio.timeout(SILENT):
                line = await reader.readline()
        except TimeoutError as error:
            raise DeviceGone("gpsd says nothing", hint="Has gpsd a receiver? gpsmon tells.") from error
        except ValueError:  # longer than any line may be; the reader has dropped it
            self.damaged += 1
            return None
        except OSError as error:
            raise DeviceGone("the connection to gpsd broke") from error
        if not line.endswith(b"\n"):
            raise DeviceGone("gpsd went away")
        try:
            return gpsd_json.objects(line.strip())
        except Malformed:
            self.damaged += 1
            return None

    def _device(self, version: str) -> Device:
        """Whichever receiver gives the position, it is one device at one place; which one, `gnss.fix` tells."""
        options, place = self._options, printable(self._source.place)[:200]
        release = version.removeprefix("gpsd ")
        return Device(options.device_id, "in_car", options.name, model="gpsd", firmware=release, place=place)


def _version(found: dict[str, Any]) -> str:
    """What gpsd says first. Raises `DeviceRefused` where it is another program, or of another protocol."""
    if found["class"] != "VERSION" or found.get("proto_major") != gpsd_json.PROTOCOL:
        raise DeviceRefused(
            "what answers there is no gpsd of protocol 3",
            hint="Look at `host` and `port` of this driver in agent.toml.",
        )
    return f"gpsd {printable(str(found.get('release', '?')))[:40]}"
