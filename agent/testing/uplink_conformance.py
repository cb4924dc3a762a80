"""What every uplink keeps, for any uplink: derive from `UplinkConformance`, say how to make a receiver.

    class TestMine(UplinkConformance):
        def rig(self, tmp_path):
            return MyRig(tmp_path)

1. A capture arrives whole and once, whatever its length; what comes back names what the receiver has.
2. After a cut the upload continues; at most one request is sent twice.
3. An answer that was lost, or a capture that is sent again, is never a second one at the receiver.
4. A no is `UplinkRefused`, a receiver that does not answer is `UplinkDown`, and nothing else comes out.
5. A wrong receipt is never a yes.
6. Bytes that are not what the journal says never become a receipt.
7. Cancellation at any await leaves a state from which `send` continues.
8. Each request that brings bytes asks for its turn; one that may not go is not made, and what went is not sent again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agent.capture import PART_LENGTH, Standing
from agent.errors import NotNow, UplinkDown, UplinkRefused
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.rig import WITHIN, not_given
from agent.testing.sendings import HeldSending, held_sending
from agent.testing.station import Station

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent.capture import Receipt
    from agent.note import Verifier
    from agent.testing.uplinks import Arrived
    from agent.uplink import Uplink

__all__ = ["UplinkConformance", "UplinkRig"]

LIES = ("wrong-digest", "wrong-length", "wrong-signature", "other-capture", "other-log")
FILM = some_bytes(5 << 20, "film")
BESIDE = 64 * 1024
"""Bytes that are no capture's: canaries, envelopes, what is said of it."""


class UplinkRig:
    """One receiver with its uplink, as its author makes them for a test. `uplink` and `arrived` must be given."""

    request = PART_LENGTH
    """Bytes of the largest request body: what a cut may cost."""
    keys: Sequence[Verifier] = ()
    """Whose receipts are believed."""

    def uplink(self) -> Uplink:
        """Return a new uplink, as after a restart of the agent."""
        raise NotImplementedError

    async def arrived(self) -> Arrived:
        """SHA-256 of everything that the receiver stored whole, under the id of each capture."""
        raise NotImplementedError

    async def received(self) -> int:
        """Bytes of all request bodies so far, those that came twice counted twice."""
        not_given("received")

    async def cut(self, after: int) -> None:
        """Break the connection when so many bytes of the next body have come."""
        not_given("cut", after)

    async def lose_answer(self) -> None:
        """Do what the next request that brings bytes asks, and break the connection instead of answering."""
        not_given("lose_answer")

    async def refuse(self) -> None:
        """Say no for ever to what comes from now on."""
        not_given("refuse")

    async def lie(self, how: str) -> None:
        """Answer with receipts that are wrong in one of the `LIES`."""
        not_given("lie", how)

    async def down(self) -> None:
        """Do not answer any more."""
        not_given("down")

    async def up(self) -> None:
        """Answer again."""
        not_given("up")


