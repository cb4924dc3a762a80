"""The only page that the author of a driver must read: three small protocols between a device and the agent.

A driver knows *how* to talk to its devices; the agent knows *when* something is kept, sent and released. A driver never
decides to delete, retry, hash, name or forward, and keeps no memory of what it has seen: it offers everything in reach,
again and again, and `take` answers at once for what is already held.

What every driver keeps (the conformance suite in `agent.testing.conformance` proves it):

1. An origin (device, key, began_at) is stable; `began_at` is the device's word, never our clock.
2. If `take` returns without having called `open`, the bytes are the driver's to skip.
3. `open` may be called again, at a greater offset, after `DeviceGone`; bytes from 0 and from n agree.
4. `release` is idempotent, and never called before a verified receipt. What nobody can ask a device to forget is
   offered without a `release`, and its capture says how the device forgets by itself.
5. A released origin that is offered again is taken again: cameras reuse file names.
6. `run` ends only by cancellation; that a device was unplugged is not the driver's error.
7. A capture whose length contradicts the device's own index is not held (`BadCapture`).
8. Cancellation at any await loses nothing that was promised.
9. What is offered as `Screened` and passed by leaves no trace, and its device is answered as if it had been kept.

A complete driver for a folder of finished files:

    class Folder:
        class Options(DriverOptions):
            path: Path

        def __init__(self, options: Options) -> None:
            self._options = options

        async def run(self, intake: Intake) -> None:
            device = Device(id=f"folder:{self._options.path}", family="interview_room", driver=self._options.name)
            while True:
                await intake.sight(device)
                await offer_all(intake, (FileOffer(device, path) for path in sorted(self._options.path.iterdir())))
                await asyncio.sleep(self._options.rescan)

What a driver may be able to do beside this stands in `agent.driver.abilities`, each as a small protocol of its own:
read or set a device's clock, show bays, report health, raise notices, hear what others observe, take orders of people,
enrol devices; what is forgotten unless it is wanted stands in `agent.driver.screening`.

It is found by its entry point: `[project.entry-points."evidock.drivers"]`, `my_room.folder = "my_package:Folder"`, and
configured in agent.toml under `[[driver]]` with `use = "my_room.folder"`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from agent.capture import Capture, Device, Digest, Observation, Origin, Standing
from agent.driver.abilities import (
    Bay,
    Care,
    ClockReading,
    Enrolment,
    Enrols,
    HearsObservations,
    Lead,
    Notice,
    RaisesNotices,
    ReadsClock,
    Record,
    Recorded,
    ReportsHealth,
    SetsClock,
    ShowsBays,
    ShowsLeads,
    TakesOrders,
    TellsCare,
)
from agent.driver.screening import Screen, Screened
from agent.errors import DeviceError, SpoolFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "BLOCK_LENGTH",
    "GATHERED_LENGTH",
    "INDEX",
    "Bay",
    "Care",
    "ClockReading",
    "Driver",
    "DriverOptions",
    "Enrolment",
    "Enrols",
    "HearsObservations",
    "Intake",
    "Lead",
    "Notice",
    "Offer",
    "Place",
    "Plugged",
    "RaisesNotices",
    "Readable",
    "ReadsClock",
    "Recalls",
    "Record",
    "Recorded",
    "ReleasesByPath",
    "ReportsHealth",
    "Screen",
    "Screened",
    "SetsAside",
    "SetsClock",
    "ShowsBays",
    "ShowsLeads",
    "StatesDigest",
    "TakesOrders",
    "TellsCare",
    "offer_all",
]

BLOCK_LENGTH = 1024 * 1024
"""Bytes that `Offer.open` had best yield at a time. Smaller blocks work and are slower; larger ones cost memory."""

GATHERED_LENGTH = 4 * BLOCK_LENGTH
"""A capture that states at most so many bytes is gathered in memory before it is written, while there is room for it.

What is offered at once of such captures shares what forcing them costs. After an unplug they are read from the start.
"""

INDEX = "device.index"
"""Kind of the observation that a device was looked at as a whole and everything that was found was offered.

Its detail says `complete: true` where no capture on the device can have escaped that look. It may be told after each
look: an entry is written when it says something else than the last one.
"""


class Readable(Protocol):
    """One capture that can be taken, and no more: of a device that nobody can ask to forget it.

    Such a recorder overwrites its oldest recordings, or is emptied by hand. Its captures say how (`Capture.forgets`),
    and their offers have no `release` that could be called.
    """

    @property
    def capture(self) -> Capture:
        """What the device says of it."""

    def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on, in blocks of any size, until the end.

        Raises `CannotResume` where the device cannot begin at `offset`, `DeviceGone` when it went away, `BadCapture`
        when what comes contradicts the device's own index, `DeviceRefused` when it cannot be read.
        """


@runtime_checkable
class Offer(Readable, Protocol):
    """One capture, as its device holds it out. Nearly every device can be asked to forget."""

    async def release(self) -> None:
        """Let the device forget it, and return when the device has durably done so. Idempotent.

        Raises `DeviceRefused` or `DeviceGone`; then the agent asks again when the capture is offered again.
        """


