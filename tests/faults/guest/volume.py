"""In a machine: a camera's FAT volume while a station lets it forget, with each write recorded; then each power cut.

    python -m tests.faults.guest.volume SEED CLIPS MOST

/dev/ubda: an empty FAT; /dev/ubdb: the record; /dev/ubdc: the same empty FAT once more, on which the cuts are made. The
state after a cut is read by the kernel's own FAT, read-only.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from agent.testing.cameras import CameraFolder
from agent.testing.dems.options import DemsOptions
from tests.faults.form import time_is_over
from tests.faults.guest.bench import Bench, empty, until
from tests.faults.guest.mapper import Marks, create, remove, sectors
from tests.faults.logwrites import Record
from tests.faults.mounting import READ_ONLY, mount, unmount
from tests.faults.replaying import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable

OUT, TOP = Path("/mnt/out"), Path("/mnt/camera")
OPTIONS = "iocharset=iso8859-1,tz=UTC"
CLIPS = Path("DCIM/100MEDIA")


def record(seed: int, clips: int) -> dict[str, str]:
    """Let a station take everything, send it, and have it forgotten; the SHA-256 of each clip."""
    chance = Random(seed)
    node = create("lw", f"0 {sectors('/dev/ubda')} log-writes /dev/ubda /dev/ubdb")
    TOP.mkdir()
    subprocess.run(["mount", "-t", "vfat", "-o", OPTIONS, node, str(TOP)], check=True)
    camera = CameraFolder(TOP)
    for _ in range(clips):
        camera.record(chance.randbytes(chance.randrange(1, 20_000)))
    subprocess.run(["umount", str(TOP)], check=True)
    with open(node, "rb") as volume:  # noqa: PTH123 - a device; unmounting FAT does not flush its cache
        os.fsync(volume.fileno())
    # As a station mounts it: to be read; only while it is told to forget may it be written to.
    subprocess.run(["mount", "-t", "vfat", "-o", f"ro,{OPTIONS}", node, str(TOP)], check=True)
    marks = Marks("lw")
    marks.put("start")
    words = OUT / "daemon.log"
    driver = camera.driver(must_be_mountpoint=True)
    bench = Bench(Path("/mnt/station"), DemsOptions(folder=Path("/mnt/dems")), [driver], words=words)
    pid = bench.start(marks.put)
    assert until(lambda: empty(camera), 300), words.read_text()[-4000:]
    assert bench.end(pid, signal.SIGTERM) == 0
    marks.put("end")
    assert not (wrong := bench.wrong([camera])), wrong
    bench.close()
    subprocess.run(["umount", str(TOP)], check=True)
    remove("lw")  # its end is written now
    return {one.key: one.sha256.hex() for one in camera.ever()}


def replay(ever: dict[str, str], seed: int, most: int) -> None:
    """Look at the volume as each cut leaves it."""
    log, cuts = Record(Path("/dev/ubdb")), Recorded(OUT, "vfat").cuts(seed, most, log=Path("/dev/ubdb"))
    disk = os.open("/dev/ubdc", os.O_RDWR)
    forget, gone, done, half = set[str](), set[str](), 0, 0
    looked = 0
    for cut in cuts:
        if time_is_over():
            break
        looked += 1
        for entry in log.entries[done : cut.entry]:
            log.apply(entry, disk)
        log.apply(log.entries[cut.entry], disk, cut.share)
        after = cut.entry + 1
        while cut.share == 1.0 and after < len(log.entries) and not log.entries[after].length:
            after += 1
        # What was asked before the next write may have been begun; what was answered before this point must last.
        for entry in log.entries[:after]:
            word, _, name = (entry.mark or "").partition("-")
            (forget if word == "forget" else gone if word == "gone" else set()).add(name)
        mount("/dev/ubdc", "vfat", TOP, READ_ONLY, OPTIONS)
        try:
            there = dict(_found())
        finally:
            unmount(TOP)
        wrong, halves = _judged(there, ever, forget, gone)
        half += halves
        if wrong:
            print("WRONG", json.dumps([cut.entry, cut.share, wrong[:5]]), flush=True)  # noqa: T201
        done = cut.entry if cut.share < 1.0 else cut.entry + 1
    print("LOOKED", json.dumps({"points": looked, "half": half, "clips": len(ever)}), flush=True)  # noqa: T201


def _judged(there: dict[str, str], ever: dict[str, str], forget: set[str], gone: set[str]) -> tuple[list[str], int]:
    """What is wrong; and how many are half there while they are being forgotten."""
    wrong, half = [f"{key} came back" for key in there if Path(key).stem in gone], 0
    for key, sha256 in ever.items():
        if there.get(key) == sha256:
            continue
        if Path(key).stem not in forget:
            wrong.append(f"{key} is {'hurt' if key in there else 'gone'}, and nobody told the camera to forget it")
        elif key in there:
            half += 1
    return wrong, half


def _found() -> Iterable[tuple[str, str]]:
    try:
        names = os.listdir(TOP / CLIPS)  # noqa: PTH208 - twice as fast here
    except OSError:
        return
    for name in names:
        try:
            yield str(CLIPS / name), hashlib.sha256((TOP / CLIPS / name).read_bytes()).hexdigest()
        except OSError:
            yield str(CLIPS / name), "unreadable"


if __name__ == "__main__":
    seed_, clips_, most_ = map(int, sys.argv[1:4])
    replay(record(seed_, clips_), seed_, most_)
