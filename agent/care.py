"""What a device needs of people beside being docked: firmware that is too old or known to do harm is told of.

Agents report; they never flash. What is known stands in the device specs, and an agency adds to it in `[[firmware]]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from agent.repairs import repair
from firmware_specs.devices import device_specs
from firmware_specs.devices.versions import order, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.capture import Device
    from agent.config import FirmwareRule

__all__ = ["Doubt", "doubts", "notices"]

_MOST: Final = 100
"""Devices of which notices are raised: whoever has more does not read the rest either."""

_OLD_TODO: Final = "Bring it up to date with its maker's program. Its captures are taken all the same."
_BAD_TODO: Final = "Have another firmware put on it with its maker's program before it goes out again."


class Doubt(NamedTuple):
    """What is wrong with a device's firmware."""

    bad: bool
    """It is known to do harm; else it is too old."""
    why: str


def doubts(device: Device, rules: Sequence[FirmwareRule] = ()) -> Iterator[Doubt]:
    """What speaks against the firmware that a device tells; nothing against one that tells none."""
    firmware, spec = device.firmware, device_specs().get(device.spec or "")
    if firmware is None:
        return
    if spec is not None:
        for bad in spec.known_bad:
            if within(firmware, bad.versions):
                yield Doubt(bad=True, why=f"{bad.why} ({bad.source})")
        if spec.minimum is not None and order(firmware) < order(spec.minimum.version):
            yield Doubt(bad=False, why=f"at least {spec.minimum.version}: {spec.minimum.why} ({spec.minimum.source})")
    for rule in rules:
        if not rule.is_of(device):
            continue
        if any(within(firmware, versions) for versions in rule.bad):
            yield Doubt(bad=True, why=f"{rule.why} (agent.toml)")
        if rule.minimum is not None and order(firmware) < order(rule.minimum):
            yield Doubt(bad=False, why=f"at least {rule.minimum}: {rule.why} (agent.toml)")


def notices(devices: Iterable[Device], rules: Sequence[FirmwareRule]) -> Iterator[dict[str, str | None]]:
    """Repair notices. They are gone when the device comes back with another firmware."""
    told = 0
    for device in devices:
        for doubt in doubts(device, rules):
            told += 1
            if told > _MOST:
                return
            what, detail = f"device {device.id}", f"{device.id} has firmware {device.firmware}: {doubt.why}"
            if doubt.bad:
                yield repair("firmware.known_bad", "warning", what, detail, _BAD_TODO)
            else:
                yield repair("firmware.old", "warning", what, detail, _OLD_TODO)
