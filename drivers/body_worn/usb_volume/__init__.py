"""Cameras that show themselves as a USB volume: found, recognised by a spec, read with care, released by deletion.

blocks            whose is the volume that is there           identity     which device, which layout
walk              every file, by folder descriptors           settling     which of them have stopped changing
clip              one capture: read by blocks, released       writing      read-write only while releasing
waking            what makes us look at once                  wire         the system calls; an emulator's faults
dock              the loop: look, recognise, walk, offer, wait
"""

from __future__ import annotations

from drivers.body_worn.usb_volume.dock import UsbVolume

__all__ = ["UsbVolume"]