class UplinkConformance:
    """Every test is one of the sentences above, or what follows from it. A new rig is made for each."""

    pytestmark = pytest.mark.asyncio

    def rig(self, tmp_path: Path) -> AbstractAsyncContextManager[UplinkRig]:
        """Return a receiver that holds nothing, for as long as the block lasts."""
        raise NotImplementedError

    # 1

    @pytest.mark.parametrize("length", [0, 1, 65_537, 5 << 20, PART_LENGTH + 1])
    async def test_1_it_arrives_whole_and_once(self, tmp_path: Path, length: int) -> None:
        """And the receipt names its length and, where it names a digest, its digest."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending = await held_sending(station, some_bytes(length))
            receipt = await sent(rig.uplink(), sending)
            assert receipt.length == length
            assert receipt.sha256 in (None, sending.holding.digest.sha256)
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}

    async def test_1_many_at_once(self, tmp_path: Path) -> None:
        """Through one uplink, as `forward` sends them."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            uplink = rig.uplink()
            sendings = [await held_sending(station, some_bytes(1000, n), f"{n}") for n in range(40)]
            await asyncio.gather(*(uplink.send(sending) for sending in sendings))
            await uplink.aclose()
            assert await rig.arrived() == {one.holding.id: [one.holding.digest.sha256] for one in sendings}

    async def test_1_names_from_devices_do_no_harm(self, tmp_path: Path) -> None:
        """Keys in any writing, with quotes, commas and spaces."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            for number, key in enumerate(["Übung — Tür.MP4", 'a"b, c;d = e', "%0D%0AX: y", "漢字/../x", "x" * 1024]):
                await sent(rig.uplink(), await held_sending(station, some_bytes(100, number), key))
            assert len(await rig.arrived()) == number + 1

    # 2

    @pytest.mark.parametrize("after", [0, 1, 1 << 20, 3 << 20])
    async def test_2_after_a_cut_it_continues(self, tmp_path: Path, after: int) -> None:
        """At most one request body is sent twice."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending = await held_sending(station, FILM)
            await rig.cut(after)
            await sent(rig.uplink(), sending, tries=3)
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
            with suppress(pytest.skip.Exception):
                assert await rig.received() - len(FILM) <= rig.request

    async def test_2_a_restarted_agent_continues(self, tmp_path: Path) -> None:
        """What was remembered is all that the new uplink knows."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending = await held_sending(station, FILM)
            await rig.cut(3 << 20)
            for _ in range(5):
                uplink = rig.uplink()
                try:
                    async with asyncio.timeout(WITHIN):
                        await uplink.send(sending)
                    break
                except UplinkDown:
                    continue
                finally:
                    await uplink.aclose()
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
            with suppress(pytest.skip.Exception):
                assert await rig.received() - len(FILM) <= rig.request

    # 3

    @pytest.mark.parametrize("length", [0, 100, 5 << 20])
    async def test_3_a_lost_answer_doubles_nothing(self, tmp_path: Path, length: int) -> None:
        """The receiver has it, and nobody heard."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending = await held_sending(station, some_bytes(length))
            await rig.lose_answer()
            await sent(rig.uplink(), sending, tries=3)
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}

    async def test_3_what_is_sent_again_is_known(self, tmp_path: Path) -> None:
        """By the same uplink, by a new one, and by one whose memory was lost."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending = await held_sending(station, FILM)
            uplink = rig.uplink()
            receipts = [await uplink.send(sending), await uplink.send(sending)]
            await uplink.aclose()
            receipts.append(await sent(rig.uplink(), sending))
            assert len({(receipt.length, receipt.sha256) for receipt in receipts}) == 1
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}

    # 4

    async def test_4_a_no_is_a_no(self, tmp_path: Path) -> None:
        """Not something to be tried again for ever."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending = await held_sending(station, FILM)
            await rig.refuse()
            with pytest.raises(UplinkRefused) as refused:
                await sent(rig.uplink(), sending)
            assert str(refused.value), "a person must read why"
            assert await rig.arrived() == {}

    async def test_4_a_receiver_that_does_not_answer_is_down(self, tmp_path: Path) -> None:
        """And when it is back, the capture is sent."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending, uplink = await held_sending(station, FILM), rig.uplink()
            await rig.down()
            with pytest.raises(UplinkDown):
                await uplink.send(sending)
            assert any(finding.state == "problem" for finding in await uplink.check())
            await rig.up()
            await sent(uplink, sending, tries=3)
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}

    async def test_4_a_check_says_what_was_tried(self, tmp_path: Path) -> None:
        """For `evidock check`; and closing twice does no harm."""
        async with self.rig(tmp_path) as rig:
            uplink = rig.uplink()
            findings = await uplink.check()
            assert findings
            assert all(finding.state != "problem" for finding in findings), findings
            await uplink.aclose()
            await uplink.aclose()

    # 5

    @pytest.mark.parametrize("how", LIES)
    async def test_5_a_wrong_receipt_is_never_a_yes(self, tmp_path: Path, how: str) -> None:
        """Whatever it is that is wrong: the capture never stands receipted."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            await rig.lie(how)
            await held_sending(station, FILM)
            station.connect(rig.uplink(), keys=rig.keys)
            with suppress(TimeoutError):
                await station.send(within=2.0)
            assert (await station.only()).standing is not Standing.RECEIPTED
            await station.hang_up()

    # 6

    @pytest.mark.parametrize("damage", ["flip", "short"])
    async def test_6_other_bytes_never_become_a_receipt(self, tmp_path: Path, damage: str) -> None:
        """The spool gives something else than what the journal says."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending = await held_sending(station, FILM)
            path = station.spool.path(sending.holding.digest.sha256)
            data = path.read_bytes()
            path.write_bytes(data[:-1] if damage == "short" else data[:100] + bytes([data[100] ^ 1]) + data[101:])
            station.connect(rig.uplink(), keys=rig.keys)
            with suppress(TimeoutError):
                await station.send(within=2.0)
            assert (await station.only()).standing is not Standing.RECEIPTED
            assert sending.holding.id not in await rig.arrived(), "the receiver stored what it was not told"
            await station.hang_up()

    # 7

    async def test_7_cancelled_at_any_await_it_continues(self, tmp_path: Path) -> None:
        """After ever more steps; in the end it is there, once."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending, uplink = await held_sending(station, FILM), rig.uplink()
            for steps in (*range(0, 60, 4), 100, 200, 400):
                task = asyncio.create_task(uplink.send(sending))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task}, timeout=WITHIN)
                assert task.done(), "a cancelled sending still runs"
            await sent(uplink, sending, tries=5)
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}

    # 8

    async def test_8_nothing_goes_before_its_turn(self, tmp_path: Path) -> None:
        """The policy says no: not a byte comes. And every byte that comes is asked for first."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            sending, uplink = await held_sending(station, FILM), rig.uplink()
            sending.turns = 0
            async with asyncio.timeout(WITHIN):
                with pytest.raises(NotNow):
                    await uplink.send(sending)
            assert await rig.arrived() == {}
            with suppress(pytest.skip.Exception):
                assert await rig.received() < BESIDE
            sending.turns = None
            await sent(uplink, sending)
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
            assert not sending.unasked, "the body of a request is `outgoing`, after a turn of its own, and no longer"
            assert sending.outgone >= len(FILM), "bytes were sent that are not `outgoing`: no cap holds for them"

    @pytest.mark.parametrize("turns", [1, 2])
    async def test_8_it_gives_way_between_requests(self, tmp_path: Path, turns: int) -> None:
        """So many requests at a time, and no byte twice."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            data = some_bytes(max(len(FILM), 2 * rig.request + 1), "gives way")
            sending, uplink = await held_sending(station, data), rig.uplink()
            for _ in range(-(-len(data) // rig.request) + 1):
                sending.turns = turns
                with suppress(NotNow):
                    async with asyncio.timeout(WITHIN):
                        await uplink.send(sending)
                    break
            else:
                pytest.fail("it gets no further when it gives way")
            await uplink.aclose()
            assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
            with suppress(pytest.skip.Exception):
                assert await rig.received() - len(data) < BESIDE, "what went before it gave way was sent again"

    # All of it together.

    async def test_a_whole_life(self, tmp_path: Path) -> None:
        """Held, sent, receipted: by a real station, several captures of all kinds."""
        async with self.rig(tmp_path) as rig, Station(tmp_path / "station") as station:
            device = BenchDevice()
            for number, length in enumerate((0, 1, 1000, 1 << 20, 3 << 20)):
                device.record(f"{number}", some_bytes(length, number))
            station.connect(rig.uplink(), keys=rig.keys)
            await station.dock(device)
            await station.send()
            assert await station.count(Standing.RECEIPTED) == len(device.clips)
            expected = {one.id: [one.digest.sha256] for one in await station.holdings()}
            assert await rig.arrived() == expected
            await station.verify()
            await station.hang_up()


async def sent(uplink: Uplink, sending: HeldSending, *, tries: int = 1) -> Receipt:
    """Send it, again where the receiver was down, and close the uplink."""
    try:
        while True:
            tries -= 1
            try:
                async with asyncio.timeout(WITHIN):
                    return await uplink.send(sending)
            except UplinkDown:
                if not tries:
                    raise
    finally:
        await uplink.aclose()
