"""In a machine: a disk that reports failed writes for a moment and then success again, as if nothing had been lost.

    python -m tests.faults.guest.lying FILE_SYSTEM SEED ROUNDS

/dev/ubda: an empty file system. After each round the daemon is killed and the disk is copied as it is, with what had
been promised until then: what only memory knows is not in the copy. What ended is started again, as systemd would; a
file system that gave itself up is mounted anew.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random

from agent.testing.cameras import CameraFolder
from agent.testing.dems.options import DemsOptions
from tests.faults.form import time_is_over
from tests.faults.guest.bench import Bench, empty, recording, until
from tests.faults.guest.ill import TOP, room_for_bytes, table
from tests.faults.guest.mapper import create, prepare, sectors, take_up

OUT, PROMISES = Path("/mnt/out"), Path("/mnt/promises")
GIVEN_UP = (errno.EIO, errno.EROFS)
"""What a file system that has given itself up answers to everything."""
TRIES = 12
AGAIN = 0.3
"""How often what ended is started again while the disk still fails."""


def promise(text: str) -> None:
    """Note it where no fault reaches."""
    fd = os.open(PROMISES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, text.encode() + b"\n")
    os.close(fd)


def writable() -> bool:
    """Whether the file system still takes anything."""
    try:
        fd = os.open(TOP / "probe", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(fd, b"x" * 5000)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


class Complaints:
    """What the kernel says of a disk from now on (Linux, Documentation/ABI/testing/dev-kmsg)."""

    def __init__(self, node: str) -> None:
        self._name = Path(node).name.encode()
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def heard(self) -> bool:
        """Whether it said, since it was asked last, that something failed there."""
        said = False
        while True:
            try:
                line = os.read(self._fd, 8192)
            except BlockingIOError:
                return said
            except BrokenPipeError:  # it said more than it keeps; what comes next is there
                continue
            said = said or (self._name in line and b"error" in line)

    def close(self) -> None:
        """Hear no more."""
        os.close(self._fd)


class Station:
    """One on a disk that can be made to fail, with whoever would start it again."""

    def __init__(self, file_system: str, chance: Random) -> None:
        size = sectors("/dev/ubda")
        self._well = table([], size)
        self._node = create("fl", self._well)
        self._mount = ["mount", "-t", file_system, self._node, str(TOP)]
        TOP.mkdir()
        subprocess.run(self._mount, check=True)
        self._chance = chance
        # Where everything fails most file systems give themselves up, and are mounted anew: memory forgets. Where only
        # bytes of files fail they go on, and memory says what the disk does not have.
        self._ill = [table([(0, size)], size)]
        if file_system != "btrfs":  # whose addresses are not those of the disk
            self._ill += [table(room_for_bytes(), size)] * 3
        self.camera = CameraFolder(Path("/mnt/camera"))
        options, drivers = DemsOptions(folder=Path("/mnt/dems")), [self.camera.driver()]
        self.bench = Bench(TOP / "station", options, drivers, words=OUT / "daemon.log", read_back=chance.random() < 0.5)
        self.pid: int | None = None
        self.codes: list[int] = []
        self.remounts = 0

    def start(self) -> bool:
        """Whether one runs now: nothing can be started from a file system that has given itself up."""
        try:
            self.pid = self.pid or self.bench.start(promise)
        except OSError as error:
            if error.errno not in GIVEN_UP:
                raise
        return self.pid is not None

    def kill(self) -> None:
        if self.pid is not None:
            self.bench.end(self.pid)
            self.pid = None

    def ended(self) -> bool:
        """Notice it where it ended by itself."""
        if self.pid is not None and (code := self.bench.ended(self.pid)) is not None:
            self.codes.append(code)
            self.pid = None
        return self.pid is None

    def fail(self) -> None:
        """Let each write fail until the daemon has noticed, or for a moment that may be over before it does.

        It is given something to force, and the moment is counted from the first write that failed: what came before
        may have been forced and sent already.
        """
        prepare("fl", self._chance.choice(self._ill))
        with closing(Complaints(self._node)) as kernel:
            take_up("fl")
            prepare("fl", self._well)
            self.camera.record(recording(self._chance))
            assert until(lambda: self.ended() or kernel.heard(), 120), "nothing failed that was written"
        over = time.monotonic() + self._chance.choice((0.0, 0.02, 0.1, 0.5, 3.0))
        again = self._chance.random() < AGAIN
        while time.monotonic() < over and not (self.ended() and not again) and self.start():
            time.sleep(0.005)
        take_up("fl")

    def go_on(self) -> None:
        """As systemd and the machine's keeper would have it: ended is started, given up is mounted anew."""
        for _ in range(TRIES):
            self.ended()
            if not writable():
                self.kill()
                # The programs that a daemon started end by themselves, a moment after it.
                assert until(lambda: subprocess.run(["umount", str(TOP)], check=False).returncode == 0, 60)
                subprocess.run(self._mount, check=True)
                self.remounts += 1
            if not self.start():
                continue
            if until(lambda: self.ended() or empty(self.camera), self._chance.uniform(1, 6)) and self.pid is not None:
                return

    def copied(self, number: int) -> None:
        """Kill the daemon, and copy what the disk has now: not what memory has."""
        self.kill()
        copy = ["dd", "if=/dev/ubda", f"of={OUT / f'{number}.img'}", "bs=1M"]
        subprocess.run([*copy, "iflag=direct", "conv=sparse", "status=none"], check=True)
        told = {"promises": PROMISES.read_text().split(), "arrived": self.bench.arrived()}
        (OUT / f"{number}.json").write_text(json.dumps(told))

    def verified(self) -> list[str]:
        """Let everything arrive on a disk that is well, and say what is wrong."""
        self.camera.record(b"the last one")
        self.start()
        assert until(lambda: empty(self.camera), 120), (OUT / "daemon.log").read_text()[-4000:]
        assert self.bench.end(self.pid or 0, signal.SIGTERM) == 0
        return self.bench.wrong([self.camera])


def main() -> None:
    """Do the rounds."""
    chance = Random(int(sys.argv[2]))
    station = Station(sys.argv[1], chance)
    PROMISES.touch()
    done = noticed = 0
    for number in range(int(sys.argv[3])):
        if time_is_over():
            break
        done += 1
        station.start()
        for _ in range(chance.randrange(2, 6)):
            station.camera.record(recording(chance))
        time.sleep(chance.uniform(0, 0.7))
        before = len(station.codes), station.remounts
        station.fail()
        station.go_on()
        noticed += before != (len(station.codes), station.remounts)
        station.copied(number)
    wrong = station.verified()
    ever = [[one.device, one.key, one.sha256.hex()] for one in station.camera.ever()]
    (OUT / "ever.json").write_text(json.dumps(ever))
    promises = len(set(PROMISES.read_text().split()))
    station.bench.close()
    told = {
        "done": done,
        "noticed": noticed,
        "codes": station.codes,
        "remounts": station.remounts,
        "promises": promises,
        "wrong": wrong,
    }
    print("RESULT", json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
