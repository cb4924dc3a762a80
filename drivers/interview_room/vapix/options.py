"""What station IT may say in agent.toml about an Axis camera or recorder with recordings on its own storage."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from drivers.interview_room.polling import PolledOptions

__all__ = ["VapixOptions"]


class VapixOptions(PolledOptions):
    """The `[[driver]]` table with `use = "interview_room.vapix"`."""

    disk: Annotated[str, Field(max_length=64)] | None = None
    """Only recordings on this disk, such as `SD_DISK`."""
    format: Literal["matroska", "mp4"] = "matroska"
    """As the camera exports it; older ones know `matroska` alone."""

    @field_validator("url")
    @classmethod
    def _is_a_host(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or "@" in parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError("give scheme, host and port alone, such as https://10.0.5.11")
        return url.rstrip("/")
