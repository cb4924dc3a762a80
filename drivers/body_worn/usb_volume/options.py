"""What an operator may say in agent.toml about a dock for volumes."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.driver import DriverOptions
from firmware_specs.devices import USB_ID, device_spec
from firmware_specs.formats.layout import layout

__all__ = ["DeviceWords", "VolumeOptions"]

Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-~]+( [!-~]+)*$")]


class DeviceWords(BaseModel):
    """What the operator says of the one device that is plugged in here; it takes the place of what the device says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Word | None = None
    maker: Word | None = None
    model: Word | None = None
    serial: Word | None = None
    firmware: Word | None = None


class VolumeOptions(DriverOptions):
    """Either `mount` or `usb` says where volumes appear."""

    mount: Path | None = None
    """The one folder where a volume appears."""
    must_be_mountpoint: bool = True
    """False for a plain folder that a camera's files are put into; it then needs `device.id`."""
    usb: tuple[Annotated[str, Field(pattern=USB_ID)], ...] = ()
    """`vendor:product` in lower-case hex (`*` for any product): volumes of these devices, wherever they are mounted."""
    spec: str | None = None
    """The device spec, where the volume itself does not show which one fits."""
    layout: str | None = None
    """The layout, where no spec fits or another one is wanted."""
    settle: Annotated[float, Field(ge=0, le=3600)] | None = None
    """Seconds for which a file must not have changed before it is taken; else the spec says."""
    max_entries: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """Folder entries of one volume that are looked at; what lies beyond waits, and is reported."""
    copies: Annotated[int, Field(ge=1, le=64)] = 4
    """Captures longer than a block that are read at once from one volume."""
    device: DeviceWords = DeviceWords()

    @field_validator("spec")
    @classmethod
    def _spec_is_known(cls, name: str | None) -> str | None:
        return name if name is None else device_spec(name).name

    @field_validator("layout")
    @classmethod
    def _layout_is_known(cls, name: str | None) -> str | None:
        return name if name is None else layout(name).name

    @field_validator("mount")
    @classmethod
    def _mount_is_absolute(cls, mount: Path | None) -> Path | None:
        if mount is not None and (not mount.is_absolute() or ".." in mount.parts):
            raise ValueError("must be an absolute path without `..`")
        return mount

    @model_validator(mode="after")
    def _fits_together(self) -> VolumeOptions:
        if (self.mount is None) == (not self.usb):
            raise ValueError("give either `mount`, the folder where a volume appears, or `usb`, the ids of the devices")
        if self.usb and (self.device.id or not self.must_be_mountpoint):
            raise ValueError("devices found by `usb` ids are mounted, and tell themselves apart: remove `device.id`")
        if not self.must_be_mountpoint and self.device.id is None:
            raise ValueError("a plain folder has no identity of its own: give `device = { id = ... }`")
        return self
