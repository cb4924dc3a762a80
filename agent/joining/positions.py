"""Positions on their way into the journal: gathered for some seconds, bounded by number, length and time."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.capture import Json, canonical, rfc3339
from agent.context import unusable_time
from agent.journal.batches import COUNT_MAX, SPAN_MAX
from agent.journal.entry import told_claims

if TYPE_CHECKING:
    from datetime import datetime

    from agent.capture import Observation

__all__ = ["Batch", "Positions"]

_LENGTH_MAX: Final = 1 << 20
"""Bytes of one batch."""
_ROW_MAX: Final = 2048
"""Bytes of one position; of a longer one only the time is kept, and why."""
_ALL_MAX: Final = 20_000
"""Positions of all devices together that wait to be written."""


@dataclass(slots=True)
class Batch:
    """Positions of one device, in the order in which they were told."""

    device: str
    first: datetime
    last: datetime
    since: float
    rows: list[dict[str, Json]] = field(default_factory=list)
    length: int = 0


class Positions:
    """What was told and is not written yet. Nothing here waits."""

    def __init__(self) -> None:
        self._batches: dict[str, Batch] = {}
        self._count = 0

    def add(self, observation: Observation, heard_at: datetime) -> list[Batch]:
        """Take a position in; batches that must be written now, because it does not fit to them."""
        at = heard_at if unusable_time(observation.detail) else observation.observed_at
        detail = told_claims(observation.detail)
        row: dict[str, Json] = {
            "detail": detail,
            "heard_at": rfc3339(heard_at),
            "observed_at": rfc3339(observation.observed_at),
        }
        if (length := len(canonical(row))) > _ROW_MAX:
            row["detail"] = {"left_out": f"it takes {length} bytes, more than {_ROW_MAX}"}
            length = len(canonical(row))
        full: list[Batch] = []
        batch = self._batches.get(observation.device)
        if batch is not None and not _fits(batch, at, length):
            full += self.take(observation.device)
            batch = None
        if batch is None:
            while self._count >= _ALL_MAX:
                full += self.take(max(self._batches.values(), key=lambda one: len(one.rows)).device)
            batch = self._batches[observation.device] = Batch(observation.device, at, at, monotonic())
        batch.rows.append(row)
        batch.first, batch.last, batch.length = min(batch.first, at), max(batch.last, at), batch.length + length
        self._count += 1
        return full

    @property
    def since(self) -> float | None:
        """When the batch was begun that waits longest, by `monotonic`; None where none waits."""
        return min((one.since for one in self._batches.values()), default=None)

    def due(self, wait: float) -> list[Batch]:
        """Those that have waited for so many seconds; with 0 all of them."""
        late = [one.device for one in self._batches.values() if monotonic() - one.since >= wait]
        return [batch for device in late for batch in self.take(device)]

    def take(self, device: str) -> list[Batch]:
        """The batch of this device, where there is one: it is no longer here."""
        batch = self._batches.pop(device, None)
        if batch is None:
            return []
        self._count -= len(batch.rows)
        return [batch]


def _fits(batch: Batch, at: datetime, length: int) -> bool:
    span = max(batch.last, at) - min(batch.first, at)
    return len(batch.rows) < COUNT_MAX and batch.length + length <= _LENGTH_MAX and span <= SPAN_MAX
