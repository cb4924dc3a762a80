"""One fix, whatever told it, and how sentences and frames become one."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from firmware_specs.formats import nmea, ubx
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from datetime import datetime

    from firmware_specs.formats.gpsd_json import Tpv

__all__ = ["Epochs", "Fix", "of_tpv"]

_QUALITY: Final = {
    1: "gnss",
    2: "differential",
    3: "gnss",
    4: "rtk",
    5: "rtk_float",
    6: "dead_reckoning",
    7: "manual",
    8: "simulated",
}
_KNOT: Final = Decimal(1852) / Decimal(3600)
"""Metres a second."""
_UBX_COUNTS: Final = 20
"""Sentences that are passed over after a frame with a fix: a receiver that speaks both says everything twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """Where a receiver says that it is, and when. None: it does not say."""

    format: str
    """What told it, such as `nmea`."""
    dimensions: int = 0
    """0 no fix, 2 without height, 3."""
    at: datetime | None = None
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    altitude: Decimal | None = None
    """Metres above mean sea level."""
    speed: Decimal | None = None
    """Metres a second."""
    track: Decimal | None = None
    """Degrees from true north."""
    accuracy: Decimal | None = None
    """Metres, as the receiver estimates it."""
    hdop: Decimal | None = None
    satellites: int | None = None
    status: str = "gnss"


class Epochs:
    """Sentences and frames in, fixes out: those of one moment are one fix, as soon as it is complete."""

    def __init__(self) -> None:
        self._rmc: nmea.Rmc | None = None
        self._gga: nmea.Gga | None = None
        self._zda: datetime | None = None
        self._dimensions: int | None = None
        self._told = False
        self._passed = 0
        self.version: tuple[str, str, tuple[str, ...]] | None = None
        """What a u-blox receiver says that it is: software, hardware, extensions."""

    def feed(self, one: nmea.Sentence | ubx.Frame) -> list[Fix]:
        """What is complete now."""
        if isinstance(one, ubx.Frame):
            return self._frame(one)
        if self._passed:
            self._passed -= 1
            return []
        return self._sentence(one)

    def flush(self) -> list[Fix]:
        """The receiver is silent: what came so far is all of this moment."""
        fix = None if self._told else self._merged()
        self._rmc, self._gga, self._told = None, None, False
        return [] if fix is None else [fix]

    def _frame(self, one: ubx.Frame) -> list[Fix]:
        try:
            if one.kind == ubx.MON_VER:
                self.version = ubx.version(one.payload)
            elif one.kind == ubx.NAV_PVT:
                return [self._from_ubx(ubx.fix(one.payload), "ubx nav-pvt")]
            elif one.kind == ubx.NAV_SOL:
                return [self._from_ubx(ubx.old_fix(one.payload), "ubx nav-sol")]
        except Malformed:
            pass  # a right check sum over a message of another length: of a firmware that nobody described
        return []

    def _from_ubx(self, found: ubx.Fix, told_by: str) -> Fix:
        self._passed = _UBX_COUNTS
        if not found.dimensions:
            return Fix(format=told_by, at=found.at, satellites=found.satellites)
        return Fix(
            format=told_by,
            dimensions=found.dimensions,
            at=found.at,
            latitude=found.latitude,
            longitude=found.longitude,
            altitude=found.altitude,
            speed=found.speed,
            track=found.heading,
            accuracy=found.accuracy,
            satellites=found.satellites,
            status=found.status,
        )

    def _sentence(self, one: nmea.Sentence) -> list[Fix]:
        if one.kind == "RMC":
            rmc = nmea.rmc(one)
            ready = self.flush() if self._rmc is not None or self._other_moment(rmc.time) else []
            self._rmc = rmc
        elif one.kind == "GGA":
            gga = nmea.gga(one)
            ready = self.flush() if self._gga is not None or self._other_moment(gga.time) else []
            self._gga = gga
        else:
            if one.kind == "ZDA":
                self._zda = nmea.zda(one)
            elif one.kind == "GSA" and one.field(1) in ("1", "2", "3"):
                self._dimensions = int(one.field(1))
            return []
        if self._rmc is not None and self._gga is not None and (fix := self._merged()) is not None:
            self._told = True
            ready.append(fix)
        return ready

    def _other_moment(self, when: object) -> bool:
        return any(one is not None and one.time != when for one in (self._rmc, self._gga))

    def _merged(self) -> Fix | None:
        """A fix is what both stand by, where both are told."""
        rmc, gga = self._rmc, self._gga
        if rmc is None and gga is None:
            return None
        valid = (rmc is None or rmc.valid) and (gga is None or gga.quality >= 1)
        place = next(
            (one for one in (rmc, gga) if one and one.latitude is not None and one.longitude is not None), None
        )
        at = self._moment()
        if not valid or place is None:
            return Fix(format="nmea", at=at, satellites=None if gga is None else gga.satellites)
        height = gga is not None and gga.altitude is not None
        dimensions = self._dimensions if self._dimensions in (2, 3) else 3 if height else 2
        return Fix(
            format="nmea",
            dimensions=dimensions or 2,
            at=at,
            latitude=place.latitude,
            longitude=place.longitude,
            altitude=None if gga is None else gga.altitude,
            speed=None if rmc is None or rmc.knots is None else (rmc.knots * _KNOT).quantize(Decimal("0.001")),
            track=None if rmc is None else rmc.course,
            hdop=None if gga is None else gga.hdop,
            satellites=None if gga is None else gga.satellites,
            status="gnss" if gga is None else _QUALITY.get(gga.quality, "unknown"),
        )

    def _moment(self) -> datetime | None:
        """The date stands in RMC or ZDA alone; without it the time of day is no moment."""
        rmc, gga = self._rmc, self._gga
        if rmc is not None and rmc.time is not None and rmc.date is not None:
            return nmea.joined(rmc.date, rmc.time)
        when = rmc.time if rmc is not None else gga.time if gga is not None else None
        if when is not None and rmc is None and self._zda is not None:
            return nmea.nearest(when, self._zda)
        return None


def of_tpv(tpv: Tpv) -> Fix:
    """A report of gpsd. Below mode 2 it may still name the last place, which is not where the car is."""
    if tpv.mode < 2 or tpv.latitude is None or tpv.longitude is None:  # noqa: PLR2004
        return Fix(format="gpsd tpv", at=tpv.at)
    return Fix(
        format="gpsd tpv",
        dimensions=tpv.mode,
        at=tpv.at,
        latitude=tpv.latitude,
        longitude=tpv.longitude,
        altitude=tpv.altitude,
        speed=tpv.speed,
        track=tpv.track,
        accuracy=tpv.accuracy,
        status=tpv.status,
    )
