"""What an operator may say in agent.toml about tablets that keep electronic notes."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from agent.driver import DriverOptions
from agent.listening import ListenOptions  # noqa: TC001 - the same

__all__ = ["EnotesOptions"]

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")]


class EnotesOptions(DriverOptions):
    """`evidock device enrol NAME` makes the station's small authority, its certificate, and an invitation."""

    listen: ListenOptions
    """Where tablets send: TLS with `certificate` and `key`, and `client_ca`, whose certificates tablets show."""
    enrol_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """A second port of the same address where an invited tablet gets its certificate; without it none can."""
    state: Path
    """Folder for the register and the notebooks' index, such as `/var/lib/evidock/enotes`."""
    reached_at: Annotated[tuple[Host, ...], Field(max_length=10)] = ()
    """Names or addresses under which tablets reach this station; default: `listen.address`."""
    service: Annotated[str, Field(max_length=80)] = ""
    """Name of the police service, for the invitation and the rendering."""
    invitation: Annotated[float, Field(ge=60, le=30 * 86400)] = 86400.0
    """Seconds for which an invitation may be used."""
    certificate_days: Annotated[int, Field(ge=1, le=1095)] = 365
    """Days for which a tablet's certificate holds; a tablet renews it by itself."""
    late_after: Annotated[float, Field(gt=0)] = 12 * 3600.0
    """Seconds between what happened and its entry after which the entry is a late one."""
    keep_until: Literal["held", "dems"] = "held"
    """When a tablet may remove an entry: when this station holds it, or when `policy.device` lets a device forget."""
    attachment_max: Annotated[int, Field(ge=1, le=1 << 40)] = 4 << 30
    """Bytes of one attachment."""
    attachments_at_once: Annotated[int, Field(ge=1, le=50)] = 8
    """Attachments that arrive at once; more are asked to come back soon."""
    attachments_waiting: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Attachments of one tablet that may be announced and not whole."""
    attachment_patience: Annotated[float, Field(gt=0)] = 86400.0
    """Seconds after its entry at which an attachment that is missing is told to a person."""
    batches_at_once: Annotated[int, Field(ge=1, le=64)] = 8
    """Uploads of entries that arrive at once, one for each tablet; more are asked to come back soon."""

    @field_validator("state")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError("must be an absolute path without `..`")
        return path

    @model_validator(mode="after")
    def _known_tablets(self) -> EnotesOptions:
        if self.listen.plain or self.listen.client_ca is None:
            raise ValueError("`listen` needs `certificate`, `key` and `client_ca`: tablets show certificates")
        return self
