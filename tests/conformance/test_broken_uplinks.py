"""Uplinks that each break one sentence of the contract, and the test of the suite that must see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Receipt, Strength
from agent.errors import NotNow, UplinkDown, UplinkRefused
from agent.testing import uplink_conformance
from agent.testing.uplink_conformance import UplinkConformance
from tests.conformance.benches import BenchRig, BenchTrip

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent.uplink import Finding, Sending


def said(sending: Sending) -> Receipt:
    digest = sending.holding.digest
    return Receipt(Strength.DIGEST, "dems", digest.length, digest.sha256)


class SendsNothing(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        return said(sending)


class SkipsEmpty(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        return await super().send(sending) if sending.holding.digest.length else said(sending)


class CountsWrong(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        receipt = await super().send(sending)
        return Receipt(receipt.strength, receipt.destination, receipt.length + 1, receipt.sha256)


class BeginsAnew(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        self.store.parts.pop(sending.holding.id, None)
        return await super().send(sending)


class NeverKnows(BenchTrip):
    """Sends as if it were new, each time under the same name."""

    async def send(self, sending: Sending, /) -> Receipt:
        before = self.store.whole.pop(sending.holding.id, [])
        try:
            return await super().send(sending)
        finally:
            self.store.whole[sending.holding.id] += before


class TriesForEver(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        try:
            return await super().send(sending)
        except UplinkRefused as error:
            raise UplinkDown(str(error)) from error


class GivesUp(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        try:
            return await super().send(sending)
        except UplinkDown as error:
            raise UplinkRefused(str(error)) from error


class ForeignError(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        try:
            return await super().send(sending)
        except UplinkDown as error:
            raise ConnectionResetError from error


class AlwaysFine(BenchTrip):
    async def check(self) -> list[Finding]:
        self.store.is_down = False
        return await super().check()


class ClaimsForThem(BenchTrip):
    """Answers with what we hold, not with what the receiver says."""

    async def send(self, sending: Sending, /) -> Receipt:
        await super().send(sending)
        return said(sending)


class HashesItself(BenchTrip):
    """Claims the digest of whatever the spool gave, so that damage goes through."""

    async def send(self, sending: Sending, /) -> Receipt:
        digest = sending.holding.digest
        async for block in sending.blocks(0, digest.length):
            self.store.take(sending.holding.id, block)
        self.store.parts.pop(sending.holding.id, None)
        self.store.whole[sending.holding.id].append(digest.sha256)
        return said(sending)


class CannotBeEnded(BenchTrip):
    async def send(self, sending: Sending, /) -> Receipt:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            await asyncio.sleep(2)
        return await super().send(sending)


class OneAtATime(BenchTrip):
    busy = False

    async def send(self, sending: Sending, /) -> Receipt:
        if OneAtATime.busy:
            raise UplinkDown("busy")
        OneAtATime.busy = True
        try:
            await asyncio.sleep(0)
            return await super().send(sending)
        finally:
            OneAtATime.busy = False


class NeverAsks(BenchTrip):
    """Sends when it likes."""

    async def send(self, sending: Sending, /) -> Receipt:
        if not self.store.whole[sending.holding.id]:
            async for block in sending.blocks(0, sending.holding.digest.length):
                self.store.take(sending.holding.id, block)
        return await super().send(sending)


class AsksOnce(BenchTrip):
    """One turn for a byte, and then everything."""

    async def send(self, sending: Sending, /) -> Receipt:
        if not self.store.whole[sending.holding.id]:
            await sending.turn(1)
            async for block in sending.outgoing(0, sending.holding.digest.length):
                self.store.take(sending.holding.id, block)
        return await super().send(sending)


class AsksAndPasses(BenchTrip):
    """Asks, and sends what no cap has slowed down."""

    async def send(self, sending: Sending, /) -> Receipt:
        if not self.store.whole[sending.holding.id]:
            await sending.turn(sending.holding.digest.length)
            async for block in sending.blocks(0, sending.holding.digest.length):
                self.store.take(sending.holding.id, block)
            self.store.finish(sending.holding.id, sending.holding.digest.sha256)
        return await super().send(sending)


class DropsWhatWasUnderWay(BenchTrip):
    """Gives way, and has nothing kept."""

    async def send(self, sending: Sending, /) -> Receipt:
        try:
            return await super().send(sending)
        except NotNow:
            self.store.parts.pop(sending.holding.id, None)
            raise


CASES: list[tuple[type[BenchTrip], str, tuple[Any, ...]]] = [
    (SendsNothing, "test_1_it_arrives_whole_and_once", (1,)),
    (SkipsEmpty, "test_1_it_arrives_whole_and_once", (0,)),
    (CountsWrong, "test_1_it_arrives_whole_and_once", (1,)),
    (OneAtATime, "test_1_many_at_once", ()),
    (BeginsAnew, "test_2_after_a_cut_it_continues", (3 << 20,)),
    (BeginsAnew, "test_2_a_restarted_agent_continues", ()),
    (NeverKnows, "test_3_a_lost_answer_doubles_nothing", (100,)),
    (NeverKnows, "test_3_what_is_sent_again_is_known", ()),
    (TriesForEver, "test_4_a_no_is_a_no", ()),
    (GivesUp, "test_4_a_receiver_that_does_not_answer_is_down", ()),
    (ForeignError, "test_4_a_receiver_that_does_not_answer_is_down", ()),
    (AlwaysFine, "test_4_a_receiver_that_does_not_answer_is_down", ()),
    (ClaimsForThem, "test_5_a_wrong_receipt_is_never_a_yes", ("wrong-digest",)),
    (HashesItself, "test_6_other_bytes_never_become_a_receipt", ("flip",)),
    (CannotBeEnded, "test_7_cancelled_at_any_await_it_continues", ()),
    (NeverAsks, "test_8_nothing_goes_before_its_turn", ()),
    (AsksOnce, "test_8_nothing_goes_before_its_turn", ()),
    (AsksAndPasses, "test_8_nothing_goes_before_its_turn", ()),
    (DropsWhatWasUnderWay, "test_8_it_gives_way_between_requests", (1,)),
    (SendsNothing, "test_a_whole_life", ()),
]


@pytest.mark.parametrize(("uplink", "test", "arguments"), CASES, ids=[f"{c[0].__name__}-{c[1][5:30]}" for c in CASES])
async def test_the_suite_catches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uplink: type[BenchTrip], test: str, arguments: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(uplink_conformance, "WITHIN", 1.0)

    class BrokenRig(BenchRig):
        made = uplink

    class Suite(UplinkConformance):
        def rig(self, _: Path) -> AbstractAsyncContextManager[BenchRig]:
            return BrokenRig.open()

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it says
        await getattr(Suite(), test)(tmp_path, *arguments)
    assert not isinstance(caught.value, pytest.skip.Exception), "it was skipped, not caught"
