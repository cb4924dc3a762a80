"""Versions of firmware: their order, ranges of them, and which of several specs fits the one that a device tells.

Makers write versions in many ways (`1.10`, `H19.03.01.30.00`, `v2.1.0-rc3`). They are compared as people read them:
number by number, and what stands between the numbers as text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firmware_specs.devices import DeviceSpec

__all__ = ["Fit", "KnownBad", "Minimum", "Range", "fitting", "order", "within"]

_PART: Final = re.compile(r"[0-9]+|[A-Za-z]+")
_DIGITS_MAX: Final = 18
"""Of one number that is compared as a number."""
_EARLY: Final = frozenset({"alpha", "beta", "dev", "pre", "rc"})
_BEFORE, _END, _LETTERS, _NUMBER = range(4)


def order(version: str) -> tuple[tuple[int, int, str], ...]:
    """What versions are sorted by: `1.9` before `1.10`, `2.0-rc1` before `2.0` before `2.0b`; case is ignored."""
    plain = re.sub(r"^\s*[vV](?=[0-9])", "", version)
    return (*(_weight(one.casefold()) for one in _PART.findall(plain)), (_END, 0, ""))


def _weight(part: str) -> tuple[int, int, str]:
    if part.isdigit() and len(part) <= _DIGITS_MAX:
        return _NUMBER, int(part), ""
    return (_BEFORE if part in _EARLY else _LETTERS), 0, part


def _range(text: str) -> str:
    if not text.strip(".") or text.strip() != text or " " in text:
        raise ValueError("write a version, or a range with both of its ends such as `1.2..1.4`, `..1.4` or `1.2..`")
    return text


Range: TypeAlias = Annotated[str, Field(max_length=64), AfterValidator(_range)]
"""One version, or all between two, both included: `1.2..1.4`; an end that is left out has no bound."""


def within(version: str, versions: Range) -> bool:
    """Whether a version lies in a range."""
    first, dots, last = versions.partition("..")
    if not dots:
        return order(version) == order(first)
    return (not first or order(first) <= order(version)) and (not last or order(version) <= order(last))


class Minimum(BaseModel):
    """What a device should have at least."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    why: str
    """For a person, in a clause."""
    source: str
    """Who says so: an address, or `the agency`."""


class KnownBad(BaseModel):
    """Versions that are known to do harm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: Range
    why: str
    source: str


class Fit(NamedTuple):
    """A spec, and how it fits the firmware of the device."""

    spec: DeviceSpec
    how: str
    """`exact`, `newest older: 1.2`, `any firmware`, or `firmware not told`."""


def fitting(specs: Iterable[tuple[DeviceSpec, str | None]]) -> Fit | None:
    """Of specs of one model, each with the firmware that it reads on the device: the exact one, else the newest older.

    A spec without a version describes any. None: the device is older than everything that is described.
    """
    found = list(specs)
    exact = [one for one, firmware in found if one.version and firmware and order(one.version) == order(firmware)]
    older = [one for one, firmware in found if one.version and firmware and order(one.version) < order(firmware)]
    any_ = [(one, firmware) for one, firmware in found if one.version is None]
    if exact:
        return Fit(exact[0], "exact")
    if older:
        newest = max(older, key=lambda one: order(one.version or ""))
        return Fit(newest, f"newest older: {newest.version}")
    if any_:
        return Fit(any_[0][0], "firmware not told" if any_[0][1] is None else "any firmware")
    return None
