"""The driver: looks where volumes appear, recognises each, and offers every settled capture on it, again and again."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

import structlog

from agent.capture import LENGTH_MAX, Standing
from agent.driver import BLOCK_LENGTH, GATHERED_LENGTH, Bay, Care, Notice, offer_all, reckoning
from agent.errors import DeviceError, DeviceGone, DeviceRefused
from agent.mounts import mount_at, mounts
from drivers.body_worn.usb_volume.blocks import usb_blocks
from drivers.body_worn.usb_volume.clip import Clip
from drivers.body_worn.usb_volume.identity import recognise
from drivers.body_worn.usb_volume.options import VolumeOptions
from drivers.body_worn.usb_volume.recording import recorded
from drivers.body_worn.usb_volume.session import Session
from drivers.body_worn.usb_volume.settling import Settling
from drivers.body_worn.usb_volume.showing import Shown
from drivers.body_worn.usb_volume.staying import rest, stay, unless_gone
from drivers.body_worn.usb_volume.volume import UNPLUGGED, Volume, look
from drivers.body_worn.usb_volume.waking import Waker
from drivers.body_worn.usb_volume.walk import walk
from drivers.body_worn.usb_volume.wire import Wire
from drivers.body_worn.usb_volume.writing import WriteWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from agent.capture import Json
    from agent.driver import Intake
    from drivers.body_worn.usb_volume.identity import Known
    from drivers.body_worn.usb_volume.walk import Entry, Walk
    from firmware_specs.formats.layout import Layout

__all__ = ["UsbVolume"]

T = TypeVar("T")

SMALL_IN_FLIGHT: Final = 256
"""Captures of at most a block that are offered at once: what they cost is waiting, not the wire."""

GATHERED_IN_FLIGHT: Final = 32
"""The same of captures that the agent gathers in memory, a few at once: most of these are being forced together."""

REST: Final = 10.0
"""A look that found nothing new is followed by a pause of so many times its length: it costs a tenth of the time."""

NOBODY: Final = "no volume is here"

FULL_TODO: Final = "Raise `max_entries`, or look at the card."
UNKNOWN_TODO: Final = "Name its spec or its layout in agent.toml: evidock device explain tells what it looks like."

EMPTY_SECONDS: Final = 300.0
"""Between two looks at a bay into which nothing can come unheard: sixty empty ones are to cost nothing."""

LOOKS: Final = 64
"""Places that may be looked at in the same moment."""

SAID_MAX: Final = 100_000
"""Refusals that are remembered so that each is logged once."""


class UsbVolume:
    """A camera that shows itself as a USB stick. See `Options` for how it is found."""

    class Options(VolumeOptions):
        """The `[[driver]]` table with `use = "body_worn.usb_volume"`."""

    def __init__(self, options: Options, *, wire: Wire | None = None) -> None:
        self._options = options
        self._wire = wire or Wire()
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._health: dict[str, str] = {}
        self._care: dict[Path, tuple[str, Care]] = {}
        self._volumes: dict[Path, Volume] = {}
        self._shown: dict[Path, Shown | None] = {} if options.mount is None else {options.mount: None}
        # A look can hang too, in the kernel: it then holds one of these threads, and none of the agent's own.
        self._looks = ThreadPoolExecutor(LOOKS, thread_name_prefix="looks")

    async def run(self, intake: Intake, /) -> None:
        """Offer every capture in reach, again and again, until cancelled."""
        options = self._options
        plain = options.mount if not options.must_be_mountpoint else None
        with Waker(plain) as waker:
            if options.mount is not None:
                while True:
                    await self._attend(options.mount, intake, waker)
            attended: dict[Path, asyncio.Task[None]] = {}
            async with asyncio.TaskGroup() as group:
                while True:
                    heard = waker.rings
                    for path in await self._apart(self._plugged_in):
                        if path not in attended:
                            attended[path] = group.create_task(self._attend(path, intake, waker))
                    attended = {path: task for path, task in attended.items() if not task.done()}
                    await waker.wait(heard, options.rescan)

    async def health(self) -> dict[str, str]:
        """Room and state of each volume that is attended, by its mount point."""
        return dict(self._health)

    async def recorded(self) -> list[dict[str, Json]]:
        """See `agent.driver.Recorded`."""
        found = []
        for volume in list(self._volumes.values()):
            try:
                found.append(await volume.call(partial(recorded, volume)))
            except OSError as error:
                raise volume.failure(error, "the volume") from error
        return found

    def care(self) -> dict[str, Care]:
        """See `agent.driver.TellsCare`."""
        return dict(self._care.values())

    def bays(self) -> list[Bay]:
        """See `agent.driver.ShowsBays`: one for the configured place, else one for each volume that is plugged in."""
        name = self._options.name
        return [Bay(name) if shown is None else shown.bay() for _, shown in sorted(self._shown.items())]

    def notices(self) -> list[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return [one for shown in self._shown.values() if shown is not None for one in shown.notices()]

    async def _apart(self, work: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._looks, work)

    def _plugged_in(self) -> list[Path]:
        numbers = {(block.major, block.minor) for block in usb_blocks(self._options.usb)}
        found: dict[tuple[int, int], bytes] = {}
        for mount in mounts():
            if (mount.major, mount.minor) in numbers and mount.root == b"/":
                found.setdefault((mount.major, mount.minor), mount.mount_point)  # mounted twice it is still one volume
        return [Path(os.fsdecode(path)) for path in found.values()]

    async def _attend(self, path: Path, intake: Intake, waker: Waker) -> None:
        """Look at one place until it is empty; a configured one is looked at for ever."""
        session: Session | None = None
        try:
            while True:
                heard, pause = waker.rings, self._options.rescan
                began = time.monotonic()
                try:
                    session = await self._session(path, session)
                    self._show(path, session)
                    if session is None:
                        self._health[str(path)] = NOBODY
                        if self._options.mount is None:
                            return
                        pause = await self._empty_pause(path, waker)
                    else:
                        pause = await self._unless_gone(session, self._pass(session, intake, waker))
                except DeviceError as error:
                    self._tell(path, error)
                except OSError as error:
                    gone = error.errno in UNPLUGGED
                    self._tell(path, (DeviceGone if gone else DeviceRefused)(f"{path}: {error.strerror}"))
                # However often we are woken, looking takes at most half of the time.
                least = min(time.monotonic() - began, pause)
                if session is None or session.device is None:
                    await asyncio.sleep(least)
                    await waker.wait(heard, pause - least)
                else:
                    with suppress(DeviceError):
                        resting = rest(waker, heard, least, pause, session.volume, session.device, intake)
                        await self._unless_gone(session, resting)
        finally:
            self._health.pop(str(path), None)
            self._show(path, None)
            if session is not None:
                await session.window.close()

    async def _unless_gone(self, session: Session, work: Coroutine[None, None, T]) -> T:
        async def stands() -> bool:
            mount = self._options.must_be_mountpoint
            return await self._apart(partial(look, ground.path, must_be_mountpoint=mount)) == ground

        ground = session.volume.ground
        return await unless_gone(session.volume, stands, work)

    async def _empty_pause(self, path: Path, waker: Waker) -> float:
        """Until the next look at an empty bay. Where nothing is mounted, nothing comes without a ring."""
        pause = self._options.rescan
        if not (self._options.must_be_mountpoint and waker.hears_mounts):
            return pause
        return pause if await self._apart(partial(mount_at, path)) is not None else max(pause, EMPTY_SECONDS)

    async def _session(self, path: Path, session: Session | None) -> Session | None:
        """What stands at this place now: the same session as long as it is the same volume, plugged in once."""
        ground = await self._apart(partial(look, path, must_be_mountpoint=self._options.must_be_mountpoint))
        if session is not None:
            if ground == session.volume.ground and not session.volume.gone:
                return session
            self._tell(path, DeviceGone("the volume was taken away"))
            await session.window.close()
        if ground is None:
            return None
        volume = Volume(ground, self._wire)
        window = WriteWindow(volume)
        port = ground.block.usb.port if ground.block and ground.block.usb else path.name
        name = self._options.name if self._options.mount else f"{self._options.name} {port}"
        return Session(volume, window, Shown(name, volume, window))

    def _show(self, path: Path, session: Session | None) -> None:
        if session is None:
            self._care.pop(path, None)
            self._volumes.pop(path, None)
        else:
            self._volumes[path] = session.volume
        if session is None and self._options.mount is None:
            self._shown.pop(path, None)
        else:
            self._shown[path] = None if session is None else session.shown

    async def _pass(self, session: Session, intake: Intake, waker: Waker) -> float:
        """Look at the whole volume once and offer what is settled; how long to wait until the next look."""
        volume = session.volume
        volume.touched = False
        began, listed, standings = time.monotonic(), 0.0, Counter[Standing]()
        async with volume.held():
            await volume.call(session.window.recall)
            known = await volume.call(partial(recognise, volume, self._options))
            await self._sighted(session, known, intake)
            if known.layout is None:
                self._once(session, known.device.id, "device_unknown", why=known.doubt, todo="evidock device explain")
                session.shown.troubled(known.doubt or "nobody knows this device", UNKNOWN_TODO)
            else:
                found, ready = await volume.call(partial(self._settled, session, known, known.layout))
                listed = time.monotonic()
                session.shown.looked(found.entries, ready)
                self._report(session, known, found, ready)
                # To begin watching takes some milliseconds, for which nobody need wait.
                watching = asyncio.ensure_future(self._watched(volume, found, waker))
                try:
                    standings = await self._offer(session, known, found, ready, session.shown.counting(intake))
                finally:
                    await asyncio.wait({watching})
                watching.result()
                session.shown.offered()
                if len(ready) == len(found.entries) and await volume.call(volume.stands):
                    sums = reckoning.counted(len(ready), found.refusals, standings, complete=found.complete)
                    session.shown.answered(found.entries, sums)
                    await self._reckon(session, sums, intake)
                if not found.whole:
                    session.shown.troubled("it lists more than is looked at", FULL_TODO)
        if volume.gone:
            raise DeviceGone("the volume was taken away")
        # What found no room waited most of the time for others; it is offered again as soon as it may be.
        return self._pause(session, (listed if standings[Standing.UNKNOWN] else time.monotonic()) - began)

    async def _watched(self, volume: Volume, found: Walk, waker: Waker) -> None:
        if not self._options.must_be_mountpoint:
            folders = [volume.ground.path, *(volume.ground.path / unquote(key) for key in found.folders)]
            await self._apart(partial(waker.watch, folders))

    async def _sighted(self, session: Session, known: Known, intake: Intake) -> None:
        device, volume = known.device, session.volume
        if session.device is None:
            self._log.info("volume_found", device=device.id, spec=device.spec, mount=str(volume.ground.path))
            if volume.ground.mount and volume.ground.mount.shifts_times:
                # An origin has the time in it: with summer time every capture would become another one.
                todo = "Mount the volume with `tz=UTC`."
                self._log.warning("times_are_shifted", device=device.id, mount=str(volume.ground.path), todo=todo)
        elif session.device.id != device.id:
            volume.gone = True
            raise DeviceGone("another device took this one's place")
        session.device = device
        session.shown.device(device)
        await intake.sight(device)
        await self._take_health(session, known)

    def _settled(self, session: Session, known: Known, layout: Layout) -> tuple[Walk, list[Entry]]:
        looked_at = time.monotonic()
        found = walk(session.volume, layout, self._options.max_entries)
        if session.settling is None:
            session.settling = Settling(known.settle)
        return found, session.settling.settled(found.entries, looked_at)

    async def _offer(
        self, session: Session, known: Known, found: Walk, ready: Sequence[Entry], intake: Intake
    ) -> Counter[Standing]:
        """Offer small captures many at a time, and beside them the long ones a few at a time."""
        volume, layout, copies = session.volume, known.layout, self._options.copies
        classes = (
            (0, BLOCK_LENGTH, SMALL_IN_FLIGHT),
            (BLOCK_LENGTH + 1, GATHERED_LENGTH, max(GATHERED_IN_FLIGHT, copies)),
            (GATHERED_LENGTH + 1, LENGTH_MAX, copies),
        )

        def offers(least: int, most: int) -> Iterator[Clip]:
            for entry in ready:
                if volume.gone or layout is None:  # one failure, not one for each of a hundred thousand
                    return
                if least <= entry.length <= most:
                    yield Clip(known.device, entry, layout, volume, session.window, groups=found.groups)

        async with asyncio.TaskGroup() as beside:
            staying = beside.create_task(stay(volume, known.device, intake))
            async with asyncio.TaskGroup() as group:
                told = [
                    group.create_task(offer_all(intake, offers(least, most), in_flight=in_flight))
                    for least, most, in_flight in classes
                ]
            staying.cancel()
        standings = Counter[Standing]()
        for one in told:
            standings.update(one.result())
        if volume.touched:
            self._log.info("volume_offered", device=known.device.id, **{str(one): n for one, n in standings.items()})
        return standings

    async def _reckon(self, session: Session, sums: dict[str, Json], intake: Intake) -> None:
        """Tell the sum of a whole look: where it changed it becomes an entry, and a difference an alarm."""
        if session.device is None:
            return
        if sums["unexplained"] and sums != session.sums:
            self._log.warning("captures_unexplained", device=session.device.id, todo=reckoning.TODO, **sums)
        session.sums = sums
        await intake.observe(reckoning.observation(session.device.id, sums))

    def _pause(self, session: Session, took: float) -> float:
        """Soon again where there was work; the longer the look took, the later where there was none."""
        pause = self._options.rescan
        if not session.volume.touched:
            pause = max(pause, REST * took)
        due = session.settling.due(time.monotonic()) if session.settling else None
        return pause if due is None else min(pause, due)

    def _report(self, session: Session, known: Known, found: Walk, ready: Sequence[Entry]) -> None:
        """Say each refusal once, and the sum whenever it changed: what was listed is offered, waits or is refused."""
        device = known.device.id
        for key, why in found.refused.items():
            self._once(session, key, "entry_refused", why=why, device=device)
        if not found.whole:
            most = self._options.max_entries
            self._once(session, device, "volume_too_full", entries=most, todo=FULL_TODO)
        for key in session.settling.late(time.monotonic()) if session.settling else ():
            self._once(session, key, "entry_never_settles", device=device)
        waiting = len(found.entries) - len(ready)
        summary = (len(found.entries), len(ready), waiting, found.refusals)
        if summary != session.summary:
            session.summary = summary
            self._log.info(
                "volume_listed",
                device=device,
                listed=len(found.entries) + found.refusals,
                offered=len(ready),
                waiting=waiting,
                refused=found.refusals,
                whole=found.whole,
            )

    def _once(self, session: Session, key: str, event: str, **said: object) -> None:
        mark = hash((key, event, said.get("why")))
        if mark not in session.said and len(session.said) < SAID_MAX:
            session.said.add(mark)
            self._log.warning(event, key=key, **said)

    def _tell(self, path: Path, error: DeviceError) -> None:
        if isinstance(error, DeviceGone):
            self._show(path, None)
            if self._health.get(str(path)) != NOBODY:
                self._log.info("volume_gone", mount=str(path), error=str(error))
            self._health[str(path)] = NOBODY
            return
        if self._health.get(str(path)) != str(error):
            self._log.warning("volume_refused", mount=str(path), error=str(error), todo=error.what_to_do)
        self._health[str(path)] = str(error)
        if (shown := self._shown.get(path)) is not None:
            shown.troubled(str(error), error.what_to_do)

    async def _take_health(self, session: Session, known: Known) -> None:
        volume = session.volume

        def room() -> os.statvfs_result:
            with volume.root() as root:
                return os.fstatvfs(root)

        state = await volume.call(room)
        how = "read-only" if state.f_flag & os.ST_RDONLY else "writable"
        kind = volume.ground.mount.file_system if volume.ground.mount else "folder"
        gib = 1 << 30
        free, whole = state.f_bavail * state.f_frsize / gib, state.f_blocks * state.f_frsize / gib
        who = known.device.id
        left, all_of_it = state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize
        self._care[volume.ground.path] = (who, Care(known.battery, left, all_of_it))
        self._health[str(volume.ground.path)] = f"{who}: {kind}, {how}, {free:.1f} GiB of {whole:.1f} GiB free"
