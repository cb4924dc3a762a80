"""The table `[traffic]` of agent.toml. Without it everything may go at once, over whatever network there is."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from agent.capture import Priority
from agent.quantities import Duration, Length, Rate
from agent.traffic.links import LinkClass
from agent.traffic.windows import WindowText

__all__ = ["ClassName", "ClassRule", "LinkRule", "LinkTable", "Traffic"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _priority(value: object) -> object:
    if isinstance(value, Priority):
        return value
    try:
        return Priority[str(value).upper()]
    except KeyError:
        names = ", ".join(one.name.lower() for one in Priority)
        raise ValueError(f"is no class; there are: {names}") from None


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError('is no time zone known here (package tzdata); write one such as "America/Toronto"') from None
    return name


ClassName = Annotated[Priority, BeforeValidator(_priority), PlainSerializer(lambda one: one.name.lower())]
"""A class by its name in agent.toml: `use_of_force`."""


class ClassRule(_Table):
    """Which captures belong to a class. The first rule that fits decides; where none does, the driver's word stands."""

    name: ClassName
    family: str | None = None
    """`body_worn`, `in_car`, `alpr`, `interview_room`, `enotes`."""
    device: str | None = None
    """Pattern of the device's id: `usb:0951:*`."""
    key: str | None = None
    """Pattern of the device's own name for the capture: `*/EVENT/*`."""
    media_type: str | None = None
    """Pattern: `image/*`."""
    claims: dict[str, str | bool | int] = Field(default_factory=dict)
    """What the device says of it: each claim, by its dotted name, must have this value or fit this pattern. Case is
    not looked at."""


class LinkRule(_Table):
    """What may go over which link. The first rule that fits class and link decides; where none does, everything may."""

    classes: tuple[ClassName, ...] = tuple(Priority)
    links: tuple[LinkClass, ...] = tuple(LinkClass)
    content: bool | tuple[WindowText, ...] = True
    """Whether the bytes may go; or the hours in which they may."""
    metadata: bool = True
    """Whether the DEMS may be told that the capture is here while its bytes have to wait."""
    beyond_budget: bool = False
    """Whether the bytes may go although the day's budget of the link is spent."""


class LinkTable(_Table):
    """What one class of links bears."""

    budget: Length | None = None
    """Bytes of captures in one day of the station's zone."""
    bandwidth: Rate | None = None
    """Bytes per second."""


class Traffic(_Table):
    """What may go out when, and in which order."""

    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Zone of windows and of the days of budgets, by its IANA name."""
    source: Literal["configured", "networkmanager"] = "configured"
    """Who says which link the station is on."""
    link: LinkClass = LinkClass.WIRED
    """The link, where the configuration says it; also while NetworkManager does not answer."""
    station_wifi: tuple[str, ...] = ()
    """Names (SSID) of the wireless networks that are the station's own."""
    bandwidth: Rate | None = None
    """Bytes per second of all uplinks together, over any link and through any proxy."""
    ageing: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(hours=24)
    """Time after which a capture has waited too long: one turn in eight goes to the one that waits longest."""
    metadata_first: bool = False
    """Tell the DEMS of every capture before bytes of any are sent, not only of those whose bytes have to wait."""
    newest_first: tuple[ClassName, ...] = ()
    """Classes of which the newest is sent first; of all others it is the oldest."""
    classify: tuple[ClassRule, ...] = Field(default=(), alias="class")
    """`[[traffic.class]]`"""
    rule: tuple[LinkRule, ...] = ()
    """`[[traffic.rule]]`"""
    on: dict[LinkClass, LinkTable] = Field(default_factory=dict)
    """`[traffic.on.lte]`: budget and bandwidth of a class of links."""

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)
