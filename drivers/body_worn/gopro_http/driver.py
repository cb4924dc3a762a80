"""A GoPro camera: it is asked who it is and whether it is busy, kept awake, and everything on its card is offered."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Final

import structlog
from pydantic import Field

from agent.capture import Capture, Device, Json, printable
from agent.driver import ClockReading, DriverOptions, Notice, offer_all, reckoning
from agent.errors import BadCapture, DeviceError, DeviceGone, DeviceRefused
from agent.fetching import Address, Fetcher, NotThere
from firmware_specs.formats import open_gopro as spec
from firmware_specs.formats.layout import layout
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from agent.driver import Intake, Readable

__all__ = ["GoProHttp"]

FORGETS: Final = "is emptied by hand"
KEEP_ALIVE_SECONDS: Final = 3.0
"""Between two words that keep it awake, as its maker's documents advise."""
_ANSWER_MAX: Final = 1 << 20


class GoProHttp:
    """A GoPro camera over its own Wi-Fi or USB network: Open GoPro HTTP. See `Options`."""

    class Options(DriverOptions):
        """The `[[driver]]` table with `use = "body_worn.gopro_http"`."""

        address: Address = "http://10.5.5.9:8080"
        """Of the camera; left out, the one that it has in its own Wi-Fi. By USB it is `http://172.2X.1YZ.51:8080`, XYZ
        being the last three digits of its serial number."""
        wired: bool = False
        """It is plugged in by USB: then it must be told so before it answers."""
        rescan: Annotated[float, Field(ge=0.05, le=86400)] = 15.0

    def __init__(self, options: Options) -> None:
        self._options = options
        self._log = structlog.get_logger("driver").bind(driver=options.name, place=options.address)
        self._fetcher: Fetcher | None = None
        self._state = "not looked at yet"
        self._trouble: DeviceError | None = None
        self._of: Device | None = None
        self._lengths: dict[str, int] = {}
        """Of members of groups, which the list does not tell. What is doubted is asked again."""

    async def run(self, intake: Intake, /) -> None:
        """Look for ever; the camera comes and goes."""
        while True:
            try:
                # Two connections: one fetches for minutes, the other keeps it awake.
                async with Fetcher(self._options.address, at_once=2) as fetcher:
                    self._fetcher = fetcher
                    await self._attend(fetcher, intake)
            except DeviceError as error:
                self._silent(error)
            finally:
                self._fetcher = None
            await asyncio.sleep(self._options.rescan)

    def _silent(self, error: DeviceError) -> None:
        """That a camera is away is how it should be; what answers in its place wants somebody."""
        away = isinstance(error, DeviceGone)
        if self._state != str(error):
            if away:
                self._log.info("source_away", error=str(error))
            else:
                self._log.warning("source_silent", error=str(error), todo=error.what_to_do)
        self._trouble, self._state = None if away else error, str(error)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return {self._options.address: self._state}

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        if self._trouble is None:
            return ()
        detail = str(self._trouble)
        return (Notice("source.silent", "warning", self._options.name, detail, self._trouble.what_to_do),)

    async def read_clock(self, device: Device, /) -> ClockReading:
        """See `agent.driver.ReadsClock`."""
        if self._fetcher is None:
            raise DeviceRefused(f"{device.id} is not here", hint="It is asked when it is back.")
        text = await self._fetcher.get("/gopro/camera/get_date_time", most=_ANSWER_MAX)
        try:
            return ClockReading(spec.clock(text), timedelta(seconds=1))
        except Malformed as error:
            raise DeviceRefused(f"the camera tells no time: {error}") from error

    async def _attend(self, fetcher: Fetcher, intake: Intake) -> None:
        if self._options.wired:
            with suppress(DeviceRefused, NotThere):  # it refuses what it was told before
                await fetcher.get("/gopro/camera/control/wired_usb", query={"p": "1"}, most=_ANSWER_MAX)
        device = await self._who(fetcher)
        self._trouble = None
        self._log.info("source_found", device=device.id, firmware=device.firmware)
        awake = asyncio.create_task(self._keep_awake(fetcher, device, intake))
        try:
            while True:
                await self._look(fetcher, device, intake)
                await asyncio.sleep(self._options.rescan)
        finally:
            awake.cancel()

    async def _who(self, fetcher: Fetcher) -> Device:
        try:
            found = spec.info(await fetcher.get("/gopro/camera/info", most=_ANSWER_MAX))
        except Malformed as error:
            todo = "Look at `address` of this driver in agent.toml, and at the camera's firmware."
            raise DeviceRefused(f"what answers at {self._options.address}: {error}", hint=todo) from error
        serial = printable(found.serial)
        return Device(
            f"gopro:{serial}",
            "body_worn",
            self._options.name,
            maker="GoPro",
            model=printable(found.model),
            serial=serial,
            firmware=printable(found.firmware),
            place=self._options.address,
        )

    async def _keep_awake(self, fetcher: Fetcher, device: Device, intake: Intake) -> None:
        """A camera that is left alone goes to sleep; that it cannot be woken is seen where it is read."""
        while True:
            await asyncio.sleep(KEEP_ALIVE_SECONDS)
            try:
                await fetcher.get("/gopro/camera/keep_alive", most=_ANSWER_MAX)
                await intake.sight(device)
            except DeviceError:
                continue

    async def _look(self, fetcher: Fetcher, device: Device, intake: Intake) -> None:
        try:
            listed, state = b"", await self._state_of(fetcher, device)
            if not (left_alone := state.busy or state.encoding):
                listed = await fetcher.get("/gopro/media/list", most=spec.LIST_MAX)
                # Asked again: what began to be recorded meanwhile may stand in the list as long as it was then.
                # That it is busy is no such sign: it may be with what it was just asked.
                left_alone = (state := await self._state_of(fetcher, device)).encoding
            await intake.sight(device)
            if left_alone:
                # What is recorded now is listed when it is finished, and reading would disturb it.
                self._state = "is recording" if state.encoding else "is busy"
                return
            found, strange = spec.media(listed)
        except Malformed as error:
            raise DeviceRefused(f"the camera at {self._options.address}: {error}") from error
        if device != self._of:
            self._of, self._lengths = device, {}  # another camera is plugged in here now
        self._lengths = {path: self._lengths[path] for path in {one.path for one in found} & self._lengths.keys()}
        # What it lists and cannot give is a part of its recording all the same.
        groups = Counter(filter(None, map(_group, found)))
        offers: list[Readable] = []
        unreadable, look = 0, _Look(partial(self._state_of, fetcher, device))
        for one in found:
            if (length := await self._length(fetcher, one)) is None:
                unreadable += 1
                continue
            offers.append(File(_described(device, one, length, groups), fetcher, self._doubt, look))
        standings = await offer_all(intake, takewhile(lambda _: not look.ended, offers), in_flight=1)
        if look.ended:
            self._state = "is recording"
            return
        sums = reckoning.counted(len(offers), strange + unreadable, standings, complete=not strange)
        await intake.observe(reckoning.observation(device.id, sums))
        battery = "" if state.battery is None else f", battery {state.battery} %"
        room = "" if state.room is None else f", {state.room / 1e6:.1f} GB free"
        self._state = f"{len(offers)} files{battery}{room}"

    async def _state_of(self, fetcher: Fetcher, device: Device) -> spec.State:
        """How this camera is. In its own Wi-Fi each has the same address: `DeviceGone` where another one is there."""
        state = spec.state(await fetcher.get("/gopro/camera/state", most=_ANSWER_MAX))
        if await self._who(fetcher) != device:
            raise DeviceGone(f"another camera is at {self._options.address} now")
        return state

    async def _length(self, fetcher: Fetcher, one: spec.Media) -> int | None:
        if one.length is not None:
            return one.length
        if one.path not in self._lengths:
            try:
                length = (await fetcher.head(f"/videos/DCIM/{one.path}")).length
            except (NotThere, DeviceRefused):
                return None
            if length is None:
                return None
            self._lengths[one.path] = length
        return self._lengths[one.path]

    def _doubt(self, path: str) -> None:
        self._lengths.pop(path, None)


