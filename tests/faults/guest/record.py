"""In a machine: a station's life on a disk that records each write, with its promises marked in the record.

    python -m tests.faults.guest.record FILE_SYSTEM SEED CAPTURES PORT

/dev/ubda: an empty file system; /dev/ubdb: the record. /mnt/out gets what the camera ever held and what the DEMS has.
Of several lives all but the last end by SIGKILL, so that the record has recoveries in it, too.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from agent.testing.cameras import CameraFolder
from agent.testing.dems.options import DemsOptions
from tests.faults.guest.bench import Bench, empty, recording, until
from tests.faults.guest.mapper import Marks, create, sectors

OUT, TOP = Path("/mnt/out"), Path("/mnt/d")
LIVES = 4


def main() -> None:
    """Record it."""
    file_system, seed, captures, port = sys.argv[1], *map(int, sys.argv[2:5])
    chance = Random(seed)
    node = create("lw", f"0 {sectors('/dev/ubda')} log-writes /dev/ubda /dev/ubdb")
    TOP.mkdir()
    subprocess.run(["mount", "-t", file_system, node, str(TOP)], check=True)
    camera = CameraFolder(Path("/mnt/camera"))
    words, read_back = OUT / "daemon.log", chance.random() < 0.5
    options = DemsOptions(folder=Path("/mnt/dems"), port=port)
    bench = Bench(TOP / "station", options, [camera.driver()], words=words, read_back=read_back)
    (OUT / "camera").mkdir()
    marks = Marks("lw")
    marks.put("start")
    for life in range(LIVES):
        pid = bench.start(marks.put)
        for _ in range(captures // LIVES):
            key = camera.record(data := recording(chance))
            (OUT / "camera" / Path(key).name).write_bytes(data)
            time.sleep(chance.expovariate(20))
        if life < LIVES - 1:
            time.sleep(chance.uniform(0, 0.5))
            bench.end(pid)
    assert until(lambda: empty(camera), 120), bench.words.read_text()[-4000:]
    assert bench.end(pid, signal.SIGTERM) == 0
    marks.put("end")
    (OUT / "arrived.json").write_text(json.dumps(bench.arrived()))
    bench.close()
    ever = [[one.device, one.key, one.sha256.hex()] for one in camera.ever()]
    (OUT / "ever.json").write_text(json.dumps(ever))
    shutil.copytree("/mnt/dems", OUT / "dems")
    subprocess.run(["umount", str(TOP)], check=True)


if __name__ == "__main__":
    main()
