"""What drives by: invented plates (`EVDK...` is no series that Ontario has issued), times, and noise as pictures."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Passage", "jpeg", "plates"]

_BEGAN = datetime(2026, 11, 22, 7, 41, 3, 120_000, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Passage:
    """One vehicle before one camera."""

    plate: str | None = "EVDK042"
    """None: it could not be read."""
    at: datetime = _BEGAN
    identity: str = "passage-1"
    pictures: dict[str, bytes] = field(default_factory=dict)
    """By role: `plate`, `overview`."""
    likelihood: float = 0.92

    def later(self, seconds: float, **more: object) -> Passage:
        """Another one, so many seconds after it."""
        told = {
            "plate": self.plate,
            "identity": self.identity,
            "pictures": self.pictures,
            "likelihood": self.likelihood,
        }
        return Passage(**{**told, "at": self.at + timedelta(seconds=seconds), **more})  # type: ignore[arg-type]  # its own fields


def jpeg(length: int, seed: object = 0) -> bytes:
    """Bytes that begin, end, and are marked as a JPEG is, and show nothing."""
    noise = random.Random(f"{seed}").randbytes(max(0, length - 8)).replace(b"\xff", b"\xfe")
    return b"\xff\xd8\xff\xda\x00\x02" + noise + b"\xff\xd9"


def plates(count: int, *, seed: object = 0) -> Iterator[str]:
    """So many plates, some more than once, as on a road."""
    chance = random.Random(f"plates {seed}")
    for _ in range(count):
        yield f"EVDK{chance.randrange(1000):03}"
