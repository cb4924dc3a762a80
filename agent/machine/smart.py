"""What a disk says of itself, by `smartctl` (smartmontools) where that is installed and may open the disk (root)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from agent.capture import printable

__all__ = ["Silent", "Smart", "asked", "read"]

_PATIENCE: Final = 20.0
_PLACES: Final = f"{os.defpath}:/usr/sbin:/sbin"
_SAID: Final = 200
"""Characters of its words that are repeated."""
_WORN: Final = 90
"""Percent of the writes that an NVMe disk was made for."""
_LOST: Final = {5: "sectors were replaced", 197: "sectors wait to be replaced", 198: "sectors cannot be read"}
"""ATA attributes whose raw value counts what is lost (5 Reallocated, 197 Pending, 198 Offline Uncorrectable)."""


@dataclass(frozen=True, slots=True)
class Smart:
    """The disk's word."""

    healthy: bool | None
    """None: it does not say."""
    troubles: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Silent:
    """Nobody knows what the disk would say."""

    why: str
    todo: str | None = None
    """What a person does so that it can be asked; None: it has nothing to say, as many a virtual disk."""


def asked(disk: str) -> Smart | Silent:
    """Ask the disk of this name, such as `sda`."""
    program = shutil.which("smartctl", path=f"{os.environ.get('PATH', '')}:{_PLACES}")
    if program is None:
        return Silent("smartctl is not installed", "apt install smartmontools, then: sudo evidock check.")
    words = [program, "--json", "--health", "--attributes", "--nocheck=standby", f"/dev/{disk}"]
    try:
        done = subprocess.run(  # noqa: S603 - the name is the kernel's
            words, capture_output=True, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return Silent("smartctl gave no answer", f"Try it by hand: smartctl --health /dev/{disk}.")
    return read(done.stdout)


def read(answer: bytes) -> Smart | Silent:
    """Understand what `smartctl --json` printed."""
    try:
        told = json.loads(answer)
        said = [str(one.get("string", "")) for one in told.get("smartctl", {}).get("messages", [])]
        status = told.get("smart_status")
        if not isinstance(status, dict):
            refused = any("denied" in one.lower() or "permission" in one.lower() for one in said)
            if refused:
                return Silent("only root may ask it", "Run this as root: sudo evidock check.")
            return Silent(printable(said[0][:_SAID]) if said else "smartctl found nothing that it could tell")
        return Smart(bool(status.get("passed")), tuple(_troubles(told)), tuple(_facts(told)))
    except (ValueError, TypeError, AttributeError, KeyError):
        return Silent("smartctl said something that is not understood", "Try it by hand: smartctl --health.")


def _troubles(told: dict[str, Any]) -> list[str]:
    found = []
    if told["smart_status"].get("passed") is False:
        found.append("it says itself that it is failing")
    for one in told.get("ata_smart_attributes", {}).get("table", []):
        if one.get("when_failed") == "now":
            found.append(f"{one['name']} is below its threshold")
        elif one.get("id") in _LOST and one["raw"]["value"] > 0:
            found.append(f"{one['raw']['value']} {_LOST[one['id']]}")
    log = told.get("nvme_smart_health_information_log", {})
    if log.get("critical_warning"):
        found.append(f"it warns of itself (critical warning {log['critical_warning']:#x})")
    if log.get("percentage_used", 0) >= _WORN:
        found.append(f"{log['percentage_used']} % of the writes that it was made for are used up")
    if log.get("media_errors"):
        found.append(f"{log['media_errors']} errors of its memory")
    if log.get("available_spare", 100) <= log.get("available_spare_threshold", -1):
        found.append("its spare blocks are nearly used up")
    return found


def _facts(told: dict[str, Any]) -> list[str]:
    facts = []
    if "temperature" in told:
        facts.append(f"{told['temperature'].get('current')} °C")
    if "power_on_time" in told:
        facts.append(f"{told['power_on_time'].get('hours')} h in use")
    return facts
