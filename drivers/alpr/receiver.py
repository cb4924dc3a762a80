"""The driver for cameras that push: one listener for all of them, and the questions for what they could not bring."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent.listening import check_certificates, listening
from drivers.alpr.enrolling import enrolment
from drivers.alpr.gaps import Gaps
from drivers.alpr.options import ReceiverOptions
from drivers.alpr.reception import Camera, Reception

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.driver import Enrolment, Intake, Notice
    from agent.listening import Bound

__all__ = ["Receiver"]

_SIGHT: Final = 5.0
"""Seconds between two words that a camera is still here."""


class Receiver:
    """Number plate cameras that push over HTTP."""

    screened_by: Final = "alpr"
    """See `agent.driver.Screened`."""

    class Options(ReceiverOptions):
        """The `[[driver]]` table with `use = "alpr.receiver"`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        check_certificates(options.listen)
        self._cameras = {one.name: Camera(options.name, one) for one in options.camera}
        self._gaps = [
            Gaps(camera, camera.options.poll, options.state)
            for camera in self._cameras.values()
            if camera.options.poll is not None and options.state is not None
        ]
        self.bound: Bound | None = None
        """The listener, while it runs."""

    @classmethod
    def enrol(cls, options: Options) -> Enrolment:
        """See `agent.driver.Enrols`."""
        return enrolment(options)

    async def run(self, intake: Intake, /) -> None:
        """Receive, until cancelled."""
        options = self._options
        reception = Reception(self._cameras, intake, options.memory)
        async with listening(reception.application(), options.listen) as self.bound:
            works = [self.bound.serve(), self._watch(intake), *(gaps.run(intake) for gaps in self._gaps)]
            tasks = [asyncio.create_task(work) for work in works]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, intake: Intake) -> None:
        """Say who is here."""
        while True:
            for camera in self._cameras.values():
                if camera.watch.present:
                    await intake.sight(camera.hearing.device)
            await asyncio.sleep(min(_SIGHT, self._options.rescan))

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`. Counts, and nothing of any read."""
        told = {}
        if self.bound is not None:
            told["listening at"] = self.bound.url
            told["connections"] = str(self.bound.open)
            told["turned away"] = ", ".join(f"{why} {n}" for why, n in self.bound.turned_away.items()) or "nobody"
        return told | {f"camera {name}": camera.watch.told for name, camera in self._cameras.items()}

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        watches = [camera.watch for camera in self._cameras.values()]
        return [one for watch in watches for one in watch.notices()] + [
            one for gaps in self._gaps for one in gaps.notices()
        ]
