"""Requests about who has which device: a person's word becomes an entry, and what stands is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.errors import Refusal
from agent.joining import assign_all, held_by, look_at_all
from agent.joining.assigning import every_name, history
from agent.station.acts import said

if TYPE_CHECKING:
    from collections.abc import Container

    from agent.context import ContextOptions
    from agent.journal import Journal
    from agent.station.views import View

__all__ = ["NAMES_MAX", "assigned", "write"]

NAMES_MAX = 10
"""Names of one device."""


def write(
    journal: Journal,
    options: ContextOptions,
    asked: object,
    *,
    actor: str,
    seen: Container[str] = frozenset(),
    at_once: bool = False,
) -> View:
    """Write assignments, all or none; see `agent.joining.assigning.assign`. Call it inside a transaction.

    `at_once`: no daemon runs that would look at the captures afterwards.
    """
    if not isinstance(asked, dict):
        raise Refusal('assignments are asked for with {"assignments": [...], "why": "..."}')
    why = said(str(asked.get("why") or ""))
    told = assign_all(journal, options, asked.get("assignments"), actor=actor, why=why, seen=seen)
    if at_once:
        look_at_all(journal, options)
    return {"assignments": told}


def assigned(journal: Journal, options: ContextOptions, names: list[str]) -> View:
    """Who has the device of these names (id, serial number, vehicle) now, and the last words about it, newest first."""
    if not 0 < len(names) <= NAMES_MAX:
        raise Refusal(f"give 1 to {NAMES_MAX} names of one device")
    every = every_name(journal, options, names)
    found: dict[str, Any] = held_by(journal, every)
    return {**found, "words": history(journal, every)}
