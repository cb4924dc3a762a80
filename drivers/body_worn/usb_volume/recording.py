"""Everything that lies on a volume, by names and sizes alone: for `evidock device record`, where no layout may fit."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from agent.capture import printable
from agent.descent import FOLDER, KINDS, open_at
from firmware_specs.devices import device_specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.capture import Json
    from drivers.body_worn.usb_volume.volume import Volume

__all__ = ["recorded"]

LISTED_MAX: Final = 5000
DEPTH_MAX: Final = 16
TEXT_MAX: Final = 4096


def recorded(volume: Volume) -> dict[str, Json]:
    """What the volume stands on, and what lies on it. Blocks. Raises as `Volume.root` does, and `OSError`."""
    mount, block = volume.ground.mount, volume.ground.block
    usb = block.usb if block else None
    told: dict[str, Json] = {
        "file_system": mount.file_system if mount else "folder",
        "shifts_times": bool(mount and mount.shifts_times),
        "usb": usb.ids if usb else None,
        "usb_has_serial": bool(usb and usb.serial),
        "has_uuid": bool(block and block.uuid),
        "part": bool(block and block.part),
    }
    with volume.root() as root:
        found = list(_below(root, "", 0, [LISTED_MAX]))
    texts = {
        text.path for spec in device_specs().values() for text in (spec.serial, spec.firmware, spec.battery) if text
    }
    for one in found:
        if one["path"] in texts and (head := volume.head(str(one["path"]), TEXT_MAX)):
            one["text"] = head.decode("utf-8", "replace")
    return {**told, "listed": [dict(one) for one in found], "more": len(found) >= LISTED_MAX}


def _below(folder: int, prefix: str, depth: int, left: list[int]) -> Iterator[dict[str, Json]]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, left[0]))  # one that loops has no end
    for name in names:
        if left[0] <= 0 or depth > DEPTH_MAX:
            return
        left[0] -= 1
        path = prefix + printable(os.fsencode(name))
        try:
            what = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        is_folder, is_file = stat.S_ISDIR(what.st_mode), stat.S_ISREG(what.st_mode)
        kind = "folder" if is_folder else "file" if is_file else KINDS.get(stat.S_IFMT(what.st_mode), "something else")
        yield {"path": path, "kind": kind, "length": what.st_size, "mtime_ns": str(what.st_mtime_ns)}
        if is_folder:
            with suppress(OSError):
                inner = open_at(os.fsencode(name), FOLDER, folder)
                try:
                    yield from _below(inner, f"{path}/", depth + 1, left)
                finally:
                    os.close(inner)
