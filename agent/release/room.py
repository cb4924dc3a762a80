"""Receipt + cosigned checkpoint + second read + policy -> the device may forget; later the spool too.

Level, not edge: a device offers again what it still has, and each time the capture is offered its release is
considered, so there is no list of things to release that could be lost.

If power fails here: before `release.intended` nothing has happened; after it and before `released`, the device either
offers the capture again, and it is read and released again, or it has it no more: then the next complete look at that
device shows it, and `released` says that it was inferred, and from what.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import nullcontext, suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Standing, Strength, capture_id, printable
from agent.custody.receipt import check_receipt, earliest
from agent.driver import BLOCK_LENGTH, INDEX, Offer, ReleasesByPath
from agent.errors import BadCapture, BadReceipt, CannotResume, DeviceRefused, Refusal
from agent.journal import Desk, copies, dating, queries
from agent.places import Places
from agent.release.case import Case
from agent.release.program import DIFFERS
from agent.release.proof import Proving
from agent.release.purging import Purging, unless_overtaken
from agent.release.recordings import Recordings, Waits
from agent.spool import Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.capture import Capture, Digest, Holding, Json, Observation, Stamp
    from agent.config import Policy
    from agent.driver import Readable
    from agent.journal import Journal
    from agent.note import Verifier
    from agent.release.program import Program
    from agent.spool import Spool

__all__ = ["Release"]

_GONE: Final = frozenset({Standing.RELEASED, Standing.PURGED})
_ON_ITS_WAY: Final = frozenset({Standing.HELD, Standing.REFUSED})
"""Where a capture stands while a person has it sent again."""
_SWEEP: Final = 30.0
"""Seconds between two looks at everything."""
_AGAIN: Final = 1.0
"""Seconds between two looks at what the spool may forget, while somebody waits for its room."""
_PAGE: Final = 256
_FEW: Final = (32, 8)
_MANY: Final = (128, 32)
"""Captures that are let go at once, of all devices and of one: of more than a block, and of at most one."""
_OTHERS: Final = 10_000
"""Captures of which it is remembered that a device has another one under their name."""
_WHY: Final = "its reader, its cable or its card is failing, or another device bears the same serial number"
_AT_ONCE: Final = 64 * 1024
"""Bytes that are hashed where they come: a thread would cost more than it frees."""


class Release:
    """Decides who may forget what. One for the whole station."""

    def __init__(
        self,
        desk: Desk,
        spool: Spool,
        policy: Policy,
        *,
        keys: Sequence[Verifier],
        stamp: Callable[[], Stamp],
        proving: Proving | None = None,
        program: Program | None = None,
    ) -> None:
        self._desk, self._spool, self._policy = desk, spool, policy
        self._keys, self._stamp = tuple(keys), stamp
        self._proving, self._program = proving or Proving(asked=policy.witness == "required"), program
        self.least = Strength[policy.receipt.upper()]
        """Below this strength of its receipt no capture is released."""
        self.recordings = Recordings(whole=policy.recordings == "whole")
        self._few, self._many = Places(*_FEW), Places(*_MANY)
        self._begun: dict[bytes, Holding] = {}
        """Whose release was begun and has no end in the journal, by origin."""
        self._still: set[bytes] = set()
        """Those of them that their device has offered since it was last listed as a whole."""
        self._purging = Purging(desk, spool, policy, stamp=stamp, proving=self._proving, least=self.least)
        self._others: OrderedDict[tuple[str, str, str | None], str] = OrderedDict()
        self._short = asyncio.Event()
        self._log = structlog.get_logger("release")
        self.considered = 0
        """How often a device offered what is receipted, since the start."""

    # -- begun, and not ended -----------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Find what an earlier run began. Run once, before anything is offered."""
        begun = await self._desk.read(queries.intended)
        self._begun = {holding.origin.token: holding for holding in begun}

    def offered(self, offer: Readable) -> None:
        """The device has this, now: call it for every offer, before anything is made of it."""
        if self._begun and (token := offer.capture.origin.token) in self._begun:
            self._still.add(token)

    async def listed(self, observation: Observation) -> None:
        """A device was looked at as a whole: what was to be released, and is not there any more, it has forgotten.

        What it offered in this look is still there. A look that may have missed something shows nothing, nor does a
        device that is away: it is not looked at.
        """
        if observation.kind != INDEX:
            return
        self.recordings.listed(observation.device)
        if observation.detail.get("complete") is not True:
            return
        mine = {token for token, holding in self._begun.items() if holding.origin.device == observation.device}
        gone = mine - self._still
        self._still -= mine
        for token in gone:
            holding = self._begun[token]
            now = await self._desk.read(lambda journal, id_=holding.id: journal.get(id_))  # type: ignore[misc]
            if now.retained or now.standing in _ON_ITS_WAY:
                continue  # by a person's order: a later look shows it as well, when the DEMS has proven it anew
            del self._begun[token]
            try:
                await self._desk.write(
                    lambda journal, id_=holding.id: journal.infer_release(id_, observation.detail)  # type: ignore[misc]
                )
            except Refusal as error:  # a person ordered otherwise meanwhile
                self._log.info("overtaken", capture=holding.id, reason=str(error))
                continue
            self._log.info("release_inferred", capture=holding.id, device=observation.device)

    # -- one capture --------------------------------------------------------------------------------------------------

    def believe(self, keys: Sequence[Verifier]) -> None:
        """Receipts of these keys count from now on, and of no others."""
        self._keys = tuple(keys)

    async def consider(self, offer: Readable) -> Standing:
        """The device still has this receipted capture and offers it: let it forget, if everything is proven."""
        self.considered += 1
        case = await self._desk.read(lambda journal: self._look(journal, offer.capture))
        return await self._consider(offer, case, None)

    async def _consider(self, offer: Readable, case: Case, again: Digest | None) -> Standing:
        """The same of one case; `again`: what is there was read, and is this."""
        holding = case.holding
        if holding is None:
            return Standing.UNKNOWN
        if holding.standing is not Standing.RECEIPTED or self._policy.device == "keep" or holding.retained:
            return holding.standing
        if holding.forgets is not None or not isinstance(offer, Offer):
            return holding.standing  # its device forgets by itself, and has no door for us
        if (reason := self._why_not(holding, doubted=case.doubted, ripe=case.ripe)) is not None:
            await self._desk.write(lambda journal: journal.refuse_release(holding.id, reason))
            return holding.standing
        if case.undated:
            await self._desk.write(lambda journal: dating.date(journal, holding.id))
        self.recordings.note(holding, case.waits)
        # Not old enough, not cosigned yet, or a witness contradicts us, or others of its recording are not that far:
        # nothing is wrong with this capture, it waits.
        if case.proof is None or case.waits is not None or not self._trusts(offer):
            return holding.standing
        places = self._few if holding.digest.length > BLOCK_LENGTH else self._many
        # What was read has its place: of those that waited for a second one each, none would ever get it.
        async with places.of(holding.origin.device) if again is None else nullcontext():
            return await self._release(offer, holding, case.leaf, case.proof, again)

    def _trusts(self, offer: Offer) -> bool:
        """Whether the program that would delete it knows whom to believe; the status says so where it does not."""
        return self._program is None or not isinstance(offer, ReleasesByPath) or self._program.trusts

    def _look(self, journal: Journal, capture: Capture, known: str | None = None) -> Case:
        """What the journal knows of what is offered, in one visit; `known`: it is this."""
        token, holding = capture.origin.token, queries.to_be_released(journal, capture.origin.token)
        if known or (holding and (known := self._others.get(_there(holding, capture)))):
            found = journal.find(known)
            holding = holding if found is None or found.standing in _GONE else found
        if holding is None or holding.standing is not Standing.RECEIPTED:
            return Case(holding)
        # Without a grace no clock is asked.
        grace, now = self._policy.grace, self._stamp()
        ripe = not grace or dating.has_waited(journal, holding, now, grace)
        undated = not ripe and dating.to_be_dated(journal, holding, now)
        ripe = ripe and not copies.lacking(journal, holding.id, self.least)
        proof = self._proving.prove(journal, holding.index) if ripe and self._policy.device == "release" else None
        leaf = b"" if proof is None else journal.leaves.leaf(holding.index)
        waits = None if self._policy.device == "keep" else self.recordings.look(journal, holding, capture.members)
        return Case(holding, queries.doubts(journal, token), ripe, proof, leaf, waits, undated)

    def _why_not(self, holding: Holding, *, doubted: bool, ripe: bool = True) -> str | None:
        """The reason why its device may not forget it, in words for a person; None when it may.

        What is not `ripe` is offered many times before it may go: its signature is verified when it matters.
        """
        receipt = holding.receipt
        if doubted:
            return "two readings of this capture differed: a person must look at what is quarantined first"
        if receipt is None or receipt.strength < self.least:
            word = "nothing" if receipt is None else f"only its {receipt.strength.name.lower()}"
            return f"the DEMS has proven {word}; the policy asks for a receipt that is {self._policy.receipt}"
        if receipt.strength is Strength.SIGNED and ripe:
            try:
                check_receipt(
                    receipt.note or b"",
                    self._keys,
                    capture=holding.id,
                    sha256=holding.digest.sha256,
                    length=holding.digest.length,
                    log=holding.log,
                    index=holding.index,
                    not_before=earliest(holding.held_at, self._stamp().at),
                )
            except BadReceipt as error:
                return f"the stored receipt does not verify: {error}"
        return None

    async def _release(
        self, offer: Offer, holding: Holding, leaf: bytes, proof: bytes, again: Digest | None
    ) -> Standing:
        try:
            again = again or await self._read_again(offer, holding)
        except (BadCapture, CannotResume, DeviceRefused) as error:
            return await self._refused(holding, f"the device's copy cannot be read a second time: {error}")
        if again != holding.digest:
            return await self._is_another(offer, holding, again)
        token = holding.origin.token
        self._begun[token] = holding
        self._still.add(token)  # for this look has found it
        told: dict[str, Json] = {"blake3": again.blake3.hex(), "length": again.length, "sha256": again.sha256.hex()}
        try:
            await self._desk.write(lambda journal: journal.intend_release(holding.id, {"read_again": told}))
        except Refusal:  # a person was quicker
            self._end(token)
            return (await self._desk.read(lambda journal: journal.get(holding.id))).standing
        try:
            if await self._delete(offer, holding, leaf, proof) == DIFFERS:
                return await self._differs(offer, holding, "the release program read other bytes than the agent did")
        except DeviceRefused as error:
            return await self._refused(holding, f"the device did not delete it: {error}")
        return await self._forgot(holding)

    async def _is_another(self, offer: Offer, holding: Holding, again: Digest) -> Standing:
        """What is there is not what was taken last under its name. If it is known all the same, nothing is in doubt.

        Of two devices with one serial number each has its own. Remembered: what has to wait is not read at each look.
        """
        known = capture_id(holding.origin, again.sha256)
        case = await self._desk.read(lambda journal: self._look(journal, offer.capture, known))
        if case.holding is not None and case.holding.id == known:
            self._others[_there(holding, offer.capture)] = known
            while len(self._others) > _OTHERS:
                self._others.popitem(last=False)
            return await self._consider(offer, case, again)
        reason = (
            f"the device's copy was read again and is SHA-256 {again.sha256.hex()} of {again.length} bytes; "
            f"it was {holding.digest.sha256.hex()} of {holding.digest.length}: {_WHY}"
        )
        return await self._differs(offer, holding, reason)

    async def _forgot(self, holding: Holding) -> Standing:
        try:
            released = await self._desk.write(lambda journal: journal.release(holding.id))
        except Refusal as error:  # a person ordered otherwise in that moment; that it is gone, the next look shows
            self._still.discard(holding.origin.token)
            self._log.info("overtaken", capture=holding.id, reason=str(error))
            return (await self._desk.read(lambda journal: journal.get(holding.id))).standing
        self._end(holding.origin.token)
        self.recordings.forgotten(holding)
        self._log.debug("released", capture=holding.id, key=holding.origin.key)
        return released.standing

    def _end(self, token: bytes) -> None:
        self._begun.pop(token, None)
        self._still.discard(token)

    async def _delete(self, offer: Offer, holding: Holding, leaf: bytes, proof: bytes) -> str:
        """By the program of its own, wherever it can prove all that it must; it asks for a signed receipt."""
        signed = holding.receipt is not None and holding.receipt.strength is Strength.SIGNED
        if self._program is None or not signed or not isinstance(offer, ReleasesByPath):
            await offer.release()
            return "released"
        place = offer.place
        if self._program.has_unit(place):
            return await self._program.release(place, holding, leaf=leaf, proof=proof)
        async with offer.writable():
            return await self._program.release(place, holding, leaf=leaf, proof=proof)

    async def _differs(self, offer: Offer, holding: Holding, reason: str) -> Standing:
        self._log.critical(
            "device_copy_differs",
            capture=holding.id,
            place=printable(offer.capture.device.place or ""),
            todo=f"Keep the device: {_WHY}.",
        )
        found = await self._desk.write(lambda journal: journal.quarantine(holding.id, reason, superseded=True))
        self._end(holding.origin.token)
        return found.standing

    async def _refused(self, holding: Holding, reason: str) -> Standing:
        self._log.error("not_released", capture=holding.id, reason=reason, todo=DeviceRefused.hint)
        return (await self._desk.write(lambda journal: journal.refuse_release(holding.id, reason))).standing

    async def _read_again(self, offer: Offer, holding: Holding) -> Digest:
        hasher, length = Hasher(), 0
        source = offer.open(0)
        try:
            async for block in source:
                length += len(block)
                if length > holding.digest.length:
                    break
                if len(block) > _AT_ONCE:
                    await self._spool.run(hasher.feed, block)
                else:
                    hasher.feed(block)
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
        return hasher.finish()[0]

    # -- without a device ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look, again and again, at what no device will offer again, and at what the spool may forget."""
        while True:
            await self.sweep()
            ends = monotonic() + _SWEEP
            while await self._asked_for_room(ends - monotonic()):
                await self._purging.look()
                await asyncio.sleep(_AGAIN)

    def room_is_short(self) -> None:
        """Somebody was refused for want of room: what may be forgotten goes now, and not at the next look."""
        self._short.set()

    async def _asked_for_room(self, within: float) -> bool:
        """Wait for so many seconds for somebody who is refused; whether one was."""
        if within <= 0:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._short.wait()
                self._short.clear()
                return True
        return False

    async def sweep(self) -> None:
        """Do it once."""
        self.recordings.told(await self._desk.read(self.recordings.sweep))
        if self._policy.device == "release":
            below, after, seen = await self._desk.read(self._proving.below), -1, dict[tuple[str, str], Waits | None]()
            while page := await self._desk.read(
                lambda journal, after=after: self._forgotten(journal, below, after, seen)  # type: ignore[misc]
            ):
                for holding, waits in page:
                    self.recordings.note(holding, waits)
                    if waits is None:
                        await self._let_go(holding)
                after = page[-1][0].index
        await self._purging.look()

    def _forgotten(
        self, journal: Journal, below: int, after: int, seen: dict[tuple[str, str], Waits | None]
    ) -> list[tuple[Holding, Waits | None]]:
        """The next captures of devices that kept no copy. Each recording is looked at once in a sweep."""
        found: list[tuple[Holding, Waits | None]] = []
        for holding in queries.forgotten(journal, _PAGE, below, after=after):
            name = holding.origin.device, holding.group or ""
            if holding.group is not None and name not in seen:
                seen[name] = self.recordings.look(journal, holding, None)
            found.append((holding, seen.get(name)))
        return found

    async def _let_go(self, holding: Holding) -> None:
        if (reason := self._why_not(holding, doubted=False)) is not None:
            await self._desk.write(lambda journal: journal.refuse_release(holding.id, reason))
            return
        await unless_overtaken(
            self._desk, holding, lambda journal: journal.release(holding.id, {"device": "kept no copy"})
        )


def _there(holding: Holding, capture: Capture) -> tuple[str, str, str | None]:
    return holding.id, capture.device.driver, capture.device.place
