"""The table `[context]` of agent.toml: which devices ride together, and what triggers and incidents do to captures."""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.quantities import Duration
from agent.traffic.options import ClassName

__all__ = ["CategoryRule", "ContextOptions", "TriggerRule", "Vehicle"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Vehicle(_Table):
    """Devices that are always together: in one car, in one room. What one of them tells belongs to captures of all."""

    name: Annotated[str, Field(pattern=_NAME)]
    """Such as `car-17`."""
    unit: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The unit that it is, where that never changes; else it is assigned."""
    devices: Annotated[tuple[_Pattern, ...], Field(min_length=1, max_length=100)]
    """Patterns of devices' ids: `gnss:*`."""

    def has(self, device: str) -> bool:
        """Whether this device rides in it."""
        return any(fnmatchcase(device.lower(), pattern.lower()) for pattern in self.devices)


class TriggerRule(_Table):
    """What a trigger does. The first rule that fits counts; without one a capture must overlap it, no more."""

    kind: _Pattern
    """Pattern: `vehicle.light_bar`, `trigger.*`."""
    before: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(hours=1))] = timedelta(0)
    """Captures that ended so long before it are marked as well."""
    after: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(hours=1))] = timedelta(0)
    """Captures that began so long after it are marked as well."""
    priority: ClassName | None = None
    """The class that a marked capture gets, where that is more urgent than its own: `flagged`, `use_of_force`."""
    ignore: bool = False
    """Kept, and joined to nothing."""


class CategoryRule(_Table):
    """The class that a capture gets from the category of its incident."""

    category: _Pattern
    """Pattern: `use of force*`. Case is not looked at."""
    priority: ClassName


class ContextOptions(_Table):
    """How observations are joined to captures. Everything may be left out."""

    batch: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(minutes=5))] = timedelta(seconds=10)
    """Positions are kept together for so long before they are written; what is not written is lost with the power."""
    settle: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(hours=1))] = timedelta(seconds=20)
    """Time between the taking of a capture and the first look at what belongs to it."""
    tell_dems: bool = True
    """What belongs to captures is sent to the DEMS too, whenever it changed: as small captures of their own."""
    vehicle: Annotated[tuple[Vehicle, ...], Field(max_length=1000)] = ()
    trigger: Annotated[tuple[TriggerRule, ...], Field(max_length=100)] = ()
    category: Annotated[tuple[CategoryRule, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [one.name for one in self.vehicle]
        if len(names) != len(set(names)):
            raise ValueError("two vehicles have one name")
        return self

    def vehicle_of(self, device: str) -> Vehicle | None:
        """The first vehicle that it rides in."""
        return next((one for one in self.vehicle if one.has(device)), None)

    def rule_of(self, kind: str) -> TriggerRule:
        """What a trigger of this kind does. An ignition marks nothing unless a rule says so: it is on all day."""
        found = next((one for one in self.trigger if fnmatchcase(kind, one.kind)), None)
        return found or TriggerRule(kind=kind, ignore=kind == "vehicle.ignition")
