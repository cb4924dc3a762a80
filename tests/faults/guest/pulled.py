"""In a machine: two cameras of the same label, names, lengths and times, pulled in mid-work and exchanged.

    python -m tests.faults.guest.pulled SEED PULLS

/dev/ubda and /dev/ubdb: two FAT volumes that differ in their serial number and in what their clips hold.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.testing.audit import Exhibit
from agent.testing.dems.options import DemsOptions
from agent.testing.process import read_state
from tests.faults.form import time_is_over
from tests.faults.guest.bench import Bench, until
from tests.faults.guest.mapper import create, prepare, remove, sectors, take_up
from tests.faults.mounting import DETACH, READ_ONLY, mount, unmount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OUT, BAY, BENCH = Path("/mnt/out"), Path("/mnt/bay"), Path("/mnt/bench")
CLIPS = Path("DCIM/100MEDIA")
OPTIONS = "iocharset=iso8859-1,tz=UTC"
MID_COPY = 0.6
"""How many of the pulls come soon after bytes began to arrive; the others come at any time."""
MOST = 6
"""Clips that are on a camera when it is docked."""


class Camera:
    """One card. `ever` and `still` as `agent.testing.audit.Witness` has them."""

    def __init__(self, disk: str, seed: int) -> None:
        self.disk, self._seed = disk, seed
        with open(disk, "rb") as volume:  # noqa: PTH123 - a device
            # FAT16 has the serial number at 39; udev writes it as mkfs prints it.
            number = int.from_bytes(os.pread(volume.fileno(), 4, 39), "little")
        self.uuid = f"{number >> 16:04X}-{number & 0xFFFF:04X}"
        self._ever: list[Exhibit] = []

    @property
    def id(self) -> str:
        return f"fs:{self.uuid}"

    @contextmanager
    def on_the_bench(self, flags: int = 0) -> Iterator[Path]:
        BENCH.mkdir(exist_ok=True)
        mount(self.disk, "vfat", BENCH, flags, OPTIONS)
        try:
            yield BENCH / CLIPS
        finally:
            unmount(BENCH)

    def record(self) -> None:
        """Film until there is enough to do; both cameras give their n-th clip the same name, length and time."""
        with self.on_the_bench() as folder:
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(MOST - len(list(folder.iterdir()))):
                number = len(self._ever) + 1
                same, own = Random(number), Random(self._seed * 1_000_003 + number)
                length = same.randrange(1, 60_000) if same.random() < 0.6 else same.randrange(1_048_577, 4_000_000)
                path = folder / f"CLIP{number:04}.MP4"
                path.write_bytes(data := own.randbytes(length))
                os.utime(path, (1_700_000_000 + 2 * number,) * 2)
                self._ever.append(Exhibit(self.id, str(CLIPS / path.name), hashlib.sha256(data).digest()))

    def ever(self) -> Iterable[Exhibit]:
        return self._ever

    def still(self) -> Iterable[Exhibit]:
        with self.on_the_bench(READ_ONLY) as folder:
            return [
                Exhibit(self.id, str(CLIPS / path.name), hashlib.sha256(path.read_bytes()).digest())
                for path in folder.glob("*")  # there is no folder where the time was over before the first pull
            ]


class Dock:
    """Where a camera is plugged in and pulled out, by the kernel's and udev's rules."""

    def __init__(self) -> None:
        self._number = 0

    @property
    def _name(self) -> str:
        return f"bay{self._number}"

    def plug_in(self, camera: Camera) -> None:
        self._number += 1
        node = create(self._name, f"0 {sectors(camera.disk)} linear {camera.disk} 0")
        numbers = Path(f"/sys/class/block/{Path(node).name}/dev").read_text().strip()
        # What udevd would have noted, so that whoever asks for the volume's UUID is told it.
        data = Path("/run/udev/data")
        data.mkdir(parents=True, exist_ok=True)
        (data / f"b{numbers}").write_text(f"I:1\nE:ID_FS_UUID={camera.uuid}\nE:ID_FS_LABEL=BWC\n")
        prepare(self._name, f"0 {sectors(camera.disk)} error")
        mount(node, "vfat", BAY, READ_ONLY, OPTIONS)

    def pull(self, after: float) -> None:
        """First nothing can be read any more; a moment later its mount goes, and then the device."""
        take_up(self._name)
        time.sleep(after)
        unmount(BAY, DETACH)
        remove(self._name)

    def hand_back(self) -> None:
        """As a person does it who asked before: again, while somebody is just looking at it."""

        def asked() -> bool:
            try:
                unmount(BAY)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                return False
            return True

        assert until(asked, 60), "the daemon does not let go of an empty camera"
        remove(self._name)


def length(path: Path) -> int:
    """Bytes that have arrived; none where it got its name just now."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def main() -> None:
    """Pull, exchange, and at last let everything arrive."""
    chance, pulls = Random(int(sys.argv[1])), int(sys.argv[2])
    BAY.mkdir()
    cameras, dock = [Camera("/dev/ubda", 1), Camera("/dev/ubdb", 2)], Dock()
    driver = {
        "use": "body_worn.usb_volume", "name": "bay-1", "mount": str(BAY), "layout": "dcf", "settle": 0, "rescan": 0.05,
    }  # fmt: skip
    bench = Bench(Path("/mnt/station"), DemsOptions(folder=Path("/mnt/dems")), [driver], words=OUT / "daemon.log")
    stage = bench.daemon.state / "spool" / "stage"
    stage.mkdir(parents=True)
    pid = bench.start(lambda _: None)
    done = 0
    for number in range(pulls):
        if time_is_over():
            break
        camera = chance.choice(cameras)
        for one in cameras:
            one.record()
        dock.plug_in(camera)
        if chance.random() < MID_COPY:
            until(lambda: any(map(length, stage.iterdir())), 2)
            time.sleep(chance.expovariate(20))
        else:
            time.sleep(chance.expovariate(2.5))
        dock.pull(chance.choice((0, 0, 0.01, 0.1)))
        assert bench.ended(pid) is None, f"the daemon ended at pull {number}"
        done += 1
    for camera in cameras:
        dock.plug_in(camera)
        assert until(lambda: not any((BAY / CLIPS).glob("*")), 120), (OUT / "daemon.log").read_text()[-4000:]
        time.sleep(2)
        dock.hand_back()
    assert bench.end(pid, signal.SIGTERM) == 0
    wrong = bench.wrong(cameras)
    book = read_state(bench.daemon.state)
    ever = {(one.device, one.key, one.sha256) for camera in cameras for one in camera.ever()}
    for holding in book.holdings.values() if book else ():
        if (holding.origin.device, holding.origin.key, holding.digest.sha256) not in ever:
            wrong.append(f"capture {holding.id} of {holding.origin.key} is nothing that its camera ever recorded")
        if holding.standing is Standing.QUARANTINED:
            wrong.append(f"capture {holding.id} of {holding.origin.key} is doubted: {holding.reason}")
    words = (OUT / "daemon.log").read_text()
    told = {
        "done": done,
        "wrong": wrong,
        "captures": len(book.holdings) if book else 0,
        "cut": words.count("capture_not_taken"),
    }
    print("RESULT", json.dumps(told), flush=True)  # noqa: T201
    bench.close()


if __name__ == "__main__":
    main()
