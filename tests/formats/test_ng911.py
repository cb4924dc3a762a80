"""NG9-1-1 documents of other authors give what their oracles say; whatever else comes is a value or our error."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from firmware_specs import SpecError
from firmware_specs.formats import ng911, pidf_lo
from firmware_specs.formats.ng911 import document, normal, urn_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = Path(__file__).parent / "vectors" / "ng911"
NAMES = [
    "authored/eido_call.json", "authored/pidf_circle.xml", "authored/sip_headers.txt", "log_event/call_start.json",
    "log_event/media_start.json", "log_event/rec_call_start.json", "lost/find_service_point.xml",
    "lost/find_service_polygon.xml", "pidf/DeviceCircleDynamic1.xml", "pidf/DeviceCivicLocation.xml",
    "pidf/DevicePointLocation.xml", "pidf/RFC5491TupleArcBandLocation.xml", "pidf/RFC5491TuplePointLocation.xml",
    "pidf/RFC5491TuplePolygonLocation.xml",
]  # fmt: skip

POINT = (
    b'<presence xmlns:g="http://www.opengis.net/gml"><device id="d"><geopriv><location-info><g:Point><g:pos>42.5 -81.25'
    b"</g:pos></g:Point></location-info></geopriv></device></presence>"
)
EIDO = json.dumps(
    {
        "$id": "urn:emergency:uid:incidentid:7f2c1e0b44:CAD.police.example",
        "callComponent": [{"$id": "urn:emergency:uid:callid:0a93c4d512:bcf.esinet.example"}],
        "locationComponent": [{"locationByValue": POINT.decode()}],
    }
).encode()


def numbers(told: object) -> Any:  # noqa: ANN401 - any JSON
    """JSON with every number, and every text that is one, as a decimal."""
    if isinstance(told, dict):
        return {name: numbers(inner) for name, inner in told.items()}
    if isinstance(told, list):
        return [numbers(inner) for inner in told]
    if isinstance(told, (int, float)) and not isinstance(told, bool):
        return Decimal(repr(told))
    if isinstance(told, str) and told.replace(".", "").replace("-", "").isdecimal() and told != "802.11":
        return Decimal(told)
    return told


def told(found: ng911.Document) -> dict[str, Any]:
    """What the oracles name."""
    made: dict[str, Any] = {
        "incident": found.incident,
        "calls": found.calls,
        "call": found.calls[0] if found.calls else None,
        "locations": [one.told() for one in found.locations],
        "locations_by_reference": found.by_reference,
        **found.words,
    }
    made["media_labels"] = found.words.get("media_labels", "").split()
    for name in ("at", "updated_at", "timestamp"):
        made[name] = found.at
    return {**made, "call_started_at": found.call_started_at}


@pytest.mark.proves("dispatch.ng911", vectors="documents of tamu-edu/ng911-dev and PhrSite/Ng911Lib")
@pytest.mark.parametrize("name", NAMES)
def test_documents_of_other_authors(name: str) -> None:
    path = SAMPLES / name
    oracle = json.loads(
        path.with_name(f"{path.name}.expected.json").read_text(), parse_float=Decimal, parse_int=Decimal
    )
    found = told(document(path.read_bytes()))
    for member, expected in oracle.items():
        if member in ("references_open", "positions_read"):
            continue  # not ours: references are never followed, and what is unreadable has no positions
        if member in ("at", "updated_at", "timestamp", "call_started_at"):
            assert found[member] == (None if expected is None else pidf_lo.moment(expected)), member
        elif member == "locations":
            assert len(found[member]) == len(expected)
            for one, other in zip(found[member], expected, strict=True):
                assert {key: numbers(one).get(key) for key in other} == numbers(other)
        else:
            assert found[member] == expected, member


def test_identifiers() -> None:
    urn = "urn:emergency:uid:incidentid:7f2c1e0b44:CAD.Police.example"
    assert urn_kind(urn) == "incidentid"
    assert normal(urn) == "urn:emergency:uid:incidentid:7f2c1e0b44:cad.police.example"
    assert normal("2026-117") == "2026-117"
    assert urn_kind("urn:emergency:uid:other:7f2c1e0b44:host") is None
    assert document(EIDO).incident == normal(urn)
    short = EIDO.replace(b"7f2c1e0b44", b"7f2")
    assert document(short).flags == ["the string of a incidentid has 3 characters, not 10 to 36"]


def test_what_is_unusual_is_flagged_and_the_rest_is_read() -> None:
    told = json.loads(EIDO)
    told["locationComponent"] += [{"locationByValue": "<broken"}, {"locationByReferenceUrl": "https://lis.example/1"}]
    told["callComponent"] += [{"$id": "call 7"}, 5, {"$id": ["x"]}]
    found = document(json.dumps(told).encode())
    assert len(found.locations) == 1
    assert found.by_reference == ["https://lis.example/1"]
    assert len(found.flags) == 2
    assert found.calls[1] == "call 7"


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (POINT.replace(b"42.5", b"142.5"), "none on earth"),
        (POINT.replace(b"42.5 -81.25", b"42.5"), "two numbers"),
        (POINT.replace(b"42.5 -81.25", b"NaN 0"), "none on earth"),
        (POINT.replace(b"<g:pos>42.5 -81.25</g:pos>", b""), "no position"),
        (POINT.replace(b"g:Point", b"g:Polygon"), "ring not closed"),
    ],
)
def test_a_place_that_cannot_be_is_kept_without_a_position(xml: bytes, said: str) -> None:
    (location,) = document(xml).locations
    assert said in (location.unreadable or "")
    assert location.told()["geometry"] is None


NO_DOCUMENTS = [
    b"",
    b"{}",
    b"[]",
    b"<a/>",
    b"\xff\xff",
    b"{" * 100_000,
    b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
    b'{"$id": "urn:emergency:uid:callid:7f2c1e0b44:x"}',
    b"x" * (4 << 20) + b"x",
]


@pytest.mark.parametrize("data", NO_DOCUMENTS)
def test_what_is_no_document_is_our_error(data: bytes) -> None:
    with pytest.raises(SpecError):
        document(data)


def cut() -> Iterator[bytes]:
    for whole in (POINT, EIDO):
        for end in range(len(whole)):
            yield whole[:end]


def test_cut_after_every_byte() -> None:
    for data in cut():
        with pytest.raises(SpecError):
            document(data)
