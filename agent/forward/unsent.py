"""Captures at which an uplink fails by itself: the log hears of each once, and a notice stands while it lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import AgentError, for_people, unforeseen
from agent.journal import copies
from agent.repairs import repair
from agent.sides import MOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.journal import Journal

__all__ = ["Unsent"]

_ASKED: Final = 64
"""Captures of which the journal is asked at once whether they are still to be sent; the next time, of the next ones."""
_TODO: Final = (
    "Captures are safe on this station. Run evidock check; then give whoever looks after this station the output of "
    "evidock support-bundle."
)


_COPY_TODO: Final = (
    "The administrator of that destination must say why. The capture stays on this station; its copy is offered again "
    "once a day."
)


@dataclass(frozen=True, slots=True)
class _Why:
    error: str
    todo: str
    copy: bool


class Unsent:
    """Those of one destination, the first that failed first."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._known: dict[str, _Why] = {}
        self._asked = 0  # how many of them the journal was asked about in this round
        self._log = structlog.get_logger("forward")

    def failed(self, capture: str, error: Exception, *, copy: bool = False) -> None:
        """It could not be sent, by no fault of the way there. `copy`: it is owed there, and is not taken."""
        todo = error.what_to_do if isinstance(error, AgentError) else _TODO
        why = _Why(for_people(error), _COPY_TODO if copy else todo, copy)
        if self._known.get(capture) == why or (capture not in self._known and len(self._known) >= MOST):
            return
        self._known[capture] = why
        self._log.error("not_sent", capture=capture, error=why.error, todo=why.todo, exc_info=unforeseen(error))

    def sent(self, capture: str) -> None:
        """It was."""
        if self._known and self._known.pop(capture, None) is not None:
            self._log.info("sent_after_all", capture=capture)

    def gone(self, journal: Journal) -> list[str]:
        """Those that nobody wants to be sent there any more: a person, or another destination, saw to them."""
        if not self._known:
            return []
        first = self._asked if self._asked < len(self._known) else 0
        asked = list(self._known)[first : first + _ASKED]
        self._asked = first + len(asked)
        wanted = copies.wanted(journal, asked, self._destination)
        return [one for one in asked if one not in wanted]

    def forget(self, captures: list[str]) -> None:
        """They are not sent, and that is right."""
        for capture in captures:
            self._known.pop(capture, None)

    def notices(self) -> Iterator[dict[str, str | None]]:
        """Repair notices."""
        failing = [why for why in self._known.values() if not why.copy]
        declined = [why for why in self._known.values() if why.copy]
        what = f"uplink {self._destination}"
        if failing:
            detail = f"{self._destination}: {_captures(failing)} cannot be sent, time and again: {failing[0].error}"
            yield repair("captures.not_sent", "problem", what, detail, failing[0].todo)
        if declined:
            detail = f"{self._destination} does not take {_captures(declined)} that it is owed: {declined[0].error}"
            yield repair("copies.not_taken", "warning", what, detail, declined[0].todo)


def _captures(whys: list[_Why]) -> str:
    return "1 capture" if len(whys) == 1 else f"{len(whys)} captures"
