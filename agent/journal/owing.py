"""Which destinations have to get a capture beside the queue: a copy, or what another one took in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.capture import Standing
from agent.journal.rows import CODES

if TYPE_CHECKING:
    import apsw

__all__ = ["OWE", "Destinations", "owe"]

_SENDABLE: Final = ", ".join(str(CODES[one]) for one in (Standing.HELD, Standing.RECEIPTED, Standing.RELEASED))
OWE: Final = (
    "INSERT OR IGNORE INTO owed SELECT ?1, c.priority, c.device, c.held_seq, c.held_at, c.row FROM capture c"  # noqa: S608 - numbers of ours
    f" WHERE c.standing IN ({_SENDABLE}) AND c.spooled = 1 AND c.destination IS NOT ?1"
    " AND NOT EXISTS (SELECT 1 FROM copy k WHERE k.capture = c.row AND k.destination = ?1)"
)
"""Every capture that a destination may still get; a further condition makes it one of them."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """What the configuration says of destinations, by their names."""

    all: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    """Those that get everything beside the one whose receipt moves a capture on."""
    needed: tuple[str, ...] = ()
    """Those whose receipts a release waits for. Empty: any one."""

    @property
    def owed(self) -> tuple[str, ...]:
        """Those that must get a capture whoever has receipted it."""
        return tuple(dict.fromkeys((*self.copies, *self.needed)))


def owe(connection: apsw.Connection, row: int, names: tuple[str, ...]) -> None:
    """These destinations have to get this capture, where they have not got it."""
    for name in names:
        connection.execute(f"{OWE} AND c.row = ?2", (name, row))