@dataclass(frozen=True, slots=True)
class Place:
    """Where a capture lies as a plain file on a mounted volume."""

    root: bytes
    """Absolute path of the volume's root folder."""
    root_id: tuple[int, int]
    """Device and inode number of that folder: another volume at the same path has others."""
    path: bytes
    """Below the root; the capture's key is this path, passed through `printable`."""
    length: int
    mtime_ns: int
    plugged: str = ""
    """Something that is another one each time that a volume is plugged in: the numbers of one that is gone are given
    out again at once, and what is wrong with it must not be held against the next one."""


@runtime_checkable
class ReleasesByPath(Protocol):
    """An offer that is a plain file on a mounted volume: then a program of its own deletes it, and not the agent.

    `release` of such an offer is called only where that program cannot be used.
    """

    @property
    def place(self) -> Place:
        """Where the file lies."""

    def writable(self) -> AbstractAsyncContextManager[None]:
        """While inside, the volume may be written to. Raises `DeviceRefused` or `DeviceGone`."""


@runtime_checkable
class StatesDigest(Protocol):
    """An offer whose device says beforehand what its bytes are: other bytes are set aside, and not held."""

    @property
    def stated_sha256(self) -> bytes:
        """The digest, raw."""


@runtime_checkable
class Plugged(Protocol):
    """An offer of what is plugged in and out, and may be another device the next time that calls itself the same.

    Its bytes can be read from any offset on. The agent compares a piece of what it knows already, once for each time.
    """

    @property
    def plugged(self) -> str:
        """Something that is another one each time that it is plugged in."""


class Intake(Protocol):
    """The agent's open hand."""

    async def sight(self, device: Device, /) -> None:
        """Say that this device is here now. Call it again whenever the device was looked at."""

    async def observe(self, observation: Observation, /) -> None:
        """Report a fact about the world; the package `agent.context` lists the kinds and what each tells.

        A change of a state is told once, when it happens; positions as often as ten times a second. On return it is
        durable, but for positions, which are written together some seconds later.
        """

    async def take(self, offer: Readable, /) -> Standing:
        """Return when the capture is safe; at once if it already was.

        `UNKNOWN`: the offer is `Screened`, and was passed by. Nothing of it is kept, and a device that pushes is told
        the same as if it were.

        Raises what `open` raised, `BadCapture` for what must not be taken, and `SpoolFull` when there is no room: a
        device that pushes is then told to try again in its own protocol; what can be offered again simply is.
        """


@runtime_checkable
class Recalls(Protocol):
    """An intake that says what it was given under a name; the agent's own does.

    For a driver whose device sends again what it was answered for already, and may send something else under the same
    name: it compares, where it knows no more itself what came.
    """

    async def recall(self, origin: Origin, /) -> tuple[Digest, ...]:
        """What is kept here or was receipted of this origin, the newest first."""


@runtime_checkable
class SetsAside(Protocol):
    """An intake that keeps what cannot be taken as it came, for a person to look at; the agent's own does.

    For a driver whose messages wait in a row: one at which it fails each time would hold up all behind it for ever.
    """

    async def set_aside(self, capture: Capture, data: bytes, reason: str, /) -> None:
        """Return when the bytes lie among the parts, and an entry says why. The reason stands in the journal.

        Raises `SpoolFull` where there is no room.
        """


class Driver(Protocol):
    """One way of talking to one family of devices. Built from its options; holds no state about captures."""

    async def run(self, intake: Intake, /) -> None:
        """Offer every capture in reach, again and again, until cancelled."""


class DriverOptions(BaseModel):
    """What every `[[driver]]` table has; a driver's `Options` adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: str
    """Entry point of the driver, such as `body_worn.usb_volume`."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Name of this instance: of the bay, the room, the car."""
    rescan: Annotated[float, Field(ge=0.05, le=86400)] = 5.0
    """Seconds between two looks at what the devices hold."""


async def offer_all(intake: Intake, offers: Iterable[Readable], *, in_flight: int = 16) -> dict[Standing, int]:
    """Offer everything once, several at a time, and count where they stand; what fails is offered again next time.

    One capture that is hurt does not keep the others from being taken: `DeviceError` and `SpoolFull`, of which the
    agent tells once, are passed by. `in_flight` bounds how many are under way, so a device of a million captures costs
    the memory of a few.
    """
    counts: dict[Standing, int] = {}
    places = asyncio.Semaphore(in_flight)

    async def one(offer: Readable) -> None:
        try:
            standing = await intake.take(offer)
        except (DeviceError, SpoolFull):
            standing = Standing.UNKNOWN
        finally:
            places.release()
        counts[standing] = counts.get(standing, 0) + 1

    async with asyncio.TaskGroup() as group:
        for offer in offers:
            await places.acquire()
            group.create_task(one(offer))
    return counts
