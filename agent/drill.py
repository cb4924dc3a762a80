"""A drill: a capture that the station makes itself goes the whole way and is fetched back, and the result is an entry.

It passes the same ingest, spool, journal, uplink and release as evidence does, on the configuration that is in force.
Its device is a folder of the station; drivers, cables and cameras are no part of it. Everything about it says that it
is a test: the device's id, the media type, the claims; it is counted nowhere as evidence.

What a DEMS lets us see decides how much a drill proves: `bytes` (it gave them back, equal bit for bit), `digest` (it
computed the digest anew), `receipt` (it signed for it), `length` (so many bytes arrived), or `nothing`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent import durable
from agent.capture import DRILL, Capture, Device, Priority, Standing, Strength
from agent.driver import BLOCK_LENGTH
from agent.errors import AgentError, DeviceGone, Refusal, UplinkDown
from agent.journal import Event, queries
from agent.uplink import ReadsBack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from agent.capture import Holding, Json
    from agent.ingest import Ingest
    from agent.journal import Desk, Journal
    from agent.release import Release
    from agent.spool import Spool
    from agent.uplink import Uplink

__all__ = ["LENGTH_LEAST", "LENGTH_MOST", "MEDIA_TYPE", "Drill"]

MEDIA_TYPE: Final = "application/vnd.evidock.drill"

LENGTH_LEAST: Final = 1024
LENGTH_MOST: Final = 256 << 20
"""Bytes: what comes back is compared in memory, block by block."""

_POLL: Final = 0.1
_COSIGNED_WITHIN: Final = 10.0
"""Seconds that a release may wait for the witnesses' word, where the policy asks for it."""
_PROVEN: Final = {Strength.SIGNED: "receipt", Strength.DIGEST: "digest", Strength.LENGTH: "length"}


