"""Send films to a content destination: `python -m drivers.body_worn.axis_dock.emulator CONNECTION FILM ...`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from drivers.body_worn.axis_dock.emulator.controller import Controller
from drivers.body_worn.axis_dock.emulator.recording import Bookmark, Recording


async def send(arguments: argparse.Namespace) -> int:
    """Send one recording whose clips are these files; 0 where everything was taken."""
    connection = json.loads(arguments.connection.read_text())
    now = datetime.now(UTC).replace(microsecond=0)
    recording = Recording(
        serial=arguments.serial,
        began_at=now,
        clips=[
            (f"{now:%Y%m%d_%H%M%S}_{n:04X}{film.suffix}", film.read_bytes()) for n, film in enumerate(arguments.film)
        ],
        bookmarks=[Bookmark("5", "Traffic", arguments.note, now)] if arguments.note else [],
        container_type=connection.get("ContainerType", "mkv"),
    )
    async with Controller(connection, wire=arguments.wire, pause=1.0) as controller:
        await controller.connect()
        await controller.user(recording.user, "Sgt Émilie O'Neil", "4471")
        await controller.device(recording.serial, "BWC-01")
        await controller.send(recording)
    for method, path, status in controller.said:
        sys.stdout.write(f"{status or 'lost'} {method} {path}\n")
    return 1 if controller.rejected else 0


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("connection", type=Path, help="the file that `evidock device enrol` wrote")
    parser.add_argument("film", type=Path, nargs="+", help="the clips of one recording")
    parser.add_argument("--serial", default="B8A44F000001", help="of the camera")
    parser.add_argument("--note", default="", help="text of a bookmark")
    parser.add_argument("--wire", default="", help="what goes wrong: see the module `controller`")
    sys.exit(asyncio.run(send(parser.parse_args())))


if __name__ == "__main__":
    main()
