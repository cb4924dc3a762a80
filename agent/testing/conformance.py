"""The nine sentences of `agent.driver`, for any driver: derive from `DriverConformance`, say how to make a device.

    class TestMine(DriverConformance):
        def rig(self, tmp_path):
            return MyRig(tmp_path)

`MyRig` derives from `Rig`; what it leaves out is skipped and said so, never passed in silence.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agent.capture import LENGTH_MAX, Standing
from agent.config import Policy
from agent.errors import BadCapture, CannotResume, DeviceError, DeviceGone, DeviceRefused, SpoolFull
from agent.testing.devices import some_bytes
from agent.testing.probe import Probe, read_all, same_bytes
from agent.testing.rig import WITHIN, Rig, descriptors, ended, examined, held, not_given, running, until
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from pathlib import Path

    from agent.driver import Offer

__all__ = ["DriverConformance", "Rig"]

MIB = 1 << 20
FILM = some_bytes(2 * MIB + 12_345, "film")
LETS_GO = Policy(device="release", receipt="digest")


class DriverConformance:
    """Every test is one sentence of the contract, or what follows from it. A new rig is made for each."""

    pytestmark = pytest.mark.asyncio

    def rig(self, tmp_path: Path) -> Rig:
        """Return a device with nothing on it, plugged in."""
        raise NotImplementedError

    async def test_1_an_origin_is_stable(self, tmp_path: Path) -> None:
        """Across passes, across drivers and across time; and the device is sighted before it offers."""
        rig, seen = self.rig(tmp_path), set()
        key = rig.record("CLIP0001.MP4", FILM)
        for again in (True, False):
            probe = Probe(answer=Standing.QUARANTINED)  # neither opened nor released: nothing on the device changes
            async with running(rig.driver(), probe):
                await until(lambda probe=probe: len(probe.offered) >= (2 if rig.keeps else 1))  # type: ignore[misc]
            seen |= {offer.capture.origin for offer in probe.offered}
            for offer in probe.offered:
                assert offer.capture.device.id in probe.sighted_first, "a device is sighted before it offers"
            if not rig.keeps:
                return
            if again:
                await asyncio.sleep(1.05 - time.time() % 1)  # a clock of ours moves, one of whole seconds too
        assert len(seen) == 1, f"one capture was offered as {len(seen)} origins"
        assert next(iter(seen)).key == key

    @pytest.mark.parametrize("answer", [Standing.HELD, Standing.RECEIPTED, Standing.REFUSED, Standing.QUARANTINED])
    async def test_2_what_is_not_opened_is_skipped(self, tmp_path: Path, answer: Standing) -> None:
        """The driver goes on to the next capture, and offers this one again as long as the device has it."""
        rig = self.rig(tmp_path)
        keys = {rig.record(f"CLIP000{number}.MP4", some_bytes(1000, number)) for number in (1, 2, 3)}
        probe = Probe(answer=answer)
        async with running(rig.driver(), probe) as task:
            await until(lambda: probe.keys == keys)
            if rig.keeps:
                await until(lambda: len(probe.offered) >= 2 * len(keys))
            assert not task.done()

    async def test_3_bytes_from_0_and_from_n_agree(self, tmp_path: Path) -> None:
        """From every kind of offset, and twice from the same."""
        rig = self.rig(tmp_path)
        film = rig.content(rig.record("CLIP0001.MP4", FILM), FILM)

        async def look(offer: Offer) -> None:
            same_bytes(await read_all(offer, 0), film)
            if not rig.keeps:
                return
            for offset in (0, 1, MIB, len(film) // 2, len(film) - 1, len(film)):
                with suppress(CannotResume):
                    same_bytes(await read_all(offer, offset), film[offset:], f"what is read from byte {offset} on")

        await examined(rig, look)

    async def test_3_a_reading_goes_on_after_the_device_was_gone(self, tmp_path: Path) -> None:
        """Unplugged after the first block: DeviceGone, never a quiet end; then the same origin, and the rest of it."""
        rig, part = self.rig(tmp_path), bytearray()
        film = rig.content(rig.record("CLIP0001.MP4", FILM), FILM)
        gone: list[BaseException] = []

        async def look(offer: Offer) -> None:
            try:
                async for block in offer.open(len(part)):
                    part.extend(block)
                    if not gone:
                        rig.unplug()
                        gone.append(DeviceGone("a quiet end"))
            except CannotResume:
                part.clear()
                raise
            except DeviceGone as error:
                gone[:] = [error]
                raise

        probe = Probe(look)
        async with running(rig.driver(), probe) as task:
            await until(lambda: bool(probe.failures) or len(part) >= len(film))
            assert gone, "nothing was read"
            if not probe.failures:
                same_bytes(bytes(part), film, "a reading that was cut off ended as if it were complete; it")
            assert all(isinstance(error, DeviceError) for error in probe.failures), probe.failures
            assert not task.done()
            rig.plug_in()
            await until(lambda: len(part) >= len(film))
        same_bytes(bytes(part), film)

    async def test_4_who_cannot_be_asked_to_forget_has_no_door_for_it(self, tmp_path: Path) -> None:
        """An offer has a `release`, or its capture says how its device forgets by itself: one of both."""
        rig = self.rig(tmp_path)
        rig.record("CLIP0001.MP4", FILM)

        async def look(offer: Offer) -> None:
            assert hasattr(offer, "release") != rig.forgets
            assert (offer.capture.forgets is not None) == rig.forgets

        await examined(rig, look)

    async def test_4_a_release_may_be_repeated(self, tmp_path: Path) -> None:
        """By the same offer and, where the device still offers it, by the next."""
        rig = self.rig(tmp_path)
        if rig.forgets:
            not_given("release")
        key = rig.record("CLIP0001.MP4", FILM)
        kept = rig.record("CLIP0002.MP4", FILM)

        async def look(offer: Offer) -> None:
            if offer.capture.key == key:
                await offer.release()
                await offer.release()

        await examined(rig, look)
        assert not rig.holds(key) or not rig.keeps
        assert rig.holds(kept) or not rig.keeps, "another capture was released with it"

    async def test_4_a_driver_releases_nothing_by_itself(self, tmp_path: Path) -> None:
        """Whatever `take` answers: only the agent calls release."""
        rig = self.rig(tmp_path)
        keys = [rig.record(f"CLIP000{number}.MP4", some_bytes(1000, number)) for number in range(4)]
        answers = dict(zip(keys, (Standing.HELD, Standing.RECEIPTED, Standing.RELEASED, Standing.REFUSED), strict=True))
        if not rig.keeps:
            not_given("keeps")

        async def look(offer: Offer) -> None:
            await read_all(offer, 0)

        probe = Probe(look, answers=answers)
        async with running(rig.driver(), probe):
            await until(lambda: len(probe.offered) >= 3 * len(keys))
        assert [key for key in keys if rig.holds(key)] == keys, "a driver let a device forget without being asked"

    @pytest.mark.parametrize("again", [b"the next shift", FILM])
    async def test_5_a_name_that_is_used_again_is_offered_again(self, tmp_path: Path, again: bytes) -> None:
        """By the same driver, which keeps no memory of what it has seen."""
        rig, read = self.rig(tmp_path), list[bytes]()
        rig.record("CLIP0001.MP4", FILM)

        async def look(offer: Offer) -> None:
            read.append(await read_all(offer, 0))
            if not rig.forgets:
                await offer.release()

        probe = Probe(look, answer=Standing.RELEASED)
        async with running(rig.driver(), probe):
            await until(lambda: bool(read))
            await asyncio.sleep(0.2)
            read.clear()
            key = rig.record("CLIP0001.MP4", again)
            if rig.forgets:  # nobody released the old one: it may have been read once more in this moment
                await until(lambda: any(one == again for one in read))
                return
            await until(lambda: bool(read))
        same_bytes(read[0], rig.content(key, again))

    @pytest.mark.parametrize("error", [BadCapture, DeviceGone, DeviceRefused, CannotResume, SpoolFull])
    async def test_6_what_take_raises_does_not_end_it(self, tmp_path: Path, error: type[Exception]) -> None:
        """One capture is hurt, or there is no room: the others are offered, and this one again."""
        rig = self.rig(tmp_path)
        bad = rig.record("CLIP0001.MP4", some_bytes(1000, 1))
        good = rig.record("CLIP0002.MP4", some_bytes(1000, 2))

        async def look(offer: Offer) -> None:
            if offer.capture.key == bad and offered.count(bad) < 2:  # noqa: PLR2004
                offered.append(bad)
                raise error("as a test asked")
            offered.append(offer.capture.key)

        offered: list[str] = []
        probe = Probe(look)
        async with running(rig.driver(), probe) as task:
            await until(lambda: good in offered and (offered.count(bad) >= 3 or not rig.keeps))  # noqa: PLR2004
            assert not task.done()

    async def test_6_unplugging_does_not_end_it(self, tmp_path: Path) -> None:
        """Between two looks, for a while, and more than once."""
        rig = self.rig(tmp_path)
        rig.record("CLIP0001.MP4", FILM)
        probe = Probe()
        async with running(rig.driver(), probe) as task:
            for _ in range(3):
                count = len(probe.offered)
                await until(lambda count=count: len(probe.offered) > count)  # type: ignore[misc]
                rig.unplug()
                await asyncio.sleep(0.2)
                assert not task.done(), "unplugging ended the driver"
                rig.plug_in()

    async def test_6_cancellation_ends_it_soon(self, tmp_path: Path) -> None:
        """In the middle of a reading too; `running` waits for it and complains."""
        rig, reading = self.rig(tmp_path), asyncio.Event()
        rig.record("CLIP0001.MP4", FILM)

        async def look(offer: Offer) -> None:
            async for _ in offer.open(0):
                reading.set()
                await asyncio.sleep(60)

        async with running(rig.driver(), Probe(look)):
            async with asyncio.timeout(WITHIN):
                await reading.wait()

    @pytest.mark.parametrize("data", [b"", b"x", FILM], ids=["nothing", "one", "film"])
    async def test_7_a_stated_length_is_true(self, tmp_path: Path, data: bytes) -> None:
        """A device that states a length is held to it; None says that it does not know."""
        rig = self.rig(tmp_path)
        content = rig.content(rig.record("CLIP0001.MP4", data), data)

        async def look(offer: Offer) -> None:
            stated = offer.capture.length
            assert stated is None or 0 <= stated < LENGTH_MAX
            same_bytes(await read_all(offer, 0), content)
            assert stated in (None, len(content)), f"{stated} bytes were stated and {len(content)} are there"

        await examined(rig, look)

    async def test_7_a_length_that_contradicts_the_index_is_not_held(self, tmp_path: Path) -> None:
        """By a real station: neither is it held, nor does the driver make up for what is missing."""
        rig = self.rig(tmp_path)
        rig.record("CLIP0002.MP4", some_bytes(1000))
        key = rig.record("CLIP0001.MP4", FILM)
        rig.shorten(key)
        async with Station(tmp_path / "station", screens=rig.screens()) as station, running(rig.driver(), station):
            await held(station, 1)
            await asyncio.sleep(0.3)
            keys = {holding.origin.key for holding in await station.holdings()}
            assert key not in keys, "a capture was held that is shorter than what the device says"

    async def test_8_cancelled_at_any_await_nothing_is_lost(self, tmp_path: Path) -> None:
        """A driver is ended and made anew after ever more steps; in the end everything is held once, as recorded."""
        rig = self.rig(tmp_path)
        recorded = {
            rig.record(f"CLIP{number:04}.MP4", data): data
            for number, data in enumerate([some_bytes(1000, 1), some_bytes(1000, 2), FILM, b""])
        }
        async with Station(tmp_path / "station", screens=rig.screens()) as station:
            for steps in range(0, 120, 5):
                task = asyncio.create_task(rig.driver().run(station))
                for _ in range(steps):
                    await asyncio.sleep(0)
                await ended(task)
            async with running(rig.driver(), station):
                await held(station, len(recorded))
            assert not rig.keeps or all(rig.holds(key) for key in recorded)
            found = {
                holding.origin.key: b"".join(station.spool.read(holding.digest.sha256))
                for holding in await station.holdings()
            }
            await station.verify()
        assert found.keys() == recorded.keys()
        for key, data in recorded.items():
            same_bytes(found[key], rig.content(key, data), key)

    async def test_8_no_descriptor_is_left_behind(self, tmp_path: Path) -> None:
        """By readings that were cancelled."""
        rig, before = self.rig(tmp_path), 0
        rig.record("CLIP0001.MP4", FILM)

        async def look(offer: Offer) -> None:
            async for _ in offer.open(0):
                await asyncio.sleep(0)

        for round_ in range(30):
            probe = Probe(look)
            async with running(rig.driver(), probe):
                await until(lambda probe=probe: bool(probe.offered))  # type: ignore[misc]
                await asyncio.sleep(0)
            if round_ == 9:  # noqa: PLR2004 - what is made once is made by now
                before = descriptors()
            if not rig.keeps:
                not_given("keeps")
        try:
            await until(lambda: descriptors() <= before)  # a thread may take its time to let go of what it reads
        except AssertionError:
            raise AssertionError(f"{descriptors() - before} descriptors were left open by 20 readings") from None

    async def test_9_what_is_passed_by_leaves_no_trace(self, tmp_path: Path) -> None:
        """Neither in spool nor in journal, and its device was answered as if it had been kept."""
        rig = self.rig(tmp_path)
        if rig.screened is None:
            not_given("screened")
        data, folder = some_bytes(4096, "to be forgotten"), tmp_path / "station"
        key = rig.record("CLIP0001.MP4", data)
        async with Station(folder) as station, running(rig.driver(), station):
            await until(lambda: station.passed_by > 0)
            await until(lambda: rig.answered(key))
        for path in (path for path in folder.rglob("*") if path.is_file()):
            found = path.read_bytes()
            assert data[:256] not in found, f"{path.name} holds what was to be forgotten"
            assert key.encode() not in found, f"{path.name} names what was to be forgotten"

    async def test_a_whole_life(self, tmp_path: Path) -> None:
        """Held, sent, receipted, read again, released: by a real station that may let devices forget."""
        rig = self.rig(tmp_path)
        recorded = [rig.record(f"CLIP{n:04}.MP4", data) for n, data in enumerate([b"", b"x", FILM, some_bytes(9_999)])]
        async with Station(tmp_path / "station", policy=LETS_GO, screens=rig.screens()) as station:
            station.connect(BenchUplink())
            async with running(rig.driver(), station):
                await held(station, len(recorded))
                assert not rig.keeps or all(rig.holds(key) for key in recorded), "it is gone before it was released"
                await station.send()
                if rig.forgets:  # it is looked at again, and nobody asks it for anything
                    looks = station.release.considered
                    await until(lambda: station.release.considered >= looks + len(recorded))
                    assert all(rig.holds(key) for key in recorded)
                    assert await station.count(Standing.RECEIPTED) == len(recorded)
                elif rig.keeps:
                    await until(lambda: not any(rig.holds(key) for key in recorded))
            await station.verify()
