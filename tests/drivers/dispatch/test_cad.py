"""Incidents of units come in by HTTPS, MQTT and files, tag captures, and are corrected; hostile input is refused."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.capture import canonical, rfc3339
from agent.errors import BadCapture, ConfigError
from agent.joining import assign
from agent.testing.broker import Mosquitto, mosquitto_program
from drivers.dispatch.cad import Cad
from drivers.dispatch.cad.intervals import ROWS_MAX, Row, Wrong, rows
from drivers.dispatch.folder import Dropped, Folder
from tests.context.conftest import WORN, Rig, seconds
from tests.drivers.dispatch.conftest import TOKEN, Joined, running, until

if TYPE_CHECKING:
    from pathlib import Path

URN = "urn:emergency:uid:incidentid:7f2c1e0b44:cad.police.example"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def options(**told: Any) -> Cad.Options:  # noqa: ANN401 - options are of any kind
    base = {"use": "dispatch.cad", "name": "cad", "rescan": 0.05}
    if not {"folder", "listen", "broker"} & told.keys():
        told["folder"] = {"path": "/srv/cad"}
    return Cad.Options.model_validate(base | told)


def listening(token_file: Path) -> dict[str, Any]:
    return {"listen": {"address": "127.0.0.1", "port": 0, "plain": True}, "token_file": token_file}


def interval(since: float, until_: float | None = None, **told: Any) -> dict[str, Any]:  # noqa: ANN401
    found = {"incident": URN, "unit": "B12", "category": "traffic stop", "from": rfc3339(seconds(since)), **told}
    return found if until_ is None else {**found, "until": rfc3339(seconds(until_))}


async def worn_by(rig: Rig) -> None:
    """The camera is unit B12's, and its clock is right."""
    await rig.tell(WORN.id, "clock.compared", 0, offset_us=0, uncertainty_us=1000)
    asked = {"device": WORN.id, "unit": "b12", "from": rfc3339(seconds(-3600)), "new": True}
    await rig.desk.write(lambda journal: assign(journal, rig.joining.options, asked, actor="anna", why="shift"))


async def test_a_capture_gets_incident_unit_and_category_by_time_and_device(station: Joined, token_file: Path) -> None:
    rig, driver = station.rig, Cad(options(**listening(token_file)))
    await worn_by(rig)
    inside, outside = await rig.hold("inside", 60, device=WORN), await rig.hold("outside", 6000, device=WORN)
    async with running(driver, station), aiohttp.ClientSession(headers=BEARER) as session:
        await until(lambda: driver.bound)
        url = f"{driver.bound.url}/incidents"  # type: ignore[union-attr]
        async with session.post(url, json=interval(0, 600, id="7")) as answer:
            assert answer.status == 200
            assert await answer.json() == {"taken": 1, "refused": 0, "rows": []}
        await rig.settled()
        assert await rig.found(incident=URN) == ["inside"]
        (found,) = (await rig.context(inside) or {})["incidents"]
        assert {name: found[name] for name in ("incident", "category", "unit", "rule", "overlap", "source")} == {
            "incident": URN, "category": "traffic stop", "unit": "B12", "rule": "unit and time",
            "overlap": "certain", "source": "cad:cad",
        }  # fmt: skip
        (unit,) = (await rig.context(inside) or {})["units"]
        assert found["through"] == unit["entry"]
        # Said again it is no entry; corrected late it is one, and tags anew.
        size = await rig.desk.read(lambda journal: journal.leaves.size)
        async with session.post(url, json=[interval(0, 600, id="7")] * 3) as answer:
            assert answer.status == 200
        assert await rig.desk.read(lambda journal: journal.leaves.size) == size
        async with session.post(url, json={"intervals": [interval(5900, 6600, id="7")]}) as answer:
            assert answer.status == 200
        await rig.settled()
        assert await rig.found(incident=URN) == ["outside"]
        story = await rig.context(inside) or {}
        assert story["incidents"] == []
        async with session.post(url, json=interval(5900, 6600, id="7", withdrawn=True)) as answer:
            assert answer.status == 200
        await rig.settled()
        assert await rig.found(incident=URN) == []
    assert (await rig.context(outside) or {})["incidents"] == []
    assert (await rig.verified()).problems == []
    assert station.sighted[0].id == "cad:cad"


