"""Which device a volume belongs to, and its layout: by a device spec or the operator's word, never by a guess."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.capture import Device, printable
from agent.errors import DeviceRefused
from drivers.body_worn.usb_volume.blocks import NO_SERIALS
from firmware_specs.devices import device_spec, device_specs
from firmware_specs.devices.versions import Fit, fitting
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

FULL = 100


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a volume."""

    device: Device
    layout: Layout | None
    """None: nothing is offered."""
    settle: float
    doubt: str | None = None
    """Why no spec was chosen."""
    battery: int | None = None
    """In percent, where the device tells."""


def recognise(volume: Volume, options: VolumeOptions) -> Known:
    """Say whose volume this is. Blocks. `DeviceRefused` where nothing tells it apart from another device's."""
    found, doubt = _fitting(volume, device_spec(options.spec) if options.spec else None)
    spec = found.spec if found else None
    name = options.layout or (spec.layout if spec else None)
    settle = options.settle if options.settle is not None else spec.settle if spec else 5.0
    device = replace(_device(volume, options, spec), spec_fits=found.how if found else None)
    return Known(device, layout(name) if name else None, settle, doubt, battery=_percent(volume, spec))


def _fitting(volume: Volume, named: DeviceSpec | None) -> tuple[Fit | None, str | None]:
    """The spec that fits, of the model that is `named`, or that the volume shows; else why there is none."""
    if named is not None and named.version is not None:
        return Fit(named, "named in agent.toml"), None
    best = _most_exact(volume) if named is None else []
    models = {spec.of or spec.name for spec in best} if named is None else {named.name}
    if not models:
        return None, "no device spec describes this volume"
    if len(models) > 1:
        return None, f"several device specs fit equally well: {', '.join(spec.name for spec in best)}"
    known = device_specs().values() if named is not None else best
    mine = [spec for spec in known if (spec.of or spec.name) in models]
    fit = fitting((spec, _said(volume, spec.firmware)) for spec in mine)
    return (fit, None) if fit else (None, "its firmware is older than any that a device spec describes")


def _most_exact(volume: Volume) -> list[DeviceSpec]:
    block = volume.ground.block
    ids = block.usb.ids if block and block.usb else None
    found: dict[tuple[int, int], list[DeviceSpec]] = {}
    for spec in device_specs().values():
        weight = spec.weight(ids)
        if weight is not None and all(volume.has(path) for path in spec.match.paths):
            found.setdefault(weight, []).append(spec)
    return found[max(found)] if found else []


def _device(volume: Volume, options: VolumeOptions, spec: DeviceSpec | None) -> Device:
    ground, told = volume.ground, options.device
    usb = ground.block.usb if ground.block else None
    own = _said(volume, spec.serial if spec else None)
    serial = told.serial or own
    return Device(
        id=told.id or _id(volume, spec, told.serial or (None if own is None or _left_in(own) else own)),
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
        return _id_word(f"spec:{spec.of or spec.name}:{serial}")
    if block and block.uuid:
        return _id_word(f"usb:{usb.ids}:fs:{block.uuid}" if usb and not in_reader else f"fs:{block.uuid}")
    raise DeviceRefused(
        f"nothing tells the volume at {volume.ground.path} apart from another: no USB serial number, no UUID",
        hint="Give it a name with `device = { id = ... }` if only this one device is ever plugged in there.",
    )


def _id_word(text: str) -> str:
    return "".join(c if c.isprintable() and c != " " else "_" for c in text)


def _left_in(serial: str) -> bool:
    """Whether its maker left it in the file of each of its devices. One digit may be an agency's own number."""
    return not serial.strip("0") or serial.upper() in NO_SERIALS


def _percent(volume: Volume, spec: DeviceSpec | None) -> int | None:
    """How full its battery is, where the device tells."""
    word = _said(volume, spec.battery if spec else None)
    return int(word) if word is not None and word.isascii() and word.isdigit() and int(word) <= FULL else None


def _said(volume: Volume, text: Text | None) -> str | None:
    if text is None:
        return None
    head = volume.head(text.path, HEAD_MAX)
    word = text.find(head.decode("utf-8", "replace")) if head else None
    return printable(word)[:WORD_MAX] if word else None
