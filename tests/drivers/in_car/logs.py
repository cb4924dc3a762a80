"""What gpsd's own oracle says of a log, and what must differ from it, with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from drivers.in_car.gnss.fix import Fix

Point: TypeAlias = "tuple[datetime | None, Decimal, Decimal]"
"""Time to the hundredth, latitude and longitude to a centimetre."""

ERA = timedelta(weeks=1024)

WITHOUT_US = {
    # gpsd takes a place that the receiver calls void (status V, quality 0).
    "mtk-3301.log": {(Decimal("52.2163166"), Decimal("6.8849651"))},
    # Only the time is fixed (fixType 5): gpsd tells the place at which the receiver was told to stand.
    "ublox-lea-m8f.log": {(Decimal("-34.9082196"), Decimal("138.5961479"))},
}

OURS_ALONE = {
    # gpsd tells the second place in metres from the earth's centre, and beside it the degrees of the first.
    "ublox-lea-4t.log": {(Decimal("53.5632541"), Decimal("-113.4395452"))},
}


def oracle(path: Path) -> set[Point]:
    """Every place that gpsd tells."""
    found: set[Point] = set()
    for line in path.with_name(f"{path.name}.chk").read_text(errors="replace").splitlines():
        if line.startswith("{") and '"TPV"' in line:
            told = json.loads(line, parse_float=Decimal)
            if told["mode"] >= 2 and "lat" in told:
                at = datetime.fromisoformat(told["time"]) if "time" in told else None
                found.add(point(at, told["lat"], told["lon"]))
    return found


def point(at: datetime | None, latitude: Decimal, longitude: Decimal) -> Point:
    if at is not None:
        hundredths = round(at.timestamp() * 100)
        at = datetime.fromtimestamp(hundredths / 100, UTC)
    places = (one.quantize(Decimal("1e-7")) for one in (latitude, longitude))
    return (at, *places)


def points(fixes: Iterable[Fix]) -> set[Point]:
    return {point(fix.at, fix.latitude, fix.longitude) for fix in fixes if fix.dimensions}


def compare(name: str, ours: set[Point], theirs: set[Point]) -> None:
    """Each place of ours is gpsd's, at the same time but for whole eras; and the other way, but for `WITHOUT_US`."""
    without = WITHOUT_US.get(name, set())
    left = {one for one in theirs if one[1:] not in without}
    assert {one[1:] for one in ours} - OURS_ALONE.get(name, set()) == {one[1:] for one in left}
    times: dict[tuple[Decimal, ...], set[datetime]] = {}
    for at, *place in left:
        if at is not None:
            times.setdefault(tuple(place), set()).add(at)
    for at, *place in ours:
        if at is not None and (told := times.get(tuple(place))):
            # gpsd lifts dates before 2017 by 1024 weeks; we tell what the receiver said.
            assert any((one - at) % ERA == timedelta(0) for one in told), (name, at, told)
