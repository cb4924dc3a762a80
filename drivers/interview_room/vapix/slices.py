"""Recordings as what is offered: whole where they are short, else in slices on a grid that never moves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from drivers.interview_room.rounds import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_specs.formats.vapix_recordings import Recording

__all__ = ["Slice", "ended", "grid", "slices"]

_SETTLED: Final = timedelta(minutes=1)
"""What was recorded within this time may still be on its way to the camera's storage."""


class Slice(NamedTuple):
    """One export."""

    recording: Recording
    number: int | None
    """None: the whole recording."""
    begins: datetime
    ends: datetime
    short: int | None = None
    """Its seconds, where it ends a recording of which the camera does not say that it is complete: it may go on."""

    @property
    def key(self) -> str:
        """The capture's name."""
        name = f"{self.recording.disk or 'disk'}/{self.recording.id}"
        name = name if self.number is None else f"{name}/{self.number:05}"
        return name if self.short is None else f"{name}-{self.short}s"


def ended(recording: Recording, now: datetime) -> bool:
    """Whether nothing is added to it any more. `now` is by the camera's clock."""
    return recording.ended_at is not None and (
        recording.status == "completed" or (recording.status != "recording" and recording.ended_at < now - _SETTLED)
    )


def grid(recording: Recording, length: timedelta, now: datetime) -> Grid:
    """What of a recording can be taken. `now` is by the camera's clock.

    A recording that is complete is taken to its end; one that goes on, or does not say that it ended, in those slices
    that lie well before now, so that none is cut where it was being written.
    """
    complete = ended(recording, now)
    ends = recording.ended_at if complete and recording.ended_at is not None else now - _SETTLED
    return Grid(recording.began_at, ends, length, complete)


def slices(recording: Recording, of: Grid, numbers: range) -> Iterator[Slice]:
    """Those slices of it."""
    for number in numbers:
        short = None if recording.status == "completed" else of.short(number)
        yield Slice(recording, None if of.single else number, *of.at(number), short)
