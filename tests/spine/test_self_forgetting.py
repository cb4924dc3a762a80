"""Devices that nobody can ask to forget: receipted is their last standing, and the spool need not grow for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.capture import Capture, Standing
from agent.config import Policy
from agent.driver import Offer, Readable
from agent.errors import Refusal
from agent.journal import queries
from agent.journal.verify import Verification
from agent.station import views
from agent.testing.devices import BenchDevice, BenchOffer, some_bytes
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FORGETS = "overwrites its oldest recordings by itself"
LETS_GO = Policy(device="release", receipt="digest")


@dataclass(frozen=True)
class RingOffer:
    """What a recorder that overwrites its oldest holds out: to be read, and no more."""

    offer: BenchOffer
    forgets: str | None = FORGETS

    @property
    def capture(self) -> Capture:
        return replace(self.offer.capture, forgets=self.forgets)

    def open(self, offset: int, /) -> AsyncIterator[bytes]:
        return self.offer.open(offset)


async def receipted(station: Station, device: BenchDevice) -> None:
    station.devices.append(device)
    device.record("EVT1.MP4", some_bytes(2_000_000))
    station.connect(BenchUplink())
    assert await station.take(RingOffer(device.offer("EVT1.MP4"))) is Standing.HELD
    await station.send()


def test_an_offer_that_cannot_be_released_is_none_of_those_that_can() -> None:
    offer = BenchDevice().record("x", b"x") and BenchDevice()
    offer.record("x", b"x")
    assert isinstance(offer.offer("x"), Offer)
    made: Readable = RingOffer(offer.offer("x"))
    assert not isinstance(made, Offer)


async def test_it_ends_receipted_and_the_record_says_how_its_device_forgets(tmp_path: Path) -> None:
    device = BenchDevice()
    async with Station(tmp_path, policy=LETS_GO) as station:
        await receipted(station, device)
        for _ in range(3):
            assert await station.take(RingOffer(device.offer("EVT1.MP4"))) is Standing.RECEIPTED
        await station.release.sweep()
        holding = await station.only()
        assert (holding.standing, holding.forgets) == (Standing.RECEIPTED, FORGETS)
        assert views.describe(holding)["device_forgets"] == FORGETS
        (held, *rest) = await station.desk.read(lambda journal: list(queries.story(journal, holding.id)))
        assert held["predicate"]["capture"]["forgets"] == FORGETS
        assert [entry["predicate"]["event"] for entry in rest] == ["receipted"]
        assert device.clips["EVT1.MP4"].opened_at == [0], "it was read a second time for nothing"
        assert device.released == []
        await station.verify()


async def test_not_even_by_mistake_can_its_release_be_begun(tmp_path: Path) -> None:
    device = BenchDevice()
    async with Station(tmp_path, policy=LETS_GO) as station:
        await receipted(station, device)
        holding = await station.only()
        with pytest.raises(Refusal, match="nobody can ask"):
            await station.desk.write(lambda journal: journal.intend_release(holding.id, {}))
        # The same capture, offered by something that could delete it: the record counts.
        assert await station.release.consider(device.offer("EVT1.MP4")) is Standing.RECEIPTED
        assert device.released == []


@pytest.mark.parametrize("spool", ["keep", "released", "receipted"])
async def test_the_spool_may_forget_what_its_device_cannot_be_asked_to(tmp_path: Path, spool: str) -> None:
    device = BenchDevice()
    policy = LETS_GO.model_copy(update={"spool": spool, "spool_keep": timedelta(0)})
    async with Station(tmp_path, policy=policy) as station:
        await receipted(station, device)
        await station.release.sweep()
        holding = await station.only()
        assert holding.standing is Standing.RECEIPTED
        assert holding.spooled is (spool == "keep")
        # Offered again, it is known, and not taken anew.
        assert await station.take(RingOffer(device.offer("EVT1.MP4"))) is Standing.RECEIPTED
        assert device.clips["EVT1.MP4"].opened_at == [0]
        await station.verify()


async def test_what_can_be_asked_stays_in_the_spool_until_it_was(tmp_path: Path) -> None:
    device = BenchDevice()
    policy = Policy(device="keep", receipt="digest", spool="released", spool_keep=timedelta(0))
    async with Station(tmp_path, policy=policy) as station:
        device.record("EVT1.MP4", some_bytes(1000))
        station.connect(BenchUplink())
        await station.dock(device)
        await station.send()
        await station.release.sweep()
        assert (await station.only()).spooled


async def test_a_driver_that_says_both_or_nothing_is_told_at_its_first_offer(tmp_path: Path) -> None:
    device = BenchDevice()
    device.record("x", b"x")

    class Both(RingOffer):
        async def release(self) -> None:
            await self.offer.release()

    async with Station(tmp_path) as station:
        for offer in (Both(device.offer("x")), RingOffer(device.offer("x"), forgets=None)):
            with pytest.raises(TypeError, match="one of both"):
                await station.take(offer)
        assert not await station.holdings()


async def test_a_journal_that_hides_it_is_seen(tmp_path: Path) -> None:
    device = BenchDevice()
    async with Station(tmp_path, policy=LETS_GO) as station:
        await receipted(station, device)

        def problems(journal: object) -> list[str]:
            look = Verification(journal)  # type: ignore[arg-type]
            while not look.done:
                look.step(journal)  # type: ignore[arg-type]
            return list(look.report().problems)

        assert await station.desk.read(problems) == []
        await station.desk.write(lambda journal: journal.connection.execute("UPDATE capture SET forgets = NULL"))
        assert any("another kind" in one for one in await station.desk.read(problems))


def test_how_it_forgets_is_said_in_printable_words() -> None:
    device = BenchDevice().device
    for wrong in ("a\nb", "\x1b[2J"):
        with pytest.raises(ValueError, match="printable"):
            Capture(device, "x", None, forgets=wrong)
    with pytest.raises(ValueError, match="at once or some day"):
        Capture(device, "x", None, volatile=True, forgets="never")
