"""A destination without a network: it keeps in memory what it is sent, and answers or fails as it is told."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Protocol, TypeAlias

from agent.capture import Receipt, Strength
from agent.uplink import Finding, UplinkOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.errors import AgentError
    from agent.testing.dems import Entry, Violation
    from agent.uplink import Sending

__all__ = ["Arrived", "BenchUplink", "Receiver", "arrived_at"]

Arrived: TypeAlias = dict[str, list[bytes]]
"""SHA-256 of everything that was stored whole under each capture's id."""


class BenchUplink:
    """See `agent.uplink.Uplink`. `fails` are raised by the next sendings, one each; None lets one pass."""

    class Options(UplinkOptions):
        """No more than every uplink has."""

    def __init__(self, name: str = "dems", *, strength: Strength = Strength.DIGEST) -> None:
        self.name, self.strength = name, strength
        self.fails: deque[AgentError | None] = deque()
        self.poison: dict[str, AgentError] = {}
        """By key: what is raised each time that one is sent."""
        self.twist: Callable[[Receipt], Receipt] = lambda receipt: receipt
        """What is done to a receipt before it is answered."""
        self.stored: dict[str, list[bytes]] = defaultdict(list)
        self.order: list[str] = []
        """Keys in the order in which they were asked to be sent."""

    async def send(self, sending: Sending, /) -> Receipt:
        """Read it to the end, keep it, and answer with a receipt."""
        holding = sending.holding
        self.order.append(holding.origin.key)
        if self.fails and (failure := self.fails.popleft()) is not None:
            raise failure
        if holding.origin.key in self.poison:
            raise self.poison[holding.origin.key]
        whole, length = hashlib.sha256(), 0
        async for block in sending.blocks(0, holding.digest.length):
            whole.update(block)
            length += len(block)
            sending.progress(length)
        if whole.digest() not in self.stored[holding.id]:  # known by its capture: the same once more is no second one
            self.stored[holding.id].append(whole.digest())
        proven = whole.digest() if self.strength is Strength.DIGEST else None
        return self.twist(Receipt(self.strength, self.name, length, proven))

    async def check(self) -> list[Finding]:
        """Nothing can be wrong with it."""
        return [Finding(what="bench", state="ok", detail="there is no network to fail")]

    async def aclose(self) -> None:
        """Nothing is open."""


class Receiver(Protocol):
    """What an emulated DEMS can be asked, in this process or in its own."""

    async def index(self) -> list[Entry]:
        """Every upload that was ever created."""

    async def violations(self) -> list[Violation]:
        """Every complaint."""


async def arrived_at(*places: BenchUplink | Receiver) -> tuple[Arrived, list[str]]:
    """What several destinations stored together, and what they complain of."""
    arrived: Arrived = defaultdict(list)
    wrong: list[str] = []
    for place in places:
        if isinstance(place, BenchUplink):
            _add(arrived, ((name, digest) for name, digests in place.stored.items() for digest in digests))
            continue
        stored = [entry for entry in await place.index() if entry.state == "stored"]
        _add(arrived, ((str(entry.capture), bytes.fromhex(entry.sha256 or "")) for entry in stored))
        wrong += [f"the DEMS complains: {one.kind}: {one.sentence}" for one in await place.violations()]
    return arrived, wrong


def _add(arrived: Arrived, found: Iterable[tuple[str, bytes]]) -> None:
    for name, digest in found:
        arrived[name].append(digest)
