"""What an operator may say in agent.toml about cameras that push."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.driver import DriverOptions
from agent.listening import ListenOptions, Network
from agent.quantities import Length
from drivers.alpr.makers import MAKERS
from drivers.alpr.makers.mapping import Mapping

__all__ = ["CameraOptions", "PlaceOptions", "PollOptions", "ReceiverOptions", "SourceOptions"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
Auth = Literal["path", "token", "basic", "digest", "certificate", "address"]
_NEEDS_SECRET = ("path", "token", "basic", "digest")


class PlaceOptions(BaseModel):
    """Where a camera stands for good."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]


class PollOptions(BaseModel):
    """How a Hikvision camera is asked for the plates that it could not bring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+$")]
    """Of the camera, such as `https://192.0.2.64`."""
    user: Annotated[str, Field(min_length=1, max_length=64)]
    password_file: Path
    channel: Annotated[int, Field(ge=1, le=1024)] = 1
    every: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """Seconds between two questions."""
    settle: Annotated[float, Field(ge=0, le=3600)] = 15.0
    """Seconds for which a plate of the list waits to be brought by the camera itself."""
    ca: Path | None = None
    """PEM: the authority, or the camera's own certificate; default: what the system trusts."""


class SourceOptions(BaseModel):
    """What is said of every device that tells reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    """Of the camera; where it pushes, it posts to `/alpr/<maker>/<name>`."""
    absent: Annotated[float, Field(gt=0)] = 300.0
    """Seconds of silence after which it counts as gone."""
    clock_off: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that its clock may differ from ours before a person is told."""
    place: PlaceOptions | None = None
    """Where it stands for good, for reads that do not tell."""
    keep_unparsed_until: date | None = None
    """Messages that cannot be read are kept whole until the end of that day: for setting a camera up."""


class CameraOptions(SourceOptions):
    """One `[[driver.camera]]` table."""

    maker: Annotated[str, Field(pattern="^(" + "|".join(MAKERS) + ")$")]
    auth: Auth = "path"
    """How it shows who it is: a secret in its path, a token, a password, a certificate, its address alone."""
    secret_file: Path | None = None
    """One line: the secret, token or password."""
    user: Annotated[str, Field(min_length=1, max_length=64)] = "camera"
    """For `basic` and `digest`."""
    networks: tuple[Network, ...] = ()
    """Where it may come from; empty: from anywhere."""
    body_max: Annotated[Length, Field(ge=1024, le=64 << 20)] = 16 << 20
    """Bytes of one message."""
    rate: Annotated[float, Field(gt=0, le=10_000)] = 200.0
    """Messages a second; who sends more waits for its answers."""
    burst: Annotated[int, Field(ge=1, le=100_000)] = 1000
    at_once: Annotated[int, Field(ge=1, le=256)] = 16
    """Messages that are looked at at the same time."""
    mapping: Mapping | None = None
    """For `generic`: where in its message what stands."""
    poll: PollOptions | None = None
    """For `hikvision`."""

    @field_validator("secret_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and (not path.is_absolute() or ".." in path.parts):
            raise ValueError("must be an absolute path without `..`")
        return path

    @model_validator(mode="after")
    def _fits_together(self) -> CameraOptions:
        if (self.auth in _NEEDS_SECRET) != (self.secret_file is not None):
            raise ValueError(f"`secret_file` goes with `auth` = {', '.join(_NEEDS_SECRET)}, and only with these")
        if self.auth == "address" and not self.networks:
            raise ValueError("who is known by the address alone needs `networks`")
        if (self.maker == "generic") != (self.mapping is not None):
            raise ValueError('`mapping` goes with `maker = "generic"`')
        if self.poll is not None and self.maker != "hikvision":
            raise ValueError('`poll` goes with `maker = "hikvision"`')
        return self


class CamerasListenOptions(ListenOptions):
    """`listen` with room for what cameras do: short messages, and many connections in a burst."""

    connections: Annotated[int, Field(ge=1, le=10_000)] = 2048
    body_max: Annotated[Length, Field(ge=1)] = 64 << 20
    """Bytes after which a connection is closed; beyond a camera's own `body_max` they are thrown away as they come."""


class ReceiverOptions(DriverOptions):
    """The `[[driver]]` table with `use = "alpr.receiver"`."""

    listen: CamerasListenOptions
    camera: Annotated[tuple[CameraOptions, ...], Field(min_length=1, max_length=256)]
    state: Path | None = None
    """Folder for where each camera's list was read to; needed for `poll`."""
    memory: Annotated[Length, Field(ge=1 << 20)] = 256 << 20
    """Bytes for messages that are in memory at once, each counted three times; who comes later waits."""
    reached_at: str | None = None
    """Name or address under which cameras reach this station, for `evidock device enrol`; default: `listen.address`."""

    @model_validator(mode="after")
    def _cameras(self) -> ReceiverOptions:
        names = [one.name for one in self.camera]
        if len(set(names)) < len(names):
            raise ValueError("two cameras have the same name")
        if any(one.auth == "certificate" for one in self.camera) and self.listen.client_ca is None:
            raise ValueError('`auth = "certificate"` needs `listen.client_ca`')
        if any(one.poll for one in self.camera) and self.state is None:
            raise ValueError("`poll` needs `state`, a folder")
        if max(one.body_max for one in self.camera) > self.memory:
            raise ValueError("`memory` is smaller than the largest `body_max`")
        return self
