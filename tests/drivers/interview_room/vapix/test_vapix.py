"""Axis edge storage: the vendor's examples, real Matroska films, and a camera that breaks off, lies or restarts."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agent.errors import DeviceGone, DeviceRefused
from agent.testing.probe import Probe, read_all
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from drivers.interview_room.vapix import Vapix
from drivers.interview_room.vapix.emulator import CameraEmulator, Stored
from drivers.interview_room.vapix.slices import grid, slices
from firmware_specs import SpecError
from firmware_specs.formats import vapix_recordings as spec
from firmware_specs.formats.matroska_reach import Reach

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.driver import Offer

BEGAN = datetime(2026, 11, 22, 7, tzinfo=UTC)

# VAPIX Library, "Edge storage API": examples of list.cgi, properties.cgi and of an error, shortened to what is read.
LIST = b"""<?xml version="1.0" encoding="utf-8" ?>
<root xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:noNamespaceSchemaLocation="http://www.axis.com/vapix/http_cgi/recording/list1.xsd">
 <recordings totalnumberofrecordings="3" numberofrecordings="2">
  <recording diskid="SD_DISK" recordingid="20240621_151725_95E7_B8A44F9D7D55" starttime="2024-06-21T07:17:25.349296Z"
   starttimelocal="2024-06-21T15:17:25.349296+08:00" stoptime="2024-06-21T07:18:17.615961Z"
   stoptimelocal="2024-06-21T15:18:17.615961+08:00" recordingtype="continuous" eventid="continuous"
   eventtrigger="continuous" recordingstatus="completed" source="1" locked="No">
   <video mimetype="video/x-h264" width="1920" height="1080" framerate="30:1" resolution="1920x1080"/></recording>
  <recording diskid="SD_DISK" recordingid="20240621_152000_1111_B8A44F9D7D55" starttime="2024-06-21T07:20:00Z"
   stoptime="" recordingtype="continuous" recordingstatus="recording"/>
 </recordings></root>"""
PROPERTIES = b"""<?xml version="1.0" encoding="utf-8" ?>
<ExportRecordingResponse SchemaVersion="1.1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:noNamespaceSchemaLocation="http://www.axis.com/vapix/http_cgi/exportrecording1.xsd">
 <PropertiesSuccess><ExportProperties RecordingId="20141211_091153_025B_00408CCAD5D78" ExportFormat="matroska"
  EstimatedFileSize="1234" Starttime="2014-12-11T09:45:09Z" Stoptime="2014-12-11T10:10:00Z"/></PropertiesSuccess>
