"""Which devices this version knows, and how far its drivers are proven: as tables, here and in docs/devices.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.quality import MARKS, quality_of
from agent.registry import DRIVERS, installed
from firmware_specs.devices import device_specs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from firmware_specs.devices import DeviceSpec

__all__ = ["called", "described", "devices", "drivers", "markdown"]


def devices() -> list[dict[str, Any]]:
    """One row for each model, with what is known of its firmware."""
    models: dict[str, list[DeviceSpec]] = {}
    for spec in device_specs().values():
        models.setdefault(spec.of or spec.name, []).append(spec)
    return [_device(name, specs) for name, specs in sorted(models.items(), key=lambda one: (one[1][0].family, one[0]))]


def _device(name: str, specs: list[DeviceSpec]) -> dict[str, Any]:
    own = next(spec for spec in specs if spec.of is None)
    seen = [f"{one.model}, firmware {one.firmware}, {one.on} by {one.by}" for spec in specs for one in spec.seen]
    return {
        "spec": name,
        "family": own.family,
        "maker": own.maker,
        "model": own.model,
        "models": list(own.models),
        "driver": own.driver,
        "layout": own.layout,
        "firmwares": sorted(spec.version for spec in specs if spec.version),
        "minimum": own.minimum.version if own.minimum else None,
        "known_bad": [bad.versions for spec in specs for bad in spec.known_bad],
        "seen": seen,
    }


def described(device: dict[str, Any]) -> str:
    """Which firmware is described, in words."""
    return ", ".join(["any", *(f"from {version}" for version in device["firmwares"])])


def called(device: dict[str, Any]) -> str:
    """What a buyer reads on the box."""
    return ", ".join(device["models"]) or device["model"] or "any"


def drivers() -> list[dict[str, Any]]:
    """Every driver that is installed, with its marks; `quality` is null where nobody judged it."""
    found: list[dict[str, Any]] = []
    for entry in installed(DRIVERS).values():
        quality, package = quality_of(entry), None if entry.dist is None else entry.dist.name
        marks = None if quality is None else {mark: list(quality.evidence.get(mark, ())) for mark in MARKS}
        told = None if quality is None or marks is None else {"marks": quality.marks, **marks}
        found.append({"name": entry.name, "package": package, "quality": told})
    return sorted(found, key=lambda one: str(one["name"]))


def markdown() -> str:
    """Both tables; of the drivers those that this project brings."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    heads = ("Maker", "Model", "Family", "Driver", "Spec", "Layout", "Firmware", "Raises a notice", "Seen for real")
    yield from _table(
        heads,
        (
            (
                one["maker"] or "any",
                called(one),
                one["family"],
                f"`{one['driver']}`",
                f"`{one['spec']}`",
                f"`{one['layout']}`" if one["layout"] else "",
                described(one),
                ", ".join([*([f"below {one['minimum']}"] if one["minimum"] else []), *one["known_bad"]]),
                "; ".join(one["seen"]) or "no",
            )
            for one in devices()
        ),
    )
    yield ""
    yield from _table(
        ("Driver", *MARKS, "of 5"),
        (
            (f"`{one['name']}`", *(_mark(one["quality"][mark], mark) for mark in MARKS), str(one["quality"]["marks"]))
            for one in drivers()
            if one["package"] == "evidock" and one["quality"] is not None
        ),
    )


def _mark(evidence: list[str], mark: str) -> str:
    if not evidence:
        return "no"
    if mark in ("emulator", "conformance"):
        return "yes"
    return "; ".join(dict.fromkeys(one.partition(" (tests/")[0] for one in evidence))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
