"""What belongs to a capture in a person's words: the device's own claim, what was assigned, and what was corrected."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent.cli.telling import moment
from agent.cli.words import belongs

__all__ = ["told"]

_NOBODY: Final = "unassigned"


def told(context: Mapping[str, Any]) -> Iterator[str]:
    """One line for each thing."""
    claimed, now = context["claimed"], context["now"]
    for word in ("officer", "incident"):
        said = ", ".join(claimed[word])
        yield f"The device says: {word} {said}" if said else f"The device says nothing of an {word}"
    if now is None:
        yield f"Officer: {_NOBODY}; nothing that was told since belongs to it"
        return
    if not now["officers"]:
        yield f"Officer: {_NOBODY}"
    for word, part in (("officer", "officers"), ("unit", "units")):
        for one in now[part]:
            yield _more(one) or f"{word.capitalize()}: {one[word] or _NOBODY}, {_by(one)}"
    for one in now["incidents"]:
        yield _more(one) or _incident(one)
    for one in now["marks"]:
        yield _more(one) or f"{one['kind']}, {_by(one)}"
    for one in now["track"]:
        yield _more(one) or _track(one)
    interval = now["interval"]
    between = f"from {moment(interval['from'])} to {moment(interval['until'])}"
    yield f"Recorded {between} by the station's time; {_clock(interval)}"
    for before in reversed(context["before"]):
        yield f"Before entry {now['entry']} this stood in entry {before['entry']}: {belongs(before)}"


def _incident(one: Mapping[str, Any]) -> str:
    category = f" ({one['category']})" if "category" in one else ""
    through = "" if one["through"] is None else f", through entry {one['through']}"
    return f"Incident: {one['incident']}{category}, {_by(one)}{through}"


def _track(one: Mapping[str, Any]) -> str:
    places = [
        f"{at['place']['latitude']} {at['place']['longitude']}" for at in (one["first"], one["last"]) if at["place"]
    ]
    where = f": {' to '.join(dict.fromkeys(places))}" if places else ""
    return f"{one['count']} positions of {one['device']}{where}, by {one['rule']} ({one['overlap']})"


def _by(one: Mapping[str, Any]) -> str:
    """Since when, by which rule and entry, how sure."""
    if "from" not in one:
        return f"by {one['rule']}"
    until = "on" if one["until"] is None else f"to {moment(one['until'])}"
    entry = f", entry {one['entry']}" if "entry" in one else ""
    return f"from {moment(one['from'])} {until}, by {one['rule']} ({one['overlap']}{entry})"


def _more(one: Mapping[str, Any]) -> str:
    return f"and {one['more']} more" if "more" in one else ""


def _clock(interval: Mapping[str, Any]) -> str:
    clock = interval["clock"]
    if clock is None:
        return "nobody compared the device's clock"
    off, sure = clock["offset_us"] / 1e6, clock["uncertainty_us"] / 1e6
    return f"its clock was {off:+.1f} s off, to {sure:.1f} s (entry {clock['entry']})"
