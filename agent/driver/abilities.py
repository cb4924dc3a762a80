"""What a driver may be able to do beside offering captures: small protocols, each found by having its methods.

None of them is needed. A driver that has the methods of one is asked; a flag says nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from agent.capture import Device, Json, Observation

__all__ = [
    "Bay",
    "Care",
    "ClockReading",
    "Enrolment",
    "Enrols",
    "HearsObservations",
    "Lead",
    "Notice",
    "RaisesNotices",
    "ReadsClock",
    "Record",
    "Recorded",
    "ReportsHealth",
    "SetsClock",
    "ShowsBays",
    "ShowsLeads",
    "TakesOrders",
    "TellsCare",
]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a device's clock said when it was asked; the agent compares it with its own."""

    at: datetime
    """Aware; a device that knows no zone is read as it is set, and its spec says how."""
    resolution: timedelta
    """The smallest step that the device tells, such as two seconds of FAT."""


@runtime_checkable
class ReadsClock(Protocol):
    """A driver that can tell a device's time."""

    async def read_clock(self, device: Device, /) -> ClockReading:
        """Ask the device for its time. Raises `DeviceGone` or `DeviceRefused`."""


@runtime_checkable
class SetsClock(Protocol):
    """A driver that can set a device's clock."""

    async def set_clock(self, device: Device, /) -> None:
        """Set it to ours. Raises `DeviceGone` or `DeviceRefused`."""


@dataclass(frozen=True, slots=True)
class Care:
    """How a device is, as far as it tells."""

    battery: int | None = None
    """How full its battery is, in percent."""
    free_bytes: int | None = None
    """Room that is left on it."""
    room_bytes: int | None = None
    """All of its room."""


@runtime_checkable
class TellsCare(Protocol):
    """A driver that knows how its devices are: for `evidock device list`, and the dock's screen."""

    def care(self) -> Mapping[str, Care]:
        """What is known of each device that is here, by its id. From memory: it is asked every second."""


@runtime_checkable
class Recorded(Protocol):
    """A driver that can tell what its devices look like where no spec fits them: for `evidock device record`."""

    async def recorded(self) -> Sequence[Mapping[str, Json]]:
        """One for each volume or connection: names, sizes and settings, and no content.

        The command puts a veil over names and numbers before anything is written. Raises `DeviceError`.
        """


@runtime_checkable
class ReportsHealth(Protocol):
    """A driver that can say how its devices are, for `evidock check` and the dock's screen."""

    async def health(self) -> dict[str, str]:
        """What to tell, by the name of the thing: `{"room on the volume": "3.1 GiB of 32 GiB"}`."""


@dataclass(frozen=True, slots=True)
class Bay:
    """One place of a dock and what the driver knows of the device in it, for the person who wants to take it out."""

    name: str
    """What is written beside the place, such as `bay-07`."""
    device: Device | None = None
    """None: nothing is plugged in."""
    officer: str | None = None
    """Whose device it is, where the device says so."""
    offering: bool = False
    """Something that the device lists is being offered to the agent for the first time."""
    offered_bytes: int = 0
    """Bytes of everything that is offered in this look."""
    answered_bytes: int = 0
    """Bytes of it that were answered, what was held already at once."""
    complete: bool = False
    """Since it was plugged in, everything that the device lists was offered and answered, and nothing new is listed.
    The counts below are of that look; before it they say nothing."""
    listed: int = 0
    """Captures that the device's own index lists."""
    safe: int = 0
    """Of these: held, or further on their way."""
    unexplained: int = 0
    """Of these: neither safe nor set aside nor refused with a reason."""
    aside: int = 0
    """Of these: here, and in doubt."""
    refused: int = 0
    """Of these: not taken, for a reason that was told."""
    writable: bool = False
    """The device is being written to: whoever pulls it now may damage it."""
    trouble: str | None = None
    """Why the device cannot be read, or is not known, in a sentence."""
    todo: str | None = None
    """What a person should do about that."""


