"""Documents of a call-taking position are kept byte for byte, told once, and found by incident beside recordings."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from agent.errors import SpoolFull
from agent.joining import assign
from agent.testing.station import Station
from drivers.dispatch.cad import Cad
from drivers.dispatch.ng911 import Ng911
from tests.context.conftest import WORN
from tests.drivers.dispatch.conftest import TOKEN, Joined, running, until
from tests.drivers.dispatch.test_cad import BEARER, URN, interval, listening
from tests.drivers.dispatch.test_cad import options as cad_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.driver import Offer

SAMPLES = Path(__file__).parents[2] / "formats" / "vectors" / "ng911"
EIDO = json.dumps(
    {
        "$id": URN,
        "lastUpdateTimeStamp": "2026-11-22T02:41:00.250-05:00",
        "callComponent": [{"$id": "urn:emergency:uid:callid:0a93c4d512:bcf.esinet.example"}],
        "locationComponent": [{"locationByReferenceUrl": "https://lis.osp.example/held/abc"}],
    }
).encode()


def options(**told: Any) -> Ng911.Options:  # noqa: ANN401 - options are of any kind
    return Ng911.Options.model_validate({"use": "dispatch.ng911", "name": "psap", "rescan": 0.05, **told})


async def test_a_document_is_found_by_incident_beside_the_recordings_of_the_unit(
    station: Joined, tmp_path: Path, token_file: Path
) -> None:
    rig, drop = station.rig, tmp_path / "drop"
    drop.mkdir()
    asked = {"device": WORN.id, "unit": "B12", "from": "2026-11-22T00:00:00Z", "new": True}
    await rig.desk.write(lambda journal: assign(journal, rig.joining.options, asked, actor="anna", why="shift"))
    await rig.hold("film", 60, device=WORN)
    driver, cad = Ng911(options(folder={"path": drop})), Cad(cad_options(**listening(token_file)))
    async with running(driver, station), running(cad, station):
        (drop / "call.json").write_bytes(EIDO)
        await until(lambda: station.told)
        url = f"{cad.bound.url}/incidents"  # type: ignore[union-attr]
        async with aiohttp.ClientSession(headers=BEARER) as session, session.post(url, json=interval(0, 600)) as answer:
            assert answer.status == 200
    await rig.settled()
    assert await rig.found(incident=URN) == ["call.json", "film"]
    assert await rig.found(incident="urn:emergency:uid:callid:0a93c4d512:bcf.esinet.example") == ["call.json"]
    capture, content = station.taken[0]
    assert content == EIDO
    assert capture.media_type == "application/json"
    assert capture.claims["locations_by_reference"] == ["https://lis.osp.example/held/abc"]
    told = [one for one in station.told if one.device == "ng911:psap"]
    assert [one.detail["incident"] for one in told] == [URN], "told once"
    assert (await rig.verified()).problems == []


async def test_a_document_that_is_posted_is_answered_when_it_is_held(station: Joined, token_file: Path) -> None:
    driver, full = Ng911(options(**listening(token_file))), []
    take = station.take

    async def taken(offer: Offer) -> Any:  # noqa: ANN401 - a standing
        if full:
            raise SpoolFull(full[0])
        return await take(offer)

    station.take = taken  # type: ignore[method-assign]
    async with running(driver, station), aiohttp.ClientSession() as session:
        await until(lambda: driver.bound)
        url = f"{driver.bound.url}/documents"  # type: ignore[union-attr]

        async def post(data: bytes, token: str = TOKEN) -> int:
            async with session.post(url, data=data, headers={"Authorization": f"Bearer {token}"}) as answer:
                return answer.status

        assert await post(EIDO, "x" * 32) == 401
        assert await post(b"") == 400
        assert await post(EIDO) == 201
        assert await post(b"what nobody can read") == 201
        full.append("no room")
        assert await post(b"another") == 507
    assert [content for _, content in station.taken] == [EIDO, b"what nobody can read"]
    assert station.taken[1][0].claims["unread"]
    assert len(station.told) == 1


async def test_documents_of_other_authors_are_replayed(station: Joined, tmp_path: Path) -> None:
    drop, files = tmp_path / "drop", sorted(SAMPLES.glob("*/*"))
    files = [file for file in files if not file.name.endswith(".expected.json") and file.parent.name != "LICENSES"]
    drop.mkdir()
    driver = Ng911(options(folder={"path": drop, "endings": [".json", ".xml", ".txt"]}))
    async with running(driver, station):
        for file in files:
            (drop / file.name).write_bytes(file.read_bytes())
        await until(lambda: len(station.taken) == len(files))
    assert {capture.key: content for capture, content in station.taken} == {one.name: one.read_bytes() for one in files}
    assert all("document" in capture.claims for capture, _ in station.taken)
    assert sorted(await station.rig.found(incident=URN)) == ["eido_call.json", "sip_headers.txt"]
    assert (await station.rig.verified()).problems == []


PIDF = """<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:a@example.org">
<tuple id="t"><status><geopriv xmlns="urn:ietf:params:xml:ns:pidf:geopriv10"><location-info>
<Point xmlns="http://www.opengis.net/gml" srsName="urn:ogc:def:crs:EPSG::4326"><pos>42.9{} -81.2</pos></Point>
</location-info></geopriv></status></tuple></presence>"""


@pytest.mark.parametrize("content", [lambda number: PIDF.format(number).encode(), lambda number: b"unread %d" % number])
async def test_a_document_that_takes_the_place_of_one_as_long_is_another_capture(
    tmp_path: Path, content: Callable[[int], bytes]
) -> None:
    """It tells no time: by name, time and length it is the one before."""
    drop = tmp_path / "drop"
    drop.mkdir()
    driver = options(folder={"path": drop, "endings": [".xml"]})
    async with Station(tmp_path / "station") as station:
        for number in (1, 2, 3, 2):
            (drop / "location.xml").write_bytes(content(number))
            async with running(Ng911(driver), station):  # type: ignore[arg-type]
                wanted = hashlib.sha256(content(number)).digest()
                async with asyncio.timeout(20):
                    while wanted not in {one.digest.sha256 for one in await station.holdings()}:  # noqa: ASYNC110 - a journal tells nobody
                        await asyncio.sleep(0.01)
        holdings = await station.holdings()
        assert len(holdings) == 3
        async with running(Ng911(driver), station):  # type: ignore[arg-type]
            await asyncio.sleep(0.3)
        assert len(await station.holdings()) == 3
        assert station.ingest.read["ng911:psap"] == sum(one.digest.length for one in holdings), "it is read again"
        await station.verify()
