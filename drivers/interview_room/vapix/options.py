"""What station IT may say in agent.toml about an Axis camera or recorder with recordings on its own storage."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from drivers.interview_room.room import RoomOptions

__all__ = ["VapixOptions"]


class VapixOptions(RoomOptions):
    """The `[[driver]]` table with `use = "interview_room.vapix"`."""

    url: Annotated[str, Field(max_length=512, pattern=r"^https?://[!-~]+$")]
    """Of the camera, such as `https://10.0.5.11`; without user, password and path."""
    user: Annotated[str, Field(min_length=1, max_length=128)]
    password_file: Path
    """Read at each look, so it may be renewed."""
    ca_file: Path | None = None
    """With `https`: PEM of the authority of the camera's certificate. Left out: those of the system."""
    disk: Annotated[str, Field(max_length=64)] | None = None
    """Only recordings on this disk, such as `SD_DISK`."""
    format: Literal["matroska", "mp4"] = "matroska"
    """As the camera exports it; older ones know `matroska` alone."""
    slice: Annotated[float, Field(ge=1, le=240)] = 10.0
    """Minutes of one export: a longer recording is taken in several, which overlap by a key frame's distance."""
    rescan: Annotated[float, Field(ge=0.05, le=86400)] = 60.0
    """Seconds between two looks at the list."""
    answer: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Seconds in which the camera must answer, and for which an export may stand still."""

    @field_validator("url")
    @classmethod
    def _is_a_host(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or "@" in parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError("give scheme, host and port alone, such as https://10.0.5.11")
        return url.rstrip("/")
