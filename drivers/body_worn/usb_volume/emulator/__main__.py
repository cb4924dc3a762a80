"""Play with an emulated camera by hand: `python -m drivers.body_worn.usb_volume.emulator MOUNT [FILE...]`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.body_worn.usb_volume.emulator.card import VolumeEmulator

if TYPE_CHECKING:
    from collections.abc import Iterable


def main(words: Iterable[str] | None = None) -> None:
    """Play with a camera by hand."""
    parser = argparse.ArgumentParser(description="A body-worn camera made of a folder.")
    parser.add_argument("mount", type=Path, help="where the volume appears")
    parser.add_argument("file", type=Path, nargs="*", help="recordings to put on it")
    asked = parser.parse_args(None if words is None else list(words))
    camera = VolumeEmulator(asked.mount.absolute())
    for file in asked.file:
        camera.add(file)
    try:
        while True:
            camera.plug()
            input(f"plugged in at {camera.mount} with {len(camera.captures())} captures; Enter pulls it ")
            camera.pull()
            input(f"pulled, with {len(camera.captures())} captures; Enter plugs it in ")
    except (EOFError, KeyboardInterrupt):
        camera.pull()


if __name__ == "__main__":
    main()
