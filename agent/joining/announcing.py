"""The DEMS hears what belongs to captures: a small document now and then, which is itself a capture and gets a receipt.

A capture's bytes may be at the DEMS long before somebody says whose camera it was, and a correction comes later still.
So what is told then travels by itself, over whatever uplink there is, signed for like everything else: no destination
needs a way of its own for it. The journal knows up to which entry everything was told.

If power fails here: before the document is held it is made again; after it, it may be made once more, and is the same.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import Capture, Device, Priority, canonical
from agent.errors import DeviceError, SpoolFull
from agent.journal import contexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.capture import Standing
    from agent.driver import Readable
    from agent.journal import Desk, Journal

__all__ = ["DOCUMENT_TYPE", "MEDIA_TYPE", "Announcing"]

DOCUMENT_TYPE: Final = "https://evidock.example/context/v1"
MEDIA_TYPE: Final = "application/vnd.evidock.context+json"
_MOST: Final = 200
"""Captures of one document."""
_EVERY: Final = 60.0
"""Seconds between two documents, unless there are enough for a whole one."""
_LATER: Final = 300.0
"""Seconds until a document is tried again that could not be kept."""


class _Document:
    """See `agent.driver.Offer`: it lies in memory."""

    def __init__(self, capture: Capture, content: bytes) -> None:
        self.capture, self._content = capture, content

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """Its bytes."""
        yield self._content[offset:]

    async def release(self) -> None:
        """Nothing is left anywhere that could be forgotten."""


class Announcing:
    """Makes the documents. `take`: the hand that holds captures."""

    def __init__(self, desk: Desk, station: str, take: Callable[[Readable], Awaitable[Standing]]) -> None:
        self._desk, self._take = desk, take
        self._device = Device(f"station:{station}", "station", "context")
        self._next = 0.0
        self.again_at = inf
        """When a document has to be made, by `monotonic`; never, as long as everything is told."""
        self._log = structlog.get_logger("joining")

    async def announce(self, *, at_once: bool = False) -> int:
        """Make a document of what was not told yet, where it is time; of how many captures it tells."""
        told = await self._desk.read(lambda journal: contexts.untold(journal, _MOST))
        self.again_at = self._next if told else inf
        if not told or (len(told) < _MOST and not at_once and monotonic() < self._next):
            return 0
        content = await self._desk.read(lambda journal: _content(journal, told))
        first, last = told[0][1], told[-1][1]
        key = f"context/{first:012d}-{last:012d}.json"
        capture = Capture(
            self._device,
            key,
            None,
            len(content),
            media_type=MEDIA_TYPE,
            priority=Priority.FLAGGED,
            volatile=True,
            claims={"captures": len(told), "entries": [first, last]},
        )
        try:
            await self._take(_Document(capture, content))
        except (SpoolFull, DeviceError) as error:
            self._log.warning("context_not_told", error=str(error), todo=error.what_to_do)
            self._next = self.again_at = monotonic() + _LATER
            return 0
        await self._desk.write(lambda journal: contexts.told(journal, last))
        self._next = monotonic() + _EVERY
        self.again_at = 0.0 if len(told) == _MOST else self._next  # there may be more
        return len(told)


def _content(journal: Journal, told: list[tuple[int, int]]) -> bytes:
    """What belongs to these captures, in the order of the log."""
    captures: list[Any] = []
    for row, seq in told:
        held = contexts.held_of(journal, row)
        said = contexts.said_at(journal, seq)
        if held is None:
            continue
        holding = journal.get(held[0])
        captures.append(
            {
                "capture": holding.id,
                "context": said["context"],
                "entry": seq,
                "held": holding.index,
                "instead_of": said["instead_of"],
                "sha256": holding.digest.sha256.hex(),
            }
        )
    return canonical({"captures": captures, "log": journal.log, "type": DOCUMENT_TYPE})
