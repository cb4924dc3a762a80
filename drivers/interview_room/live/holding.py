"""Has each finished piece of each interview held, and at its end the notes; what fails is tried again."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agent.errors import DeviceError, SpoolFull, in_words
from drivers.interview_room.live.segment import hold_notes, hold_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.capture import Device
    from agent.driver import Intake
    from drivers.interview_room.live.interview import Interview
    from drivers.interview_room.live.stream import StreamRecorder

__all__ = ["Holder"]

_LOOK: Final = 0.5
"""Seconds between two looks at what ffmpeg has finished."""
_FORCE: Final = 2.0
"""Seconds between two moments at which what is being written is brought to the disk: what a power cut costs."""
_RETRY: Final = 5.0


class Holder:
    """That of one room. `now` tells what is recorded at this moment, and by whom."""

    def __init__(
        self,
        device: Device,
        rescan: float,
        log: Any,  # noqa: ANN401 - structlog's own
        now: Callable[[], tuple[Interview | None, list[StreamRecorder]]],
    ) -> None:
        self._device, self._rescan, self._log, self._now = device, rescan, log, now
        self.waiting: list[Interview] = []
        """Ended interviews of which something is still to be held."""
        self.look = asyncio.Event()
        """Something may be ready."""
        self.refused: str | None = None
        """Why the first piece of the last look could not be held; None where all could."""

    async def run(self, intake: Intake) -> None:
        """Have everything held that nobody writes any more, until cancelled."""
        forced = 0.0
        while True:
            current, _ = self._now()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK if self.waiting or current is not None else None):
                    await self.look.wait()
            self.look.clear()
            loop = asyncio.get_running_loop()
            refused: list[str] = []
            current, _ = self._now()
            for interview in [*self.waiting, *([current] if current is not None else [])]:
                await self._hold(interview, intake, refused)
            self.refused = refused[0] if refused else None
            if refused:
                await asyncio.sleep(min(_RETRY, self._rescan))
            current, recorders = self._now()
            if current is not None and recorders and loop.time() - forced > _FORCE:
                forced = loop.time()
                await asyncio.to_thread(_force, current)

    async def _hold(self, interview: Interview, intake: Intake, refused: list[str]) -> None:
        """All of one interview that may be held; one piece that cannot be keeps no other from it."""
        current, recording = self._now()
        recorders = {one.stream_name: one for one in recording} if interview is current else {}
        left = False
        try:
            pieces = await asyncio.to_thread(lambda: list(interview.segment_files()))
        except OSError as error:
            refused.append(f"{interview.folder} cannot be looked at: {error.strerror}")
            return
        for stream, number, path in pieces:
            recorder = recorders.get(stream)
            finished = interview.times(stream, number) is not None
            if finished and recorder is not None and recorder.waits(number):
                left = True
                continue
            if not finished and ((recorder is not None and recorder.writes(number)) or self._is_recorded(interview)):
                left = True
                continue
            try:
                await hold_segment(intake, self._device, interview, stream, number, path, cut=not finished)
            except (DeviceError, SpoolFull, OSError) as error:
                refused.append(f"{path.name}: {in_words(error)}")
                left = True
        if interview in self.waiting and not left:
            try:
                await hold_notes(intake, self._device, interview)
            except (DeviceError, SpoolFull, OSError) as error:
                refused.append(f"the notes of {interview.id}: {in_words(error)}")
                return
            self.waiting.remove(interview)
            self._log.info("room_interview_held", interview=interview.id)

    def _is_recorded(self, interview: Interview) -> bool:
        """It goes on, and its recorders are not there yet: what lies there may be about to be written to."""
        current, recorders = self._now()
        return interview is current and not recorders


def _force(interview: Interview) -> None:
    """Bring what is being written to the disk, so that a power cut costs seconds and not a segment. Blocks."""
    with suppress(OSError):
        for _, _, path in interview.segment_files():
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)
