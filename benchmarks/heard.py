"""What an agency's listener hears of hits while its broker comes and goes: each of them, how often, and how soon.

A listener of the bench's own, which connects again at once: the product's sessions wait their turn so that a fleet does
not storm a broker, and would miss here what is to be counted.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from agent.errors import UplinkError
from agent.mqtt import Connection, Subscription

if TYPE_CHECKING:
    from agent.mqtt import BrokerOptions, Message

__all__ = ["ALERTS", "Heard"]

ALERTS: Final = "car/hit"
"""Topic of the alert hook; the station's own announcements have another."""
_AGAIN: Final = 0.1


class Heard:
    """Of one soak."""

    def __init__(self) -> None:
        self.alerted: Counter[str] = Counter()
        """Captures that the alert hook told of, and how often."""
        self.announced: Counter[str] = Counter()
        """Captures that the station announced, and how often."""
        self.stated: Counter[int] = Counter()
        """Announcements by their own word: how often the station says it had told of it before."""
        self.at: dict[str, float] = {}
        """When a capture was heard of first, as `perf_counter` has it; by the moment that its device claims for it."""
        self.connected: list[tuple[float, float]] = []
        """Spans in which this listener and the station both were."""
        self._birth = -1
        self.back: list[float] = []
        """Seconds from this listener's connection to the station's."""

    async def listen(self, options: BrokerOptions) -> None:
        """Listen, until cancelled."""
        while True:
            try:
                async with Connection(options, client_id="officer") as connection:
                    topics = ("car/#", "evidock/v1/+/+/+/hit", "evidock/v1/+/+/+/state")
                    await connection.subscribe(*map(Subscription, topics))
                    here, born = perf_counter(), None
                    try:
                        async for message in connection:
                            if not message.topic.endswith("/state"):
                                self._take(message)
                            elif self._is_birth(message):
                                born = perf_counter()
                                self.back.append(born - here)
                            connection.acknowledge(message)
                    finally:
                        if born is not None:
                            self.connected.append((born, perf_counter()))
            except UplinkError:
                await asyncio.sleep(_AGAIN)

    def _is_birth(self, message: Message) -> bool:
        """Whether the station has just connected: each of its connections has a greater number than the one before."""
        told: dict[str, Any] = json.loads(message.payload)
        if not told["online"] or told["bd"] <= self._birth:
            return False
        self._birth = told["bd"]
        return True

    def _take(self, message: Message) -> None:
        told: dict[str, Any] = json.loads(message.payload)
        if message.topic == ALERTS:
            self.alerted[told["capture"]] += 1
            return
        self.announced[told["capture"]] += 1
        self.stated[told.get("again", 0)] += 1
        self.at.setdefault(told["began_at"], perf_counter())

    def listened(self, at: float, span: float) -> bool:
        """Whether both were connected from then on for so many seconds."""
        return any(begin <= at and at + span <= end for begin, end in self.connected)
