"""A connection that is kept for ever: after each loss we come back, at random moments, so that no fleet comes at once.

The wait before a try is random between zero and a limit that doubles from two seconds to five minutes. Where the broker
went, others lost it too, and the first limit is a minute. Failures are forgotten only after a minute that held: a
broker that takes us in and throws us out again is not hammered. Something urgent may try at once, once a minute.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import AgentError, ConfigError, JournalError, UplinkError
from agent.mqtt.door import Connection
from agent.mqtt.reasons import TAKEN_OVER, BrokerDown
from agent.sides import Sides
from agent.tasks import alone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.mqtt.messages import Message, Subscription, Will
    from agent.mqtt.options import BrokerOptions

__all__ = ["PAUSE_MAX", "STABLE", "Pauses", "Session"]

PAUSE_MAX: Final = 300.0
"""Seconds that we wait at most on our own account."""
OURS: Final = 2.0
"""Seconds that we wait at most before the first try after our own side of the network failed."""
THEIRS: Final = 60.0
"""The same before the first try after the broker went, or was not there: a thousand stations did not come at once."""
STABLE: Final = 60.0
"""Seconds that a connection must hold before earlier failures are forgotten."""
NUDGED: Final = 60.0
"""Seconds between two tries that somebody asked for out of turn."""
URGENT: Final = 60.0
"""Seconds after something urgent in which no pause is longer than `SOON`."""
SOON: Final = 5.0
_CLOSED_TIMES, _CLOSED_WITHIN = 3, 900.0
"""So often, in so many seconds, the broker closed a connection that stood: some say nothing when a client id is taken
over."""


@dataclass(slots=True)
class Pauses:
    """How long to wait before the next try. Holds no clock and no connection, so that a fleet of them can be tried."""

    chance: random.Random
    failures: int = 0

    def after(self, held: float, *, theirs: bool, at_least: float = 0.0) -> float:
        """Seconds to wait after a connection that held so long, or after none (0)."""
        self.failures = 1 if held >= STABLE else self.failures + 1
        doubled = 2.0 ** min(self.failures - 1, 12)
        limit = min(PAUSE_MAX, (THEIRS if theirs else OURS) * doubled)
        if at_least:
            return self.chance.uniform(at_least, max(at_least * 1.5, limit))
        return self.chance.uniform(0.0, limit)


_FORGOT_TODO: Final = (
    "Have the broker keep sessions over its restarts (mosquitto: `persistence true`), and for as long as this station "
    "may be away (`persistent_client_expiration`, and `session_expiry` here)."
)


class Session:
    """One broker, for as long as the program runs."""

    def __init__(
        self,
        options: BrokerOptions,
        *,
        name: str,
        topics: Sequence[Subscription] = (),
        chance: random.Random | None = None,
    ) -> None:
        """`name`: of this session, for log and default client id. Raises `ConfigError` where a file cannot be used."""
        options.login()
        self._context, self._print = options.context(), options.printed()
        self.options, self.name, self._topics = options, name, tuple(topics)
        made = f"evidock-{socket.gethostname().partition('.')[0]}-{name}"
        self.client_id = options.client_id or re.sub(r"[^A-Za-z0-9_.:-]", "-", made)[:64]
        self._pauses = Pauses(chance or random.SystemRandom())
        self._nudged, self._nudged_at, self._urgent_until = asyncio.Event(), -NUDGED, 0.0
        self._closed: deque[float] = deque(maxlen=_CLOSED_TIMES)
        self._failing = Sides()
        self._began: float | None = None
        """When the connection that stands, or stood last, was taken: on the monotonic clock."""
        self._log = structlog.get_logger("mqtt")
        self.connection: Connection | None = None
        """The connection that stands; None while there is none."""
        self.since: datetime | None = None
        """Since when it stands, or does not; None before the first try."""
        self.trouble: str | None = None
        """Why there is no connection, in a sentence."""
        self.todo: str | None = None
        """What a person should do about that."""
        self.reason: int | None = None
        """The broker's own reason code for it."""
        self.tries = 0
        """Connections that were tried."""
        self.forgot_at: float | None = None
        """When we came back last and the broker had kept nothing for us meanwhile: on the monotonic clock."""
        self.forgot_todo = _FORGOT_TODO
        """What a person should do about that."""
        self._known = False

    @property
    def up(self) -> bool:
        """Whether a connection stands."""
        return self.connection is not None

    def nudge(self) -> None:
        """The network came back, or something urgent is here: try now instead of later, once a minute at most."""
        self._nudged.set()

    def hurry(self) -> None:
        """A hit waits: try now, and soon again for a minute. Nobody has so many that a broker would be stormed."""
        self._urgent_until = monotonic() + URGENT
        self.nudge()

    async def listen(self, handle: Callable[[Message], Awaitable[object]]) -> None:
        """Hand every message to `handle`, one at a time, until cancelled. See the module `agent.mqtt`."""

        async def visit(connection: Connection) -> None:
            async for message in connection:
                try:
                    await handle(message)
                except JournalError:
                    raise
                except AgentError as error:
                    if error.again:
                        # It stays with the broker, which sends it again to the next connection.
                        raise BrokerDown(f"a message of {self.options.at} waits: {error}", ours=True) from error
                    self._failing.broke(
                        message.topic, str(error), self._log.warning, "message_not_taken", session=self.name
                    )
                else:
                    self._failing.works(message.topic, self._log.info, "messages_taken_again", session=self.name)
                connection.acknowledge(message)

        await self.run(visit)

    async def run(
        self,
        visit: Callable[[Connection], Awaitable[None]],
        *,
        will: Callable[[], Awaitable[Will | None]] | None = None,
    ) -> None:
        """Let `visit` work with each connection until it is lost, and connect again, until cancelled.

        `will` is asked before each connection. An `UplinkError` of `visit` ends its connection; any other error ends
        this.
        """
        while True:
            self._began = None
            try:
                await alone(self._one(visit, will))  # the library may drop a cancellation
            except (UplinkError, ConfigError) as error:
                held = 0.0 if self._began is None else monotonic() - self._began
                await self._stay_away(self._lost(error, held))
            else:
                return

    async def _one(
        self, visit: Callable[[Connection], Awaitable[None]], will: Callable[[], Awaitable[Will | None]] | None
    ) -> None:
        """One connection, from its beginning to its end."""
        said = None if will is None else await will()
        self.tries += 1
        await self._renew()
        try:
            async with Connection(
                self.options, client_id=self.client_id, will=said, context=self._context
            ) as connection:
                await connection.subscribe(*self._topics)
                self._began = monotonic()
                self._stands(connection)
                await visit(connection)
        finally:
            self.connection = None

    async def _renew(self) -> None:
        """Read the certificates again where they changed: they are renewed while we run."""
        if (printed := self.options.printed()) != self._print:
            self._context, self._print = await asyncio.to_thread(self.options.context), printed

    def _stands(self, connection: Connection) -> None:
        self.connection, self.since = connection, datetime.now(UTC)
        self.trouble = self.todo = self.reason = None
        self._log.info("broker_connected", session=self.name, broker=self.options.at)
        if self._topics and self._known and not connection.session_present:
            self.forgot_at = monotonic()
            self._log.warning("broker_forgot", session=self.name, broker=self.options.at, todo=self.forgot_todo)
        self._known = True

    def _lost(self, error: AgentError, held: float) -> float:
        """Say it once, and tell how long to stay away."""
        if self.since is None or self.trouble is None:
            self.since = datetime.now(UTC)
        told = self.trouble
        self.trouble, self.todo = str(error), error.what_to_do
        self._closed_again(error, held)
        if told != self.trouble:
            self._log.warning("broker_lost", session=self.name, reason=self.trouble, todo=self.todo)
        self.reason, theirs, at_least = None, True, 0.0
        if isinstance(error, BrokerDown):
            self.reason, theirs, at_least = error.reason, not error.ours, error.retry_after or 0.0
        if self.reason == TAKEN_OVER:
            held = 0.0  # two who throw each other out in turn each hold for longer than a minute
        return self._pauses.after(held, theirs=theirs, at_least=at_least)

    def _closed_again(self, error: AgentError, held: float) -> None:
        if not held or (isinstance(error, BrokerDown) and error.ours):
            return
        self._closed.append(monotonic())
        if len(self._closed) == _CLOSED_TIMES and self._closed[-1] - self._closed[0] < _CLOSED_WITHIN:
            self.trouble = f"{self.options.at} took us in and closed the connection {_CLOSED_TIMES} times in a row"
            self.todo = f"Is there another client with the client id {self.client_id}? The broker's log tells."

    async def _stay_away(self, seconds: float) -> None:
        self._nudged.clear()
        began = monotonic()
        soon = began + self._pauses.chance.uniform(SOON / 2, SOON)
        while (rest := self._until(began + seconds, soon) - monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._nudged.wait()
            if not self._nudged.is_set():
                return
            self._nudged.clear()
            if monotonic() - self._nudged_at >= NUDGED and self.reason is None:
                self._nudged_at = monotonic()
                return

    def _until(self, until: float, soon: float) -> float:
        """When to try again: soon, where something urgent waits and the broker did not say itself how long to stay."""
        return min(until, soon) if monotonic() < self._urgent_until and self.reason is None else until