class _Look:
    """One look at the card. It lasts as long as what is on it: before each file the camera is asked how it is now."""

    def __init__(self, ask: Callable[[], Awaitable[spec.State]]) -> None:
        self._ask, self.ended = ask, False

    async def goes_on(self) -> None:
        """Raises `DeviceGone` where the camera records by now, or is another: then nothing more is asked of it."""
        if not self.ended:
            try:
                self.ended = (await self._ask()).encoding
            except Malformed as error:
                raise DeviceRefused(f"the camera does not say how it is: {error}") from error
        if self.ended:
            raise DeviceGone("the camera records, and is left alone until it has ended")


class File:
    """An `agent.driver.Readable`: a file on the camera's card. There is nothing here that deletes."""

    def __init__(self, capture: Capture, fetcher: Fetcher, doubt: Callable[[str], None], look: _Look) -> None:
        self.capture, self._fetcher, self._doubt, self._look = capture, fetcher, doubt, look

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on."""
        path = self.capture.key
        await self._look.goes_on()
        try:
            async for block in self._fetcher.read(f"/videos/{path}", offset, self.capture.length):
                yield block
        except (BadCapture, DeviceGone, DeviceRefused):
            self._doubt(path.removeprefix("DCIM/"))
            raise


def _group(one: spec.Media) -> str | None:
    """What it belongs to: by the list, else by its name."""
    place = layout("gopro").place(f"DCIM/{one.path}")
    return one.group or (None if place is None else place.group)


def _described(device: Device, one: spec.Media, length: int, groups: Mapping[str, int]) -> Capture:
    """A file as list and name describe it, by the layout of the camera's cards. `groups`: files of each recording."""
    key = f"DCIM/{one.path}"
    place = layout("gopro").place(key)
    group = _group(one)
    claims: dict[str, Json] = {"layout": "gopro", "zone": "not told"}
    if place is not None:
        claims["role"] = place.rule.role
        if said := place.said:
            claims["said"] = dict(said)
    return Capture(
        device,
        key,
        one.created_at,
        length,
        media_type="application/octet-stream" if place is None else place.media_type,
        group=group,
        members=None if group is None else groups[group],
        clip=None if place is None or one.group else place.clip,
        forgets=FORGETS,
        claims=claims,
    )
