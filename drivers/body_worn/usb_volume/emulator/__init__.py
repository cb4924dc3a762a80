"""A body-worn camera that shows itself as a USB volume, made of a folder: for the demo, for tests, and by hand.

It is plugged in while the folder stands at its mount point, and pulled by renaming the folder away: this needs no
rights and works between processes, on any Linux. What it cannot show is that open files die with the plug, for a file
that is open stays readable after its folder was renamed. The driver therefore asks after each block whether the path
still leads to the same folder, which is what a real camera needs too: the kernel goes on reading a pulled camera's
file from memory. Where reads are to fail by themselves, the driver is given a `FaultyWire` (in the same process), or
the card is a real FAT image that is mounted and unmounted (`FatEmulator`).

By hand: `python -m drivers.body_worn.usb_volume.emulator MOUNT [FILE...]`, then Enter to pull and to plug.
"""

from __future__ import annotations

from drivers.body_worn.usb_volume.emulator.card import VolumeEmulator
from drivers.body_worn.usb_volume.emulator.fat import FatEmulator, why_not
from drivers.body_worn.usb_volume.emulator.faults import FaultyWire

__all__ = ["FatEmulator", "FaultyWire", "VolumeEmulator", "why_not"]