@runtime_checkable
class ShowsBays(Protocol):
    """A driver that knows which devices are plugged in where, for the dock's screen."""

    def bays(self) -> Sequence[Bay]:
        """Every place, empty or not, as it stands now. From memory: it is asked every second."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What somebody carries to a device so that it finds us."""

    name: str
    """What the file is called."""
    content: bytes
    """May hold a password: it is written for its owner alone."""
    made: tuple[str, ...] = ()
    """Files that were made for it and that the driver needs from now on: a certificate, a password."""
    todo: tuple[str, ...] = ()
    """What a person does with it, in sentences."""


@runtime_checkable
class Enrols(Protocol):
    """A driver, as a class, whose devices must be told where to find us: `evidock device enrol`."""

    def enrol(self, options: Any, /) -> Enrolment:  # noqa: ANN401 - the driver's own Options
        """Make what the device is given; files of the options that are not there yet are made. `ConfigError`."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should do about a driver or its devices: a repair notice."""

    id: str
    """Dotted, such as `firmware.known_bad`; it stands in `docs/repairs.md`."""
    state: Literal["problem", "warning"]
    """`problem`: something stands still; `warning`: someone should look."""
    what: str
    """The thing that it is about, in a word or two: `camera bay-07`. Together with the id it is the notice's name."""
    detail: str
    """What is the matter, in a sentence."""
    todo: str
    """What to do about it, in a sentence."""


@runtime_checkable
class RaisesNotices(Protocol):
    """A driver that can say what a person should do."""

    def notices(self) -> Sequence[Notice]:
        """Everything that is so at this moment; what is not in it any more is taken as mended. From memory."""


@dataclass(frozen=True, slots=True)
class Lead:
    """Something that a person must look at now, and say what it was: a hit of a number plate camera."""

    id: str
    """Of its capture."""
    at: datetime
    what: str
    """What it may be, in a word or two: `stolen vehicle`."""
    lines: tuple[str, ...] = ()
    """What is known of it, a line each, the most important first."""
    todo: str = ""
    """How it is answered, in a sentence."""
    urgent: bool = False
    pictures: int = 0
    """How many pictures there are of it."""


@runtime_checkable
class ShowsLeads(Protocol):
    """A driver whose leads stand on the dock's screen until they are answered.

    Whoever may look at the screen sees them; what nobody but a few may see does not belong into them. They are shown
    there alone: in no log, no metric, no notice, and not in what the station tells of itself elsewhere.
    """

    def leads(self) -> Sequence[Lead]:
        """Those that nobody answered, the newest first. From memory: it is asked every second."""

    def picture(self, lead: str, number: int, /) -> bytes | None:
        """One of its pictures (JPEG or PNG), from memory; None where it is not there any more."""


Record: TypeAlias = "Callable[[Mapping[str, Json]], Awaitable[None]]"
"""Writes the entry about an order into the custody log; returns when it is durable."""


@runtime_checkable
class HearsObservations(Protocol):
    """A driver that acts on what others of this station observe: a switch on an input that starts a recording."""

    def heard(self, observation: Observation, /) -> None:
        """Called for each observation of this station when it is told. From memory; it neither waits nor raises."""


@runtime_checkable
class TakesOrders(Protocol):
    """A driver to which people say something: that an interview begins, that a hit was a misread, a list to import."""

    async def order(self, word: str, arguments: Mapping[str, Json], /, *, actor: str, record: Record) -> Json:
        """Do it, and return what to show to whoever asked.

        Only those who may act get this far; `actor` is the kernel's word for who it is. Arguments come as they were
        sent: check each. An order that changes anything calls `record` once, when it is known to be a good one and
        before it takes effect, with what may stand in the custody log for ever; one that only looks needs none.
        Raises `Refusal` where the word is not known or the arguments are wrong, `DeviceError` where a device fails.
        """
