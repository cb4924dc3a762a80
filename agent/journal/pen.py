"""How an act is written: an entry for the custody log, and with it the step of the capture that it speaks of.

The journal says what happened; the pen puts it down. Every method is called inside a transaction of the journal's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.capture import STEPS, Digest, Holding, Json, Stamp, Standing, Strength
from agent.errors import Refusal
from agent.journal.entry import Event, statement
from agent.journal.rows import CODES, COLUMNS, holding, micros, raw_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import apsw

    from agent.journal.leaves import Leaves

__all__ = ["ENDS_RELEASE", "Pen", "may_go"]

ENDS_RELEASE: Final = frozenset({Standing.RELEASED, Standing.QUARANTINED})
"""Where nobody waits any more for how the release of a capture ended. If a person has it sent again, it is still open
whether its device forgot it in that moment."""


class Pen:
    """Writes into one journal."""

    def __init__(self, connection: apsw.Connection, log: str, leaves: Leaves, stamp: Callable[[], Stamp]) -> None:
        self._connection, self._log, self._leaves, self._stamp = connection, log, leaves, stamp

    def act(
        self, known: Holding, standing: Standing, verb: str, actor: str, why: str, **columns: int | str | bytes | None
    ) -> Holding:
        """What a person ordered: `verb` is the command, `why` the reason that was given."""
        detail: dict[str, Json] = {"command": verb, "why": why}
        return self.step(known, standing, Event.OPERATOR_COMMAND, detail, actor=actor, **columns)

    def step(
        self,
        known: Holding,
        standing: Standing,
        event: Event,
        detail: Mapping[str, Json],
        at: Iterable[str] = (),
        /,
        *,
        actor: str = "agent",
        **columns: int | str | bytes | None,
    ) -> Holding:
        """Do as `move`, and return what stands there now."""
        self.move(known, standing, event, detail, at, actor=actor, **columns)
        return self._read(known)

    def move(
        self,
        known: Holding,
        standing: Standing,
        event: Event,
        detail: Mapping[str, Json],
        at: Iterable[str] = (),
        /,
        *,
        actor: str = "agent",
        **columns: int | str | bytes | None,
    ) -> int:
        """Append the entry and move the capture; the same standing again is an entry without a step. Returns its row.

        `at`: columns that get the time of the entry. The clock is read once: it may be set between two looks.
        """
        if standing is not known.standing and standing not in STEPS[known.standing]:
            raise Refusal(f"capture {known.id} stands {known.standing} and cannot become {standing}")
        row, stamp = self._row(known), self._stamp()
        self.append(event, known.id, known.digest, detail, row, actor=actor, stamp=stamp)
        if standing is not known.standing:
            if standing in ENDS_RELEASE:
                self._connection.execute("DELETE FROM intended WHERE capture = ?", (row,))
            self.count(known, known.standing, -1)
            self.count(known, standing, 1)
        times = dict.fromkeys(("changed_at", *at), micros(stamp.at))
        self._change(row, {"standing": CODES[standing], **times, **columns})
        return row

    def set(self, known: Holding, **columns: int | str | bytes | None) -> Holding:
        """Change the capture's row; no entry says so."""
        self._change(self._row(known), columns)
        return self._read(known)

    def _change(self, row: int, columns: Mapping[str, int | str | bytes | None]) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self._connection.execute(f"UPDATE capture SET {names} WHERE row = ?", (*columns.values(), row))  # noqa: S608 - ours

    def _row(self, known: Holding) -> int:
        row: int = self._connection.execute("SELECT row FROM capture WHERE id = ?", (raw_id(known.id),)).get
        return row

    def _read(self, known: Holding) -> Holding:
        found = self._connection.execute(f"SELECT {COLUMNS} FROM capture WHERE id = ?", (raw_id(known.id),)).get  # noqa: S608
        return holding(found, self._log)

    def append(
        self,
        event: Event,
        subject: str,
        digest: Digest | bytes,
        detail: Mapping[str, Json],
        row: int | None,
        *,
        actor: str = "agent",
        stamp: Stamp | None = None,
    ) -> int:
        """Append an entry; returns its index. `row`: of the capture that it speaks of. `stamp`: now, if not given."""
        seq, stamp = self._leaves.size, stamp or self._stamp()
        leaf = statement(event, seq=seq, stamp=stamp, actor=actor, subject=subject, digest=digest, detail=detail)
        self._leaves.append(leaf, row)
        return seq

    def count(self, known: Holding, standing: Standing, change: int) -> None:
        """So many captures more (or fewer) stand there."""
        if known.drill:  # no evidence, and never counted as such
            return
        self._connection.execute(
            "INSERT INTO tally VALUES (?1, ?2, ?3) ON CONFLICT (standing)"
            " DO UPDATE SET captures = captures + ?2, bytes = bytes + ?3",
            (CODES[standing], change, change * known.digest.length),
        )


def may_go(known: Holding) -> None:
    """Whatever a policy says: nothing is forgotten against a person's order, or on less than the DEMS's own digest."""
    if known.retained:
        raise Refusal(f"a person ordered that capture {known.id} be kept")
    if known.receipt is None or known.receipt.strength < Strength.DIGEST:
        raise Refusal(f"no receipt names the digest of capture {known.id}")
