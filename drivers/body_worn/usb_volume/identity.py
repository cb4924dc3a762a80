"""Which device a volume belongs to, and its layout: by a device spec or the operator's word, never by a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.capture import Device, printable
from agent.errors import DeviceRefused
from firmware_specs.devices import device_spec, device_specs
from firmware_specs.formats.layout import layout

if TYPE_CHECKING:
    from drivers.body_worn.usb_volume.options import VolumeOptions
    from drivers.body_worn.usb_volume.volume import Volume
    from firmware_specs.devices import DeviceSpec, Text
    from firmware_specs.formats.layout import Layout

__all__ = ["Known", "recognise"]

HEAD_MAX = 4096
"""Bytes that are read of a file in which a device tells about itself."""

WORD_MAX = 64


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a volume."""

    device: Device
    layout: Layout | None
    """None: nothing is offered."""
    settle: float
    doubt: str | None = None
    """Why no spec was chosen."""


def recognise(volume: Volume, options: VolumeOptions) -> Known:
    """Say whose volume this is. Blocks. `DeviceRefused` where nothing tells it apart from another device's."""
    spec, doubt = (device_spec(options.spec), None) if options.spec else _fitting(volume)
    name = options.layout or (spec.layout if spec else None)
    settle = options.settle if options.settle is not None else spec.settle if spec else 5.0
    return Known(_device(volume, options, spec), layout(name) if name else None, settle, doubt)


def _fitting(volume: Volume) -> tuple[DeviceSpec | None, str | None]:
    block = volume.ground.block
    ids = block.usb.ids if block and block.usb else None
    fitting: dict[tuple[int, int], list[DeviceSpec]] = {}
    for spec in device_specs().values():
        weight = spec.weight(ids)
        if weight is not None and all(volume.has(path) for path in spec.match.paths):
            fitting.setdefault(weight, []).append(spec)
    if not fitting:
        return None, "no device spec describes this volume"
    best = fitting[max(fitting)]
    if len(best) > 1:
        return None, f"several device specs fit equally well: {', '.join(spec.name for spec in best)}"
    return best[0], None


def _device(volume: Volume, options: VolumeOptions, spec: DeviceSpec | None) -> Device:
    ground, told = volume.ground, options.device
    usb = ground.block.usb if ground.block else None
    serial = told.serial or _said(volume, spec.serial if spec else None)
    return Device(
        id=told.id or _id(volume, spec, serial),
        family=spec.family if spec else "body_worn",
        driver=options.name,
        maker=told.maker or (spec.maker if spec else None) or (usb.maker if usb else None),
        model=told.model or (spec.model if spec else None) or (usb.model if usb else None),
        serial=serial or (usb.serial if usb else None),
        firmware=told.firmware or _said(volume, spec.firmware if spec else None),
        place=f"usb {usb.port}" if usb else printable(str(ground.path)),
        spec=spec.name if spec else None,
    )


def _id(volume: Volume, spec: DeviceSpec | None, serial: str | None) -> str:
    """The same on every dock, and another for every other device, even one with the same label and file names."""
    block = volume.ground.block
    usb = block.usb if block else None
    # A card in a reader: the USB descriptor is the reader's, and would make one device of all the cards that were
    # ever in it.
    in_reader = spec is not None and spec.identity == "card"
    if usb and usb.serial and not in_reader:
        return _id_word(f"usb:{usb.ids}:{usb.serial}" + (f":{block.part}" if block and block.part else ""))
    if spec and serial:
        return _id_word(f"spec:{spec.name}:{serial}")
    if block and block.uuid:
        return _id_word(f"usb:{usb.ids}:fs:{block.uuid}" if usb and not in_reader else f"fs:{block.uuid}")
    raise DeviceRefused(
        f"nothing tells the volume at {volume.ground.path} apart from another: no USB serial number, no UUID",
        hint="Give it a name with `device = { id = ... }` if only this one device is ever plugged in there.",
    )


def _id_word(text: str) -> str:
    return "".join(c if c.isprintable() and c != " " else "_" for c in text)


def _said(volume: Volume, text: Text | None) -> str | None:
    if text is None:
        return None
    head = volume.head(text.path, HEAD_MAX)
    word = text.find(head.decode("utf-8", "replace")) if head else None
    return printable(word)[:WORD_MAX] if word else None
