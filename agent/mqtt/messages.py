"""What travels: messages as they come and go, a will, a subscription. Values of MQTT 5, without a library's types."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Message", "Outgoing", "Subscription", "Will", "fits"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the broker gave it. Nothing in it is to be trusted."""

    topic: str
    payload: bytes
    qos: int = 0
    retained: bool = False
    """The broker kept it from before we subscribed."""
    expiry: int | None = None
    """Seconds that are left of its life, where its sender gave it one."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()
    """User properties, in order; a name may come twice."""
    packet: int = 0
    """Number of the packet, for the acknowledgement."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to be published."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry: int | None = None
    """Seconds after which a broker gives it to nobody any more."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when we are gone without a word."""

    message: Outgoing
    delay: int = 0
    """Seconds that it waits: who is back by then was not gone."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics to listen to, `+` and `#` allowed (MQTT 5, section 4.7)."""

    filter: str
    qos: int = 1
    retained: bool = True
    """Whether the broker sends what it kept, when this subscription is new to it."""
    own: bool = False
    """Whether we are sent what we published ourselves."""


def fits(topic: str, pattern: str) -> bool:
    """Whether a topic belongs to a subscription (MQTT 5, sections 4.7.1 and 4.7.2)."""
    if pattern.startswith("$share/"):
        pattern = pattern.split("/", 2)[2]
    levels, wanted = topic.split("/"), pattern.split("/")
    if topic.startswith("$") and wanted[0] in {"+", "#"}:
        return False
    for number, want in enumerate(wanted):
        if want == "#":
            return True
        if number >= len(levels) or want not in {"+", levels[number]}:
            return False
    return len(levels) == len(wanted)