async def test_who_may_send_and_what_is_refused(station: Joined, token_file: Path) -> None:
    driver = Cad(options(**listening(token_file)))
    async with running(driver, station), aiohttp.ClientSession() as session:
        await until(lambda: driver.bound)
        url = driver.bound.url  # type: ignore[union-attr]

        async def post(
            data: bytes | io.BytesIO, path: str = "/incidents", token: str | None = TOKEN
        ) -> tuple[int, Any]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with session.post(url + path, data=data, headers=headers) as answer:
                return answer.status, await answer.json()

        good = json.dumps(interval(0, 60)).encode()
        assert (await post(good, token=None))[0] == 401
        assert (await post(good, token="wrong" * 8))[0] == 401
        assert (await post(good, path="/other"))[0] == 404
        assert (await post(b""))[0] == 400
        assert (await post(b"\xff\xfe"))[0] == 400
        assert (await post(b"[" * 100_000))[0] == 400
        assert (await post(b'{"incident": NaN}'))[0] == 400
        assert (await post(io.BytesIO(b"x" * (8 << 20) + b"y")))[0] == 413
        status, told = await post(json.dumps([interval(0, 60), interval(60, 0), {"unit": "B12"}, 7]).encode())
        assert (status, told["taken"], told["refused"]) == (422, 1, 3)
        assert [row["row"] for row in told["rows"]] == [2, 3, 4]
        (notice,) = driver.notices()
        assert (notice.id, notice.what) == ("dispatch.refused", "posted")
        assert (await post(good))[0] == 200
        assert driver.notices() == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.interop
@pytest.mark.proves("dispatch.cad", peer="curl 7.88")
async def test_a_program_of_others_posts_csv(station: Joined, token_file: Path, tmp_path: Path) -> None:
    columns = {
        "incident": "EventNumber",
        "unit": "UnitID",
        "from": "Dispatched",
        "until": "Cleared",
        "category": "Type",
    }
    told = {"columns": columns, "timezone": "America/Toronto", "time_format": "%m/%d/%Y %H:%M:%S"}
    driver = Cad(options(**listening(token_file), **told))
    file = tmp_path / "export.csv"
    file.write_text("EventNumber,UnitID,Type,Dispatched,Cleared,Remarks\r\n"
                    '2026-117,B12,"Traffic, stop",11/22/2026 07:00:00,11/22/2026 07:10:00,ignored\r\n')  # fmt: skip
    await worn_by(station.rig)
    await station.rig.hold("a", 60, device=WORN)
    async with running(driver, station):
        await until(lambda: driver.bound)
        url = f"{driver.bound.url}/incidents"  # type: ignore[union-attr]
        words = ("--silent", "--show-error", "--fail", "-H", f"Authorization: Bearer {TOKEN}")
        process = await asyncio.create_subprocess_exec("curl", *words, "--data-binary", f"@{file}", url, stdout=-1)
        out, _ = await process.communicate()
        assert process.returncode == 0, out
    await station.rig.settled()
    assert await station.rig.found(incident="2026-117") == ["a"]


