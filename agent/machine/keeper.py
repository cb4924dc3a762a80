"""Who keeps this machine's clock right, from where, and how far it is off: chrony, timesyncd, or another daemon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

__all__ = ["Keeper", "chrony", "keeper", "of_chrony", "of_timesyncd"]

_PATIENCE: Final = 5.0
_OTHERS: Final = ("ntpd", "ptp4l", "phc2sys", "gpsd", "openntpd", "vmtoolsd")
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Keeper:
    """The program that steers the clock."""

    program: str
    source: str | None = None
    """A server, a receiver; None where it has none, or does not say."""
    stratum: int | None = None
    off: float | None = None
    """Seconds between the system's clock and the source, either way, as the program last measured."""
    synced_at: datetime | None = None
    """When it last set the clock by a measurement, where it says so."""


def keeper() -> Keeper | None:
    """Ask; None where nobody seems to keep the clock."""
    if (found := chrony()) is not None:
        return found
    if (told := _said("timedatectl", "timesync-status")) and (found := of_timesyncd(told)):
        return found
    names = {_name(path) for path in Path("/proc").glob("[0-9]*/comm")}
    return next((Keeper(name) for name in ("chronyd", "systemd-timesyn", *_OTHERS) if name in names), None)


def chrony(*options: str) -> Keeper | None:
    """Ask chronyd; None where there is none, or it does not answer. Blocks for five seconds at most."""
    told = _said("chronyc", "-n", "-c", *options, "tracking")
    return of_chrony(told) if told else None


def of_chrony(told: str) -> Keeper | None:
    """A line of `chronyc -c tracking`: reference id, its address, stratum, reference time, how far the clock is off."""
    fields = told.strip().split(",")
    try:
        stratum, off = int(fields[2]), abs(float(fields[4]))
    except (ValueError, IndexError):
        return None
    source = fields[1] or fields[0]
    return Keeper("chronyd", source, stratum, off, _moment(fields[3])) if stratum else Keeper("chronyd")


def _moment(text: str) -> datetime | None:
    """Seconds since 1970 as chronyc writes them; None for a time that nobody can mean."""
    try:
        return datetime.fromtimestamp(float(text), UTC) if float(text) > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def of_timesyncd(told: str) -> Keeper | None:
    """What `timedatectl timesync-status` prints, in the locale C."""
    said = dict(re.findall(r"^\s*([A-Za-z ]+): (.*)$", told, re.MULTILINE))
    if "Server" not in said:
        return None
    stratum = said.get("Stratum", "")
    offset = re.fullmatch(r"([+-]?[0-9.]+)(s|ms|us|ns)", said.get("Offset", ""))
    return Keeper(
        "systemd-timesyncd",
        said["Server"],
        int(stratum) if stratum.isdigit() else None,
        None if offset is None else abs(float(offset[1])) * _SECONDS[offset[2]],
    )


def _said(*words: str) -> str | None:
    program = shutil.which(words[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - words are ours
            [program, *words[1:]],
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _name(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
