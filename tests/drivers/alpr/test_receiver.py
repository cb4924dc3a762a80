"""What a camera is answered, who is let in, and what is offered of what came, over real connections."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trustme

from agent.capture import Standing
from agent.errors import BadCapture, ConfigError, DeviceRefused, SpoolFull
from agent.testing.probe import Probe, read_all
from agent.testing.rig import WantsAll, until
from agent.testing.station import Station
from drivers.alpr.emulator import MESSAGES, Passage, Sender, Sent, jpeg, plates
from drivers.alpr.makers import MAKERS
from drivers.alpr.receiver import Receiver
from tests.drivers.alpr.conftest import received
from tests.drivers.alpr.oracle import request, sample
from tests.drivers.alpr.rig import SECRET, options, pairs, sender

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.alpr.offer import ReadOffer

PICTURES = {"plate": jpeg(2_000, "plate"), "overview": jpeg(20_000, "overview")}
PARTED = ("hikvision", "axis", "platerecognizer")
"""Makers whose messages have parts."""


def first(probe: Probe) -> ReadOffer:
    return probe.offered[0]  # type: ignore[return-value]


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("maker", "standing"), pairs(MAKERS, [Standing.HELD, Standing.UNKNOWN, Standing.REFUSED]))
async def test_what_take_returned_for_is_answered_with_success(tmp_path: Path, maker: str, standing: Standing) -> None:
    told, probe = options(tmp_path, maker), Probe(answer=standing)
    async with received(told, probe):
        one = sender(told)
        assert await one.once(MESSAGES[maker](Passage(pictures=PICTURES), "")) == 200
    assert first(probe).read.plate is not None
    assert first(probe).read.plate.normalized == "EVDK042"
    assert one.text == ("OK" if maker == "generic" else "")


@pytest.mark.parametrize(("maker", "error"), pairs(MAKERS, [SpoolFull, DeviceRefused, BadCapture]))
async def test_what_cannot_be_kept_is_answered_so_that_the_camera_repeats(
    tmp_path: Path, maker: str, error: type[Exception]
) -> None:
    failing = 2

    async def look(_: object) -> None:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            raise error("no room for EVDK042")

    told, probe = options(tmp_path, maker), Probe(look)
    async with received(told, probe) as driver:
        # The open daemon of OpenALPR takes whatever is answered for success.
        one = sender(told, delete_on_any_answer=maker == "openalpr")
        assert await one.send(MESSAGES[maker](Passage(pictures=PICTURES), ""))
        assert {notice.id for notice in driver.notices()} >= {"alpr.not_kept"}
    assert one.said == ([0, 0, 200] if maker in ("openalpr", "hikvision") else [503, 503, 200])
    assert len({offer.capture.origin for offer in probe.offered}) == 1, "what is repeated is the same capture"


@pytest.mark.parametrize(("maker", "wire"), pairs(MAKERS, ["k", "h", "x", "d", "cr", "ccr"]))
async def test_however_it_comes_over_the_wire(tmp_path: Path, maker: str, wire: str) -> None:
    told, probe = options(tmp_path, maker), Probe()
    sent = MESSAGES[maker](Passage(pictures=PICTURES), "")
    async with received(told, probe):
        one = sender(told, wire=wire)
        assert await one.send(sent)
    assert len({offer.capture.origin for offer in probe.offered}) == 1
    assert len(probe.offered) == (2 if wire == "d" else 1), "half a message is offered to nobody"


@pytest.mark.parametrize(("maker", "faults"), pairs(PARTED, ["n", "l", "s", "b", "p", "q", "u", "v", "e", "nb", "pbn"]))
async def test_however_the_message_is_made(tmp_path: Path, maker: str, faults: str) -> None:
    pictures = {"plate": PICTURES["plate"], "overview": PICTURES["overview"]}
    told, probe = options(tmp_path, maker), Probe()
    async with received(told, probe):
        assert await sender(told).once(MESSAGES[maker](Passage(pictures=pictures), faults)) == 200
    read = first(probe).read
    assert read.plate is not None
    assert read.plate.normalized == "EVDK042"
    plain = {hashlib.sha256(one).hexdigest() for one in pictures.values()}
    if "e" not in faults and "b" not in faults:
        assert {hashlib.sha256(one.content).hexdigest() for one in read.images} <= plain
    assert all(len(one.content) >= 2_000 for one in read.images), "a picture was cut at its delimiter"
    archive = await read_all(first(probe), 0)
    assert len(archive) == first(probe).capture.length


async def test_pictures_and_facts_of_people_are_dropped_and_told(tmp_path: Path) -> None:
    told, probe = options(tmp_path), Probe()
    sent = MESSAGES["hikvision"](Passage(pictures=PICTURES), "o")
    async with received(told, probe) as driver:
        assert await sender(told).once(sent) == 200
        assert "alpr.occupants" in {notice.id for notice in driver.notices()}
    archive = await read_all(first(probe), 0)
    for secret in (jpeg(300, "pilotPicture"), jpeg(300, "copilotPicture"), b"<pilotsafebelt>", b"vicepilotsafebelt>no"):
        assert secret in sent.body
        assert secret not in archive
    assert {"occupant_parts_dropped:2", "occupant_fields_dropped"} <= set(first(probe).read.flags)


@pytest.mark.parametrize(
    ("maker", "body", "status"),
    [
        ("hikvision", b"<EventNotificationAlert><eventType>", 200),
        ("hikvision", b'<!DOCTYPE x [<!ENTITY a "EVDK042">]><x>&a;</x>', 200),
        ("openalpr", b"{", 200),
        ("axis", b'{"a": "EVDK042"}', 200),
        ("platerecognizer", b"json=EVDK042", 200),
        ("generic", b"EVDK042", 200),
    ],
)
async def test_what_cannot_be_read_is_counted_and_told_without_a_value(
    tmp_path: Path, maker: str, body: bytes, status: int
) -> None:
    told = options(tmp_path, maker)
    async with Station(tmp_path / "station", screens=[WantsAll("alpr")]) as station, received(told, station) as driver:
        for _ in range(3):
            assert await sender(told).once(Sent("text/plain", body)) == status
        assert "alpr.not_parsed" in {notice.id for notice in driver.notices()}
        (entry,) = station.observed
        assert "EVDK042" not in json.dumps(dict(entry.detail))
        assert await station.holdings() == []


async def test_while_a_camera_is_set_up_what_cannot_be_read_is_kept_whole(tmp_path: Path) -> None:
    told = options(tmp_path, camera={"keep_unparsed_until": "9999-12-31"})
    async with Station(tmp_path / "station") as station, received(told, station):
        assert await sender(told).once(Sent("text/plain", b"whatever this is")) == 200
        (held,) = await station.holdings()
        assert b"".join(station.spool.read(held.digest.sha256)) == b"whatever this is"


@pytest.mark.parametrize(("maker", "status"), [("hikvision", 200), ("platerecognizer", 200), ("openalpr", 413)])
async def test_a_message_over_the_limit_loses_its_picture_and_not_its_read(
    tmp_path: Path, maker: str, status: int
) -> None:
    told, probe = options(tmp_path, maker, camera={"body_max": 65_536}), Probe()
    sent = MESSAGES[maker](Passage(pictures={"overview": jpeg(200_000)}), "")
    async with received(told, probe) as driver:
        assert await sender(told).once(sent) == status
        assert "alpr.too_large" in {notice.id for notice in driver.notices()}
    if status == 200:
        read = first(probe).read
        assert read.matchable
        assert not read.images
        assert "picture_over_limit" in read.flags
        assert len(await read_all(first(probe), 0)) < 8192


# -- who may come in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/alpr", "/alpr/hikvision/rear/x", "/alpr/axis/front/x", "/alpr/hikvision", "/alpr/hikvision/front/%2e%2e"],
)
async def test_who_does_not_know_the_address_is_not_heard(tmp_path: Path, path: str) -> None:
    told, probe = options(tmp_path), Probe()
    async with received(told, probe):
        one = Sender("127.0.0.1", told.listen.port, path)
        assert await one.once(MESSAGES["hikvision"](Passage(), "")) in (401, 404)
    assert probe.offered == []


@pytest.mark.parametrize(
    ("auth", "good", "bad"),
    [
        ("token", {"Authorization": f"Token {SECRET}"}, {"Authorization": "Token wrong"}),
        ("token", {"Authorization": f"Bearer {SECRET}"}, {}),
        ("basic", "basic", {"Authorization": "Basic ="}),
        ("digest", "digest", {"Authorization": 'Digest username="camera", response="00"'}),
    ],
)
async def test_each_way_to_show_who_it_is(
    tmp_path: Path, auth: str, good: str | dict[str, str], bad: dict[str, str]
) -> None:
    told, probe = options(tmp_path, camera={"auth": auth}), Probe()
    sent = MESSAGES["hikvision"](Passage(), "")
    async with received(told, probe) as driver:
        assert await sender(told, headers=bad).once(sent) == 401
        assert await sender(told, login=(str(good), "camera", "wrong-password")).once(sent) == 401
        assert probe.offered == []
        assert "alpr.refused" in {notice.id for notice in driver.notices()}
        more = {"headers": good} if isinstance(good, dict) else {"login": (good, "camera", SECRET)}
        assert await sender(told, **more).once(sent) == 200


async def test_known_by_its_address(tmp_path: Path) -> None:
    sent = MESSAGES["hikvision"](Passage(), "")
    for networks, status in ((["127.0.0.0/8"], 200), (["192.0.2.0/24"], 401)):
        told = options(tmp_path, camera={"auth": "address", "secret_file": None, "networks": networks})
        async with received(told, Probe()):
            assert await sender(told).once(sent) == status


async def test_known_by_its_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    ours, theirs, strangers = (authority.issue_cert(name) for name in ("127.0.0.1", "front", "rear"))
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = {"certificate": tmp_path / "cert.pem", "key": tmp_path / "key.pem", "client_ca": tmp_path / "ca.pem"}
    told = options(tmp_path, listen={**files, "plain": False}, camera={"auth": "certificate", "secret_file": None})
    sent, probe = MESSAGES["hikvision"](Passage(), ""), Probe()
    async with received(told, probe):
        for shown, status in ((theirs, 200), (strangers, 401)):
            context = ssl.create_default_context()
            authority.configure_trust(context)
            shown.configure_cert(context)
            assert await sender(told, tls=context).once(sent) == status
    assert len(probe.offered) == 1


@pytest.mark.parametrize(
    "camera",
    [
        {"auth": "token", "secret_file": None},
        {"auth": "address", "secret_file": None},
        {"auth": "certificate", "secret_file": None},
        {"maker": "nobody"},
        {"name": "no/slash"},
        {"mapping": {"encoding": "xml", "plate": "a"}},
    ],
)
def test_what_does_not_fit_together_is_said_at_the_start(tmp_path: Path, camera: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs|goes with|pattern"):
        options(tmp_path, camera=camera)


@pytest.mark.parametrize("text", ["", "short", "two words of it", "a/slash/in/it"])
def test_a_secret_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str) -> None:
    told = options(tmp_path)
    (tmp_path / "front.secret").write_text(text)
    with pytest.raises(ConfigError):
        Receiver(told)


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=1), timedelta(days=-400)])
async def test_a_camera_whose_clock_is_off_is_told_and_not_corrected(tmp_path: Path, off: timedelta) -> None:
    told, probe = options(tmp_path), Probe()
    now = datetime.now(UTC).replace(microsecond=0)
    async with received(told, probe) as driver:
        wrong = Passage(at=now + off, identity="wrong", pictures=PICTURES)
        assert await sender(told).once(MESSAGES["hikvision"](wrong, "")) == 200
        (notice,) = driver.notices()
        assert notice.id == "alpr.clock"
        assert ("ahead of" if off > timedelta() else "behind") in notice.detail
        right = Passage(at=datetime.now(UTC), identity="right")
        assert await sender(told).once(MESSAGES["hikvision"](right, "")) == 200
        assert driver.notices() == []
    assert first(probe).capture.began_at == now + off, "the device's word stays"


async def test_reads_that_come_late_and_in_no_order_are_each_offered(tmp_path: Path) -> None:
    told, probe = options(tmp_path, "openalpr"), Probe()
    passages = [Passage(f"EVDK{number:03}", identity=f"p-{number}").later(number) for number in range(10)]
    async with received(told, probe):
        for passage in [*passages[5:], *reversed(passages[:5]), passages[7]]:
            assert await sender(told).once(MESSAGES["openalpr"](passage, "")) == 200
    assert {offer.capture.began_at for offer in probe.offered} == {passage.at for passage in passages}
    assert len({offer.capture.origin for offer in probe.offered}) == 10


# -- many --------------------------------------------------------------------------------------------------------------


async def test_a_burst_from_several_makers_is_all_answered_and_all_held(tmp_path: Path) -> None:
    """More at once than are looked at at once; each is held exactly once."""
    cameras = [
        {"name": maker, "maker": maker, "secret_file": tmp_path / "front.secret", "at_once": 2}
        for maker in ("hikvision", "openalpr", "axis", "platerecognizer")
    ]
    told = options(tmp_path)
    told = Receiver.Options.model_validate({**told.model_dump(), "camera": cameras, "memory": 16 << 20})
    async with Station(tmp_path / "station", screens=[WantsAll("alpr")]) as station, received(told, station):

        async def burst(maker: str) -> None:
            path = f"/alpr/{maker}/{maker}/{SECRET}"
            passages = [
                Passage(plate, identity=f"p-{number}", pictures=PICTURES).later(number)
                for number, plate in enumerate(plates(25, seed=maker))
            ]
            one = [Sender("127.0.0.1", told.listen.port, path, patience=30.0) for _ in passages]
            sent = (MESSAGES[maker](passage, "") for passage in passages)
            assert all(await asyncio.gather(*(camera.send(message) for camera, message in zip(one, sent, strict=True))))

        await asyncio.gather(*(burst(camera["maker"]) for camera in cameras))
        assert len(await station.holdings()) == 100
        await station.verify()


async def test_nothing_of_a_plate_is_told_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Held or passed by: in no log line, key, claim, notice or health word, and in no file but the capture."""
    lines: list[str] = []
    structlog.configure(processors=[lambda _, __, event: lines.append(repr(event)) or json.dumps(event, default=str)])
    caplog.set_level(logging.DEBUG)
    try:
        for screens in ([WantsAll("alpr")], []):
            for maker in MAKERS:
                told = options(tmp_path, maker)
                folder = tmp_path / f"{maker}-{len(screens)}"
                async with Station(folder, screens=screens) as station, received(told, station) as driver:
                    for faults in ("", "v", "u"):
                        assert await sender(told).once(MESSAGES[maker](Passage(identity=f"i{faults}"), faults)) == 200
                    said = [repr(await driver.health()), repr(driver.notices())]
                    holdings = await station.holdings()
                    assert len(holdings) == (3 if screens else 0)
                    lines += [*said, *(holding.origin.key for holding in holdings)]
                for path in (path for path in folder.rglob("*") if path.is_file() and "kept" not in path.parts):
                    for spelled in (b"EVDK042", b"evdk042"):
                        assert spelled not in path.read_bytes(), f"{path} names a plate"
    finally:
        structlog.reset_defaults()
    assert not any("EVDK042" in line.upper() for line in [*lines, caplog.text])


