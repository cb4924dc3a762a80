"""The driver: listens for tablets, tells who is here, and what a person should look at."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.errors import DeviceRefused
from agent.listening import ListenOptions, check_certificates, listening
from drivers.enotes.attachments import Attachments
from drivers.enotes.authority import RECEIPT
from drivers.enotes.enrolling import Enrolling
from drivers.enotes.entrance import Entrance
from drivers.enotes.inviting import enrolment, open_invitations
from drivers.enotes.notebooks import Notebooks
from drivers.enotes.offers import device_of
from drivers.enotes.options import EnotesOptions
from drivers.enotes.orders import Orders
from drivers.enotes.receiving import Receiving
from drivers.enotes.reconsidering import Reconsidering
from drivers.enotes.register import Register
from drivers.enotes.shelf import Shelf
from drivers.enotes.signatures import StationKey
from drivers.enotes.standing import Standings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.capture import Json
    from agent.driver import Enrolment, Intake, Notice, Record
    from agent.listening import Bound

__all__ = ["EnoteTablets"]

_BEGINS: Final = 10.0
"""Seconds for which an order waits until the listener stands."""
_SIGHT: Final = 5.0
"""Seconds between two words that who sends is still here."""


class EnoteTablets:
    """Tablets with electronic notebooks: `enote/1` over HTTPS, with certificates on both sides."""

    class Options(EnotesOptions):
        """The `[[driver]]` table with `use = "enotes.tablets"`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._key = StationKey(options.state / RECEIPT)
        check_certificates(options.listen)
        self.bound: Bound | None = None
        """The listener for tablets, while it runs."""
        self.enrolling_at: Bound | None = None
        """The listener for invited tablets, while it runs."""
        self._orders: Orders | None = None
        self._standings = Standings(options)
        self._health: dict[str, str] = {}

    @classmethod
    def enrol(cls, options: Options) -> Enrolment:
        """See `agent.driver.Enrols`. An invitation for any tablet: it says itself whose it is."""
        return enrolment(options)

    async def run(self, intake: Intake, /) -> None:
        """Receive, until cancelled."""
        options, shelf = self._options, Shelf(self._options.state)
        await shelf.open()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(shelf.close)
            register, station = Register(shelf), socket.gethostname()
            await register.load()
            notebooks = Notebooks(shelf, late_after=timedelta(seconds=options.late_after))
            again = Reconsidering(options, shelf, register, notebooks, intake)
            receiving = Receiving(
                options, shelf, register, notebooks, intake, key=self._key, station=station, again=again.keys
            )
            await receiving.open()
            await again.left()
            attachments = Attachments(options, shelf, intake)
            stack.push_async_callback(attachments.close)
            enrolling = Enrolling(options, register, intake, again.left, key=self._key, station=station)
            entrance = Entrance(options, register, receiving, attachments, enrolling)
            self._orders = Orders(options, shelf, register, again, intake)
            stack.callback(setattr, self, "_orders", None)
            self.bound = await stack.enter_async_context(listening(entrance.tablets(), options.listen))
            jobs = [self.bound.serve(), self._watch(shelf, receiving, attachments, entrance, intake)]
            if options.enrol_port is not None:
                doors = listening(entrance.invited(), _invited(options.listen, options.enrol_port))
                self.enrolling_at = await stack.enter_async_context(doors)
                jobs.append(self.enrolling_at.serve())
            tasks = [asyncio.ensure_future(job) for job in jobs]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(
        self, shelf: Shelf, receiving: Receiving, attachments: Attachments, entrance: Entrance, intake: Intake
    ) -> None:
        """Say who is here, and look at what a person should see."""
        options = self._options
        while True:
            for name in entrance.present():
                await intake.sight(device_of(name, options.name))
            await self._standings.look(shelf)
            if self.bound is not None:
                taken = ", ".join(f"{status} {count}" for status, count in sorted(receiving.taken.items()))
                self._health = {
                    "listening at": self.bound.url,
                    "connections": str(self.bound.open),
                    "turned away": ", ".join(f"{why} {n}" for why, n in self.bound.turned_away.items()) or "nobody",
                    "entries since the start": taken or "none",
                    "attachments under way": str(attachments.under_way),
                    "open invitations": str(await asyncio.to_thread(open_invitations, options.state)),
                    **self._standings.health,
                }
            await asyncio.sleep(min(_SIGHT, options.rescan))

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        return dict(self._health)

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        return self._standings.notices

    async def order(
        self,
        word: str,
        arguments: Mapping[str, Json],
        /,
        *,
        actor: str,  # noqa: ARG002 - the agent writes into the log who it is
        record: Record,
    ) -> Json:
        """See `agent.driver.TakesOrders`."""
        try:
            async with asyncio.timeout(_BEGINS):
                while self._orders is None:  # noqa: ASYNC110 - it was just started, or fails
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise DeviceRefused("the listener for tablets does not run", hint="evidock status tells why.") from error
        return await self._orders.obey(word, arguments, record=record)


def _invited(listen: ListenOptions, port: int) -> ListenOptions:
    """The second port: the same certificate, no certificate asked for, and little room for anybody."""
    told: dict[str, Any] = listen.model_dump()
    told |= {"port": port, "client_ca": None, "connections": 16, "body_max": 1 << 20, "idle": 15.0, "stall": 15.0}
    return ListenOptions.model_validate(told)
