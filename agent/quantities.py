"""How lengths, durations and rates are written in agent.toml: `"2 GiB"`, `"12 h"`, `"20 Mbit/s"`."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

__all__ = ["Duration", "Length", "Rate", "TimeOfDay"]

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_SECONDS: Final = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
_BITS: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_DIGITS: Final = r"(\d{1,15}(?:\.\d{1,15})?)"
_LONGEST: Final = timedelta(days=36500)
"""A hundred years: a duration is taken off the time of now, and calendars begin somewhere."""


def _length(value: object) -> object:
    if isinstance(value, str) and (found := re.fullmatch(_DIGITS + r"\s*([A-Za-z]*)", value.strip())):
        unit = _UNITS.get(found[2].lower())
        if unit is not None:
            return int(float(found[1]) * unit)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError('write a length such as "2 GiB" or "500 MB"')


def _duration(value: object) -> object:
    if isinstance(value, str) and (found := re.fullmatch(_DIGITS + r"\s*([a-z]+)", value.strip())):
        unit = _SECONDS.get(found[2])
        if unit is not None and (seconds := float(found[1]) * unit) <= _LONGEST.total_seconds():
            return timedelta(seconds=seconds)
    if isinstance(value, timedelta):
        return value
    raise ValueError(f'write a duration such as "30 s", "12 h" or "7 d", of at most {_LONGEST.days} d')


def _rate(value: object) -> object:
    if isinstance(value, str) and (found := re.fullmatch(_DIGITS + r"\s*([A-Za-z]+)/s", value.strip())):
        unit = found[2].lower()
        if unit in _BITS:
            return float(found[1]) * _BITS[unit] / 8
        if unit in _UNITS:
            return float(found[1]) * _UNITS[unit]
    if isinstance(value, float):
        return value
    raise ValueError('write a rate such as "20 Mbit/s" or "500 kB/s"')


# What a person may write, for the schema that editors read.
_WRITTEN_LENGTH = Annotated[str, Field(pattern=r"^\d+(\.\d+)? *([KMGT]i?B|[kMGT]?B)?$", examples=["2 GiB"])]
_WRITTEN_DURATION = Annotated[str, Field(pattern=r"^\d+(\.\d+)? *(ms|s|min|h|d)$", examples=["30 s", "7 d"])]
_WRITTEN_RATE = Annotated[str, Field(pattern=r"^\d+(\.\d+)? *[A-Za-z]+/s$", examples=["20 Mbit/s"])]

Length = Annotated[int, BeforeValidator(_length, json_schema_input_type=_WRITTEN_LENGTH | int), Field(ge=0)]
"""Bytes, written as `"2 GiB"`."""
Duration = Annotated[timedelta, BeforeValidator(_duration, json_schema_input_type=_WRITTEN_DURATION)]
"""Written as `"30 s"`, `"12 h"`, `"7 d"`."""
Rate = Annotated[float, BeforeValidator(_rate, json_schema_input_type=_WRITTEN_RATE), Field(ge=1000)]
"""Bytes per second, written as `"20 Mbit/s"` or `"500 kB/s"`."""


def _time_of_day(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", value):
        return time.fromisoformat(value)
    if isinstance(value, time):
        return value
    raise ValueError('write a time of day such as "07:00" or "19:30"')


TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
"""Written as `"07:00"`."""