</ExportRecordingResponse>"""
ERROR = b"""<?xml version="1.0" encoding="utf-8" ?>
<ExportRecordingResponse SchemaVersion="1.0"><GeneralError><ErrorCode>110</ErrorCode>
<ErrorDescription>Recording not found</ErrorDescription></GeneralError></ExportRecordingResponse>"""


@pytest.mark.proves("interview_room.vapix", vectors="VAPIX Library, Edge storage API, its examples")
def test_the_vendors_examples() -> None:
    told = spec.listing(LIST)
    assert (told.matching, [one.id[-6:] for one in told.recordings]) == (2, ["9D7D55", "9D7D55"])
    assert told.recordings[0].began_at == datetime(2024, 6, 21, 7, 17, 25, 349296, tzinfo=UTC)
    assert told.recordings[1].ended_at is None
    export = spec.export_properties(PROPERTIES)
    assert (export.began_at, export.kilobytes) == (datetime(2014, 12, 11, 9, 45, 9, tzinfo=UTC), 1234)
    assert spec.error_in(ERROR) == (110, "Recording not found")
    assert spec.error_in(PROPERTIES) is None


@pytest.mark.parametrize("parse", [spec.listing, spec.export_properties, spec.error_in, spec.export_formats])
@pytest.mark.parametrize("whole", [LIST, PROPERTIES, ERROR], ids=["list", "properties", "error"])
def test_cut_after_every_byte(parse: Callable[[bytes], object], whole: bytes) -> None:
    for at in range(len(whole)):
        try:
            parse(whole[:at])
        except SpecError:
            continue


@given(st.binary(max_size=200), st.integers(0, len(LIST)))
def test_changed_anywhere(noise: bytes, at: int) -> None:
    for parse in (spec.listing, spec.export_properties, spec.error_in):
        try:
            parse(LIST[:at] + noise + LIST[at + len(noise) :])
        except SpecError:
            continue


def recording(minutes: float, status: str = "completed") -> spec.Recording:
    ended_at = BEGAN + timedelta(minutes=minutes) if minutes else None
    return spec.Recording("a", "SD_DISK", BEGAN, ended_at, status)


@pytest.mark.parametrize(("before", "after"), [(5, 9), (5, 25), (15, 18), (15, 60)])
def test_a_recording_that_goes_on_after_all_hides_nothing(before: float, after: float) -> None:
    """The camera did not say that it was complete, and by its clock it had ended."""
    found: dict[str, tuple[datetime, datetime]] = {}
    for minutes in (before, after):
        one = recording(minutes, "unknown")
        of = grid(one, timedelta(minutes=10), BEGAN + timedelta(hours=2))
        for cut in slices(one, of, range(of.count)):
            assert found.setdefault(cut.key, (cut.begins, cut.ends)) == (cut.begins, cut.ends), "it passes for taken"
    assert max(ends for _, ends in found.values()) == BEGAN + timedelta(minutes=after)


@pytest.mark.parametrize(
    ("one", "after", "expected"),
    [
        (recording(5), 60, [(None, 0, 5)]),
        (recording(25), 60, [(0, 0, 10), (1, 10, 20), (2, 20, 25)]),
        (recording(0, "recording"), 25, [(0, 0, 10), (1, 10, 20)]),
        (recording(0, "recording"), 20.5, [(0, 0, 10)]),
        (recording(0, "recording"), -60, []),
        (recording(15, "unknown"), 60, [(0, 0, 10), (1, 10, 15)]),
        (recording(15, "unknown"), 15.5, [(0, 0, 10)]),
        (recording(0, "unknown"), 11, [(0, 0, 10)]),
    ],
)
def test_slices(one: spec.Recording, after: float, expected: list[tuple[int | None, float, float]]) -> None:
    """Those of a recording that goes on lie before now, and stay what they are when it has ended."""
    now = BEGAN + timedelta(minutes=after)
    of = grid(one, timedelta(minutes=10), now)
    found = slices(one, of, range(of.count))
    minute = timedelta(minutes=1)
    assert [(cut.number, (cut.begins - BEGAN) / minute, (cut.ends - BEGAN) / minute) for cut in found] == expected


# -- how far a film reaches --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Written by ffmpeg, with known and with unknown lengths: a minute, a key frame each second."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not here")
    folder, made = tmp_path_factory.mktemp("films"), {}
    source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=5:duration=60", "-g", "5"]
    for name, more in {"file": [], "live": ["-live", "1"]}.items():
        path = folder / f"{name}.mkv"
        subprocess.run([*source, "-f", "matroska", *more, str(path)], check=True)
        made[name] = path.read_bytes()
    return made


@pytest.mark.parametrize("name", ["file", "live"])
@pytest.mark.parametrize("block", [1, 7, 4096, 1 << 20])
def test_a_film_reaches_its_end_and_a_cut_one_does_not(films: dict[str, bytes], name: str, block: int) -> None:
    film = films[name]
    for end, least, most in ((len(film), 50, 60), (len(film) // 2, 15, 45)):
        reach = Reach()
        for at in range(0, end, block):
            reach.feed(film[at : min(at + block, end)])
        assert reach.matroska
        assert reach.seconds is not None
        assert least <= reach.seconds <= most
        assert reach.inside is (end < len(film))


@given(st.binary(max_size=400))
def test_any_bytes_are_no_film_or_one(noise: bytes) -> None:
    reach = Reach()
    reach.feed(noise)
    assert reach.seconds is None or reach.seconds >= 0
    assert len(reach._pending) <= 20


# -- with a camera -----------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Vapix]:
    (tmp_path / "password").write_text("pass\n")

    def make(camera: CameraEmulator, **options: object) -> Vapix:
        known: dict[str, Any] = {
            "use": "interview_room.vapix", "name": "room-1", "url": camera.url, "user": "root", "answer": 2,
            "password_file": tmp_path / "password", "rescan": 0.05,
        }  # fmt: skip
        return Vapix(Vapix.Options.model_validate(known | options))

    return make


def stored(film: bytes, minutes: float = 1, name: str = "20261122_070000_025B_00408C", **more: Any) -> Stored:  # noqa: ANN401
    return Stored(name, film, BEGAN, BEGAN + timedelta(minutes=minutes), **more)


@pytest.mark.parametrize("fault", ["c", "r", "s", "e", "l", "5", "crcr"])
async def test_an_export_that_fails_is_taken_anew_and_never_held_short(
    films: dict[str, bytes], made: Callable[..., Vapix], tmp_path: Path, fault: str
) -> None:
    """`c` ends as if it were whole: only the film itself tells that it is not."""
    async with (
        CameraEmulator(stored=[stored(films["live"])], faults=fault) as camera,
        Station(tmp_path / "station") as station,
        running(made(camera), station),
    ):
        async with asyncio.timeout(30):
            while not (found := [one for one in await station.holdings() if not one.reason]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert b"".join(station.spool.read(found[0].digest.sha256)) == films["live"]
        assert len(found) == 1
        await station.verify()


async def test_a_camera_that_restarts_in_the_middle(
    films: dict[str, bytes], made: Callable[..., Vapix], tmp_path: Path
) -> None:
    async with (
        CameraEmulator(stored=[stored(films["file"])], faults="s") as camera,
        Station(tmp_path / "station") as station,
        running(made(camera, answer=30), station),
    ):
        await until(lambda: any("exportrecording" in one for one in camera.asked))
        camera.vanish()
        await asyncio.sleep(0.1)
        camera.come_back()
        await held(station, 1)
        await station.verify()


async def test_more_than_a_page_is_listed_and_every_parameter_is_escaped(made: Callable[..., Vapix]) -> None:
    names = [f"2026 {number:03}&x=<1>" for number in range(450)]
    async with CameraEmulator(stored=[stored(b"", name=name) for name in names]) as camera:
        probe = Probe()
        async with running(made(camera), probe):
            await until(lambda: len(probe.keys) == 450)
    assert probe.keys == {f"SD_DISK/{name}" for name in names}


async def test_a_slice_is_exported_with_the_times_that_the_camera_gives(made: Callable[..., Vapix]) -> None:
    read: list[Offer] = []

    async def look(offer: Offer) -> None:
        async for _ in offer.open(0):
            pass
        read.append(offer)

    film = stored(b"\x00", minutes=25)
    async with (
        CameraEmulator(stored=[film], key_frames=timedelta(seconds=7)) as camera,
        running(made(camera, format="mp4"), Probe(look)),
    ):
        await until(lambda: len(read) >= 3)
    asked = [one for one in camera.asked if "exportrecording" in one]
    assert "starttime=2026-11-22T07:09:55Z" in asked[1].replace("%3A", ":"), "07:10:00 was asked, a key frame is before"
    assert [offer.capture.clip for offer in read[:3]] == [0, 1, 2]
    assert {(offer.capture.group, offer.capture.members) for offer in read} == {(film.id, 3)}


async def test_a_recording_of_months_is_taken_to_its_end_round_by_round(made: Callable[..., Vapix]) -> None:
    """Not so many slices at most and silence: each look goes on where the last one ended, and it is said."""
    months = Stored("months", b"", BEGAN, BEGAN + timedelta(minutes=10 * 101), "completed")
    async with CameraEmulator(stored=[stored(b"", name="short"), months]) as camera:
        driver, probe = made(camera), Probe()
        driver._polling._rounds.at_once = 40
        with capture_logs() as logs:
            async with running(driver, probe):
                await until(lambda: len(probe.keys) == 102 and len(probe.offered) > 204)
                (word,) = (await driver.health()).values()
    assert {offer.capture.members for offer in probe.offered if offer.capture.group == "months"} == {101}
    (told,) = [one for one in logs if one["event"] == "camera_in_rounds"]
    assert (told["captures"], told["at_once"]) == (102, 40)
    assert word.startswith("2 recordings in 102 captures, ")
    assert " of this round safe" in word


@pytest.mark.parametrize("fault", [{"most": 7}, {"counts_page": True}])
@pytest.mark.parametrize("count", [200, 405])
async def test_a_camera_that_gives_or_counts_less_than_there_is_hides_nothing(
    made: Callable[..., Vapix], fault: dict[str, Any], count: int
) -> None:
    many = [stored(b"", name=f"{number:04}") for number in range(count)]
    async with CameraEmulator(stored=many, **fault) as camera:
        driver, probe = made(camera), Probe()
        async with running(driver, probe):
            await until(lambda: len(probe.keys) == count)
            assert not driver.notices()


async def test_a_list_that_is_longer_than_is_read_is_a_notice(
    made: Callable[..., Vapix], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.interview_room.vapix.camera._PAGES_MAX", 2)
    many = [stored(b"", name=f"{number:04}") for number in range(405)]
    async with CameraEmulator(stored=many) as camera:
        driver, probe = made(camera), Probe()
        async with running(driver, probe):
            await until(lambda: bool(driver.notices()))
            (notice,) = driver.notices()
            assert (notice.id, notice.detail[:19]) == ("room.list_too_long", "it has 5 recordings")
            camera.stored = many[:400]
            await until(lambda: not driver.notices())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user": "wrong"}, "does not let us in"),
        ({"url": "http://127.0.0.1:9"}, "not reached"),
    ],
)
async def test_what_a_person_must_mend_is_told(
    made: Callable[..., Vapix], change: dict[str, object], words: str
) -> None:
    async with CameraEmulator(stored=[stored(b"")]) as camera:
        driver = made(camera, **change)
        async with running(driver, Probe()):
            await until(lambda: bool(driver.notices()))
        (notice,) = driver.notices()
        assert (notice.id, words in notice.detail) == ("room.camera_away", True)


async def test_its_clock_is_read_and_slices_go_by_it(made: Callable[..., Vapix]) -> None:
    camera = CameraEmulator(ahead=timedelta(hours=-3))
    now = datetime.now(UTC)
    camera.stored = [Stored("goes on", b"", now - timedelta(hours=3, minutes=25), None, "recording")]
    async with camera:
        probe, driver = Probe(), made(camera)
        async with running(driver, probe):
            await until(lambda: bool(probe.offered))
            await until(lambda: len(probe.offered) > 6)
        assert probe.keys == {"SD_DISK/goes on/00000", "SD_DISK/goes on/00001"}, "by our clock it would be many more"
        assert {offer.capture.members for offer in probe.offered} == {0}, "nobody knows yet how many there will be"
        reading = await driver.read_clock(driver._device)
        assert abs(reading.at - (datetime.now(UTC) - timedelta(hours=3))) < timedelta(seconds=30)


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0101 00:00:00 GMT"])
async def test_a_camera_whose_times_are_at_the_end_of_calendars(made: Callable[..., Vapix], date: str) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    listed = [stored(b""), Stored("last", b"", last - timedelta(minutes=15), last, "completed")]
    async with CameraEmulator(stored=[*listed, Stored("goes on", b"", BEGAN, None, "recording")], date=date) as camera:
        probe, driver = Probe(), made(camera)
        async with running(driver, probe):
            await until(lambda: {"SD_DISK/last/00000", "SD_DISK/last/00001"} <= probe.keys)
            with pytest.raises(DeviceGone, match="not told its time"):
                await driver.read_clock(probe.offered[0].capture.device)


async def test_an_export_without_an_end_is_given_up(
    films: dict[str, bytes], made: Callable[..., Vapix], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where the disk is full: everything else would stand still then."""
    film = films["live"]
    monkeypatch.setattr("drivers.interview_room.vapix.camera.BYTES_A_SECOND", len(film) / 120 + 1)
    got: list[str] = []

    async def look(offer: Offer) -> None:
        await read_all(offer, 0)
        got.append(offer.capture.key)

    long = stored(film + bytes(4 << 20), name="long")
    async with CameraEmulator(stored=[long, stored(film, name="whole")]) as camera:
        probe = Probe(look)
        async with running(made(camera), probe):
            await until(lambda: bool(probe.failures and got))
    assert all("exports without an end" in str(one) for one in probe.failures)
    assert set(got) == {"SD_DISK/whole"}


async def test_a_list_that_is_none_is_refused(made: Callable[..., Vapix], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [b"", b"<root/>", b"<html>login</html>", b"x" * 5_000_000]
    async with CameraEmulator() as camera:
        for answer in answers:
            monkeypatch.setattr(CameraEmulator, "_list", lambda _self, _wanted, answer=answer: answer)
            driver = made(camera)
            async with running(driver, Probe()):
                await until(lambda driver=driver: bool(driver.notices()))  # type: ignore[misc]
            assert isinstance(driver._polling._trouble, DeviceRefused)


async def test_nothing_is_ever_deleted(films: dict[str, bytes], made: Callable[..., Vapix]) -> None:
    async def look(offer: Offer) -> None:
        assert not hasattr(offer, "release")
        assert await read_all(offer, 0) == films["file"]

    async with CameraEmulator(stored=[stored(films["file"])]) as camera:
        probe = Probe(look)
        async with running(made(camera), probe):
            await until(lambda: len(probe.done) > 1)
        assert not probe.wrong
        assert not any("remove" in one for one in camera.asked)
