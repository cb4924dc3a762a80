"""Repair notices: what is not as it should be, why, and what a person should do about it.

A notice is made anew at each look from what is so at that moment; there is no list of notices, so one whose cause is
gone is gone as well. `docs/repairs.md` has them all by their id.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Raised", "repair"]

_TOLD: Final = frozenset(
    {
        "captures.not_sent",
        "captures.not_taken",
        "copies.not_taken",
        "driver.failed",
        "policy.unusable",
        "stamps.missing",
        "uplink.down",
        "witness.contradicts",
        "witness.down",
    }
)
"""Notices whose side tells the log itself, in words of its own, when it breaks and when it works again."""


def repair(id_: str, state: str, what: str, detail: str, todo: str | None) -> dict[str, str | None]:
    """One notice. `state` is `problem` (something stands still) or `warning` (someone should look)."""
    return {"id": id_, "state": state, "what": what, "detail": detail, "todo": todo}


class Raised:
    """Since when each notice stands; the log hears once that one came, and once that its cause is gone."""

    def __init__(self) -> None:
        self._since: dict[tuple[str | None, str | None], datetime] = {}
        self._log = structlog.get_logger("repairs")

    def look(self, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same notices, each with `since`, the worst first. Give it all that there are."""
        now, told, standing = datetime.now(UTC), list[dict[str, Any]](), set[tuple[str | None, str | None]]()
        for one in found:
            key = (one["id"], one["what"])
            standing.add(key)
            if key not in self._since:
                self._since[key] = now
                if one["id"] not in _TOLD:
                    words = {name: one[name] for name in ("id", "what", "detail", "todo")}
                    self._log.warning("repair_needed", **words)
            told.append({**one, "since": self._since[key].isoformat(timespec="seconds").replace("+00:00", "Z")})
        for key in self._since.keys() - standing:
            lasted = now - self._since.pop(key)
            if key[0] not in _TOLD:
                self._log.info("repaired", id=key[0], what=key[1], after=round(lasted.total_seconds()))
        return sorted(told, key=lambda one: one["state"] != "problem")