class _Film:
    """An `agent.driver.Offer`: a file in a folder of the station's own."""

    def __init__(self, path: Path, capture: Capture) -> None:
        self.path, self.capture = path, capture

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """See `agent.driver.Offer.open`."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                while block := await asyncio.to_thread(file.read, BLOCK_LENGTH):
                    yield block
        except OSError as error:
            raise DeviceGone(f"the drill's own file cannot be read: {error.strerror}") from error

    async def release(self) -> None:
        """See `agent.driver.Offer.release`."""
        await asyncio.to_thread(self.path.unlink, missing_ok=True)


@dataclass(slots=True)
class _Result:
    length: int
    sha256: str
    capture: str | None = None
    destination: str | None = None
    proven: str = "nothing"
    why: str | None = None
    steps: list[dict[str, Json]] = field(default_factory=list)

    def told(self) -> dict[str, Json]:
        """As it stands in the journal."""
        return {
            "capture": self.capture,
            "destination": self.destination,
            "length": self.length,
            "passed": self.why is None,
            "proven": self.proven,
            "sha256": self.sha256,
            "steps": list(self.steps),
            "why": self.why,
        }


class Drill:
    """Makes drills on one daemon, one at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        station: str,
        desk: Desk,
        spool: Spool,
        ingest: Ingest,
        release: Release,
        uplinks: Callable[[], Mapping[str, Uplink]],
        releases: bool,
    ) -> None:
        self._folder, self._station = folder, station
        self._desk, self._spool, self._ingest, self._release = desk, spool, ingest, release
        self._uplinks, self._releases = uplinks, releases
        self._one = asyncio.Lock()
        self._log = structlog.get_logger("drill")

    async def run(self, *, length: int, patience: float, actor: str) -> AsyncIterator[dict[str, Any]]:
        """Make one, and tell each step when it is done; the last line has `report`. Raises `Refusal`, `JournalError`.

        `patience`: seconds that the DEMS has to confirm it. What it does not confirm until then is still sent later.
        """
        if not LENGTH_LEAST <= length <= LENGTH_MOST:
            raise Refusal(f"a drill has {LENGTH_LEAST} to {LENGTH_MOST} bytes, not {length}")
        if self._one.locked():
            raise Refusal("a drill is under way", hint="Wait for its end; evidock journal tail shows its result.")
        async with self._one:
            film = await asyncio.to_thread(self._made, length)
            digest = await asyncio.to_thread(_sha256_of, film.path)
            result = _Result(length, digest)
            try:
                async for step in self._way(film, result, patience):
                    result.steps.append(step)
                    yield step
            finally:
                await asyncio.to_thread(film.path.unlink, missing_ok=True)
            told = result.told()
            await self._desk.write(lambda journal: journal.record(Event.DRILLED, {"drill": told}, actor=actor))
            if result.why is None:
                self._log.info("drill_passed", capture=result.capture, proven=result.proven)
            else:
                self._log.error("drill_failed", capture=result.capture, error=result.why)
            yield {"report": told}

    def _made(self, length: int) -> _Film:
        durable.make_folder(self._folder)
        for left in self._folder.glob("DRILL-*"):  # of one that was cut off
            left.unlink(missing_ok=True)
        now = datetime.now(UTC)
        name = f"DRILL-{now:%Y%m%dT%H%M%S}-{os.urandom(4).hex()}"
        path = self._folder / name
        head = f"This is a drill of the station {self._station}, made {now:%Y-%m-%dT%H:%M:%SZ}. It is no evidence.\n"
        with path.open("xb") as file:
            file.write(head.encode()[:length])
            while (left_over := length - file.tell()) > 0:
                file.write(os.urandom(min(BLOCK_LENGTH, left_over)))
        device = Device(f"{DRILL}{self._station}", "drill", "drill", maker="Evidock", model="drill")
        claims: dict[str, Json] = {"drill": True, "no_evidence": "made by the station to try itself"}
        capture = Capture(device, name, now, length, MEDIA_TYPE, priority=Priority.FIRST, claims=claims)
        return _Film(path, capture)

    # -- the way -------------------------------------------------------------------------------------------------------

    async def _way(self, film: _Film, result: _Result, patience: float) -> AsyncIterator[dict[str, Json]]:
        """Each step, as JSON; the first that fails is the last."""
        steps: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
            ("taken", lambda: self._taken(film, result)),
            ("confirmed", lambda: self._confirmed(result, patience)),
            ("read back", lambda: self._read_back(film, result)),
            ("released", lambda: self._released(film, result)),
            ("tidied", lambda: self._tidied(result)),
        )
        for name, act in steps:
            began = monotonic()
            try:
                detail = await act()
            except AgentError as error:
                result.why = f"{name}: {error}"
                yield {
                    "step": name,
                    "ok": False,
                    "detail": str(error),
                    "todo": error.what_to_do,
                    "kind": type(error).__name__,
                    "ms": _ms(began),
                }
                return
            yield {"step": name, "ok": True, "detail": detail, "todo": None, "kind": None, "ms": _ms(began)}

    async def _taken(self, film: _Film, result: _Result) -> str:
        standing = await self._ingest.take(film)
        holding = await self._holding(film)
        result.capture = holding.id
        if holding.digest.sha256.hex() != result.sha256:
            raise AgentError("the spool holds other bytes than the drill's file has", hint="Run: evidock spool verify.")
        return f"{standing}: copied into the spool, both digests right, entry {holding.index} of the journal"

    async def _holding(self, film: _Film) -> Holding:
        token = film.capture.origin.token
        found: Holding | None = await self._desk.read(lambda journal: queries.of_origin(journal, token))
        if found is None:
            raise AgentError("what was taken for the drill is not in the journal")
        return found

    async def _confirmed(self, result: _Result, patience: float) -> str:
        if not self._uplinks():
            raise UplinkDown("no destination is configured", hint="Add an [[uplink]] table.")
        capture, until = result.capture or "", monotonic() + patience
        while True:
            holding = await self._desk.read(lambda journal: journal.get(capture))
            if holding.receipt is not None:
                result.proven = _PROVEN[holding.receipt.strength]
                result.destination = holding.receipt.destination
                return f"{holding.receipt.destination} confirms it: {_strength(holding.receipt.strength)}"
            if holding.standing is not Standing.HELD:
                raise AgentError(f"it stands {holding.standing}: {holding.reason}", hint="evidock check tells more.")
            if monotonic() > until:
                raise UplinkDown(
                    f"no receipt came within {patience:.0f} s",
                    hint="It is sent later. Run: evidock status, evidock check.",
                )
            await asyncio.sleep(_POLL)

    async def _read_back(self, film: _Film, result: _Result) -> str:
        uplink: object = self._uplinks().get(result.destination or "")
        holding = await self._desk.read(lambda journal: journal.get(result.capture or ""))
        if not isinstance(uplink, ReadsBack):
            return "this way out cannot read back"
        source = await uplink.read_back(holding)
        if source.blocks is not None:
            await _compare(film.path, source.blocks)
            result.proven = "bytes"
            return f"the DEMS gave {result.length} bytes back, equal bit for bit"
        if source.sha256 is not None:
            if source.sha256.hex() != result.sha256:
                raise AgentError("the DEMS computed another digest of what it stores", hint=_TELL)
            result.proven = max("digest", result.proven, key=_ORDER.index)
            return f"the DEMS gives no bytes back ({source.why}); the digest that it computed anew is right"
        return f"the DEMS gives neither bytes nor a digest back ({source.why}); proven is its {result.proven}"

    async def _released(self, film: _Film, result: _Result) -> str:
        if not self._releases:
            return "the policy lets no device forget: nothing was released"
        capture = result.capture or ""
        known = await self._desk.read(lambda journal: journal.get(capture))
        if known.receipt is None or known.receipt.strength < self._release.least:
            least = self._release.least.name.lower()
            return f"such a receipt lets no device forget anything: the policy asks for one that is {least}"
        until = monotonic() + _COSIGNED_WITHIN
        while (standing := await self._release.consider(film)) is not Standing.RELEASED:
            if monotonic() > until:
                return f"the policy lets no device forget this yet: it stands {standing}"
            await asyncio.sleep(_POLL)
        return "the device's copy was read again, is equal, and was forgotten"

    async def _tidied(self, result: _Result) -> str:
        """A drill's bytes need not stay here: by the same rules as evidence, without waiting."""
        capture = result.capture or ""

        def tidy(journal: Journal) -> str:
            known = journal.get(capture)
            if known.receipt is None or known.receipt.strength < Strength.DIGEST or not known.spooled:
                return "its bytes stay in the spool"
            journal.purge(capture)
            return "its bytes left the spool"

        def evict(journal: Journal) -> None:
            if not queries.keepers(journal, bytes.fromhex(result.sha256)):
                with suppress(OSError):  # what is left is let go at the next start
                    self._spool.evict(bytes.fromhex(result.sha256))

        said = await self._desk.write(tidy)
        await self._desk.read(evict)
        return said


