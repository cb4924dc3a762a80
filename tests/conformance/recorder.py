"""The rig for the other author's recorder: what its own test would bring."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent.testing.conformance import Rig
from tests.conformance.other_author.riverton_recorder import Recorder


class RecorderRig(Rig):
    made = Recorder

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.away = tmp_path / "recorder", tmp_path / "away"
        self.folder.mkdir()

    def driver(self) -> Recorder:
        options = Recorder.Options(use="riverton.recorder", name="room-1", rescan=0.05, folder=self.folder)
        return self.made(options)

    def record(self, name: str, data: bytes) -> str:
        sound = self.folder / Path(name).with_suffix(".wav")
        sound.write_bytes(data)
        note = self.folder / ".new"
        note.write_text(f"{len(data)} {time.time()}")
        note.rename(sound.with_suffix(".length"))
        return sound.name

    def holds(self, key: str) -> bool:
        return (self.folder / key).exists()

    def unplug(self) -> None:
        self.folder.rename(self.away)

    def plug_in(self) -> None:
        self.away.rename(self.folder)

    def shorten(self, key: str) -> None:
        os.truncate(self.folder / key, 1_234_567)
