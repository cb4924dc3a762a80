"""How fast bytes get to the storage, so that nothing is begun that would be purged before it is complete."""

from __future__ import annotations

from typing import Final

from agent.errors import UplinkDown

__all__ = ["Rate"]

_SHARE: Final = 0.8
"""Of the time until the purge that an upload may take by what was measured."""
_NEW: Final = 0.2
"""Weight of the newest block."""
_AGAIN: Final = 3600.0


class Rate:
    """Of all captures of one uplink together, as the last blocks showed it."""

    def __init__(self) -> None:
        self.now: float | None = None
        """Bytes a second; None before the first block."""

    def took(self, length: int, seconds: float) -> None:
        """A block arrived."""
        found = length / max(seconds, 1e-3)
        self.now = found if self.now is None else (1 - _NEW) * self.now + _NEW * found

    def require(self, length: int, unfinished: float) -> None:
        """Raise `UplinkDown` where so many bytes need longer than an unfinished upload lives."""
        if self.now is None or length / self.now <= unfinished * _SHARE:
            return
        hours = length / self.now / 3600
        # One that is slow once must not keep long captures for ever: each refusal believes in a little more.
        self.now *= 1.1
        raise UplinkDown(
            f"this link would take {hours:.0f} hours for it, and Clearance purges what is not complete after "
            f"{unfinished / 3600:.0f}",
            hint="It waits for a faster link. Others go on.",
            alone=True,
            retry_after=_AGAIN,
        )
