"""The rules applied: which class a capture is of, and whether that class may use this link now."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agent.traffic.links import LinkClass

if TYPE_CHECKING:
    from datetime import datetime

    from agent.capture import Capture, Priority
    from agent.traffic.options import ClassRule, LinkRule, Traffic

__all__ = ["Verdict", "class_of", "day_of", "verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one class may do on one link at one moment."""

    content: bool
    metadata: bool
    beyond_budget: bool
    reason: str
    """Why the bytes have to wait, for a person; empty where they need not."""


def class_of(traffic: Traffic, capture: Capture) -> Priority:
    """The class of a capture by the first rule that fits it, else by its driver's word."""
    return next((rule.name for rule in traffic.classify if _fits(rule, capture)), capture.priority)


def _fits(rule: ClassRule, capture: Capture) -> bool:
    told = (
        (rule.family, capture.device.family),
        (rule.device, capture.device.id),
        (rule.key, capture.key),
        (rule.media_type, capture.media_type),
    )
    if any(pattern is not None and not fnmatchcase(text.lower(), pattern.lower()) for pattern, text in told):
        return False
    return all(_claimed(_claim(capture, name), wanted) for name, wanted in rule.claims.items())


def _claim(capture: Capture, name: str) -> Any:  # noqa: ANN401 - a device's word
    """The claim of that name: `trigger` as it stands there, `event.category` inside of another."""
    if name in capture.claims:
        return capture.claims[name]
    found: Any = dict(capture.claims)
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _claimed(said: Any, wanted: str | bool | int) -> bool:  # noqa: ANN401, FBT001 - a device's word, and a value
    if isinstance(said, list):
        return any(_claimed(one, wanted) for one in said)
    if said is None or isinstance(said, dict):
        return False
    if isinstance(wanted, str) and isinstance(said, str):
        return fnmatchcase(said.lower(), wanted.lower())
    return str(said).lower() == str(wanted).lower()


def verdict(traffic: Traffic, priority: Priority, link: LinkClass, now: datetime) -> Verdict:
    """What this class may do on this link at this moment (aware)."""
    if link is LinkClass.OFFLINE:
        return Verdict(content=False, metadata=False, beyond_budget=False, reason="there is no network")
    rule = next((one for one in traffic.rule if priority in one.classes and link in one.links), None)
    if rule is None:
        return Verdict(content=True, metadata=True, beyond_budget=False, reason="")
    return Verdict(
        content=(reason := _why_not(traffic, rule, priority, link, now)) is None,
        metadata=rule.metadata,
        beyond_budget=rule.beyond_budget,
        reason=reason or "",
    )


def _why_not(traffic: Traffic, rule: LinkRule, priority: Priority, link: LinkClass, now: datetime) -> str | None:
    if rule.content is True:
        return None
    name = priority.name.lower()
    if rule.content is False:
        return f"{name} does not go over {link}"
    local = now.astimezone(traffic.zone)
    if any(window.open_at(local) for window in rule.content):
        return None
    return f"{name} goes over {link} only {', '.join(window.text for window in rule.content)} ({traffic.timezone})"


def day_of(traffic: Traffic, now: datetime) -> str:
    """The day to which bytes sent now are counted: 2026-11-22, in the station's zone."""
    return now.astimezone(traffic.zone).date().isoformat()
