"""Several destinations: who else has to get a capture, who has it, and what the policy still waits for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.capture import Json, Receipt, Standing, Strength
from agent.journal.entry import Event
from agent.journal.owing import OWE
from agent.journal.rows import CODES, micros, raw_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.journal.book import Journal
    from agent.journal.owing import Destinations

__all__ = ["copied", "lacking", "owes", "received", "settle", "wanted"]


def settle(journal: Journal, destinations: Destinations) -> None:
    """Bring what is owed in line with the configuration, once for each change of it."""
    journal.destinations = destinations
    told = json.dumps([destinations.all, destinations.copies, destinations.needed])
    if journal.connection.execute("SELECT value FROM meta WHERE name = 'destinations'").get == told:
        return
    journal.connection.execute("INSERT OR REPLACE INTO meta VALUES ('destinations', ?)", (told,))
    journal.connection.execute(
        "DELETE FROM owed WHERE destination NOT IN (SELECT value FROM json_each(?))",
        (json.dumps(destinations.owed),),
    )
    for name in destinations.copies:
        journal.connection.execute(OWE, (name,))
    for name in destinations.needed:
        # What stands held goes there by the queue itself, or is owed once another one has taken it.
        journal.connection.execute(f"{OWE} AND c.standing <> {CODES[Standing.HELD]}", (name,))


def owes(journal: Journal, capture: str, destination: str) -> bool:
    """Whether this destination still has to get it."""
    found = journal.connection.execute(
        "SELECT 1 FROM owed WHERE destination = ? AND capture = (SELECT row FROM capture WHERE id = ?)",
        (destination, raw_id(capture)),
    ).get
    return found is not None


def wanted(journal: Journal, captures: Iterable[str], destination: str) -> set[str]:
    """Those of them that are still to be brought there: they stand held, or it is owed them."""
    sql = "SELECT 1 FROM capture c WHERE id = ?1 AND (standing = ?2 AND ?3 OR EXISTS"
    sql += " (SELECT 1 FROM owed o WHERE o.capture = c.row AND o.destination = ?4))"
    facts = CODES[Standing.HELD], destination not in journal.destinations.copies, destination
    execute = journal.connection.execute
    return {one for one in captures if execute(sql, (raw_id(one), *facts)).get is not None}


def copied(journal: Journal, capture: str, receipt: Receipt) -> None:
    """Another destination has it as well, by a verified receipt: an entry, and no step of the capture."""
    told: dict[str, Json] = {"destination": receipt.destination, "strength": receipt.strength.name.lower()}
    if receipt.sent:
        told["sent"] = dict(receipt.sent)
    known = journal.note(capture, Event.COPIED, {"receipt": told})
    row = journal.row(known.id)
    journal.connection.execute(
        "INSERT OR REPLACE INTO copy VALUES (?, ?, ?, ?, ?)",
        (row, receipt.destination, int(receipt.strength), receipt.note, micros(known.changed_at)),
    )
    for table in ("owed", "upload"):
        journal.connection.execute(
            f"DELETE FROM {table} WHERE capture = ? AND destination = ?",  # noqa: S608 - our names
            (row, receipt.destination),
        )


def received(journal: Journal, capture: str) -> dict[str, Strength]:
    """Everyone who has it, and how much their receipts prove."""
    known = journal.get(capture)
    rows: list[tuple[Any, ...]] = journal.connection.execute(
        "SELECT destination, strength FROM copy WHERE capture = ?", (journal.row(capture),)
    ).fetchall()
    found = {str(name): Strength(strength) for name, strength in rows}
    if known.receipt is not None:
        found[known.receipt.destination] = known.receipt.strength
    return found


def lacking(journal: Journal, capture: str, least: Strength) -> tuple[str, ...]:
    """The destinations that the policy names, and that have not proven yet that they hold it."""
    needed = journal.destinations.needed
    if not needed:
        return ()
    found = received(journal, capture)
    return tuple(name for name in needed if found.get(name, Strength.LENGTH) < least)
