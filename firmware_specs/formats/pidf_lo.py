"""PIDF-LO: where a caller is, as XML (RFC 4119, 5139, 5491, 7459), and the same shapes in a LoST query (RFC 5222).

Known: RFC 5491 section 5.2 for the shapes, each with a latitude and a longitude in WGS 84 (EPSG 4326) in this order,
and a height behind them in EPSG 4979; RFC 4119 section 2.2 for the places of method and time; RFC 7459 for the
confidence that stands beside a shape. Elements are known by their local names: in recorded documents `method` and
`timestamp` stand in other namespaces than the standard's, numbers have blanks and line breaks around them, and a comma
may follow the latitude.

Not read, and said so: the old form of RFC 4119 (`gml:coordinates` in degrees, minutes and seconds), rings that are not
closed, coordinates beyond the earth. Units other than metre and degree are not converted: no document had one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats import plain_xml

if TYPE_CHECKING:
    from firmware_specs.formats.plain_xml import Element

__all__ = ["LOCATIONS_MAX", "Location", "Place", "moment", "place", "shapes"]

LOCATIONS_MAX: Final = 32
"""Locations of one document that are read."""
POSITIONS_MAX: Final = 1000
"""Corners of one polygon."""
TEXT_MAX: Final = 200
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")
_SHAPES: Final = frozenset({"Point", "Circle", "Ellipse", "ArcBand", "Polygon", "Sphere", "Ellipsoid", "Prism"})
_MEASURES: Final = {
    "radius": "radius_m",
    "semiMajorAxis": "semi_major_m",
    "semiMinorAxis": "semi_minor_m",
    "orientation": "orientation_deg",
    "innerRadius": "inner_m",
    "outerRadius": "outer_m",
    "startAngle": "start_deg",
    "openingAngle": "opening_deg",
    "verticalAxis": "vertical_m",
    "height": "height_m",
}
_CONTAINERS: Final = ("device", "tuple", "person")
_RING_LEAST: Final = 4


@dataclass(slots=True)
class Location:
    """One location, as a document gives it."""

    shape: str | None = None
    """`Point`, `Circle`, ...; None where it is an address, or cannot be read."""
    positions: list[tuple[Decimal, Decimal]] = field(default_factory=list)
    """(longitude, latitude), degrees: the order of GeoJSON. One, or the corners of a polygon."""
    measures: dict[str, Decimal] = field(default_factory=dict)
    """`radius_m` and the like."""
    civic: dict[str, str] = field(default_factory=dict)
    confidence: Decimal | None = None
    """Percent."""
    confidence_pdf: str | None = None
    of: str | None = None
    """`device`, `tuple`, `person`."""
    method: str | None = None
    unreadable: str | None = None
    """Why nothing is claimed of its place."""

    def told(self) -> dict[str, Any]:
        """As JSON with fractions as text: GeoJSON geometry, and what GeoJSON has no place for."""
        told: dict[str, Any] = {"geometry": self._geometry()}
        words = {"shape": self.shape, "of": self.of, "method": self.method, "unreadable": self.unreadable}
        told |= {name: word for name, word in words.items() if word is not None}
        told |= {name: str(number) for name, number in self.measures.items()}
        if self.confidence is not None:
            told["confidence_pct"] = str(self.confidence)
        if self.confidence_pdf is not None:
            told["confidence_pdf"] = self.confidence_pdf
        return {**told, "civic": self.civic} if self.civic else told

    def _geometry(self) -> dict[str, Any] | None:
        if self.shape is None or not self.positions:
            return None
        points = [[str(longitude), str(latitude)] for longitude, latitude in self.positions]
        if self.shape in ("Polygon", "Prism"):
            return {"type": "Polygon", "coordinates": [points]}
        return {"type": "Point", "coordinates": points[0]}


@dataclass(slots=True)
class Place:
    """A whole document."""

    locations: list[Location] = field(default_factory=list)
    at: datetime | None = None
    """The first time stamp of it that can be read."""
    service: str | None = None
    incident: str | None = None
    call: str | None = None


def place(data: bytes) -> Place | None:
    """Read a PIDF-LO document or a LoST query; None where it is neither. Raises `SpecError`."""
    root = plain_xml.parse(data)
    if root.name == "presence":
        found = Place()
        for one in root.children:
            if one.name in _CONTAINERS:
                _container(one, found)
        return found
    if root.name == "findService":
        query = Place(service=root.said("service")[:TEXT_MAX] or None)
        for one in root.children:
            if one.name == "location":
                query.locations += shapes(one)
            elif one.name == "emergencyCallIncidentId":
                query.call = one.attributes.get("callId", "")[:TEXT_MAX] or None
                query.incident = one.attributes.get("incidentTrackingId", "")[:TEXT_MAX] or None
        del query.locations[LOCATIONS_MAX:]
        return query
    return None


def _container(one: Element, found: Place) -> None:
    for inner in one.walk():
        if inner.name == "timestamp" and found.at is None:
            found.at = moment(inner.text)
        if inner.name != "geopriv":
            continue
        method = inner.said("method")[:TEXT_MAX] or None
        about = inner.child("location-info")
        for location in shapes(about) if about is not None else ():
            if len(found.locations) < LOCATIONS_MAX:
                location.of, location.method = one.name, method
                found.locations.append(location)


def shapes(inside: Element) -> list[Location]:
    """Every location that stands directly inside an element, in document order."""
    found: list[Location] = []
    for one in inside.children:
        if one.name in _SHAPES:
            found.append(_shape(one))
        elif one.name == "location":  # the old form of RFC 4119 wraps the shape once more
            found += shapes(one)
        elif one.name == "civicAddress":
            civic = {part.name[:TEXT_MAX]: part.text[:TEXT_MAX] for part in one.children[:64] if part.text}
            found.append(Location(civic=civic))
        elif one.name == "confidence" and found:
            found[-1].confidence, pdf = _number(one.text), one.attributes.get("pdf")
            found[-1].confidence_pdf = None if pdf is None else pdf[:TEXT_MAX]
        elif one.name == "Dynamic" and found and (speed := _number(one.said("speed"))) is not None:
            found[-1].measures["speed_mps"] = speed
    return found


def _shape(one: Element) -> Location:
    found = Location(shape=one.name)
    try:
        found.positions = _positions(one)
    except ValueError as error:
        return Location(unreadable=str(error))
    for inner in one.walk():
        if (name := _MEASURES.get(inner.name)) is not None and (number := _number(inner.text)) is not None:
            found.measures[name] = number
    return found


def _positions(one: Element) -> list[tuple[Decimal, Decimal]]:
    solid = one.name in ("Polygon", "Prism")
    found: list[tuple[Decimal, Decimal]] = []
    for inner in one.walk():
        if inner.name == "coordinates":
            raise ValueError("gml:coordinates in degrees:minutes:seconds (RFC 4119 old form, other GML namespace)")
        if inner.name == "pos":
            found.append(_position(inner.text.replace(",", " ").split()))
        elif inner.name == "posList":
            numbers = inner.text.replace(",", " ").split()
            step = 3 if inner.attributes.get("srsDimension") == "3" or one.name == "Prism" else 2
            found += [_position(numbers[at : at + step]) for at in range(0, len(numbers), step)]
        if len(found) > POSITIONS_MAX:
            raise ValueError(f"more than {POSITIONS_MAX} corners")
    if not found:
        raise ValueError("no position")
    if solid and (len(found) < _RING_LEAST or found[0] != found[-1]):
        raise ValueError("ring not closed")
    return found if solid else found[:1]


def _position(numbers: list[str]) -> tuple[Decimal, Decimal]:
    if len(numbers) not in (2, 3):
        raise ValueError("a position has two numbers, or three")
    latitude, longitude = _number(numbers[0]), _number(numbers[1])
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:  # noqa: PLR2004 - degrees
        raise ValueError("a position that is none on earth")
    return longitude, latitude


def _number(text: str) -> Decimal | None:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # pragma: no cover - the pattern allows none
        return None


def moment(text: str) -> datetime | None:
    """A time with a zone (RFC 3339), in UTC; None for anything else."""
    text = text.strip()
    if len(text) > 40:  # noqa: PLR2004 - none is as long
        return None
    # A fraction may have one to nine digits (RFC 3339 section 5.6); Python keeps six.
    text = re.sub(r"(\.[0-9]{1,6})[0-9]*", r"\1", text)
    try:
        read = datetime.fromisoformat(text)
        return None if read.utcoffset() is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
