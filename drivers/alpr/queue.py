"""The driver for an OpenALPR or Rekor Scout agent that leaves its reads in a beanstalkd tube.

A job is deleted when `take` returned for every read of it; what cannot be kept is released with a delay, what must not
be taken is buried, and where this station dies, beanstalkd hands it out again. So nothing is lost, and nothing but the
queue has to remember anything.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from agent.driver import DriverOptions, Notice
from agent.errors import BadCapture, DeviceError, SpoolDamaged, SpoolError
from agent.quantities import Length  # noqa: TC001 - pydantic reads the annotation when the program runs
from drivers.alpr.beanstalk import Job, Tube
from drivers.alpr.hearing import Hearing, is_fault
from drivers.alpr.makers import openalpr
from drivers.alpr.options import SourceOptions  # noqa: TC001 - pydantic reads the annotation when the program runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.driver import Intake

__all__ = ["Queue"]

_SIGHT: Final = 5.0
_AGAIN: Final = 10
"""Seconds after which a job that could not be kept is handed out again."""
_LOOK: Final = 10.0
"""Seconds between two questions how many jobs lie set aside."""


class QueueOptions(DriverOptions):
    """The `[[driver]]` table with `use = "alpr.queue"`."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")] = "127.0.0.1"
    """Of beanstalkd. It knows no passwords: elsewhere than on this machine it belongs into a network of its own."""
    port: Annotated[int, Field(ge=1, le=65535)] = 11300
    tube: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/;.$_()][A-Za-z0-9+/;.$_()-]{0,199}$")] = "alprd"
    camera: SourceOptions
    """The agent that fills the tube; its cameras are channels of it."""
    at_once: Annotated[int, Field(ge=1, le=64)] = 8
    """Connections, and so jobs that are looked at at the same time."""
    touch_every: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    """Seconds: less than half of the time to run that the agent gives its jobs."""
    job_max: Annotated[Length, Field(ge=1024, le=64 << 20)] = 16 << 20
    """Bytes of one job."""


class Queue:
    """OpenALPR and Rekor Scout, over beanstalkd."""

    screened_by: Final = "alpr"
    """See `agent.driver.Screened`."""

    class Options(QueueOptions):
        """See `QueueOptions`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._hearing = Hearing(
            options.name,
            options.camera,
            openalpr.heard,
            title="OpenALPR / Rekor Scout",
            spec="openalpr",
            way="beanstalkd",
        )
        self._trouble: DeviceError | None = None
        self._buried, self._look_at = 0, 0.0

    async def run(self, intake: Intake, /) -> None:
        """Take job after job, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.at_once):
                group.create_task(self._work(intake))
            group.create_task(self._watch(intake))

    async def _watch(self, intake: Intake) -> None:
        while True:
            if self._hearing.watch.present:
                await intake.sight(self._hearing.device)
            await asyncio.sleep(min(_SIGHT, self._options.rescan))

    async def _work(self, intake: Intake) -> None:
        """One connection, opened anew whenever it broke."""
        options, tube = self._options, None
        while True:
            try:
                if tube is None:
                    tube = await Tube.open(options.host, options.port, options.tube)
                self._trouble = None
                if monotonic() >= self._look_at:
                    self._look_at = monotonic() + _LOOK
                    self._buried = await tube.buried()
                job = await tube.reserve(options.job_max)
                if job is not None:
                    await self._job(intake, tube, job)
            except DeviceError as error:
                self._trouble = error
                self._hearing.trouble("queue", error=str(error), todo=error.what_to_do)
                if tube is not None:
                    await tube.close()
                    tube = None
                await asyncio.sleep(min(_AGAIN, options.rescan))
            except BaseException:
                if tube is not None:
                    await tube.close()
                raise

    async def _job(self, intake: Intake, tube: Tube, job: Job) -> None:
        if job.body is None:
            self._hearing.watch.count("too_long")
            await self._set_aside(tube, job)
            return
        heard = asyncio.Event()
        touching = asyncio.create_task(self._touch(tube, job, heard))
        try:
            verdict = await self._heard(intake, job.body)
            heard.set()
            await touching  # never cut off: its answer would be read as that of the next command
        finally:
            touching.cancel()
        match verdict:
            case "again":
                await tube.release(job, delay=_AGAIN)
            case "never":
                await self._set_aside(tube, job)
            case "kept" if not await tube.delete(job):
                self._hearing.watch.count("handed_out_twice")

    async def _set_aside(self, tube: Tube, job: Job) -> None:
        await tube.bury(job)
        self._look_at = 0.0

    async def _heard(self, intake: Intake, body: bytes) -> Literal["kept", "again", "never"]:
        """`kept`: all of it is held, not to be kept by a screen's word, or set aside; `never`: it must not be taken."""
        try:
            await self._hearing.hear(intake, body, "application/json")
        except SpoolDamaged:
            raise
        except BadCapture as error:
            self._hearing.watch.count("set_aside")
            self._hearing.trouble("set_aside", error=type(error).__name__, todo=error.what_to_do)
            return "never"
        except (DeviceError, SpoolError) as error:
            # A job that meets a fault of ours each time would be handed out for ever.
            again = is_fault(error) and self._hearing.failed_before(body)
            if again and await self._hearing.step_aside(intake, body, error):
                return "kept"
            self._hearing.not_kept(error)
            return "again"
        return "kept"

    async def _touch(self, tube: Tube, job: Job, heard: asyncio.Event) -> None:
        """The job stays ours for as long as its reads are taken."""
        while True:
            try:
                async with asyncio.timeout(self._options.touch_every):
                    await heard.wait()
            except TimeoutError:
                await tube.touch(job)
            else:
                return

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`. Counts, and nothing of any read."""
        options = self._options
        where = f"beanstalkd {options.host}:{options.port}, tube {options.tube}"
        return {
            where: "connected" if self._trouble is None else str(self._trouble),
            f"camera {options.camera.name}": self._hearing.watch.told,
        }

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        told, options = list(self._hearing.watch.notices()), self._options
        if self._buried:
            count = "1 message lies" if self._buried == 1 else f"{self._buried} messages lie"
            what = f"camera {options.camera.name}"
            detail = f"{count} buried in the queue of {what}: too long (`job_max`), or not to be taken."
            todo = f"Raise `job_max` where they are too long; then `kick` them: port {options.port} of {options.host}."
            told.append(Notice("alpr.buried", "problem", what, detail, todo))
        if self._trouble is not None:
            what = f"camera {options.camera.name}"
            told.append(Notice("alpr.queue", "problem", what, f"{self._trouble}.", self._trouble.what_to_do))
        return told
