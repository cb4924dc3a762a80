"""What the room of the log's head shows: heads, witnesses, and what a person must do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.addresses import shown
from agent.anchor.link import ENROL
from agent.anchor.publishing import ALARM
from agent.capture import rfc3339
from agent.journal import anchors
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.anchor.link import Link
    from agent.anchor.stamping import Stamping
    from agent.capture import Json
    from agent.journal import Journal

__all__ = ["CONTRADICTED", "heads", "problems", "witness"]

CONTRADICTED: Final = "custody log"


def heads(journal: Journal) -> dict[str, Json]:
    """How much of the log was signed, cosigned and stamped, and when."""
    last, cosigned, token = (
        anchors.newest(journal),
        anchors.newest_cosigned(journal),
        anchors.newest_time_stamp(journal),
    )
    return {
        "signed": None if last is None else {"size": last.size, "at": rfc3339(last.signed_at)},
        "cosigned": None
        if cosigned is None or cosigned.cosigned_at is None
        else {"size": cosigned.size, "at": rfc3339(cosigned.cosigned_at)},
        "time_stamp": None
        if token is None
        else {"size": token.size, "at": rfc3339(token.stamped_at), "authority": shown(token.authority)},
    }


def witness(link: Link) -> dict[str, Json]:
    """How it stands with one witness."""
    return {
        "name": link.verifier.name,
        "url": shown(link.url),
        "up": link.up,
        "size": link.size,
        "cosigned_at": None if link.cosigned_at is None else rfc3339(link.cosigned_at),
        "contradiction": link.contradiction,
    }


def problems(policy: str | None, links: Iterable[Link], stamping: Stamping | None) -> Iterator[dict[str, str | None]]:
    """What is not as it should be. `policy`: why it cannot be used."""
    if policy is not None:
        yield repair("policy.unusable", "problem", "custody policy", policy, ENROL)
    for link in links:
        if link.contradiction is not None:
            detail = f"nothing is released: {link.contradiction}"
            yield repair("witness.contradicts", "problem", CONTRADICTED, detail, ALARM)
        elif link.problem is not None:
            yield repair("witness.down", "warning", "witness", link.problem, link.todo)
    if stamping is not None and stamping.problem is not None:
        yield repair("stamps.missing", "warning", "time stamps", stamping.problem, stamping.todo)
