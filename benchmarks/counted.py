"""What the cameras of a soak counted, what came of their hits, and what of it is not as it must be."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.heard import Heard

__all__ = ["Sums", "over_the_broker", "quarters", "wrong"]

FLAT: Final = 24 << 20
"""Bytes by which memory may differ between the second and the last quarter: caches of hits and of the journal fill."""


@dataclass
class Sums:
    """What the cameras saw."""

    sent: int = 0
    again: int = 0
    lost: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Why a message was sent again: the status, `none` where nothing was answered."""
    hits: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)
    """What the agency's broker told; what was receipted before it came back is not announced any more."""
    posted: dict[str, float] = field(default_factory=dict)
    """When each hit was posted first, by the moment at which it drove by: no two have the same."""
    away: float = 0.0


def over_the_broker(sums: Sums) -> dict[str, Any]:
    """What came of hits, and why some came more than once: a broker may lose what it took, and is told it again."""
    heard = sums.heard
    soon = sorted(
        (heard.at[moment] - at) * 1000
        for moment, at in sums.posted.items()
        if moment in heard.at and heard.listened(at, 1.0)
    )
    return {
        "hits announced": len(heard.announced),
        "receipted before the broker was back": len(sums.hits) - len(heard.announced),
        "announced again after a connection was lost": heard.announced.total() - len(heard.announced),
        "by how often they had been told": dict(sorted(heard.stated.items())),
        "alerts": len(heard.alerted),
        "alerts told twice": heard.alerted.total() - len(heard.alerted),
        "station back at the broker after s": [round(one, 1) for one in heard.back],
        "post to broker ms, both there": len(soon),
        "median": round(statistics.median(soon), 1) if soon else None,
        "p99": round(soon[int(len(soon) * 0.99)], 1) if soon else None,
        "longest": round(soon[-1], 1) if soon else None,
    }


def quarters(memory: list[int]) -> list[float]:
    """MiB in the middle of each quarter of the run."""
    step = max(1, len(memory) // 4)
    return [
        round(statistics.median(memory[at : at + step]) / (1 << 20), 1)
        for at in range(0, step * 4, step)
        if memory[at : at + step]
    ]


def wrong(found: dict[str, Any], sums: Sums) -> list[str]:
    """What is not as it must be."""
    said = []
    if found["unanswered"]:
        said.append(f"{found['unanswered']} reads were not answered")
    if found["receipted"] != len(sums.hits):
        said.append(f"{len(sums.hits)} hits were answered, and {found['receipted']} are receipted")
    memory = found["memory MiB by quarter"]
    if len(memory) == 4 and (memory[3] - memory[1]) * (1 << 20) > FLAT:  # noqa: PLR2004 - quarters
        said.append(f"memory grew: {memory}")
    return said
