"""Drivers that each break one sentence of the contract."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.capture import Device
from agent.errors import BadCapture, DeviceError
from tests.conformance.other_author.riverton_recorder import Recorder, Take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
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
