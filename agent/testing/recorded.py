"""A folder of `evidock device record` as a volume again: so that what a device did in the field is done in a test.

    recorded = lay_out(Path("tests/vectors/riverton-17"), tmp_path / "dock")
    async with running(UsbVolume(...), desk): ...

Each file has its length, its time and the skeleton of its beginning; the rest is a hole, so that a card of 256 GB costs
nothing.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["lay_out"]


def lay_out(folder: Path, volume: Path) -> dict[str, Any]:
    """Make the files of what was recorded below `volume`; what `recorded.json` says."""
    told: dict[str, Any] = json.loads((folder / "recorded.json").read_text("utf-8"))
    heads = {one["key"]: folder / one["head"] for one in told["captures"] if one["head"]}
    listed = [one for driver in told["drivers"].values() for there in driver["volumes"] for one in there["listed"]]
    for one in listed:
        path = volume / unquote(one["path"])
        if volume.resolve() not in path.resolve().parents:
            raise ValueError(f"{one['path']} leads out of the volume")
        if one["kind"] == "folder":
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            if (head := heads.get(one["path"])) is not None:
                file.write(head.read_bytes()[: one["length"]])
            elif "text" in one:
                file.write(one["text"].encode()[: one["length"]])
            file.truncate(one["length"])
    for one in reversed(listed):  # folders last: a file that is made changes the time of its folder
        path = volume / unquote(one["path"])
        os.utime(path, ns=(int(one["mtime_ns"]), int(one["mtime_ns"])))
    return told
