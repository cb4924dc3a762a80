"""The capture of a read: opened by other programs, its message back byte for byte, without what was cut out."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.capture import Device
from drivers.alpr.makers import hikvision
from drivers.alpr.message import Message, Removed
from drivers.alpr.offer import ReadOffer, key_of
from drivers.alpr.read import Image, Plate, Read, normalise

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = Device("alpr:car42/front", "alpr", "car42")
JPEG = b"\xff\xd8\xff\xe0 not much of a picture \xff\xd9"
PEOPLE = b"\xff\xd8\xff\xe0 two people \xff\xd9"


def pushed() -> bytes:
    told = (
        b"<EventNotificationAlert><macAddress>02:00:00:00:00:64</macAddress><channelID>1</channelID>"
        b"<dateTime>2026-11-22T02:41:03-05:00</dateTime><eventType>ANPR</eventType><eventState>active</eventState>"
        b"<ANPR><licensePlate>EVDK042</licensePlate><pilotsafebelt>no</pilotsafebelt><line>1</line></ANPR>"
        b"<UUID>u-1</UUID></EventNotificationAlert>"
    )
    parts = [
        (b"anpr.xml", told),
        (b"licensePlatePicture", JPEG),
        (b"pilotPicture", PEOPLE),
        (b"detectionPicture", JPEG),
    ]
    return (
        b"".join(b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in parts)
        + b"--b--\r\n"
    )


def unzipped(folder: Path, archive: bytes, *names: str) -> bytes:
    if shutil.which("unzip") is None:
        pytest.skip("no unzip here")
    path = folder / "read.zip"
    path.write_bytes(archive)
    return subprocess.run(["unzip", "-p", path, *names], check=True, capture_output=True).stdout


async def archive(offer: ReadOffer) -> bytes:
    return b"".join([block async for block in offer.open(0)])


async def test_the_message_comes_back_without_what_is_about_people(tmp_path: Path) -> None:
    body = pushed()
    heard = hikvision.heard(body, "multipart/form-data; boundary=b", "front")
    read, message = heard.reads[0]
    made = await archive(ReadOffer(CAMERA, read, message))
    told = json.loads(unzipped(tmp_path, made, "read.json"))
    back = unzipped(tmp_path, made, "message/*")
    assert b"two people" not in made
    assert b"safebelt" not in back
    assert back == body.replace(
        b'--b\r\nContent-Disposition: form-data; name="pilotPicture"\r\n\r\n' + PEOPLE + b"\r\n", b""
    ).replace(b"<pilotsafebelt>no</pilotsafebelt>", b"")
    assert told["message"]["sha256"] is None, "a digest of what was cut out could be guessed at"
    assert [one["removed"] for one in told["message"]["pieces"] if "removed" in one] == [
        "occupant field pilotsafebelt",
        "occupant picture pilotPicture",
    ]
    assert heard.occupants == 2
    pictures = [one["member"] for one in told["read"]["images"]]
    assert [name.partition("-")[2] for name in pictures] == ["plate.jpg", "overview.jpg"]
    assert all(unzipped(tmp_path, made, name) == JPEG for name in pictures)


async def test_a_whole_message_has_its_digest_and_every_member_too(tmp_path: Path) -> None:
    body = b'{"plate": "EVDK042"}'
    read = Read(vendor="generic", device="d", key=("generic", "d", "1"), images=(Image("plate", JPEG),))
    made = await archive(ReadOffer(CAMERA, read, Message(body)).adding("hit.json", {"rule": "exact"}))
    told = json.loads(unzipped(tmp_path, made, "read.json"))
    assert told["message"]["sha256"] == hashlib.sha256(body).hexdigest()
    members = [*told["message"]["pieces"], *told["documents"], *told["read"]["images"]]
    assert [one["member"] for one in members] == ["message/001.json", "hit.json", "pictures/001-plate.jpg"]
    for one in members:
        content = unzipped(tmp_path, made, one["member"])
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one["length"], one["sha256"])


@pytest.mark.parametrize("body", [b"", b"x", b"<a/>", b"{}" * 1000])
async def test_its_length_is_known_before_it_is_made(body: bytes) -> None:
    read = Read(
        vendor="generic", device="d", key=("generic", "d", "1"), images=(Image("plate", b""), Image("frame", JPEG))
    )
    offer = ReadOffer(CAMERA, read, Message(body, removed=(Removed(0, len(body) // 2, "x"),)), {"é.json": "é"})
    made = await archive(offer)
    assert offer.capture.length == len(made)
    assert made == await archive(ReadOffer(CAMERA, read, offer.message, {"é.json": "é"})), "the same bytes each time"


def test_no_plate_stands_in_a_key() -> None:
    plate = Plate("evdk-042")
    for key in (("1", "2026-11-22T02:41:03-05:00|EVDK042"), ("shot_EVDK042_1.jpg",), ("EVDK042",), ("evdk 042",)):
        read = Read(vendor="generic", device="d", key=("generic", "d", *key), plate=plate)
        assert "EVDK042" not in normalise(key_of(read))
        other = Read(
            vendor="generic", device="d", key=tuple(one.replace("42", "43") for one in read.key), plate=Plate("EVDK043")
        )
        assert key_of(other) != key_of(read)
    plain = Read(vendor="generic", device="d", key=("generic", "d", "1", "u-1"), plate=plate)
    assert key_of(plain) == "1/u-1"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("EVDK-042", "EVDK042"),
        ("EVDK•042", "EVDK042"),
        ("ＥＶＤＫ０４２", "EVDK042"),  # noqa: RUF001 - full width, as some cameras send it
        ("B0I1 G8", "B0I1G8"),
        ("ßtest", "SSTEST"),
    ],
)
def test_normalised(text: str, plain: str) -> None:
    assert normalise(text) == plain
    assert Read(vendor="x", device="d", key=("x", "d"), plate=Plate(text)).matchable


@pytest.mark.parametrize("text", ["A", "1234567890123", ""])
def test_not_matchable(text: str) -> None:
    assert not Read(vendor="x", device="d", key=("x", "d"), plate=Plate(text)).matchable