_TELL: Final = "Tell the administrator of the DEMS at once: what it stores is not what it was given."
_ORDER: Final = ("nothing", "length", "digest", "receipt", "bytes")


async def _compare(path: Path, blocks: AsyncIterator[bytes]) -> None:
    """Raise `AgentError` at the first byte that differs."""
    offset = 0
    async with AsyncExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        if isinstance(blocks, AsyncGenerator):
            await stack.enter_async_context(aclosing(blocks))
        async for block in blocks:
            mine = await asyncio.to_thread(file.read, len(block))
            if mine != block:
                at = next((n for n, (a, b) in enumerate(zip(mine, block, strict=False)) if a != b), len(mine))
                raise AgentError(f"what the DEMS gave back differs from byte {offset + at} on", hint=_TELL)
            offset += len(block)
        if file.read(1):
            raise AgentError(f"the DEMS gave back {offset} bytes only", hint=_TELL)


def _strength(strength: Strength) -> str:
    return {
        Strength.SIGNED: "a signed receipt with its digest, verified",
        Strength.DIGEST: "it names the digest",
        Strength.LENGTH: "so many bytes arrived, no more is said",
    }[strength]


def _sha256_of(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_LENGTH):
            digest.update(block)
    return digest.hexdigest()


def _ms(began: float) -> int:
    return round((monotonic() - began) * 1000)
