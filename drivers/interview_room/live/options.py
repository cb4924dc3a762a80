"""What station IT may say in agent.toml about a room whose cameras this station records itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.listening import ListenOptions
from agent.mqtt import BrokerOptions
from drivers.interview_room.live.schedule import Hours
from drivers.interview_room.room import RoomOptions, Word

__all__ = ["HeardOptions", "HttpOptions", "LiveOptions", "MqttOptions", "StreamOptions"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamOptions(_Table):
    """A `[[driver.stream]]` table: one camera of the room."""

    name: Word
    """Which camera it is, such as `front`: it stands in the captures' names."""
    url: Annotated[str, Field(max_length=1024, pattern=r"^rtsps?://[!-~]+$")]
    """Without user and password. `rtsps` for RTSP over TLS."""
    user: Annotated[str, Field(max_length=128)] | None = None
    password_file: Path | None = None
    """Read at each connection, so it may be renewed."""
    ca_file: Path | None = None
    """With `rtsps`: PEM of the authority of the camera's certificate. Left out: those of the system."""
    audio: bool = True
    """False where only pictures may be recorded."""

    @field_validator("url")
    @classmethod
    def _has_no_password(cls, url: str) -> str:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError("give user and password as `user` and `password_file`, not in the URL")
        if not parts.hostname or "'" in url or "\\" in url:
            raise ValueError("is no address of a stream")
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> StreamOptions:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("`user` and `password_file` go together")
        return self


class HttpOptions(ListenOptions):
    """`[driver.http]`: a button that sends an HTTP request: POST to `/start`, `/stop`, `/mark` or `/toggle`."""

    token_file: Path
    """The button shows its content: `Authorization: Bearer ...`."""


class MqttOptions(BrokerOptions):
    """`[driver.mqtt]`: a button that publishes to a broker."""

    topic: Annotated[str, Field(min_length=1, max_length=512)]
    start: Annotated[str, Field(max_length=256)] = "start"
    """The payload that starts; the same for the others."""
    stop: Annotated[str, Field(max_length=256)] = "stop"
    mark: Annotated[str, Field(max_length=256)] = "mark"


class HeardOptions(_Table):
    """`[driver.input]`: a button or switch that another driver of this station observes, such as a Modbus input."""

    device: Annotated[str, Field(min_length=1, max_length=1024)]
    """Id of the device that observes it: `evidock device list`."""
    kind: Annotated[str, Field(min_length=1, max_length=256)]
    """Kind of the observation, such as `trigger.room-1`; its detail says `on`."""
    acts: Literal["level", "press"] = "level"
    """`level`: records while it is on; `press`: each time it goes on starts or stops."""


class LiveOptions(RoomOptions):
    """The `[[driver]]` table with `use = "interview_room.live"`."""

    stream: Annotated[tuple[StreamOptions, ...], Field(min_length=1, max_length=16)]
    folder: Path
    """Where segments are written before they are held: a folder of its own on this station's disk."""
    segment: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Seconds of one segment; it ends at the next key frame after that."""
    container: Literal["mov", "mp4"] = "mov"
    """`mov` takes the sound of nearly every camera; `mp4` does not take G.711."""
    silence: Annotated[float, Field(ge=1, le=60)] = 5.0
    """Seconds without a frame after which a stream is taken to be lost, and is asked for again."""
    long: Annotated[float, Field(gt=0, le=240)] = 12.0
    """Hours after which a person is told that an interview still goes on. It is never ended for that."""
    schedule: tuple[str, ...] = ()
    """When to record without a button, such as `Mon-Fri 08:00-18:00`."""
    zone: str = "UTC"
    """Time zone of `schedule`."""
    http: HttpOptions | None = None
    mqtt: MqttOptions | None = None
    input: HeardOptions | None = None

    @field_validator("folder")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError("must be an absolute path without `..`")
        return path

    @field_validator("schedule")
    @classmethod
    def _is_readable(cls, schedule: tuple[str, ...]) -> tuple[str, ...]:
        for one in schedule:
            Hours.parse(one)
        return schedule

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no time zone is called {zone}: use a name such as America/Toronto") from None
        return zone

    @model_validator(mode="after")
    def _names_differ(self) -> LiveOptions:
        names = [one.name.lower() for one in self.stream]
        if len(set(names)) != len(names):
            raise ValueError("two streams have the same name")
        return self
