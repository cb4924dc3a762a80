"""What udev knows of a block device: as what it is plugged in, and which file system it holds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyudev

from agent.capture import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Block", "Usb", "block_of", "usb_blocks"]

WORD_MAX = 64
"""Most characters that are kept of a word from a descriptor: it is the device's, and may be anything."""

NO_SERIALS = frozenset({"123456789ABC", "123456789ABCDEF", "0123456789ABCDEF", "1234567890", "123456789", "12345678"})
"""Serial numbers that makers leave in by mistake: many devices share them, so they identify none."""


@dataclass(frozen=True, slots=True)
class Usb:
    """What a USB device says in its descriptor."""

    vendor: str
    product: str
    serial: str | None
    port: str
    """Where it is plugged in, as the kernel counts: `1-2.4`."""
    maker: str | None
    model: str | None

    @property
    def ids(self) -> str:
        """`vendor:product`, as device specs name it."""
        return f"{self.vendor}:{self.product}"


@dataclass(frozen=True, slots=True)
class Block:
    """One block device with a file system."""

    major: int
    minor: int
    node: str
    usb: Usb | None
    part: str | None
    """Which volume of its device, where that has several (memory and card): unit and partition; None for the first."""
    uuid: str | None
    """The file system's. On FAT it is 32 bits made from the time of formatting: enough for the cards of one agency."""


def block_of(major: int, minor: int) -> Block | None:
    """What udev knows of this block device; None where it knows nothing, or is not there."""
    if major == 0:
        return None
    try:
        return _block(pyudev.Devices.from_device_number(pyudev.Context(), "block", os.makedev(major, minor)))
    except (pyudev.DeviceNotFoundError, ImportError, OSError):
        return None


def usb_blocks(wanted: Iterable[str]) -> Iterator[Block]:
    """Every block device that is plugged in under one of these `vendor:product` ids (`*` for any product)."""
    ids = frozenset(wanted)
    try:
        devices = pyudev.Context().list_devices(subsystem="block")
        for device in devices:
            found = _block(device)
            if found and found.usb and ids & {found.usb.ids, f"{found.usb.vendor}:*"}:
                yield found
    except (ImportError, OSError):
        return  # a machine without udev has nothing to be found through it


def _block(device: pyudev.Device) -> Block | None:
    if device.device_node is None:
        return None
    number: int = device.device_number
    return Block(
        major=os.major(number),
        minor=os.minor(number),
        node=str(device.device_node),
        usb=_usb(device.find_parent("usb", "usb_device")),
        part=_part(device),
        uuid=_word(device.properties.get("ID_FS_UUID")),
    )


def _part(device: pyudev.Device) -> str | None:
    # A camera with memory and a card shows two units under one serial number, each with a DCIM/100MEDIA/CLIP0001.MP4.
    unit = re.search(r"/\d+:\d+:\d+:(\d+)/block/", str(device.device_path))
    numbers = (unit[1] if unit else "0", _word(device.attributes.get("partition")) or "1")
    return None if numbers == ("0", "1") else f"unit{numbers[0]}-part{numbers[1]}"


def _usb(device: pyudev.Device | None) -> Usb | None:
    if device is None:
        return None
    # The attributes come from the kernel and are there without a running udevd; only the file system's UUID needs
    # udevd.
    said = {
        name: _word(device.attributes.get(name))
        for name in ("idVendor", "idProduct", "serial", "manufacturer", "product")
    }
    vendor, product = said["idVendor"], said["idProduct"]
    if vendor is None or product is None:
        return None
    serial = said["serial"]
    return Usb(
        vendor=vendor.lower(),
        product=product.lower(),
        serial=serial if serial and tells_apart(serial) else None,
        port=str(device.sys_name),
        maker=said["manufacturer"],
        model=said["product"],
    )


def tells_apart(serial: str) -> bool:
    """Whether a serial number can be one device's own."""
    return len(set(serial.strip("0"))) > 1 and serial.upper() not in NO_SERIALS


def _word(value: bytes | str | None) -> str | None:
    return printable(value).strip()[:WORD_MAX] or None if value else None
