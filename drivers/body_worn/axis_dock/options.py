"""What an operator may say in agent.toml about a content destination."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import Annotated, Literal

from pydantic import Field, field_validator

from agent.driver import DriverOptions
from agent.listening import ListenOptions  # noqa: TC001 - the same

__all__ = ["AxisOptions"]

Text = Annotated[str, Field(min_length=1, max_length=64)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")]


class AxisOptions(DriverOptions):
    """`evidock device enrol NAME` makes the certificate, the password and the file that the controller is given."""

    listen: ListenOptions
    state: Path
    """Folder for what the controller must be able to ask for again, such as `/var/lib/evidock/axis`."""
    password_file: Path
    """What the controller shows as its password, 16 to 64 characters in one line."""
    user: Text = "evidock"
    site: Text = "Evidock"
    """Shown to the administrator of the cameras."""
    reached_at: Annotated[tuple[Host, ...], Field(max_length=10)] = ()
    """Names or addresses under which the controller reaches this station, up to 10; default: `listen.address`."""
    container_type: Literal["mkv", "mp4"] = "mkv"
    """What clips are written as. It cannot be changed for a controller that has been told."""
    public_key: Path | None = None
    """PEM, RSA: cameras encrypt for it, for ever from then on. Who has its private half can see; we cannot."""
    time_server: bool = False
    """Tell the controller to take its time from this station."""
    categories: dict[Annotated[str, Field(min_length=1, max_length=32)], Text] = Field(default_factory=dict)
    """What officers may choose for a bookmark: names by id."""
    uploads: Annotated[int, Field(ge=1, le=1000)] = 16
    """Objects that are taken at once; more are asked to come back soon."""
    abandoned: Annotated[float, Field(gt=0)] = 6 * 3600.0
    """Seconds without a word after which a recording that never was complete is told as abandoned. It is kept.

    Only those count in which this station listened: a controller can say nothing to one that is off."""
    forgotten: Annotated[float, Field(gt=0)] = 90 * 86400.0
    """Seconds after which the metadata of a recording that ended is no longer told to a controller that asks."""

    @field_validator("state", "password_file", "public_key")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and (not path.is_absolute() or ".." in path.parts):
            raise ValueError("must be an absolute path without `..`")
        return path
