"""An entry of the custody log as one line for people."""

from collections.abc import Mapping
from typing import Any

from agent.cli.telling import length, moment

__all__ = ["belongs", "clock_off", "reckoned", "sentence"]


def sentence(entry: Mapping[str, Any]) -> str:
    """When, which entry, what happened, to what, by whom."""
    said, subject = entry["predicate"], entry["subject"][0]["name"]
    actor = "" if said["actor"] == "agent" else f"  by {said['actor']}"
    clock = "" if said["clock"]["synchronised"] else " ~"
    what = f"{_what(said, subject)}{actor}"
    return f"{moment(said['recorded_at'])}{clock}  #{said['seq']}  {said['event']}  {what}".rstrip()


def reckoned(index: Mapping[str, Any] | None) -> str:
    """The sum of a whole look at a device, against its own index: `lists 42, held 42, 0 unexplained`."""
    if index is None:
        return ""
    more = [
        f"{index[name]} {word}" for name, word in (("aside", "in doubt"), ("refused", "refused")) if index.get(name)
    ]
    left = f"{index.get('unexplained', '?')} unexplained"
    return ", ".join([f"lists {index.get('listed', '?')}", f"held {index.get('safe', '?')}", *more, left])


def clock_off(clock: Mapping[str, Any] | None) -> str | None:
    """How far a device's clock was off when it was compared: `+3.2 s`; `+0.0 s, was +3600.0 s` where it was set."""
    if clock is None:
        return None
    off = f"{clock['offset_us'] / 1e6:+.1f} s"
    return off if clock["was_off_us"] is None else f"{off}, was {clock['was_off_us'] / 1e6:+.1f} s"


def belongs(context: Mapping[str, Any]) -> str:
    """What belongs to a capture, in short: `officer 4471, unit B12, incident 2026-117, 2 marks`."""
    told = []
    for part, word in (("officers", "officer"), ("units", "unit"), ("incidents", "incident")):
        names = [one[word] or "nobody" for one in context[part] if word in one]
        told += [f"{word} {', '.join(dict.fromkeys(names))}"] if names else []
    marks, places = len(context["marks"]), sum(one.get("count", 0) for one in context["track"])
    told += [f"{count} {word}{'s' * (count != 1)}" for count, word in ((marks, "mark"), (places, "position")) if count]
    return "; ".join(told) or "nothing any more"


def _what(said: Mapping[str, Any], subject: str) -> str:  # noqa: C901, PLR0911, PLR0912 - one sentence for each kind
    match said:
        case {"capture": {"key": key, "length": count}, "device": {"id": device}}:
            return f"{subject[:8]}  {key} of {device}, {length(count)}"
        case {"receipt": {"strength": strength, "destination": destination}}:
            return f"{subject[:8]}  {strength} receipt from {destination}"
        case {"order": {"driver": driver, "word": word}}:
            return f"{driver} was told: {word}"
        case {"command": command, "why": why}:
            return f"{subject[:8]}  {command}: {why}"
        case {"part": {"length": count}, "reason": reason}:
            return f"{length(count)} of a capture: {reason}"
        case {"reason": reason}:
            return f"{subject[:8]}  {reason}"
        case {"device": {"id": device, "place": place}}:
            return f"{device} at {place}" if place else str(device)
        case {"checkpoint": {"size": size, "witnesses": [*names]}}:
            return f"{size} entries, by {', '.join(map(str, names))}"
        case {"drill": {"passed": passed, "proven": proven, "capture": capture}}:
            return f"{str(capture)[:8]}  the drill {'passed' if passed else 'failed'}; proven: {proven}"
        case {"observation": {"kind": "device.index", "device": device, "detail": detail}}:
            return f"{device} {reckoned(detail)}"
        case {"batch": {"count": count, "device": device}}:
            return f"{count} positions of {device}"
        case {"context": context}:
            return f"{subject[:8]}  {belongs(context)}"
        case {"observation": {"kind": kind, "device": device, "detail": {"on": bool() as on}}}:
            return f"{kind} {'on' if on else 'off'} by {device}"
        case {"hold_up_ms": holds, "under_way": count}:
            return f"the ignition is off, {count} under way; power holds up for {holds / 1000:g} s"
        case {"took_ms": took, "ended_early": count}:
            return f"power may go, after {took / 1000:g} s; {count} ended early"
        case {"observation": {"kind": kind, "device": device}}:
            return f"{kind} by {device}"
        case {"read_again": {"length": count}}:
            return f"{subject[:8]}  the device's copy was read again, {length(count)}, and is equal"
        case {"agent": {"version": version}, "event": "agent.started" | "log.opened"}:
            return f"version {version}"
    return subject[:8] if "-" in subject[:9] else ""
