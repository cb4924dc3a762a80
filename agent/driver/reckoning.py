"""The sum of one look: what a device's own index lists, how much of it is safe here, and what is left over.

    listed = safe + aside + refused + unexplained

`safe` is held or further on its way, `aside` is here and in doubt, `refused` was told why it is not taken (no plain
file, too many entries), and `unexplained` is what a person must look at before the device leaves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent.capture import Observation, Standing
from agent.driver import INDEX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Json

__all__ = ["TODO", "counted", "observation"]

TODO: Final = "Leave the device in the dock; what was not taken is told above, and is tried again."

_ASIDE: Final = frozenset({Standing.QUARANTINED})
_OPEN: Final = frozenset({Standing.UNKNOWN})


def counted(offered: int, refused: int, standings: Mapping[Standing, int], *, complete: bool = True) -> dict[str, Json]:
    """The sum, where every capture that was found was offered: a count for each word above.

    `complete`: none that lies there can have been missed.
    """
    aside = sum(standings.get(standing, 0) for standing in _ASIDE)
    safe = sum(count for standing, count in standings.items() if standing not in _ASIDE | _OPEN)
    return {
        "aside": aside,
        "complete": complete,
        "listed": offered + refused,
        "refused": refused,
        "safe": safe,
        "unexplained": offered - safe - aside,
    }


def observation(device: str, detail: Mapping[str, Json]) -> Observation:
    """The sum as a fact that becomes an entry; the time is ours, for a look has no other."""
    return Observation(device, INDEX, datetime.now(UTC), detail)
