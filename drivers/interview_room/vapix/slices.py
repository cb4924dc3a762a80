"""Recordings as what is offered: whole where they are short, else in slices on a grid that never moves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_specs.formats.vapix_recordings import Recording

__all__ = ["Slice", "ended", "slices"]

_SETTLED: Final = timedelta(minutes=1)
"""What was recorded within this time may still be on its way to the camera's storage."""
_SLICES_MAX: Final = 10_000


class Slice(NamedTuple):
    """One export."""

    recording: Recording
    number: int | None
    """None: the whole recording."""
    begins: datetime
    ends: datetime

    @property
    def key(self) -> str:
        """The capture's name."""
        name = f"{self.recording.disk or 'disk'}/{self.recording.id}"
        return name if self.number is None else f"{name}/{self.number:05}"


def ended(recording: Recording, now: datetime) -> bool:
    """Whether nothing is added to it any more. `now` is by the camera's clock."""
    return recording.ended_at is not None and (
        recording.status == "completed" or (recording.status != "recording" and recording.ended_at < now - _SETTLED)
    )


def slices(recording: Recording, length: timedelta, now: datetime) -> Iterator[Slice]:
    """What of a recording can be taken. `now` is by the camera's clock.

    A recording that is complete is taken to its end; one that goes on, or does not say that it ended, in those slices
    that lie well before now, so that none is cut where it was being written.
    """
    complete = ended(recording, now)
    ends = recording.ended_at if complete and recording.ended_at is not None else now - _SETTLED
    if complete and ends - recording.began_at <= length:
        yield Slice(recording, None, recording.began_at, ends)
        return
    begins = recording.began_at
    for number in range(_SLICES_MAX):
        if begins >= ends or (begins + length > ends and not complete):
            return
        yield Slice(recording, number, begins, min(begins + length, ends))
        begins += length
