"""What station IT may say in agent.toml about a recorder of ONVIF Profile G."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from drivers.interview_room.polling import PolledOptions

__all__ = ["OnvifOptions"]


class OnvifOptions(PolledOptions):
    """The `[[driver]]` table with `use = "interview_room.onvif"`. `url` is that of the device service."""

    rtsp_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where the recorder names another port for its replay than it can be reached at."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or "@" in parts.netloc:
            raise ValueError("give the address of the device service, without user and password")
        return url
