"""Drivers that each break one sentence of the contract, and the test of the suite that must see it.

A suite that cannot fail proves nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Device, Standing
from agent.errors import BadCapture, DeviceError
from agent.testing import rig as suite_rig
from agent.testing.conformance import FILM, DriverConformance
from tests.conformance.other_author.riverton_recorder import Recorder, Take
from tests.conformance.recorder import RecorderRig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from agent.driver import Intake


class Changed(Take):
    """A take of the recorder with something changed."""

    def with_capture(self, **fields: object) -> Changed:
        self.capture = dataclasses.replace(self.capture, **fields)
        return self


class Broken(Recorder):
    def takes(self, device: Device) -> Iterator[Take]:
        return (self.take(device, note.with_suffix(".wav")) for note in sorted(self.options.folder.glob("*.length")))

    def take(self, device: Device, file: Path) -> Take:
        return Changed(device, file)


# --- 1


class OurClock(Broken):
    def take(self, device: Device, file: Path) -> Take:
        return Changed(device, file).with_capture(began_at=datetime.now(UTC))


class Numbered(Broken):
    def takes(self, device: Device) -> Iterator[Take]:
        for number, take in enumerate(super().takes(device)):
            self.count = getattr(self, "count", 0) + 1
            yield take.with_capture(key=f"{self.count}-{number}")


class NeverSighted(Broken):
    async def run(self, intake: Intake, /) -> None:
        class Deaf:
            take = intake.take

            async def sight(self, device: Device, /) -> None: ...

        await super().run(Deaf())  # type: ignore[arg-type]


# --- 2


class AsksForMore(Broken):
    """Takes it as its own failure that nobody read."""

    def take(self, device: Device, file: Path) -> Take:
        made = Changed(device, file)
        self.unread = [*getattr(self, "unread", []), made]
        if len(self.unread) > 5:
            raise RuntimeError("nobody reads what is offered")
        return made


class Stuck(Broken):
    """Offers the first again and again until it is held."""

    def takes(self, device: Device) -> Iterator[Take]:
        return iter(list(super().takes(device))[:1])


# --- 3


class OtherBytesFromN(Broken):
    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def open(self, offset: int, /) -> AsyncIterator[bytes]:
                async for block in super().open(max(0, offset - 1)):
                    yield block

        return Wrong(device, file)


class QuietEnd(Broken):
    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def open(self, offset: int, /) -> AsyncIterator[bytes]:
                with suppress(DeviceError):
                    async for block in super().open(offset):
                        yield block

        return Wrong(device, file)


class ForeignError(Broken):
    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def open(self, offset: int, /) -> AsyncIterator[bytes]:
                try:
                    async for block in super().open(offset):
                        yield block
                except DeviceError as error:
                    raise OSError(5, "Input/output error") from error

        return Wrong(device, file)


# --- 4


class ReleasesOnce(Broken):
    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def release(self) -> None:
                self.file.unlink()
                self.note.unlink()

        return Wrong(device, file)


class ReleasesNothing(Broken):
    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def release(self) -> None: ...

        return Wrong(device, file)


class ReleasesAll(Broken):
    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def release(self) -> None:
                for one in self.file.parent.iterdir():
                    one.unlink()

        return Wrong(device, file)


class CleansUp(Broken):
    """Deletes what was read."""

    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def open(self, offset: int, /) -> AsyncIterator[bytes]:
                async for block in super().open(offset):
                    yield block
                await self.release()

        return Wrong(device, file)


# --- 5


class Remembers(Broken):
    seen: set[str]

    def takes(self, device: Device) -> Iterator[Take]:
        self.seen = getattr(self, "seen", set())
        for take in super().takes(device):
            if take.capture.key not in self.seen:
                yield take
                self.seen.add(take.capture.key)


# --- 6


class GivesUp(Broken):
    async def run(self, intake: Intake, /) -> None:
        device = Device("riverton:x", "interview_room", "x")
        while True:
            await intake.sight(device)
            for take in self.takes(device):
                await intake.take(take)
            await asyncio.sleep(0.05)


class EndsWhenUnplugged(Broken):
    async def run(self, intake: Intake, /) -> None:
        running = asyncio.ensure_future(super().run(intake))
        try:
            while self.options.folder.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


class CannotBeEnded(Broken):
    async def run(self, intake: Intake, /) -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await super().run(intake)


# --- 7


class Guesses(Broken):
    def take(self, device: Device, file: Path) -> Take:
        return Changed(device, file).with_capture(length=4096)


class FillsUp(Broken):
    """Makes up for what is missing."""

    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def open(self, offset: int, /) -> AsyncIterator[bytes]:
                end = offset
                with suppress(BadCapture):
                    async for block in super().open(offset):
                        yield block
                        end += len(block)
                yield bytes((self.capture.length or 0) - end)

        return Wrong(device, file)


# --- 8


class MovesBeforeOffering(Broken):
    """Takes it from the device first: what is cancelled then is nowhere."""

    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            def __init__(self, device: Device, file: Path) -> None:
                super().__init__(device, file)
                self.data = file.read_bytes()

            async def open(self, offset: int, /) -> AsyncIterator[bytes]:
                yield self.data[offset:]

        made = Wrong(device, file)
        self.gone = [*getattr(self, "gone", []), made]
        file.unlink()
        made.note.unlink()
        return made


class KeepsDescriptors(Broken):
    def take(self, device: Device, file: Path) -> Take:
        class Wrong(Changed):
            async def open(self, offset: int, /) -> AsyncIterator[bytes]:
                LEFT_OPEN.append(self.file.open("rb"))
                async for block in super().open(offset):
                    yield block

        return Wrong(device, file)


LEFT_OPEN: list[Any] = []

CASES: list[tuple[type[Broken], str, tuple[Any, ...]]] = [
    (OurClock, "test_1_an_origin_is_stable", ()),
    (Numbered, "test_1_an_origin_is_stable", ()),
    (NeverSighted, "test_1_an_origin_is_stable", ()),
    (AsksForMore, "test_2_what_is_not_opened_is_skipped", (Standing.HELD,)),
    (Stuck, "test_2_what_is_not_opened_is_skipped", (Standing.QUARANTINED,)),
    (OtherBytesFromN, "test_3_bytes_from_0_and_from_n_agree", ()),
    (OtherBytesFromN, "test_3_a_reading_goes_on_after_the_device_was_gone", ()),
    (QuietEnd, "test_3_a_reading_goes_on_after_the_device_was_gone", ()),
    (ForeignError, "test_3_a_reading_goes_on_after_the_device_was_gone", ()),
    (ReleasesOnce, "test_4_a_release_may_be_repeated", ()),
    (ReleasesNothing, "test_4_a_release_may_be_repeated", ()),
    (ReleasesAll, "test_4_a_release_may_be_repeated", ()),
    (CleansUp, "test_4_a_driver_releases_nothing_by_itself", ()),
    (Remembers, "test_5_a_name_that_is_used_again_is_offered_again", (b"the next shift",)),
    (Remembers, "test_5_a_name_that_is_used_again_is_offered_again", (FILM,)),
    (GivesUp, "test_6_what_take_raises_does_not_end_it", (BadCapture,)),
    (EndsWhenUnplugged, "test_6_unplugging_does_not_end_it", ()),
    (CannotBeEnded, "test_6_cancellation_ends_it_soon", ()),
    (Guesses, "test_7_a_stated_length_is_true", (FILM,)),
    (FillsUp, "test_7_a_length_that_contradicts_the_index_is_not_held", ()),
    (MovesBeforeOffering, "test_8_cancelled_at_any_await_nothing_is_lost", ()),
    (KeepsDescriptors, "test_8_no_descriptor_is_left_behind", ()),
    (ReleasesNothing, "test_a_whole_life", ()),
    (CleansUp, "test_a_whole_life", ()),
]


@pytest.mark.parametrize(("driver", "test", "arguments"), CASES, ids=[f"{c[0].__name__}-{c[1][5:30]}" for c in CASES])
async def test_the_suite_catches_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: type[Broken],
    test: str,
    arguments: tuple[Any, ...],
) -> None:
    monkeypatch.setattr(suite_rig, "WITHIN", 1.5)

    class BrokenRig(RecorderRig):
        made = driver

    class Suite(DriverConformance):
        def rig(self, tmp_path: Path) -> BrokenRig:
            return BrokenRig(tmp_path)

    run: Callable[..., Any] = getattr(Suite(), test)
    try:
        with pytest.raises((AssertionError, Exception, ExceptionGroup)) as caught:
            await run(tmp_path, *arguments)
        assert not isinstance(caught.value, pytest.skip.Exception), "it was skipped, not caught"
    finally:
        while LEFT_OPEN:
            LEFT_OPEN.pop().close()
