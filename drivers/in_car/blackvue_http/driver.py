"""A BlackVue recorder over its Wi-Fi: what it lists is offered; it is only read, and overwrites by itself."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from agent.capture import Device
from agent.driver import ClockReading, DriverOptions, offer_all, reckoning
from agent.errors import DeviceError, DeviceRefused
from agent.fetching import Address, Fetcher, NotThere
from drivers.in_car.blackvue_http.offers import Beside, File, asked, described, recording
from drivers.in_car.source import Source
from firmware_specs.formats import blackvue_http as spec
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.capture import Standing
    from agent.driver import Intake, Notice, Readable

__all__ = ["BlackVueHttp"]

STAY_SECONDS: Final = 5.0
"""Between two sights of a recorder that is being read."""
ABSENT_SECONDS: Final = 600.0
"""For which a file that was not there is not asked for again."""
_ACCESS_MAX: Final = 4096


class BlackVueHttp:
    """A BlackVue recorder in the car, over its own HTTP. See `Options`."""

    class Options(DriverOptions):
        """The `[[driver]]` table with `use = "in_car.blackvue_http"`."""

        address: Address = "http://10.99.77.1"
        """Of the recorder; left out, the one that it has in its own Wi-Fi."""
        device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")] | None = None
        """The recorder's id in the record: it tells no serial number. Default `blackvue:` and the name."""
        sidecars: bool = True
        """Thumbnails, positions and accelerations too."""
        settle: Annotated[float, Field(ge=0, le=3600)] = 200.0
        """Seconds for which the newest film must stay the newest, and of one length: it may still be recording."""
        at_once: Annotated[int, Field(ge=1, le=8)] = 1
        """Connections that it bears."""
        rescan: Annotated[float, Field(ge=0.05, le=86400)] = 30.0

        @property
        def device_id(self) -> str:
            """The recorder's id."""
            return self.device or f"blackvue:{self.name}"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._source = Source(options.name, options.address, comes_and_goes=True)
        self._device = Device(
            options.device_id,
            "in_car",
            options.name,
            maker="Pittasoft",
            model="BlackVue",
            place=options.address,
            spec="blackvue_card",
        )
        self._fetcher: Fetcher | None = None
        self._lengths: dict[str, int] = {}
        """Of files that are listed and were asked for, by name. What is doubted is asked again."""
        self._again: dict[str, float] = {}
        """When a length is asked for once more: a film may still be recording whose name is not the newest, for clocks
        are set back."""
        self._absent: dict[str, float] = {}
        """When a file was asked for that is not there: it may be written later than its film."""
        self._unreadable: set[str] = set()
        """Files that the recorder lists and cannot read."""
        self._newest: tuple[str, tuple[int | None, ...], float] = "", (), 0.0

    async def run(self, intake: Intake, /) -> None:
        """Look for ever; the recorder comes and goes with the ignition."""
        while True:
            try:
                async with Fetcher(self._options.address, at_once=self._options.at_once) as fetcher:
                    self._fetcher = fetcher
                    await self._attend(fetcher, intake)
            except DeviceError as error:
                self._source.silent(error)
            finally:
                self._fetcher = None
            await asyncio.sleep(self._options.rescan)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return {self._options.address: self._source.state}

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return self._source.notices()

    async def read_clock(self, device: Device, /) -> ClockReading:
        """See `agent.driver.ReadsClock`: by the `Date` of its answer."""
        fetcher = self._fetcher
        if fetcher is None:
            raise DeviceRefused(f"{device.id} is not here", hint="It is asked when it is back.")
        fetcher.date = None
        await _new_style(fetcher)
        try:
            told = parsedate_to_datetime(fetcher.date or "")
            return ClockReading(told if told.tzinfo else told.replace(tzinfo=UTC), timedelta(seconds=1))
        except (ValueError, TypeError, OverflowError) as error:
            todo = "Nothing to do; compare its picture with a clock."
            raise DeviceRefused("the recorder tells no time with its answers", hint=todo) from error

    async def _attend(self, fetcher: Fetcher, intake: Intake) -> None:
        new = await _new_style(fetcher)
        self._source.heard(style="1.009 and later" if new else "before 1.009")
        while True:
            films, strange = await self._listed(fetcher, new=new)
            await intake.sight(self._device)
            staying = asyncio.create_task(self._stay(intake))
            try:
                waiting = await self._look(fetcher, films, strange, intake, new=new)
            finally:
                staying.cancel()
            words = [f"{len(films)} films", *(["the newest may still be recording"] if waiting else [])]
            words += [f"{strange} names that are none"] if strange else []
            words += [f"{len(self._unreadable)} damaged on its card"] if self._unreadable else []
            self._source.state = ", ".join(words)
            await asyncio.sleep(self._options.rescan)

    async def _look(self, fetcher: Fetcher, films: list[spec.Film], strange: int, intake: Intake, *, new: bool) -> int:
        """Offer what is ready, the oldest first, for it is overwritten first; how many films wait."""
        self._unreadable.clear()
        ready, waiting = await self._ready(fetcher, films, new=new)
        offered = 0
        standings: Counter[Standing] = Counter()
        for _, of_one in groupby(ready, key=recording):
            # One recording after the other: on a link that breaks often, what was taken by then stays taken.
            offers = await self._of(fetcher, list(of_one), new=new)
            offered += len(offers)
            standings.update(await offer_all(intake, offers, in_flight=self._options.at_once))
        refused = strange + len(self._unreadable)
        sums = reckoning.counted(offered, refused, standings, complete=not strange and not waiting)
        await intake.observe(reckoning.observation(self._device.id, sums))
        return waiting

    async def _stay(self, intake: Intake) -> None:
        """A film takes minutes: its recorder is here as long as it is read."""
        while True:
            await asyncio.sleep(STAY_SECONDS)
            await intake.sight(self._device)

    async def _listed(self, fetcher: Fetcher, *, new: bool) -> tuple[list[spec.Film], int]:
        text = await fetcher.get("/vodList" if new else "/blackvue_vod.cgi", most=spec.LIST_MAX)
        try:
            films, strange = spec.new_list(text) if new else spec.old_list(text)
        except Malformed as error:
            todo = "Look at `address` of this driver in agent.toml."
            raise DeviceRefused(f"what answers at {self._options.address}: {error}", hint=todo) from error
        names = {name for film in films for name in (film.name, *spec.sidecars(film).values())}
        self._lengths = {name: length for name, length in self._lengths.items() if name in names}
        self._again = {name: at for name, at in self._again.items() if name in names}
        self._absent = {name: at for name, at in self._absent.items() if name in names}
        return sorted(films, key=lambda film: (film.time, film.name)), strange

    async def _ready(self, fetcher: Fetcher, films: list[spec.Film], *, new: bool) -> tuple[list[spec.Film], int]:
        """All but the newest, which may still be recording; how many those are."""
        if not films or not self._options.settle:
            return films, 0
        time = films[-1].time
        newest = [film for film in films if film.time == time]
        for film in newest:
            self._lengths.pop(film.name, None)
        lengths = tuple([await self._length(fetcher, film.name, _path(film.name, new=new)) for film in newest])
        now = asyncio.get_running_loop().time()
        if self._newest[:2] != (time, lengths):
            self._newest = time, lengths, now
        if now - self._newest[2] >= self._options.settle:
            return films, 0
        return [film for film in films if film.time != time], len(newest)

    async def _of(self, fetcher: Fetcher, films: list[spec.Film], *, new: bool) -> list[Readable]:
        """Everything of one recording: its films, and what lies beside them."""
        named = {name: (film, kind) for film in films for kind, name in self._named(film, new=new)}
        for name, (film, kind) in named.items():
            if kind is not None and new:
                await self._told(fetcher, film, kind, name)
            else:
                await self._length(fetcher, name, _path(name, new=new))
        # What is damaged on its card is a part of the recording all the same.
        members = sum(name in self._lengths or name in self._unreadable for name in named)
        offers: list[Readable] = []
        for name, (film, kind) in named.items():
            if (length := self._lengths.get(name)) is None:
                continue
            capture = described(self._device, film, name, length, members)
            if kind is not None and new:
                offers.append(Beside(capture, film, kind, fetcher, self._doubt))
            else:
                offers.append(File(capture, _path(name, new=new), fetcher, self._doubt))
        return offers

    def _named(self, film: spec.Film, *, new: bool) -> Iterator[tuple[str | None, str]]:
        """A film (None) and what may lie beside it, by what it is: their names."""
        yield None, film.name
        for kind, name in spec.sidecars(film).items() if self._options.sidecars else ():
            if not (new and kind == "3gf"):  # there is no way to it
                yield kind, name

    async def _length(self, fetcher: Fetcher, name: str, path: str) -> int | None:
        """Of a file; None where it has none of this name, or cannot read it."""
        if self._is_asked_for(name):
            try:
                if (length := (await fetcher.head(path)).length) is not None:
                    self._note(name, length)
                else:
                    self._unreadable.add(name)  # who does not say how long it is cannot be held to it
            except NotThere:
                self._note(name, None)
            except DeviceRefused:
                self._unreadable.add(name)
        return self._lengths.get(name)

    async def _told(self, fetcher: Fetcher, film: spec.Film, kind: str, name: str) -> None:
        if self._is_asked_for(name):
            found = await asked(fetcher, film, kind)
            self._note(name, None if found is None else len(found))

    def _is_asked_for(self, name: str) -> bool:
        now = asyncio.get_running_loop().time()
        if name in self._lengths:
            return now >= self._again.get(name, math.inf)
        return now - self._absent.get(name, -math.inf) >= ABSENT_SECONDS

    def _note(self, name: str, length: int | None) -> None:
        """So long it is now; None: it is not there. What was so long before as well is not asked for again."""
        now, before = asyncio.get_running_loop().time(), self._lengths.pop(name, None)
        self._again.pop(name, None)
        if length is None:
            self._absent[name] = now
            return
        self._lengths[name] = length
        if length != before and self._options.settle:
            self._again[name] = now + self._options.settle

    def _doubt(self, path: str) -> None:
        self._lengths.pop(path.rpartition("/")[2], None)


def _path(name: str, *, new: bool = False) -> str:
    return f"/{name}" if new else f"/Record/{name}"


async def _new_style(fetcher: Fetcher) -> bool:
    """Whether it is of firmware 1.009 or later. Raises `DeviceGone`, `DeviceRefused`."""
    try:
        await fetcher.get("/accessible", most=_ACCESS_MAX)
    except NotThere:
        return False
    return True
