"""What an operator may say in agent.toml about a dispatch system."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from agent.driver import DriverOptions
from agent.listening import ListenOptions  # noqa: TC001 - the same
from agent.mqtt import BrokerOptions  # noqa: TC001 - the same
from drivers.dispatch.door import Table
from drivers.dispatch.folder import FolderOptions  # noqa: TC001 - the same

__all__ = ["CadOptions", "Columns"]

_Name = Annotated[str, Field(min_length=1, max_length=100)]


class Columns(Table):
    """What the dispatch system calls things: names of columns, or of members in JSON."""

    id: _Name = "id"
    """What stays the same when it says something new about an interval."""
    incident: _Name = "incident"
    unit: _Name = "unit"
    officer: _Name = "officer"
    device: _Name = "device"
    category: _Name = "category"
    since: Annotated[str, Field(alias="from", min_length=1, max_length=100)] = "from"
    until: _Name = "until"
    withdrawn: _Name = "withdrawn"


class CadOptions(DriverOptions):
    """Give one or several of `listen`, `folder` and `broker`."""

    listen: ListenOptions | None = None
    """Where it posts to: `POST /incidents`."""
    token_file: Path | None = None
    """What it shows as its bearer token, 32 to 512 characters in one line; or `listen.client_ca`."""
    folder: FolderOptions | None = None
    broker: BrokerOptions | None = None
    topics: Annotated[tuple[_Name, ...], Field(max_length=20)] = ()
    """What to listen to at the broker: `cad/units/+`."""
    columns: Columns = Columns()
    timezone: str | None = None
    """Zone of times that name none, such as `America/Toronto`; without it such a time is refused."""
    time_format: Annotated[str, Field(min_length=2, max_length=40)] | None = None
    """How it writes times, as strptime(3) has it: `%m/%d/%Y %H:%M:%S`; default: ISO 8601."""

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str | None) -> str | None:
        try:
            if name is not None:
                ZoneInfo(name)
        except (KeyError, OSError, ValueError):
            raise ValueError('is no time zone known here; write one such as "America/Toronto"') from None
        return name

    @model_validator(mode="after")
    def _some_way(self) -> Self:
        if self.listen is None and self.folder is None and self.broker is None:
            raise ValueError("give `listen`, `folder` or `broker`: nothing could come in")
        if (self.broker is None) != (not self.topics):
            raise ValueError("`broker` and `topics` go together")
        return self
