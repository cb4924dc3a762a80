"""Be a device of a car by hand: `python -m drivers.in_car.emulator gnss PATH LOG`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from drivers.in_car.emulator.line import Line
from drivers.in_car.emulator.receiver import Receiver, logged


async def gnss(arguments: argparse.Namespace) -> None:
    """Say a recorded log, again and again."""
    log = logged(arguments.log.read_bytes())
    with Line(arguments.path, baud=arguments.baud, wire=arguments.wire) as line:
        sys.stdout.write(f"{line.path}\n")
        sys.stdout.flush()
        await Receiver(line, log, pause=arguments.pause).speak(again=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(required=True)
    receiver = kinds.add_parser("gnss", help="a GNSS receiver")
    receiver.add_argument("path", type=Path, help="where its line appears")
    receiver.add_argument("log", type=Path, help="what a real one sent")
    receiver.add_argument("--baud", type=int, help="its speed; left out, any")
    receiver.add_argument("--pause", type=float, default=0.06, help="seconds between two portions of 64 bytes")
    receiver.add_argument("--wire", default="", help="what goes wrong: see the module `line`")
    receiver.set_defaults(run=gnss)
    arguments = parser.parse_args()
    asyncio.run(arguments.run(arguments))


if __name__ == "__main__":
    main()
