"""Mutation without a guide: the inputs that the guided fuzzer kept, bent again and again, some ten times as fast.

    python -m tests.formats.havoc NAME FOLDER --count N --seconds S --seed N

FOLDER holds the inputs to begin with. Prints how many were read. An input that is no value and no `SpecError`, takes
more than ten seconds of the processor or more than a gigabyte is left in FOLDER/../broke-NAME and ends the run with 1.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import time
import traceback
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from tests.formats.parsers import PARSERS

if TYPE_CHECKING:
    from types import FrameType

SECONDS_MAX = 10
"""Of the processor, for one input."""
MEMORY_MAX = 1 << 30
BATCH = 256
"""Inputs between two looks at the clock."""
EDGES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
"""Where numbers turn over."""


class Slow(Exception):
    """One input took more than its time."""


def bend(kept: list[bytes], shares: list[float], draw: random.Random, longest: int) -> bytes:
    """One of the inputs by their running `shares`, changed at one to eight places; at most `longest` bytes."""
    data = bytearray(draw.choices(kept, cum_weights=shares)[0])
    for _ in range(1 << int(draw.random() * 4)):
        size = len(data)
        at = int(draw.random() * (size + 1))
        match int(draw.random() * 32):
            case kind if kind < 9 and at < size:
                data[at] = int(draw.random() * 256)
            case kind if kind < 13 and at < size:
                data[at] ^= 1 << int(draw.random() * 8)
            case kind if kind < 19:
                width = 1 << int(draw.random() * 4)
                number = EDGES[int(draw.random() * len(EDGES))] & ((1 << 8 * width) - 1)
                data[at : at + width] = number.to_bytes(width, "big" if draw.random() < 0.5 else "little")
            case kind if kind < 23:
                del data[at : at + 1 + int(draw.random() * 32)]
            case kind if kind < 27:
                data[at:at] = data[at : at + 1 + int(draw.random() * 32)]
            case 27:
                del data[at:]
            case _:
                other = kept[int(draw.random() * len(kept))]
                begin = int(draw.random() * (len(other) + 1))
                data[at : at + 64] = other[begin : begin + 1 + int(draw.random() * 64)]
    return bytes(data[:longest])


def main() -> int:
    """Bend inputs until there were enough, or the time is over."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("name", choices=list(PARSERS))
    asked.add_argument("folder", type=Path)
    asked.add_argument("--count", type=int, required=True)
    asked.add_argument("--seconds", type=float, required=True)
    asked.add_argument("--seed", type=int, default=1)
    wanted = asked.parse_args()
    parser, draw, done = PARSERS[wanted.name], random.Random(wanted.seed), 0
    kept = [path.read_bytes() for path in sorted(wanted.folder.iterdir())]
    shares = list(accumulate(1 / (64 + len(one)) for one in kept))  # as much time for each: short ones are read faster
    longest = max(4096, *(len(one) for one in kept))
    ends, at_last_tick = time.monotonic() + wanted.seconds, -1

    def tick(_number: int, _frame: FrameType | None) -> None:
        nonlocal at_last_tick
        if at_last_tick == done:
            signal.setitimer(signal.ITIMER_PROF, 0)
            raise Slow(f"more than {SECONDS_MAX} s")
        at_last_tick = done

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))
    signal.signal(signal.SIGPROF, tick)
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX, SECONDS_MAX)
    data = b""
    try:
        while done < wanted.count and time.monotonic() < ends:
            for _ in range(min(BATCH, wanted.count - done)):
                data = bend(kept, shares, draw, longest)
                parser.accepts(data)
                done += 1
    except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
        traceback.print_exc()
        (wanted.folder.parent / f"broke-{wanted.folder.name}").write_bytes(data)
        return 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(f"{done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
