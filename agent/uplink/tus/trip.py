"""What the steps of one capture's way share: where it stands, how often it was doubted, and how long to wait."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from agent.errors import UplinkDown
from agent.uplink.tus.proofs import Proofs
from agent.uplink.tus.trouble import explained
from agent.uplink.tus.wire import retry_after

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink import Sending
    from agent.uplink.tus.door import Door
    from agent.uplink.tus.parts import PartLength
    from agent.uplink.tus.wire import Answer

__all__ = ["Place", "Trip"]

PATIENCE: Final = 3
"""Doubts in a row that gain nothing, before the capture is left for later."""
DOUBT_WAIT: Final = 0.3
"""Seconds, times the number of the doubt, before the next try."""
LOCK_WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, *[15.0] * 25)
"""Seconds to wait for an upload that another request holds (423): five minutes, which cost one lane and nobody else."""
REREAD: Final = 32 * 1024 * 1024
"""Bytes per second at which a server, before it tells a digest or signs, is expected to read an upload again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upload lies and how much of it the server has confirmed."""

    url: URL
    offset: int
    answer: Answer
    """What told it."""


class Trip:
    """One capture on its way, for the length of one `send`."""

    def __init__(self, door: Door, sending: Sending, part: PartLength, stall: float, confirmed: dict[str, int]) -> None:
        self.door = door
        self.sending = sending
        self.holding = sending.holding
        self.length = sending.holding.digest.length
        self.part = part
        self.stall = stall
        self.verifying = self.length / REREAD
        """Seconds that the server may need before it can say what it holds."""
        self.proofs = Proofs(sending)
        self._confirmed = confirmed
        self.creations = 0
        self.wrong_at: int | None = None
        """Where the part begins that the server called wrong."""
        self.replaced = False
        """An upload of ours was given up because it held other bytes."""
        self._doubts = 0
        self._losses = 0
        self._waits = iter(LOCK_WAITS)
        self.log = structlog.get_logger("uplink").bind(capture=sending.holding.id)

    def confirm(self, place: Place) -> None:
        """Take down that the server holds everything before this offset. Raises `UplinkDown` when that never lasts."""
        url = str(place.url)
        before = self._confirmed.get(url, 0)
        if place.offset < before:
            # A confirmed byte must never have to be sent again: the server, or its disk, lost something.
            self.log.error("upload_offset_went_back", url=url, confirmed=before, offset=place.offset)
            self._losses += 1
            if self._losses >= PATIENCE:
                raise UplinkDown(
                    f"{place.url.authority} confirms bytes and loses them again ({before}, then {place.offset})",
                    hint="The administrator of the DEMS must look at its disk: what it confirms does not last.",
                )
        elif place.offset > before:
            self._doubts = 0
            self._waits = iter(LOCK_WAITS)
        self._confirmed[url] = place.offset
        self.sending.progress(place.offset)

    async def doubt(self, reason: UplinkDown) -> None:
        """Permit one more try after something unclear; raise the reason when patience is at its end."""
        self._doubts += 1
        if self._doubts >= PATIENCE:
            raise reason
        await asyncio.sleep(self._doubts * DOUBT_WAIT * _spread())

    async def locked(self, answer: Answer) -> None:
        """Wait while a dead request of ours still holds the upload (423); it stays the same upload, however long."""
        wait = next(self._waits, None)
        told = retry_after(answer)
        if wait is None:
            raise UplinkDown(
                f"an earlier request still holds the upload at {answer.url.authority} (423)",
                retry_after=told if told is not None else LOCK_WAITS[-1] * _spread(),
                alone=True,
            )
        await asyncio.sleep(wait * _spread())

    def surprised(self, answer: Answer) -> NoReturn:
        """Give up on an answer that tus does not prescribe here."""
        self.door.surprised()
        raise explained(answer)


def _spread() -> float:
    """Return a factor that keeps the stations of a fleet from asking all at once."""
    return random.uniform(0.5, 1.0)  # noqa: S311 - chance hides nothing here
