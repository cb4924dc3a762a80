"""Be a device of a car by hand: `python -m drivers.in_car.emulator gnss PATH LOG`, or `dock PATH`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from drivers.in_car.emulator.dock import Dock
from drivers.in_car.emulator.line import Line
from drivers.in_car.emulator.receiver import Receiver, logged


async def gnss(arguments: argparse.Namespace) -> None:
    """Say a recorded log, again and again."""
    log = logged(arguments.log.read_bytes())
    with Line(arguments.path, baud=arguments.baud, wire=arguments.wire) as line:
        sys.stdout.write(f"{line.path}\n")
        sys.stdout.flush()
        await Receiver(line, log, pause=arguments.pause).speak(again=True)


async def dock(arguments: argparse.Namespace) -> None:
    """Answer as a trigger dock; each line of input names the inputs that are on."""
    with Line(arguments.path, wire=arguments.wire) as line:
        sys.stdout.write(f"{line.path}: name the inputs that are on: ignition light_bar aux\n")
        sys.stdout.flush()
        made = Dock(line)
        serving = asyncio.create_task(made.serve())
        while words := await asyncio.to_thread(sys.stdin.readline):
            on = set(words.split())
            made.set(ignition="ignition" in on, light_bar="light_bar" in on, aux="aux" in on)
        serving.cancel()


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
    trigger = kinds.add_parser("dock", help="a trigger dock")
    trigger.add_argument("path", type=Path, help="where its line appears")
    trigger.add_argument("--wire", default="", help="what goes wrong: see the module `line`")
    trigger.set_defaults(run=dock)
    arguments = parser.parse_args()
    asyncio.run(arguments.run(arguments))


if __name__ == "__main__":
    main()
