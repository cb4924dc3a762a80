"""The machine itself: its disk, its clock, what is plugged into it, and whether it waits for an update."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.cli.asking import daemon_of
from agent.cli.check.lines import Lines, ok, problem, warning
from agent.cli.check.state import nearest
from agent.clock import EARLIEST, Clock
from agent.errors import AgentError
from agent.journal.entry import agent_version, build_digest
from agent.machine import smart
from agent.machine.disk import ground_of
from agent.machine.keeper import keeper
from agent.machine.usb import bays, serial_lines, usb_tree

if TYPE_CHECKING:
    from agent.config import Config
    from agent.machine.disk import Disk

__all__ = ["clock", "disks", "serial", "update", "usb"]

_REPLACE: Final = "Have this disk replaced before it fails; the devices still have what was not held."
_FAR: Final = 1.0
"""Seconds by which a clock that is kept may be off before someone should look."""


def disks(config: "Config") -> Lines:
    """The file system below the state folder, and each disk below that: the kernel's counters, and the disk's word."""
    try:
        ground = ground_of(nearest(config.station.state))
    except OSError as error:
        yield warning("disk", "disk", f"nothing can be told: {error.strerror}", "Run this as the daemon's user.")
        return
    if ground.read_only:
        todo = "The kernel mounts it so after an error: dmesg tells. Call the station's administrator."
        yield problem("disk", "file system", f"{ground.file_system} is mounted read-only", todo)
    elif ground.troubles:
        yield warning("disk", "file system", "; ".join(ground.troubles), f"Have it checked (fsck). {_REPLACE}")
    else:
        yield ok("disk", "file system", f"{ground.file_system}, no errors counted")
    if not ground.disks:
        yield ok("disk", "disk", f"{ground.file_system} stands on no disk of this machine")
    for disk in ground.disks:
        yield from _disk(disk)


def _disk(disk: "Disk") -> Lines:
    name = f"{disk.name} {disk.model}".strip()
    word = smart.asked(disk.name)
    troubles = (*disk.troubles, *(word.troubles if isinstance(word, smart.Smart) else ()))
    if troubles:
        say = problem if isinstance(word, smart.Smart) and word.healthy is False else warning
        yield say("disk", name, "; ".join(troubles), _REPLACE)
    else:
        yield ok("disk", name, "the kernel has counted no errors")
    if isinstance(word, smart.Smart):
        if not troubles:
            yield ok("disk", f"{name}: SMART", ", ".join(("it says that it is well", *word.facts)))
    elif word.todo is None:
        yield ok("disk", f"{name}: SMART", f"it tells nothing of itself: {word.why}")
    else:
        yield warning("disk", f"{name}: SMART", f"was not looked at: {word.why}", word.todo)


def clock() -> Lines:
    """Whether the kernel's clock is kept right, by whom, and how far it is off."""
    stamp, kept_by = Clock().stamp(), keeper()
    if stamp.at < EARLIEST:
        yield problem("clock", "clock", f"it is {stamp.at:%Y}", "Set the clock, and look at the station's battery.")
        return
    if not stamp.synchronised:
        by = "nothing keeps it right" if kept_by is None else f"{kept_by.program} does not keep it right yet"
        todo = "Let the station keep its time by NTP or GNSS; timedatectl tells how it does."
        yield warning("clock", "clock", f"{by}, and every entry of the journal says so", todo)
    else:
        yield ok("clock", "clock", f"kept right by the kernel to {(stamp.uncertainty_us or 0) / 1000:.1f} ms")
    if kept_by is None:
        return
    source = f"from {kept_by.source}" if kept_by.source else "from a source that it does not tell"
    stratum = "" if kept_by.stratum is None else f", stratum {kept_by.stratum}"
    off = "" if kept_by.off is None else f", off by {kept_by.off * 1000:.2f} ms when it last looked"
    detail = f"{kept_by.program} {source}{stratum}{off}"
    if kept_by.off is not None and kept_by.off > _FAR:
        todo = "Let it step to the right time (chronyc makestep), or look at the source."
        yield warning("clock", "time source", detail, todo)
    else:
        yield ok("clock", "time source", detail)


def usb() -> Lines:
    """Everything that is plugged in, by port, and the bay where udev's rules name one."""
    found, named = usb_tree(), bays()
    if not found:
        yield ok("usb", "USB", "nothing is plugged in, or this machine has no USB")
    for one in found:
        bay = next((f"{bay}: " for port, bay in named.items() if one.port == port), "")
        kind = "hub " if one.hub else ""
        serial_number = f", serial {one.serial}" if one.serial else ""
        detail = f"{'  ' * one.depth}{bay}{kind}{one.ids} {one.name}{serial_number}, {one.speed:g} Mbit/s"
        if one.trouble is None:
            yield ok("usb", one.port, detail)
        else:
            yield warning("usb", one.port, f"{detail}: {one.trouble}", "Plug it in anew, with another cable.")


def serial(config: "Config") -> Lines:
    """The serial lines that drivers name: there, and open to us; and those that nobody names."""
    lines = serial_lines()
    wanted = {str(path): str(table.get("name", "?")) for table in config.driver for path in _lines_of(table)}
    for path, name in wanted.items():
        if not Path(path).exists():
            todo = (
                "Is the adapter plugged in? Name it by /dev/evidock/serial/... or /dev/serial/by-id/..., not ttyUSB0."
            )
            yield problem("serial", path, f"the line of driver {name} is not there", todo)
        elif not os.access(path, os.R_OK | os.W_OK):
            todo = "Run this as the daemon's user, which is in the group dialout."
            yield warning("serial", path, f"you may not open the line of driver {name}", todo)
        else:
            yield ok("serial", path, f"the line of driver {name}")
    used = {str(Path(path).resolve()) for path in wanted}
    for link, node in lines.items():
        if node not in used:
            yield ok("serial", link, f"{node}, which no driver uses")
    if not lines and not wanted:
        yield ok("serial", "serial lines", "none is here, and no driver wants one")


def _lines_of(table: dict[str, Any]) -> list[str]:
    """Values of a driver's table that name a serial line: drivers differ in how they call it."""
    return [value for value in table.values() if isinstance(value, str) and value.startswith(("/dev/tty", *_NAMED))]


_NAMED: Final = ("/dev/serial/", "/dev/evidock/serial/", "/dev/pts/")


def update(config: "Config") -> Lines:
    """Whether the daemon runs what is installed, whether a newer package is known here, and whether a restart waits."""
    mine = agent_version()
    try:
        found = daemon_of(config)
        told = None if found is None else found.status()["version"]
    except AgentError:
        told = None
    if told is not None and told != mine:
        todo = "Restart the daemon when no copy is under way: systemctl restart evidock."
        yield warning("update", "version", f"the daemon is {told}, and {mine} is installed", todo)
    else:
        yield ok("update", "version", f"{mine}, build {build_digest()[:12]}")
    if (newer := _candidate()) is not None:
        yield warning("update", "package", f"version {newer} can be installed", "apt install evidock, at a quiet time.")
    if Path("/run/reboot-required").exists():
        todo = "Restart the station at a quiet time; copies and uploads go on where they were."
        yield warning("update", "restart", "an update of the system waits for a restart", todo)


def _candidate() -> str | None:
    """A newer package that apt already knows of; nothing is fetched."""
    program = shutil.which("apt-cache")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - words are ours
            [program, "policy", "evidock"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = dict(line.strip().split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    installed, candidate = said.get("Installed", "(none)"), said.get("Candidate", "(none)")
    return candidate if "(none)" not in (installed, candidate) and installed != candidate else None
