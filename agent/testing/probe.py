"""An intake that holds nothing: it notes what a driver offers, and does and answers what a test says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from agent.capture import Standing
from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Capture, Device, Observation
    from agent.driver import Offer, Readable

__all__ = ["Look", "Probe", "read_all"]

Look: TypeAlias = "Callable[[Offer], Awaitable[None]]"


class Probe:
    """See `agent.driver.Intake`. An assertion that fails in `look` is kept in `wrong`, for a driver may swallow it."""

    def __init__(
        self,
        look: Look | None = None,
        *,
        answer: Standing = Standing.HELD,
        answers: Mapping[str, Standing] | None = None,
    ) -> None:
        self._look, self._answer, self._answers = look, answer, answers or {}
        self.offered: list[Offer] = []
        self.done: list[str] = []
        """Keys whose look ended, however it did."""
        self.sighted_first: set[str] = set()
        """Devices that were sighted before they offered anything."""
        self.aside: list[tuple[Capture, bytes, str]] = []
        """What a driver had set aside, and why."""
        self.failures: list[AgentError] = []
        self.wrong: list[BaseException] = []

    @property
    def keys(self) -> set[str]:
        """Keys of everything that was offered so far."""
        return {offer.capture.key for offer in self.offered}

    async def sight(self, device: Device, /) -> None:
        """Note it."""
        if device.id not in {offer.capture.device.id for offer in self.offered}:
            self.sighted_first.add(device.id)

    async def observe(self, observation: Observation, /) -> None:
        """Facts about the world are no business of a probe."""

    async def set_aside(self, capture: Capture, data: bytes, reason: str, /) -> None:
        """See `agent.driver.SetsAside`."""
        self.aside.append((capture, data, reason))

    async def take(self, readable: Readable, /) -> Standing:
        """Note the offer, look at it, and answer."""
        offer = cast("Offer", readable)  # of a device that cannot be asked to forget it has no `release`
        self.offered.append(offer)
        try:
            if self._look is not None:
                await self._look(offer)
        except AgentError as error:
            self.failures.append(error)
            raise
        except Exception as error:
            self.wrong.append(error)
            raise
        finally:
            self.done.append(offer.capture.key)
        return self._answers.get(offer.capture.key, self._answer)


async def read_all(offer: Readable, offset: int) -> bytes:
    """The bytes of an offer from an offset on."""
    source, found = offer.open(offset), bytearray()
    try:
        async for block in source:
            found += block
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
    return bytes(found)


def same_bytes(found: bytes, recorded: bytes, what: str = "what was read") -> None:
    """Both are equal, else AssertionError with the first byte that differs.

    Never `assert found == recorded` with films: where CI is set, pytest writes both out and compares them line by line,
    for hours.
    """
    if found == recorded:
        return
    pairs = enumerate(zip(found, recorded, strict=False))
    first = next((at for at, (one, other) in pairs if one != other), min(len(found), len(recorded)))
    msg = f"{what} differs from byte {first} on: {len(found)} bytes, and {len(recorded)} were recorded"
    raise AssertionError(msg)
