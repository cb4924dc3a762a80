"""What the steps of one capture's way share: where it stands, how often it was doubted, and how long to wait."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

import structlog

from agent.capture import PART_LENGTH
from agent.errors import SpoolDamaged, UplinkDown
from agent.uplink.http.answer import retry_after
from agent.uplink.http.body import PIECE, Body
from agent.uplink.http.door import Door
from agent.uplink.http.proofs import Proofs
from agent.uplink.http.stretches import STRETCHES, Stretches

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink import Sending
    from agent.uplink.http.answer import Answer
    from agent.uplink.http.parts import PartLength

__all__ = ["Place", "Trip"]

PATIENCE: Final = 3
"""Doubts in a row that gain nothing, before the capture is left for later."""
DOUBT_WAIT: Final = 0.3
"""Seconds, times the number of the doubt, before the next try."""
LOCK_WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, *[15.0] * 25)
"""Seconds to wait for an upload that another request holds (423): five minutes, which cost one lane and nobody else."""
CREATIONS: Final = 3
"""Uploads that are made for one capture in one go: a server that loses each of them needs a person."""
REREAD: Final = 32 * 1024 * 1024
"""Bytes per second at which a server, before it tells a digest or signs, is expected to read an upload again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upload lies and how much of it the server has confirmed."""

    url: URL
    offset: int
    answer: Answer
    """What told it."""
    proven: bool = False
    """The server was asked for the digest of what it holds."""
    whole: bool = False
    """One request brought all of it, and what told it is the answer to that one."""


DoorT_co = TypeVar("DoorT_co", bound=Door, covariant=True)


class Trip(Generic[DoorT_co]):
    """One capture on its way, for the length of one `send`."""

    def __init__(
        self, door: DoorT_co, sending: Sending, part: PartLength, stall: float, confirmed: dict[str, int]
    ) -> None:
        """`confirmed`: how far each upload was confirmed, kept by the uplink from one `send` to the next."""
        self.door = door
        self.sending = sending
        self.holding = sending.holding
        self.length = sending.holding.digest.length
        self.part = part
        self.stall = stall
        self.verifying = self.length / REREAD
        """Seconds that the server may need before it can say what it holds."""
        self.proofs = Proofs(sending)
        self.stretches = Stretches(sending)
        self._confirmed = confirmed
        self.confirmed_at: str | None = None
        """The upload of which something was confirmed last."""
        self.creations = 0
        self.wrong_at: int | None = None
        """Where the part begins that the server called wrong."""
        self.replaced = False
        """An upload of ours was given up because it held other bytes."""
        self._abreast = 1
        """Bodies that were on their way when the last one of ours began."""
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
        self.confirmed_at = url
        self.sending.progress(place.offset)

    def to_be_proven(self, url: URL) -> bool:
        """Whether a server is to tell the digest of what it holds: it reads all of that again, and so do we.

        Not where each byte was verified by it as it came, since this uplink began or last asked.
        """
        return not self.door.verifying or self._confirmed.get(str(url), self.length) >= self.length

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

    async def stretched(
        self, headers: dict[str, str], offset: int, end: int, least: int | None, *, then: int | None = None
    ) -> bool:
        """State the stretches of a body, where its server takes them and a cut of this link would cost something.

        `least`: bytes of a stretch that the server takes at least; None for one that takes none. `then`: where the
        request after this one is going to end.
        """
        if least is None or self.part.quick or end - offset <= least:
            return False
        headers[STRETCHES] = await self.stretches.of(offset, end, least)
        after = self.part.end(end, self.length) if then is None else then
        if after - end > least:
            await self.stretches.prepare(end, after, least)
        return True

    async def close(self) -> None:
        """End what is being computed for later requests."""
        await self.proofs.close()
        await self.stretches.close()

    async def bring(self, method: str, url: URL, headers: dict[str, str], offset: int, end: int) -> Answer:
        """Send one request whose body are the bytes from `offset` to `end`, after `sending.turn` let them go.

        Raises `UplinkDown` where no connection came about, `Cut` where one failed (it says how much had been handed
        over), and `SpoolDamaged`.
        """
        verifying = self.verifying if end == self.length else 0.0
        length, self._abreast = end - offset, self.door.bodies + 1
        headers = headers | {"Content-Length": str(length)}
        if self.door.goes_straight(length, quick=self.part.quick):
            async with self.sending.leaving(offset, length) as leaving:
                return await self.door.carry(method, url, headers, leaving, length, verifying=verifying)
        blocks = self.sending.outgoing(offset, length)
        body: Body | bytes
        if length <= PIECE:  # there is nothing to watch: it goes out with its headers
            body = b"".join([block async for block in blocks])
            if len(body) != length:
                raise SpoolDamaged(f"the spool gave {len(body)} bytes of a capture where {length} lie")
        else:
            # On a quick link not the whole of many parts: that would be hours for a server that hangs.
            buffered = min(length, PART_LENGTH) if self.part.quick else length
            body = Body(blocks, length, self.stall, verifying=verifying, buffered=buffered)
        try:
            return await self.door.ask(method, url, headers, body, verifying=verifying)
        except UplinkDown as error:
            if isinstance(body, bytes) and error.unsent:
                await self.sending.unsent(length)
            raise

    def kept(self, length: int, began: float, *, loses: bool = True) -> None:
        """Take down that a request arrived that was begun then, by `monotonic`: it tells how fast this link is.

        `loses`: of a request that is cut the server keeps nothing.
        """
        abreast = max(self._abreast, self.door.bodies + 1)  # of some that end together, the last one is alone then
        self.part.kept(length, monotonic() - began, abreast=abreast, loses=loses)

    def again(self) -> bool:
        """Count an upload that is created for this capture; False when a server has lost too many of them in one go."""
        self.creations += 1
        return self.creations <= CREATIONS

    def surprised(self, answer: Answer) -> NoReturn:
        """Give up on an answer that the protocol does not prescribe here."""
        self.door.surprised()
        raise self.door.explained(answer)


def _spread() -> float:
    """Return a factor that keeps the stations of a fleet from asking all at once."""
    return random.uniform(0.5, 1.0)  # noqa: S311 - chance hides nothing here
