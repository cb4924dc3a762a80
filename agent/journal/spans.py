"""When each capture was recorded, and which have to be looked at once what surrounds them has come.

Written in the transaction that holds a capture, so it knows the connection alone.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.context import DRIFT, EARLIEST, LATEST, Interval, Sort, about_device, duration_of, folded
from agent.journal.rows import micros, moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

__all__ = ["GOES_ON", "SETTLE", "SIZES", "begun", "bits_of", "interval_of", "predicate_at", "span_as_json"]

SETTLE: Final = timedelta(seconds=20)
"""Time between the taking of a capture and the first look at what belongs to it, where nothing is configured."""

GOES_ON: Final = 63
"""The size of what lasts until further notice."""
_STEP: Final = 4
_FAR_OFF: Final = timedelta(days=20 * 365)
"""A clock that lost its battery begins in 1970 or so: a comparison puts it right."""
_LARGEST: Final = 36

SIZES: Final = (
    "("
    + " UNION ALL ".join(
        f"SELECT {bits} AS bits, {(1 << bits) * 1_000_000} AS reach" for bits in range(_STEP, _LARGEST + 1, _STEP)
    )
    + ") size"
)
"""A table of sizes: intervals of one end at most `reach` microseconds after they begin. With it "what overlaps this
interval" is nine looks into an index, however long the longest interval is."""


_CLOCK: Final = f"FROM fact WHERE sort = 'clock' AND about = ?1 AND replaced IS NULL AND bits = {_STEP} AND began"
_COMPARISON: Final = (
    f"SELECT coalesce((SELECT seq {_CLOCK} <= ?2 ORDER BY began DESC LIMIT 1),"
    f" (SELECT seq {_CLOCK} > ?2 ORDER BY began LIMIT 1))"
)
_TOLD: Final = ", ".join(f"'{sort.value}'" for sort in Sort if sort is not Sort.CLOCK)
_SOMETHING_IS_KNOWN: Final = (
    f"SELECT EXISTS (SELECT 1 FROM batch) OR EXISTS (SELECT 1 FROM fact WHERE sort IN ({_TOLD}) LIMIT 1)"  # noqa: S608 - ours
)


def bits_of(began: int, ended: int | None) -> int:
    """The size of an interval in microseconds: it is shorter than 2^bits seconds."""
    if ended is None:
        return GOES_ON
    bits = ((ended - began) // 1_000_000 + 1).bit_length()
    return min(_LARGEST, -(-bits // _STEP) * _STEP)


def predicate_at(connection: apsw.Connection, seq: int) -> dict[str, Any]:
    """What an entry says: the predicate of its statement."""
    said: dict[str, Any] = json.loads(connection.execute("SELECT leaf FROM entry WHERE seq = ?", (seq,)).get)
    found: dict[str, Any] = said["predicate"]
    return found


def interval_of(connection: apsw.Connection, predicate: Mapping[str, Any], held_at: datetime) -> Interval | None:
    """When a capture was recorded, by what its entry `held` says and what was measured of its device's clock.

    The last comparison before it was taken counts, for it is that of the docking that brought it; else the first one
    after. None where the device gave no time, or one that cannot be: a capture is held whatever its device says.
    """
    said, device = predicate["capture"], predicate["device"]["id"]
    if said["began_at"] is None:
        return None
    began_at, duration = datetime.fromisoformat(said["began_at"]), duration_of(said["claims"])
    if not EARLIEST - _FAR_OFF <= began_at <= LATEST:
        return None
    measured = _comparison(connection, device, held_at)
    if measured is None:
        return Interval(began_at, began_at + (duration or timedelta()), duration=duration)
    detail = predicate_at(connection, measured)["observation"]["detail"]
    offset, uncertainty = (timedelta(microseconds=int(detail[name])) for name in ("offset_us", "uncertainty_us"))
    compared: int = connection.execute("SELECT began FROM fact WHERE seq = ?", (measured,)).get
    began_at -= offset
    uncertainty += abs(moment(compared) - began_at) * DRIFT
    return Interval(began_at, began_at + (duration or timedelta()), offset, uncertainty, measured, duration)


def _comparison(connection: apsw.Connection, device: str, held_at: datetime) -> int | None:
    found: int | None = connection.execute(_COMPARISON, (about_device(device), micros(held_at))).get
    return found


def span_as_json(leaf: bytes) -> str:
    """[[bits, began, ended]] of an entry `held`, or [], as its device says it: for journals of older versions."""
    said = json.loads(leaf)["predicate"]["capture"]
    if said["began_at"] is None or not EARLIEST <= datetime.fromisoformat(said["began_at"]) <= LATEST:
        return "[]"
    began_at, duration = datetime.fromisoformat(said["began_at"]), duration_of(said["claims"])
    began, ended = micros(began_at), micros(began_at + (duration or timedelta()))
    return json.dumps([[bits_of(began, ended), began, ended]])


def begun(
    connection: apsw.Connection, row: int, predicate: Mapping[str, Any], held_at: datetime, due_at: datetime
) -> None:
    """A capture is held: note when it was recorded, and that it is to be looked at. In its transaction."""
    device = predicate["device"]
    connection.executemany(
        "INSERT OR IGNORE INTO alias VALUES (?, ?)",
        [(folded(name), device["id"]) for name in (device["id"], device.get("serial")) if name],
    )
    interval = interval_of(connection, predicate, held_at)
    if interval is None:
        return
    _place(connection, row, device["id"], interval)
    if _something_is_known(connection):
        connection.execute("INSERT OR REPLACE INTO unsettled VALUES (?, ?)", (row, micros(due_at)))


def _place(connection: apsw.Connection, row: int, device: str, interval: Interval) -> None:
    began, ended = (micros(one) for one in interval.widest)
    connection.execute(
        "INSERT OR REPLACE INTO span VALUES (?, ?, ?, ?, ?)", (row, device, bits_of(began, ended), began, ended)
    )


def _something_is_known(connection: apsw.Connection) -> bool:
    """Whether anything was ever told that could belong to a capture: on most docks nothing is."""
    return bool(connection.execute(_SOMETHING_IS_KNOWN).get)
