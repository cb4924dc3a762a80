"""The disk below a folder: what the kernel and the file system have counted of its errors.

No rights are needed: `/proc/self/mountinfo` names the file system, `/sys` its block devices and their counters. What
the disk says of itself (SMART) is asked for in `agent.machine.smart`, which needs root.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Disk", "Ground", "ground_of"]

_SYS: Final = Path("/sys")
_MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Disk:
    """One physical disk, as far as the machine shows it."""

    name: str
    """Such as `sda`, `nvme0n1`, `mmcblk0`."""
    model: str
    troubles: tuple[str, ...] = ()
    """What was counted against it, each a clause."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a folder stands on."""

    file_system: str
    """Such as `ext4`."""
    read_only: bool
    disks: tuple[Disk, ...]
    """None where the file system has no disk of this machine: a network, memory, a container's layer."""
    troubles: tuple[str, ...]
    """What the file system itself has counted."""


def ground_of(folder: Path, *, sys: Path = _SYS, mounts: Path = _MOUNTS) -> Ground:
    """Look at what is below this folder, which must be there. `sys` and `mounts` are where the kernel tells it."""
    number = folder.stat().st_dev
    major, minor = os.major(number), os.minor(number)
    kind, options, source = _mounted(mounts, f"{major}:{minor}")
    blocks = _blocks(sys, f"{major}:{minor}") or _blocks_named(sys, source)
    disks = {disk.name: disk for block in blocks for disk in _disks_below(sys, block)}
    troubles = tuple(_file_system(sys, kind, [block.name for block in blocks]))
    return Ground(kind, "ro" in options, tuple(disks.values()), troubles)


def _mounted(mounts: Path, number: str) -> tuple[str, frozenset[str], str]:
    """(file system, options, source) of proc_pid_mountinfo(5); the last mount of this device counts."""
    found = ("unknown", frozenset[str](), "")
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return found
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, words = before.split(), after.split()
        if len(fields) > 5 and len(words) > 1 and fields[2] == number:  # noqa: PLR2004 - the fixed fields
            found = (words[0], frozenset(fields[5].split(",")), words[1])
    return found


def _blocks(sys: Path, number: str) -> list[Path]:
    place = sys / "dev" / "block" / number
    return [place.resolve()] if place.exists() else []


def _blocks_named(sys: Path, source: str) -> list[Path]:
    """A btrfs has a device number of its own for each volume: then the mount's source names the block device."""
    place = sys / "class" / "block" / os.path.basename(source)  # noqa: PTH119 - a device node's name, not a file's
    return [place.resolve()] if source.startswith("/dev/") and place.exists() else []


def _disks_below(sys: Path, block: Path) -> Iterator[Disk]:
    """The whole disks that a partition, a mapping or an array stands on."""
    slaves = sorted((block / "slaves").glob("*"))
    if slaves:
        for slave in slaves:
            yield from _disks_below(sys, slave.resolve())
        return
    whole = block.parent if (block / "partition").exists() else block
    yield Disk(
        whole.name, _word(whole / "device" / "model") or _word(whole / "device" / "name"), tuple(_counted(whole))
    )


def _counted(disk: Path) -> Iterator[str]:
    # SCSI and SATA: commands that ended in an error (Documentation/scsi: ioerr_cnt); hexadecimal.
    errors = _word(disk / "device" / "ioerr_cnt")
    if re.fullmatch(r"0x[0-9a-f]+", errors) and int(errors, 16) > _SCSI_NOISE:
        yield f"{int(errors, 16)} commands to it failed since the machine was started"
    # eMMC (JESD84-B51, DEVICE_LIFE_TIME_EST_TYP_A/B, PRE_EOL_INFO): 0x0b is beyond the estimated life.
    for text in _word(disk / "device" / "life_time").split():
        if _hex(text) >= _EMMC_OLD:
            yield f"its memory has used up {min(100, (_hex(text)) * 10)} % or more of its estimated life"
            break
    if _hex(_word(disk / "device" / "pre_eol_info")) >= 2:  # noqa: PLR2004 - 2: warning, 3: urgent
        yield "its spare blocks are nearly used up"
    state = _word(disk / "device" / "state")
    if state and state not in ("running", "live"):
        yield f"the kernel calls it {state}"
    degraded = _word(disk / "md" / "degraded")
    if degraded not in ("", "0"):
        yield f"{degraded} disks of this array are missing"


_SCSI_NOISE: Final = 20
"""Failed commands that mean nothing: optional questions that a disk does not know are counted too."""
_EMMC_OLD: Final = 9


def _file_system(sys: Path, kind: str, names: list[str]) -> Iterator[str]:
    for name in names:
        if kind in ("ext4", "ext3", "ext2"):
            errors = _word(sys / "fs" / "ext4" / name / "errors_count")
            if errors not in ("", "0"):
                yield f"{kind} has noted {errors} errors in itself on {name}"
    if kind == "btrfs":
        for stats in sorted((sys / "fs" / "btrfs").glob("*/devinfo/*/error_stats")):
            counted = dict(line.split() for line in _word(stats).splitlines() if len(line.split()) == 2)  # noqa: PLR2004
            if wrong := [f"{name} {count}" for name, count in counted.items() if count != "0"]:
                yield f"btrfs has counted errors: {', '.join(wrong)}"


def _word(path: Path) -> str:
    """A small file of /sys; nothing where it is not there or may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0
