"""The USB tree as the kernel sees it, and which port is which bay of the dock.

Read from /sys alone, without rights. Every word is the device's own, and bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyudev

from agent.capture import printable

__all__ = ["Lines", "UsbDevice", "bays", "serial_lines", "usb_tree"]

_SYS: Final = Path("/sys")
_WORD_MAX: Final = 64
_STORAGE: Final = "08"
"""Interface class of mass storage (usb.org/defined-class-codes)."""
_SLOW: Final = 12.0
"""Mbit/s of USB 1.1: what is made for more and runs with this has a bad cable, contact or hub."""


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """One device, or hub, in one port."""

    port: str
    """As the kernel counts: `1-2.4` is the fourth port of the hub in the second port of bus 1."""
    ids: str
    name: str
    serial: str | None
    speed: float
    """Mbit/s."""
    hub: bool
    storage: bool
    trouble: str | None = None

    @property
    def depth(self) -> int:
        """How many hubs are between it and the machine."""
        return self.port.count(".")


def usb_tree(sys: Path = _SYS) -> list[UsbDevice]:
    """Every device that is plugged in, hubs too, in the order of the ports. Root hubs are left out."""
    found = [
        _device(path)
        for path in (sys / "bus" / "usb" / "devices").glob("*-*")
        if re.fullmatch(r"\d+-\d+(\.\d+)*", path.name)
    ]
    return sorted(filter(None, found), key=lambda one: [int(number) for number in re.findall(r"\d+", one.port)])


def _device(path: Path) -> UsbDevice | None:
    vendor, product = _word(path / "idVendor"), _word(path / "idProduct")
    if not vendor or not product:
        return None
    classes = {_word(inner / "bInterfaceClass") for inner in path.glob(f"{path.name}:*")}
    speed, hub, storage = _word(path / "speed"), _word(path / "bDeviceClass") == "09", _STORAGE in classes
    mbit = float(speed) if re.fullmatch(r"[0-9.]{1,8}", speed) else 0.0
    trouble = None
    if _word(path / "authorized") == "0":
        trouble = "this station does not permit it (usbguard, or `authorized` in /sys)"
    elif storage and 0 < mbit <= _SLOW:
        trouble = f"it runs with {mbit:g} Mbit/s only: look at cable, contacts and hub"
    elif not classes and not hub:
        trouble = "it is plugged in and has no interface: it was not set up"
    return UsbDevice(
        port=path.name,
        ids=f"{vendor}:{product}",
        name=" ".join(filter(None, (_word(path / "manufacturer"), _word(path / "product")))) or "?",
        serial=_word(path / "serial") or None,
        speed=mbit,
        hub=hub,
        storage=storage,
        trouble=trouble,
    )


def bays() -> dict[str, str]:
    """Which USB port is which bay: what udev's rules for bays say of what is plugged in there now."""
    found: dict[str, str] = {}
    try:
        for subsystem in ("block", "tty"):
            for device in pyudev.Context().list_devices(subsystem=subsystem):
                bay, usb = device.properties.get("EVIDOCK_BAY"), device.find_parent("usb", "usb_device")
                if bay and usb is not None:
                    found[str(usb.sys_name)] = printable(bay)[:_WORD_MAX]
    except (ImportError, OSError):
        return found  # a machine without udev has no bays by name
    return found


Lines = dict[str, str]
"""Stable name of a serial line -> its node, such as `/dev/ttyUSB0`."""


def serial_lines(dev: Path = Path("/dev")) -> Lines:
    """The serial lines that udev names: by bay where a rule says so, else by what they are."""
    found: Lines = {}
    for folder in (dev / "evidock" / "serial", dev / "serial" / "by-id", dev / "serial" / "by-path"):
        for link in sorted(folder.glob("*")):
            node = str(link.resolve())
            if node not in found.values():
                found[str(link)] = node
    return found


def _word(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return printable(file.read(256)).replace("%0A", "").strip()[:_WORD_MAX]
    except OSError:
        return ""
