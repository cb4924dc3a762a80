"""One attachment on its way, from a tablet's requests straight into the agent's hand.

There is no second copy and no second offset: the agent's stage file is the truth. Asked where the upload stands, this
offers the capture; the hand opens it at the byte from which it wants it, and that is the answer. It wants up to 1 MiB
again that it has, to see that the tablet gives the same bytes as before, so the offset may be that much less than what
was sent. While the tablet pauses between two requests the hand is kept waiting, for a while.

If power fails here, the stage file is continued or begun again as the spool finds it, and the tablet is told where.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent.driver import BLOCK_LENGTH
from agent.errors import AgentError, DeviceGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import StreamReader

    from agent.capture import Capture, Standing
    from agent.driver import Intake

__all__ = ["Arriving"]

PATIENCE: Final = 60.0
"""Seconds for which the hand is kept waiting between two requests."""


class Arriving:
    """An `Offer` that is fed by requests. One request at a time feeds it: `lock`."""

    def __init__(
        self,
        capture: Capture,
        sha256: bytes,
        intake: Intake,
        *,
        on_end: Callable[[], object],
        patience: float = PATIENCE,
    ) -> None:
        self._capture, self._sha256, self._intake, self._patience = capture, sha256, intake, patience
        self._on_end = on_end
        self._blocks: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._opened = asyncio.Event()
        self._task: asyncio.Task[Standing] | None = None
        self.lock = asyncio.Lock()
        self.body: StreamReader | None = None
        """What feeds it right now."""
        self.offset = 0
        """Where the hand wants the next byte from, while it is open."""

    @property
    def capture(self) -> Capture:
        """See `agent.driver.Offer`."""
        return self._capture

    @property
    def stated_sha256(self) -> bytes:
        """See `agent.driver.StatesDigest`."""
        return self._sha256

    @property
    def length(self) -> int:
        """Bytes that it has, as it was announced."""
        return self._capture.length or 0

    @property
    def running(self) -> bool:
        """The hand is at it."""
        return self._task is not None and not self._task.done()

    async def release(self) -> None:
        """The tablet may remove it when a receipt names it."""

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """See `agent.driver.Offer`: what requests bring from there on."""
        self.offset = at = offset
        self._opened.set()
        while at < self.length:
            try:
                block = await asyncio.wait_for(self._blocks.get(), self._patience)
            except TimeoutError as error:
                raise DeviceGone(
                    f"the tablet paused after {at} of {self.length} bytes",
                    hint="Nothing to do: the tablet goes on by itself.",
                ) from error
            at += len(block)
            yield block

    # -- what requests do ----------------------------------------------------------------------------------------------

    async def stand(self) -> Standing | None:
        """Offer it. The standing where it is held; None where bytes are wanted, from `offset` on. Raises as `take`."""
        if not self.running:
            self._blocks, self._opened = asyncio.Queue(1), asyncio.Event()
            self._task = asyncio.ensure_future(self._intake.take(self))
            self._task.add_done_callback(self._ended)
        if self._task is None:  # pragma: no cover - it was just made
            raise RuntimeError("nothing was offered")
        opened = asyncio.ensure_future(self._opened.wait())
        try:
            await asyncio.wait({self._task, opened}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if self._task.done() or self.length == 0:
            return await asyncio.shield(self._task)
        return None

    async def feed(self, block: bytes) -> None:
        """Hand over the next bytes. Raises what ended the hand's taking meanwhile."""
        if self._task is None:
            raise DeviceGone("the upload was not begun")
        for at in range(0, len(block), BLOCK_LENGTH):
            part = block[at : at + BLOCK_LENGTH]
            putting = asyncio.ensure_future(self._blocks.put(part))
            try:
                await asyncio.wait({self._task, putting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if taken := putting.done():  # counted also where we are cancelled right here
                    self.offset += len(part)
                putting.cancel()
            if not taken:
                self._task.result()  # raises why nobody takes it
                raise DeviceGone("the upload ended before its end")

    async def finish(self) -> Standing:
        """Wait until what was handed over is held. Raises as `take`."""
        if self._task is None:
            raise DeviceGone("the upload was not begun")
        return await asyncio.shield(self._task)

    async def end(self) -> None:
        """Stop; what arrived stays where the agent put it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def hand_over(self) -> None:
        """Another request goes on: the one before is of a connection that nobody is at any more."""
        if self.body is not None:
            self.body.set_exception(ConnectionResetError("another request goes on with this upload"))

    def _ended(self, task: asyncio.Task[Standing]) -> None:
        self._on_end()
        # Who waits for it raises it; where nobody does, the agent told of it already.
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, AgentError):
            task.get_loop().call_exception_handler({"message": "an attachment was not taken", "exception": error})
