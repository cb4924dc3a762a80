"""How to recognise each maker's model, and which formats it uses: one TOML file for each model and range of firmware.

Which spec is used: of those whose conditions are met, the one that names the device most exactly (its product, its
vendor, its folders); several of one model differ in `version`, and then the exact one counts, else the newest older
one. The journal says which it was, and how it fits. What no spec describes is sighted, reported, and never guessed at.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from firmware_specs import SpecError
from firmware_specs.devices.versions import KnownBad, Minimum
from firmware_specs.formats.layout import layouts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DeviceSpec", "Match", "Seen", "Text", "device_spec", "device_specs"]

USB_ID = r"^[0-9a-f]{4}:(?:[0-9a-f]{4}|\*)$"


class Match(BaseModel):
    """What must be seen for a volume to be this model's: every condition that is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usb: tuple[Annotated[str, Field(pattern=USB_ID)], ...] = ()
    """`vendor:product` in lower-case hex, any of them; `*` stands for every product of the vendor."""
    paths: tuple[str, ...] = ()
    """Files or folders that must be on the volume, all of them."""
    said: str | None = None
    """For a device that is no volume: how it calls itself in its own protocol, for a person to read."""

    @field_validator("paths")
    @classmethod
    def _relative(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if any(_leaves_the_volume(path) for path in paths):
            raise ValueError("a path is relative to the volume's root, without `..`")
        return paths

    @model_validator(mode="after")
    def _says_something(self) -> Match:
        if not self.usb and not self.paths and not self.said:
            raise ValueError("a spec that matches every volume would be a guess")
        return self


class Text(BaseModel):
    """A word that a file on the volume tells; at most the file's first 4096 bytes are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    pattern: str
    """Regular expression with the group `value`."""

    @field_validator("path")
    @classmethod
    def _relative(cls, path: str) -> str:
        if _leaves_the_volume(path):
            raise ValueError("a path is relative to the volume's root, without `..`")
        return path

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        if "value" not in groups:
            raise ValueError("the pattern needs a group named value")
        return pattern

    def find(self, text: str) -> str | None:
        """The word in this text, where it is there."""
        match = re.search(self.pattern, text, re.IGNORECASE | re.MULTILINE)
        return match["value"].strip() or None if match else None


class Seen(BaseModel):
    """A real device that was tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    firmware: str
    on: date
    by: str
    """Who tried it: an agency, a maker, an integrator."""


class DeviceSpec(BaseModel):
    """One maker's model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    family: Literal["body_worn", "in_car", "alpr", "interview_room", "enotes"]
    maker: str | None = None
    model: str | None = None
    models: tuple[str, ...] = ()
    """What a buyer reads on the box, for the list of supported devices."""
    driver: str = "body_worn.usb_volume"
    """The driver that speaks with it."""
    layout: str | None = None
    """Where its recordings lie, where it is a volume."""
    of: str | None = None
    """The spec of the same model of which this one describes another firmware."""
    version: str | None = None
    """The firmware that this file describes, and later ones as long as no other file does. None: any."""
    identity: Literal["usb", "card"] = "usb"
    """`card`: it is read in a card reader, whose USB descriptor says nothing of the device."""
    settle: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """Seconds for which a file must not have changed before it is taken."""
    match: Match
    serial: Text | None = None
    """Where the device tells its serial number on the volume; else the USB descriptor's counts."""
    firmware: Text | None = None
    battery: Text | None = None
    """Where it tells how full its battery is, in percent."""
    minimum: Minimum | None = None
    """The least firmware that should be on it."""
    known_bad: tuple[KnownBad, ...] = ()
    seen: tuple[Seen, ...] = ()
    """Real devices with which this file was tried."""

    @model_validator(mode="after")
    def _belongs_together(self) -> DeviceSpec:
        if (self.layout is None) == (self.driver == "body_worn.usb_volume"):
            raise ValueError("a volume has a layout, and what another driver speaks with has none")
        if (self.of is None) != (self.version is None):
            raise ValueError("`of` and `version` belong together: this firmware of that model")
        return self

    @field_validator("layout")
    @classmethod
    def _layout_is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in layouts():
            raise ValueError(f"there is no layout {name!r}; there are: {', '.join(layouts())}")
        return name

    def weight(self, usb: str | None) -> tuple[int, int] | None:
        """How exactly this fits USB ids `vendor:product`, and how many paths must then be there; None: not at all.

        The greatest weight wins; two specs of one weight are a contradiction that nobody may decide by guessing.
        """
        if not self.match.usb and not self.match.paths:
            return None
        if not self.match.usb:
            return 0, len(self.match.paths)
        if usb is None:
            return None
        if usb in self.match.usb:
            return 2, len(self.match.paths)
        if f"{usb[:4]}:*" in self.match.usb:
            return 1, len(self.match.paths)
        return None


def _leaves_the_volume(path: str) -> bool:
    return not path or path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/"))


@cache
def device_specs() -> Mapping[str, DeviceSpec]:
    """Every device spec that is shipped, by name. `SpecError` where one of the files is wrong."""
    found: dict[str, DeviceSpec] = {}
    for file in sorted(resources.files(__package__).iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".toml"):
            continue
        try:
            one = DeviceSpec.model_validate(tomllib.loads(file.read_text("utf-8")))
        except (tomllib.TOMLDecodeError, ValidationError) as error:
            raise SpecError(f"device spec {file.name}: {error}") from error
        if f"{one.name}.toml" != file.name:
            raise SpecError(f"device spec {file.name} calls itself {one.name}")
        found[one.name] = one
    for one in found.values():
        if one.of is not None and (one.of not in found or found[one.of].of is not None):
            raise SpecError(f"device spec {one.name} is of {one.of}, and that is no model's own spec")
    return found


def device_spec(name: str) -> DeviceSpec:
    """The device spec of this name. `SpecError` where there is none."""
    try:
        return device_specs()[name]
    except KeyError:
        raise SpecError(f"there is no device spec {name!r}; there are: {', '.join(device_specs())}") from None
