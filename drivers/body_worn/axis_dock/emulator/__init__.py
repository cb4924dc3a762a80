"""An Axis system controller to try a content destination with: by hand, in the demonstration, and in tests.

It shares no line with the driver: what it sends was written from the vendor's description of the interface.
"""

from __future__ import annotations

from drivers.body_worn.axis_dock.emulator.controller import Controller, Rejected
from drivers.body_worn.axis_dock.emulator.recording import Bookmark, Recording, stamp

__all__ = ["Bookmark", "Controller", "Recording", "Rejected", "stamp"]