async def test_a_file_that_could_not_be_read_for_a_moment_is_read_when_it_can(
    station: Joined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that hangs for a while: the file itself does not change, and nothing else would have it read."""
    hangs = True
    read = Folder.read

    def reading(folder: Folder, dropped: Dropped) -> bytes | None:
        return None if hangs else read(folder, dropped)

    monkeypatch.setattr(Folder, "read", reading)
    (tmp_path / "e.json").write_text(json.dumps(interval(0, 60, id="1")))
    driver = Cad(options(folder={"path": tmp_path}))
    async with running(driver, station):
        await until(driver.notices)
        hangs = False
        await until(lambda: len(station.told) == 1)
        await until(lambda: not driver.notices())


async def test_files_are_read_when_they_rest_and_again_when_they_change(station: Joined, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    driver = Cad(options(folder={"path": drop}))
    async with running(driver, station):
        await until(driver.notices)
        assert driver.notices()[0].id == "dispatch.folder"
        drop.mkdir()
        await until(lambda: not driver.notices())
        (drop / "a.json.part").write_text(json.dumps(interval(0, 60, id="never")))
        (drop / "b.json").symlink_to(tmp_path / "token")
        os.mkfifo(drop / "c.json")
        (drop / "d.json").write_text("{broken")
        (drop / "e.json").write_text(json.dumps(interval(0, 60, id="1")))
        await until(lambda: len(station.told) == 1)
        await until(driver.notices)
        assert [notice.what for notice in driver.notices()] == ["d.json"]
        (drop / "d.json").write_text(json.dumps([interval(0, 60, id="2")]))
        await until(lambda: len(station.told) == 2)
        (drop / "e.json").write_text(json.dumps(interval(0, 120, id="1")))
        await until(lambda: len(station.told) == 3)
        await until(lambda: not driver.notices())
        await asyncio.sleep(0.3)
    assert len(station.told) == 3, "what did not change is not read again"
    assert sorted(path.name for path in drop.iterdir()) == ["a.json.part", "b.json", "c.json", "d.json", "e.json"]


@pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed")
@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed")
@pytest.mark.interop
@pytest.mark.proves("dispatch.cad", peer="mosquitto and mosquitto_pub 2.0")
async def test_messages_of_a_broker(station: Joined, tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        table = broker.options().model_dump(exclude_none=True, exclude_defaults=True)
        driver = Cad(options(broker=table, topics=["cad/units/+"]))
        async with running(driver, station):
            for payload in (json.dumps(interval(0, 60, id="1")), "no document", json.dumps(interval(0, 90, id="1"))):
                words = ("-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-r", "-V", "5", "-t", "cad/units/B12")
                before = len(station.told)
                process = await asyncio.create_subprocess_exec("mosquitto_pub", *words, "-m", payload)
                assert await process.wait() == 0
                if payload.startswith("{"):
                    await until(lambda before=before: len(station.told) > before)  # type: ignore[misc]
                else:
                    await until(driver.notices)
                    assert driver.notices()[0].what == "topic cad/units/B12"
            await until(lambda: not driver.notices())
    assert [one.detail["until"] for one in station.told[-1:]] == ["2026-11-22T12:01:30+00:00"]


@pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed")
@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed")
@pytest.mark.interop
async def test_a_long_document_comes_by_a_broker_too(station: Joined, tmp_path: Path) -> None:
    """What is longer than we say that we take, a broker throws away, and tells nobody."""
    document = json.dumps([interval(0, 60, id=f"{number}", remark="x" * 3000) for number in range(200)])
    assert len(document) > 600_000
    (tmp_path / "document").write_text(document)
    async with Mosquitto(tmp_path / "broker") as broker:
        table = broker.options().model_dump(exclude_none=True, exclude_defaults=True)
        async with running(Cad(options(broker=table, topics=["cad/all"])), station):
            words = ("-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-r", "-V", "5", "-t", "cad/all")
            process = await asyncio.create_subprocess_exec("mosquitto_pub", *words, "-f", str(tmp_path / "document"))
            assert await process.wait() == 0
            await until(lambda: len(station.told) == 200)


# -- rows --------------------------------------------------------------------------------------------------------------


def test_the_hour_that_comes_twice_is_as_wide_as_both_readings() -> None:
    told = {"incident": "1", "unit": "B", "from": "2026-11-01 01:30:00", "until": "2026-11-01 01:45:00"}
    (row,) = rows(json.dumps(told).encode(), options(timezone="America/Toronto"))
    assert isinstance(row, Row)
    assert row.began_at == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert row.detail["until"] == "2026-11-01T06:45:00+00:00"
    assert row.detail["time"] == {"source": "cad", "said": "2026-11-01 01:45:00", "uncertainty_us": 3_600_000_000}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"unit": "B"}, "names no incident"),
        ({"incident": "1"}, "names 0 of"),
        ({"incident": "1", "unit": "B", "officer": "2"}, "names 2 of"),
        ({"incident": "x" * 201, "unit": "B"}, "more than 200"),
        ({"incident": "a\nb", "unit": "B"}, "cannot be printed"),
        ({"incident": ["1"], "unit": "B"}, "is no word"),
        ({"incident": "1", "unit": "B", "from": "2026-11-22T07:00:00"}, "names no zone"),
        ({"incident": "1", "unit": "B", "from": "now"}, "Invalid isoformat"),
        ({"incident": "1", "unit": "B", "from": "9999-12-31T23:59:59-12:00"}, "cannot be true"),
        ({"incident": "1", "unit": "B", "withdrawn": "perhaps"}, "true or false"),
        ({"incident": "1", "unit": "B", "from": "2026-11-22T07:00:00Z", "until": "2026-11-21T07:00:00Z"}, "before"),
        (7, "is no object"),
    ],
)
def test_a_row_that_cannot_be_read_costs_no_other(told: object, why: str) -> None:
    wrong, good = rows(json.dumps([told, {"incident": 5, "unit": "B"}]).encode(), options())
    assert isinstance(wrong, Wrong)
    assert why in wrong.why
    assert good == Row(None, {"incident": "5", "unit": "B", "time": {"source": "cad"}})


def test_documents_are_bounded() -> None:
    row = b'{"incident":"1","unit":"B"}'
    assert len(rows(b"[" + b",".join([row] * ROWS_MAX) + b"]", options())) == ROWS_MAX
    with pytest.raises(BadCapture, match="more than"):
        rows(b"[" + b",".join([row] * (ROWS_MAX + 1)) + b"]", options())
    with pytest.raises(BadCapture, match="more than"):
        rows(b"incident,unit\n" + b"1,B\n" * (ROWS_MAX + 1), options())
    with pytest.raises(BadCapture, match="is longer"):
        rows(b" " * (8 << 20) + b"x", options())


BERLIN = options(timezone="Europe/Berlin")
WHOLE = json.dumps([interval(0, 60, id="1"), interval(0, 60, officer=None)]).encode()


@pytest.mark.parametrize("whole", [WHOLE, b"incident,unit,from\r\n1,B,2026-11-22T07:00:00Z\r\n"])
def test_cut_after_every_byte(whole: bytes) -> None:
    for end in range(len(whole)):
        try:
            found = rows(whole[:end], options())
        except BadCapture:
            continue
        assert all(isinstance(one, (Row, Wrong)) for one in found)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda text: f"incident,unit\n{text}".encode("utf-8", "replace"))
)
def test_whatever_comes_is_rows_or_our_error(content: bytes) -> None:
    try:
        found = rows(content, BERLIN)
    except BadCapture:
        return
    for one in found:
        if isinstance(one, Row):
            canonical(dict(one.detail))


NAMES = st.sampled_from(["incident", "unit", "from", "until", "id", "withdrawn", "category"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_whatever_json_comes_is_rows_or_our_error(told: object) -> None:
    try:
        found = rows(json.dumps(told).encode("utf-8", "surrogatepass"), BERLIN)
    except BadCapture:
        return
    for one in found:
        if isinstance(one, Row):
            canonical(dict(one.detail))


def test_what_a_person_configures_wrongly_stops_the_start(tmp_path: Path, token_file: Path) -> None:
    listen = {"address": "127.0.0.1", "port": 0, "plain": True}
    short = tmp_path / "short"
    short.write_text("short")
    for told, said in (
        ({"listen": listen}, "token_file"),
        ({"listen": listen, "token_file": short}, "32 to 512"),
        ({"listen": listen, "token_file": tmp_path / "none"}, "No such file"),
        ({"listen": {**listen, "address": "0.0.0.0"}, "token_file": token_file}, "only on loopback"),  # noqa: S104
    ):
        with pytest.raises(ConfigError, match=said):
            Cad(options(**told))
    for wrong in ({"folder": {"path": "relative"}}, {"timezone": "Mars/Olympus"}, {"topics": ["a"]}):
        with pytest.raises(ValueError, match=r"absolute|time zone|go together"):
            options(**wrong)
