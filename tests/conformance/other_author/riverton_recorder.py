"""Riverton's interview recorder leaves finished sound files in a folder, and beside each a note of its length."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from agent.capture import Capture, Device
from agent.driver import BLOCK_LENGTH, DriverOptions, Intake, offer_all
from agent.errors import BadCapture, DeviceGone


class Take:
    def __init__(self, device: Device, file: Path) -> None:
        self.file, self.note = file, file.with_suffix(".length")
        length, began_at = self.note.read_text().split()
        self.capture = Capture(
            device, file.name, datetime.fromtimestamp(float(began_at), UTC), int(length), "audio/wav"
        )

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        try:
            with self.file.open("rb") as sound:
                sound.seek(offset)
                while block := await asyncio.to_thread(sound.read, BLOCK_LENGTH):
                    if not self.file.exists():
                        raise FileNotFoundError
                    offset += len(block)
                    yield block
        except OSError as error:
            raise DeviceGone(f"the recorder went away while {self.file.name} was read") from error
        if offset != self.capture.length:
            raise BadCapture(f"{self.file.name} has {offset} bytes and its note says {self.capture.length}")

    async def release(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        os.fsync(folder := os.open(self.file.parent, os.O_RDONLY))
        os.close(folder)


class Recorder:
    class Options(DriverOptions):
        folder: Path

    def __init__(self, options: Options) -> None:
        self.options = options

    async def run(self, intake: Intake, /) -> None:
        device = Device(f"riverton:{self.options.name}", "interview_room", self.options.name, maker="Riverton")
        while True:
            if self.options.folder.exists():
                await intake.sight(device)
                await offer_all(intake, self.takes(device))
            await asyncio.sleep(self.options.rescan)

    def takes(self, device: Device) -> Iterator[Take]:
        return (Take(device, note.with_suffix(".wav")) for note in sorted(self.options.folder.glob("*.length")))
