"""The driver: listens for system controllers, and notices recordings that never end."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.errors import ConfigError, DeviceError, Problem, SpoolFull
from agent.listening import check_certificates, listening
from drivers.body_worn.axis_dock.destination import Destination
from drivers.body_worn.axis_dock.enrolling import enrolment, password_of
from drivers.body_worn.axis_dock.offers import camera
from drivers.body_worn.axis_dock.options import AxisOptions
from drivers.body_worn.axis_dock.receiving import Receiving
from drivers.body_worn.axis_dock.shelf import Shelf
from drivers.body_worn.axis_dock.tokens import LIFE, Tokens

if TYPE_CHECKING:
    from agent.driver import Enrolment, Intake
    from agent.listening import Bound

__all__ = ["AxisDock"]

_SIGHT: Final = 5.0
"""Seconds between two words that who sends is still here."""
_NOTED: Final = 60.0
"""Seconds between two notes for how long nothing came: what a kill costs at most."""


class AxisDock:
    """Axis body worn cameras: the destination that their system controller sends to."""

    class Options(AxisOptions):
        """The `[[driver]]` table with `use = "body_worn.axis_dock"`."""

    def __init__(self, options: Options, *, token_life: float = LIFE) -> None:
        self._options, self._life = options, token_life
        self._password = password_of(options)
        check_certificates(options.listen)
        if options.public_key is not None and not options.public_key.is_file():
            raise ConfigError([Problem("public_key", f"{options.public_key} is no file")])
        self.bound: Bound | None = None
        """The listener, while it runs."""
        self._health: dict[str, str] = {}

    @classmethod
    def enrol(cls, options: Options) -> Enrolment:
        """See `agent.driver.Enrols`."""
        return enrolment(options)

    async def run(self, intake: Intake, /) -> None:
        """Receive, until cancelled."""
        options, shelf = self._options, Shelf(self._options.state)
        await shelf.open()
        try:
            receiving = Receiving(options.name, shelf, intake, encrypted=options.public_key is not None)
            tokens = Tokens(options.user, self._password, life=self._life)
            app = Destination(options, tokens, receiving).application()
            async with listening(app, options.listen) as self.bound:
                watching = asyncio.create_task(self._watch(receiving, intake))
                serving = asyncio.create_task(self.bound.serve())
                try:
                    await asyncio.wait({watching, serving}, return_when=asyncio.FIRST_COMPLETED)
                    for task in (serving, watching):
                        if task.done():
                            task.result()
                finally:
                    watching.cancel()
                    serving.cancel()
                    await asyncio.gather(watching, serving, return_exceptions=True)
        finally:
            await shelf.close()

    async def _watch(self, receiving: Receiving, intake: Intake) -> None:
        """Say who is here, and end what fell silent."""
        options, shelf = self._options, receiving.shelf
        here = camera(options.name, "System", {})
        noted = monotonic()
        while True:
            if (passed := monotonic() - noted) >= min(_NOTED, options.abandoned / 10):
                noted = monotonic()
                await shelf.listened(min(passed, _NOTED + _SIGHT))  # more is time in which we stood still ourselves
            for device in {device.id: device for device in [here, *receiving.under_way.values()]}.values():
                await intake.sight(device)
            for container in await shelf.silent(options.abandoned):
                async with receiving.alone(container.name):
                    try:
                        await receiving.abandon(container.name, options.abandoned)
                    except SpoolFull:
                        break  # there will be room
                    except DeviceError:
                        continue  # the agent tells why: one recording must not close the door to all others
            await shelf.forget(options.forgotten)
            if self.bound is not None:
                self._health = {
                    "listening at": self.bound.url,
                    "connections": str(self.bound.open),
                    "turned away": ", ".join(f"{why} {n}" for why, n in self.bound.turned_away.items()) or "nobody",
                    "recordings under way": str(await shelf.count("open")),
                    "recordings abandoned": str(await shelf.count("abandoned")),
                }
            await asyncio.sleep(min(_SIGHT, options.rescan))

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return dict(self._health)
