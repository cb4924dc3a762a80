"""What is known of one volume from when it is plugged in until it is pulled out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.capture import Device, Json
    from drivers.body_worn.usb_volume.settling import Settling
    from drivers.body_worn.usb_volume.showing import Shown
    from drivers.body_worn.usb_volume.volume import Volume
    from drivers.body_worn.usb_volume.writing import WriteWindow

__all__ = ["Session"]


@dataclass(slots=True)
class Session:
    """One volume from when it is plugged in until it is pulled out."""

    volume: Volume
    window: WriteWindow
    shown: Shown
    settling: Settling | None = None
    device: Device | None = None
    said: set[int] = field(default_factory=set)
    summary: tuple[object, ...] = ()
    sums: dict[str, Json] | None = None