# -- senders of other authors ------------------------------------------------------------------------------------------


@pytest.mark.proves("alpr.receiver", peer="curl, with messages of real cameras")
@pytest.mark.parametrize("maker", ["hikvision", "openalpr", "axis", "platerecognizer"])
async def test_curl_posts_what_real_cameras_sent(tmp_path: Path, maker: str) -> None:
    names = {
        "hikvision": "authored/hikvision/push_boundary_in_jpeg.http",
        "openalpr": "real/openalpr/alpr_group.json",
        "axis": "real/axis/event.json",
        "platerecognizer": "real/platerecognizer/recognition_multipart.http",
    }
    name = names[maker]
    content_type, body = request(sample(name)) if name.endswith(".http") else ("application/json", sample(name))
    (tmp_path / "body").write_bytes(body)
    told, probe = options(tmp_path, maker, camera={"auth": "digest"}), Probe()
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    async with received(told, probe):
        url = f"http://127.0.0.1:{told.listen.port}/alpr/{maker}/front"
        command = [curl, "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--digest", "-u", f"camera:{SECRET}"]
        command += ["-H", f"Content-Type: {content_type}", "--data-binary", f"@{tmp_path / 'body'}", url]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    assert done.stdout == b"200"
    assert first(probe).read.matchable
    archive = await read_all(first(probe), 0)
    assert len(archive) > len(body)


async def test_cameras_that_talk_are_sighted_and_that_fall_silent_are_not(tmp_path: Path) -> None:
    told = options(tmp_path, camera={"absent": 1.0})
    async with Station(tmp_path / "station") as station, received(told, station):
        assert await sender(told).once(MESSAGES["hikvision"](Passage(), "")) == 200
        await until(lambda: len(station.sighted) > 2)
        count = 0
        async with asyncio.timeout(30):
            while count < len(station.sighted):
                count = len(station.sighted)
                await asyncio.sleep(0.3)
