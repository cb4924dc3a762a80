"""What station IT may say in agent.toml about a recorder of ONVIF Profile G."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from drivers.interview_room.room import RoomOptions

__all__ = ["OnvifOptions"]


class OnvifOptions(RoomOptions):
    """The `[[driver]]` table with `use = "interview_room.onvif"`."""

    url: Annotated[str, Field(max_length=512, pattern=r"^https?://[!-~]+$")]
    """Of the device service, such as `http://10.0.5.20/onvif/device_service`."""
    user: Annotated[str, Field(min_length=1, max_length=128)]
    password_file: Path
    """Read at each look, so it may be renewed."""
    ca_file: Path | None = None
    """With `https`: PEM of the authority of the recorder's certificate. Left out: those of the system."""
    rtsp_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where the recorder names another port for its replay than it can be reached at."""
    slice: Annotated[float, Field(ge=1, le=240)] = 10.0
    """Minutes of one replay: a longer recording is taken in several."""
    rescan: Annotated[float, Field(ge=0.05, le=86400)] = 60.0
    """Seconds between two searches."""
    answer: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Seconds in which the recorder must answer, and for which a replay may stand still."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or "@" in parts.netloc:
            raise ValueError("give the address of the device service, without user and password")
        return url
