"""In a machine: a station's disk that is full at each allocation in turn, and has room again.

    python -m tests.faults.guest.full blocks|inodes|quota SEED POINTS SHARE OF

/dev/ubda: the station's disk, ext4, or btrfs for a quota. Somebody else takes all room but so much; the daemon is there
already or starts then, and what ends is started again as by systemd. Then the room is given back, and the seconds are
counted until the camera is empty. Of all points this machine looks at its share: each OF-th, from the SHARE-th on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from agent.testing.cameras import CameraFolder
from agent.testing.dems.options import DemsOptions
from tests.faults.form import time_is_over
from tests.faults.guest.bench import Bench, empty, until
from tests.faults.mounting import mount

OUT, TOP = Path("/mnt/out"), Path("/mnt/d")
EACH = 30
"""So many of the smallest amounts of room are tried one by one, the larger ones by chance."""
MOST = 450
VERIFY_EVERY = 5
AGAIN = 0.25
"""Seconds after which what ended is started again; systemd waits for five."""
GIVE_UP = 60.0


class Room:
    """All room but some, taken by somebody else."""

    def leave(self, amount: int) -> None:
        """Take the rest."""
        raise NotImplementedError

    def give_back(self) -> None:
        """All of it."""
        raise NotImplementedError


class Blocks(Room):
    """Of ext4: `amount` blocks are left."""

    def leave(self, amount: int) -> None:
        disk = os.statvfs(TOP)
        fd = os.open(TOP / "others", os.O_WRONLY | os.O_CREAT)
        taken = max(0, (disk.f_bfree - amount) * disk.f_bsize)
        while taken > 0:
            try:
                os.posix_fallocate(fd, os.fstat(fd).st_size, min(taken, 4 << 20))
            except OSError:
                break
            taken = (os.statvfs(TOP).f_bfree - amount) * disk.f_bsize
        os.close(fd)

    def give_back(self) -> None:
        (TOP / "others").unlink()


class Inodes(Room):
    """Of ext4: `amount` more files can be made."""

    def leave(self, amount: int) -> None:
        (TOP / "others").mkdir()
        for number in range(os.statvfs(TOP).f_ffree - amount):
            os.mknod(TOP / "others" / f"{number}")

    def give_back(self) -> None:
        for path in (TOP / "others").iterdir():
            path.unlink()
        (TOP / "others").rmdir()


class Quota(Room):
    """Of btrfs: its top may hold so many more pages of 4 KiB than it does."""

    def __init__(self) -> None:
        subprocess.run(["btrfs", "quota", "enable", str(TOP)], check=True)
        self.give_back()

    def leave(self, amount: int) -> None:
        subprocess.run(["sync"], check=True)
        subprocess.run(["btrfs", "quota", "rescan", "-w", str(TOP)], check=True, capture_output=True)
        told = subprocess.run(
            ["btrfs", "qgroup", "show", "--raw", str(TOP)], check=True, capture_output=True, text=True
        ).stdout
        used = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("0/5"))
        subprocess.run(["btrfs", "qgroup", "limit", str(used + amount * 4096), str(TOP)], check=True)

    def give_back(self) -> None:
        subprocess.run(["btrfs", "qgroup", "limit", "none", str(TOP)], check=True)


class Life:
    """The daemon, and whoever starts it again."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self.pid, self.codes = bench, None, list[int]()
        self._next = 0.0

    def tended(self) -> bool:
        """Look after it; whether it runs."""
        if self.pid is not None and (code := self._bench.ended(self.pid)) is not None:
            self.codes.append(code)
            self.pid, self._next = None, time.monotonic() + AGAIN
        if self.pid is None and time.monotonic() >= self._next:
            self.pid = self._bench.start(lambda _: None)
        return self.pid is not None

    def stop(self) -> None:
        """In order, where it runs; not before it can hear of it."""
        control = self._bench.config.station.control
        until(lambda: self.tended() and control.exists(), GIVE_UP)
        time.sleep(0.5)
        if self.tended():
            self._bench.end(self.pid, signal.SIGTERM)
            self.pid = None


def amounts(points: int, chance: Random, most: int) -> list[int]:
    """How much room is left at each point."""
    each = min(EACH, points, most)
    return [*range(each), *(chance.randrange(each, most) for _ in range(points - each))]


def main() -> None:
    """Fill, and give back."""
    what, chance, (points, share, of) = sys.argv[1], Random(int(sys.argv[2])), map(int, sys.argv[3:6])
    TOP.mkdir()
    mount("/dev/ubda", "btrfs" if what == "quota" else "ext4", TOP)
    room = {"blocks": Blocks, "inodes": Inodes, "quota": Quota}[what]()
    camera = CameraFolder(Path("/mnt/camera"))
    options, words = DemsOptions(folder=Path("/mnt/dems")), OUT / "daemon.log"
    bench = Bench(TOP / "station", options, [camera.driver()], words=words)
    life, slowest, wrong, met, done = Life(bench), 0.0, list[str](), 0, 0
    life.tended()
    camera.record(b"the first one, so that the journal is there")
    assert until(lambda: life.tended() and empty(camera), GIVE_UP), words.read_text()[-4000:]
    mine = amounts(points, chance, 12 if what == "inodes" else MOST)[share::of]
    for number, amount in enumerate(mine):
        if time_is_over():
            break
        done += 1
        if chance.random() < 0.3:
            life.stop()
        room.leave(amount)
        for length in (chance.randrange(1, 30_000), chance.randrange(1_048_577, 1_600_000), chance.randrange(9000)):
            camera.record(chance.randbytes(length))
        passed = until(lambda: life.tended() and empty(camera), 1.5)
        met += not passed
        room.give_back()
        began = time.monotonic()
        if not until(lambda: life.tended() and empty(camera), GIVE_UP):
            wrong.append(f"{what}, {amount} left: it does not go on by itself")
            break
        slowest = max(slowest, time.monotonic() - began)
        if number % VERIFY_EVERY == VERIFY_EVERY - 1:
            life.stop()
            wrong += [f"{what}, about {amount} left: {one}" for one in bench.wrong([camera])]
    life.stop()
    wrong += bench.wrong([camera])
    told = {"done": done, "wrong": wrong, "slowest": round(slowest, 2), "ended": life.codes, "met": met}
    print("RESULT", json.dumps(told), flush=True)  # noqa: T201
    bench.close()


if __name__ == "__main__":
    main()
