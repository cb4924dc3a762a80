"""Lives whose bodies go by threads (agent/uplink/http/straight.py), however short they are: else none of the lab's did.

A link counts as quick, and a body as long, only with more bytes than a life of the lab ever sends.
"""

from __future__ import annotations

from agent.uplink.http.door import Door


def by_threads() -> None:
    """From now on in this process every body that is no bundle goes so, while there are threads for it."""

    def goes_straight(self: Door, length: int, *, quick: bool) -> bool:
        return length > 0 and self.proxy is None and (self._straight is None or self._straight.free)

    Door.goes_straight = goes_straight  # type: ignore[method-assign]
