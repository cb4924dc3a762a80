"""What a person may do with a capture: the same functions behind the socket and in a command without daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.capture import Priority
from agent.errors import Refusal
from agent.journal import queries

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.journal import Journal

__all__ = ["VERBS", "WHY_MAX", "act", "chosen", "hand_out", "priority_named", "said"]

VERBS: Final = ("retry", "hold", "lift", "prioritise")

WHY_MAX: Final = 500
"""Characters of a reason."""

_SHORTEST: Final = 4


def act(journal: Journal, verb: str, beginning: str, *, actor: str, why: str, priority: str | None = None) -> Holding:
    """Do it, as an entry with who, when and why. Call it inside a transaction.

    Raises `Refusal` where the rules do not permit it, where no reason is given, or where no single capture is meant.
    """
    why = said(why)
    capture = chosen(journal, beginning)
    match verb:
        case "retry":
            return journal.retry(capture, actor=actor, why=why)
        case "hold":
            return journal.retain(capture, keep=True, actor=actor, why=why)
        case "lift":
            return journal.retain(capture, keep=False, actor=actor, why=why)
        case "prioritise":
            return journal.prioritise(capture, priority_named(priority or "first"), actor=actor, why=why)
    raise Refusal(f"{verb!r} is not an act; there are: {', '.join(VERBS)}")


def hand_out(journal: Journal, names: list[str], *, actor: str, why: str) -> None:
    """Write down who takes a copy of these captures, before it is given. Call it inside a transaction."""
    why = said(why)
    for name in names:
        journal.hand_out(name, actor=actor, why=why)


def chosen(journal: Journal, beginning: str) -> str:
    """The id of the one capture whose id begins so. `Refusal` where there is none, or more than one."""
    if len(beginning) < _SHORTEST:
        raise Refusal(
            f"give at least the first {_SHORTEST} characters of a capture's id",
            hint="Nothing was changed. List them: evidock capture list.",
        )
    found = queries.resolve(journal, beginning)
    if len(found) > 1:
        raise Refusal(
            f"{beginning} is the beginning of more than one id: {', '.join(found)}",
            hint="Nothing was changed. Give more of the id.",
        )
    return found[0] if found else journal.get(beginning).id


def said(why: str) -> str:
    """A reason as it may stand in an entry. `Refusal` where it is none."""
    why = why.strip()
    if not why or len(why) > WHY_MAX or not why.isprintable():
        raise Refusal(
            f"say why in 1 to {WHY_MAX} printable characters", hint='Nothing was changed. Add --why "the reason".'
        )
    return why


def priority_named(name: str) -> Priority:
    """The priority of this name, such as `use-of-force`. `Refusal` where there is none."""
    try:
        return Priority[name.upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(priority.name.lower().replace("_", "-") for priority in Priority)
        raise Refusal(f"{name!r} is not a priority; there are: {names}") from None
