"""A look at the station as lines that fit a terminal of any size, 80 by 24 too: what is most urgent is never cut off.

A pure function of what the daemon told: `evidock watch` draws it again and again, and `--once` prints it.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from agent.capture import printable
from agent.cli.telling import COLOURS, duration, length, moment, rate

__all__ = ["bar", "clipped", "no_picture", "picture"]

_BAR: Final = 16
_LAST: Final = 5
"""Captures that are listed, where there is room."""


def no_picture(why: str, todo: str, *, width: int, height: int) -> list[Text]:
    """What stands in its place where the daemon tells nothing."""
    return [_line(why, width, "bold red"), _line(todo, width, "yellow")][:height]


def bar(done: int, whole: int | None, width: int = _BAR) -> str:
    """How much of something is done, in so many characters; blank where nobody knows how much there is."""
    if not whole:
        return " " * width
    filled = min(width, done * width // whole)
    full, rest = ("█", "░") if (sys.stdout.encoding or "").lower().startswith("utf") else ("#", ".")
    return full * filled + rest * (width - filled)


def clipped(text: str, width: int) -> str:
    """Printable, and exactly so many columns wide; what is cut ends in a dot."""
    shown = printable(text).replace("%25", "%")
    return set_cell_size(shown, width - 1) + "…" if cell_len(shown) > width else set_cell_size(shown, width)


def picture(
    told: dict[str, Any],
    captures: Sequence[dict[str, Any]],
    bays: dict[str, Any] | None = None,
    *,
    width: int,
    height: int,
) -> list[Text]:
    """At most `height` lines of at most `width` columns. `told`: the daemon's status."""
    head, alarms = list(_head(told, width)), list(_alarms(told["problems"], width, most=max(2, height // 4)))
    left = height - len(head) - len(alarms) - 1
    dock = list(_dock(told, bays, width))
    moves = list(_moves(told, width))
    last = [_capture(one, width) for one in captures[:_LAST]]
    # Each section has a title; the last captures give way first, then what is under way, then the dock.
    rooms = _shared(left, [len(dock) + 1, len(moves) + 1, len(last) + 1])
    body = [
        *_section("DOCK", dock, rooms[0], width, _empty(bays)),
        *_section("UNDER WAY", moves, rooms[1], width),
        *_section("LAST TAKEN", last, rooms[2], width),
    ]
    foot = _line("q ends   all of it: evidock status   what is wrong: evidock check", width, "dim")
    return [*head, *alarms, *body, foot][:height]


def _line(text: str, width: int, style: str = "") -> Text:
    return Text(clipped(text, width).rstrip(), style=style, no_wrap=True, overflow="crop")


def _head(told: dict[str, Any], width: int) -> Iterable[Text]:
    station, clock, room, tally = told["station"], told["clock"], told["room"], told["tally"]
    kept = "" if clock["synchronised"] else "  CLOCK UNKEPT"
    up = duration(told["uptime"] or 0)
    yield _line(f"{station['name']} of {station['agency']}   {moment(clock['at'])}{kept}   up {up}", width, "bold")
    lasts = "" if room["full_in"] is None else f", full in {duration(room['full_in'])}"
    held, known = tally["held"], sum(one["captures"] for one in tally.values())
    backlog = f"backlog {held['captures']} captures, {length(held['bytes'])}"
    yield _line(f"{backlog}   room {length(room['usable'])}{lasts}   {known} known", width)
    for link in told["links"]:
        if link["up"]:
            out = sum(
                one["rate"] or 0 for one in told["departures"] if one.get("destination", link["name"]) == link["name"]
            )
            yield _line(f"link {link['name']}  up  {rate(out) if out else 'idle'}", width, "green")
        else:
            again = f", again in {duration(link['again_in'])}" if link["again_in"] else ""
            yield _line(f"link {link['name']}  DOWN{again}: {link['problem']}", width, "bold red")


def _alarms(problems: Sequence[dict[str, Any]], width: int, *, most: int) -> Iterable[Text]:
    """The worst first, each with what to do; of those for which there is no room, the number."""
    links = [one for one in problems if one["id"] != "uplink.down"]  # told by its link already
    shown = links if len(links) * 2 <= most else links[: max(1, (most - 1) // 2)]
    for one in shown:
        style = "bold red" if one["state"] == "problem" else "yellow"
        yield _line(f"! {one['detail']}", width, style)
        if one["todo"]:
            yield _line(f"  {one['todo']}", width, style.replace("bold ", ""))
    if len(links) > len(shown):
        yield _line(f"! and {len(links) - len(shown)} more: evidock status", width, "yellow")


_STATES: Final = {
    "help": (0, "HELP", "bold red"),
    "do_not_remove": (1, "do not remove", "bold magenta"),
    "copying": (2, "copying", "cyan"),
    "charging": (3, "charging", ""),
    "safe": (4, "safe to take", "green"),
}
"""Order, words and colour of a bay's state; those that want somebody first."""


def _dock(told: dict[str, Any], bays: dict[str, Any] | None, width: int) -> Iterable[Text]:
    """Bays with something in them, those that want somebody first; then devices that stand in none."""
    known = {"bays": [], "others": []} if bays is None else bays
    rows = []
    for one in known["bays"]:
        if one["state"] == "empty":
            continue
        order, words, style = _STATES.get(one["state"], (0, str(one["state"]), ""))
        device = one["device"] or {}
        name = " ".join(filter(None, (device.get("model"), device.get("serial")))) or device.get("id") or "?"
        said = one["detail"] or _progress(one["copying"])
        text = f"{clipped(one['name'], 14)} {clipped(name, max(8, width // 3))} {words}  {said}"
        rows.append((order, one["name"], text, style))
    here = {(one["device"] or {}).get("id") for one in known["bays"]}
    for one in told["devices"]:
        if one["present"] and one["id"] not in here:
            coming = [move for move in told["arrivals"] if move["device"] == one["id"]]
            words = f"copying {len(coming)}  {rate(sum(move['rate'] or 0 for move in coming))}" if coming else "here"
            name = " ".join(filter(None, (one["model"], one["serial"]))) or one["id"]
            text = f"{clipped(one['driver'], 14)} {clipped(name, max(8, width // 3))} {words}"
            rows.append((2 if coming else 5, one["driver"], text, "cyan" if coming else ""))
    for _, _, text, style in sorted(rows):
        yield _line(text, width, style)


def _progress(copying: dict[str, Any] | None) -> str:
    if not copying:
        return ""
    return f"{bar(copying['done'], copying['length'], 10)} {rate(copying['rate'])}"


def _moves(told: dict[str, Any], width: int) -> Iterable[Text]:
    moves = [
        *(("in ", one["key"], one["arrived"], one["length"], one["rate"]) for one in told["arrivals"]),
        *(("out", one["key"], one["confirmed"], one["length"], one["rate"]) for one in told["departures"]),
    ]
    for way, key, done, whole, speed in moves:
        name = clipped(key.rpartition("/")[2], max(8, width - _BAR - 36))
        yield _line(f"{way} {name} {bar(done, whole)} {length(done):>10} {rate(speed):>12}", width)


def _capture(one: dict[str, Any], width: int) -> Text:
    name = clipped(one["key"].rpartition("/")[2], max(8, width - 54))
    receipt = one["receipt"]["strength"] if one["receipt"] else ""
    text = f"{one['id'][:8]} {name} {length(one['length']):>10} {receipt:7} {one['standing']}"
    return _line(text, width, COLOURS.get(one["standing"], ""))


def _empty(bays: dict[str, Any] | None) -> str:
    empty = sum(1 for one in ([] if bays is None else bays["bays"]) if one["state"] == "empty")
    return f"   {empty} {'bay' if empty == 1 else 'bays'} empty" if empty else ""


def _section(title: str, rows: list[Text], room: int, width: int, more: str = "") -> Iterable[Text]:
    """A title and as many rows as there is room for; the last row tells how many there are beyond."""
    if room < 2 or not rows:  # noqa: PLR2004 - a title alone says nothing
        if room >= 1:
            yield _line(f"{title}  {len(rows) or 'nothing'}{more}", width, "bold")
        return
    yield _line(f"{title}  {len(rows)}{more}", width, "bold")
    if len(rows) <= room - 1:
        yield from rows
        return
    yield from rows[: room - 2]
    yield _line(f"… and {len(rows) - (room - 2)} more", width, "dim")


def _shared(left: int, wants: list[int]) -> list[int]:
    """Lines for each section: what it wants, and in need an equal share; what one does not use the next may have."""
    rooms, rest = [], max(0, left)
    for number, want in enumerate(wants):
        share = rest // (len(wants) - number)
        others = sum(min(other, share) for other in wants[number + 1 :])
        given = min(want, max(share, rest - others))
        rooms.append(given)
        rest -= given
    return rooms
