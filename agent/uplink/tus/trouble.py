"""Answers that no tus server gives, each as a sentence and a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UplinkDown
from agent.uplink.http import trouble
from agent.uplink.http.trouble import bounded
from agent.uplink.tus.wire import VERSION

if TYPE_CHECKING:
    from agent.uplink.http.answer import Answer

__all__ = ["explained"]


def explained(answer: Answer) -> UplinkDown:
    """Return why this answer is not the one that tus prescribes."""
    if answer.status == 412:  # noqa: PLR2004 - Precondition Failed
        theirs = bounded(answer.headers.get("Tus-Version", "")) or "unknown"
        return UplinkDown(
            f"{answer.url.authority} does not speak tus {VERSION} (412); its versions: {theirs}",
            hint="The DEMS must offer tus 1.0.0; ask its administrator.",
        )
    return trouble.explained(answer, "tus", "Tus-Resumable")
