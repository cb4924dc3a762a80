"""What a controller brings, and what becomes of it: with a real station behind, and every fault on the wire."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from agent.capture import Standing
from agent.clock import Clock
from agent.errors import DeviceRefused
from agent.presence import Presence
from agent.testing.devices import some_bytes
from agent.testing.probe import same_bytes
from agent.testing.rig import until
from drivers.body_worn.axis_dock.emulator import Bookmark, Rejected
from drivers.body_worn.axis_dock.emulator.recording import BEGAN_AT
from drivers.body_worn.axis_dock.shelf import Container, Shelf
from tests.drivers.axis_dock.rig import recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.driver import Readable
    from tests.drivers.axis_dock.conftest import Desk

MIB = 1 << 20
TRACK = [(45.42, -75.69, 4.0), (45.43, -75.70, 2.0)]


async def test_a_recording_from_its_first_word_to_complete(desk: Desk) -> None:
    sent = recording(bookmarks=[Bookmark("5", "Traffic", "röd bil"), Bookmark("99", "Old")], track=TRACK)
    async with desk.open(), desk.controller() as controller:
        await controller.connect()
        await controller.user(sent.user, "Sgt Émilie O'Neil", "4471")
        await controller.device(sent.serial, "BWC-01")
        await controller.send(sent)
        assert controller.categories == [{"Name": "Traffic", "Id": "5"}]
        assert await controller.meta(f"System/{controller.system}") == (
            200,
            {"X-Object-Meta-Connectionid": "connection-6f1c2a34", "X-Object-Meta-Systemname": "Station%2012"},
        )
    held = await desk.held()
    group = {holding for holding in held.values() if holding.group == sent.container}
    assert {holding.origin.device for holding in group} == {f"axis:{sent.serial}"}
    # Its objects leave the number open; the description that ends it says how many belong together, itself included.
    assert sorted(holding.members for holding in group) == [*[0 for _ in sent.objects()], len(group)]
    for name, _, data in sent.objects():
        same_bytes(desk.bytes_of(held[f"{sent.container}/{name}"]), data, name)
    told = await desk.description()
    assert told["state"] == "complete"
    assert told["metadata"]["Status"] == "Complete"
    assert [one["name"] for one in told["objects"]] == sorted(name for name, _, _ in sent.objects())
    for one in told["objects"]:
        assert (held[one["key"]].digest.sha256.hex(), held[one["key"]].digest.length) == (one["sha256"], one["length"])
    (trail,) = [one for one in told["objects"] if one["kind"] == "trail"]
    assert trail["track"] == {
        "points": 2, "first_at": "2026-11-22T10:11:14.000Z", "last_at": "2026-11-22T10:11:16.000Z",
    }  # fmt: skip
    assert len(group) == len(told["objects"]) + 1
    users = [key for key in held if key.startswith("Users/")]
    assert "Sgt Émilie O'Neil" in desk.bytes_of(held[users[0]]).decode()


async def claims_of(desk: Desk, key: str) -> dict[str, object]:
    holding = (await desk.held())[key]
    entries = await desk.station.desk.read(lambda journal: [*_story(journal, holding.id)])
    found: dict[str, object] = entries[0]["predicate"]["capture"]["claims"]
    return found


def _story(journal, capture):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    from agent.journal import queries  # noqa: PLC0415

    return queries.story(journal, capture)


async def test_an_unknown_officer_or_camera_is_taken_and_marked(desk: Desk) -> None:
    sent = recording()
    key = f"{sent.container}/{sent.clips[0][0]}"
    async with desk.open(), desk.controller() as controller:
        await controller.send(sent)
    claims = await claims_of(desk, key)
    assert claims["officer"] == {"id": sent.user, "known": False}
    assert claims["camera"] == {"id": sent.serial, "known": False}
    assert claims["recording"]["Bwcmodel"] == "W101"  # type: ignore[index]


async def test_firmware_that_tells_little(desk: Desk) -> None:
    async with desk.open(), desk.controller() as controller:
        await controller.send(recording(old=True))
    assert {holding.origin.device for holding in await desk.station.holdings()} == {"axis:B8A44F000001"}
    assert (await desk.description())["state"] == "complete"


@pytest.mark.parametrize("wire", ["c", "e", "cce", "k", "x", "rk"])
async def test_whatever_the_wire_does_it_is_held_once_and_right(desk: Desk, wire: str) -> None:
    sent = recording()
    async with desk.open(), desk.controller(wire=wire) as controller:
        await controller.send(sent)
        statuses = [status for method, path, status in controller.said if method == "PUT" and path.endswith("mkv")]
    held = await desk.held()
    for name, data in sent.clips:
        same_bytes(desk.bytes_of(held[f"{sent.container}/{name}"]), data, name)
    assert len(held) == 3
    assert statuses == [{"c": 0, "e": 422}.get(letter, 201) for letter in wire if letter in "ce"] + [201, 201]


async def test_a_torn_object_is_visible_to_nobody(desk: Desk) -> None:
    sent = recording()
    name, data = sent.clips[0]
    async with desk.open(), desk.controller(wire="c") as controller:
        await controller.say("PUT", sent.container, sent.about)
        controller.pause = 60
        putting = asyncio.create_task(controller.put(f"{sent.container}/{name}", {}, data))
        await asyncio.sleep(0.3)
        putting.cancel()
        assert (await controller.meta(f"{sent.container}/{name}"))[0] == 404
    assert await desk.station.count(Standing.HELD) == 0


async def test_the_same_again_is_held_once(desk: Desk) -> None:
    """The answer was lost, say; also over a restart."""
    sent = recording()
    for _ in range(2):
        async with desk.open(), desk.controller() as controller:
            await controller.send(sent)
            await controller.send(sent)
    keys = [key for key in await desk.held() if "description" not in key]
    assert sorted(keys) == sorted(f"{sent.container}/{name}" for name, _ in sent.clips)


@pytest.mark.parametrize("other", [some_bytes(70_001, 3), some_bytes(70_000, 3)], ids=["longer", "as long"])
@pytest.mark.parametrize("wire", ["", "rk"])
async def test_other_bytes_under_the_same_name_are_kept_too(desk: Desk, other: bytes, wire: str) -> None:
    sent, name = recording(clips=[]), "20261122_101612_8D08.mkv"
    first = some_bytes(70_000, 2)
    async with desk.open(), desk.controller(wire=wire) as controller:
        for data in (first, other, other):
            await controller.send(recording(clips=[(name, data)]))
    held = await desk.held()
    same_bytes(desk.bytes_of(held[f"{sent.container}/{name}"]), first)
    same_bytes(desk.bytes_of(held[f"{sent.container}/{name};2"]), other)
    assert len([key for key in held if "description" not in key]) == 2
    assert len((await desk.description())["objects"]) == 2


@pytest.mark.parametrize("desk", [{"life": 0.05}], indirect=True)
async def test_a_token_that_grows_old_between_two_clips(desk: Desk) -> None:
    clips = [(f"20261122_101112_{n:04}.mkv", some_bytes(1000, n)) for n in range(8)]
    async with desk.open(), desk.controller() as controller:
        for clip in clips:
            await controller.send(recording(clips=[clip]))
            await asyncio.sleep(0.01)
        assert 401 in {status for _, _, status in controller.said}
    assert len([key for key in await desk.held() if key.endswith("mkv")]) == len(clips)


async def test_a_wrong_password_gets_nothing(desk: Desk) -> None:
    async with desk.open(), desk.controller() as controller:
        controller.connection = {**desk.connection, "BlobAPIKey": "wrong"}
        with pytest.raises(Rejected, match="401"):
            await controller.connect()


async def test_a_spool_without_room_asks_to_come_later(desk: Desk) -> None:
    """507, and all of it is taken as soon as there is room; nothing becomes rejected content."""
    sent = recording()
    desk.station.spool.watermark = 1 << 60
    async with desk.open(), desk.controller() as controller:
        sending = asyncio.create_task(controller.send(sent))
        await until(lambda: 507 in {status for _, _, status in controller.said})
        assert await desk.station.count(Standing.HELD) == 0
        desk.station.spool.watermark = 0
        await sending
    assert controller.rejected == []
    assert len(await desk.held()) == 3


@pytest.mark.parametrize("desk", [{"more": {"uploads": 1}}], indirect=True)
async def test_two_controllers_at_once_wait_for_each_other(desk: Desk) -> None:
    one, two = recording(), recording(serial="B8A44F000002")
    async with desk.open(), desk.controller() as first, desk.controller(system="other") as second:

        def waited() -> bool:
            return 503 in {status for _, _, status in second.said}

        async def lasts() -> AsyncIterator[bytes]:
            yield bytes(500)
            await until(waited)
            yield bytes(500)

        for controller, sent in ((first, one), (second, two)):
            await controller.say("PUT", quote(sent.container), sent.about)
        long = asyncio.create_task(
            first._ask("PUT", f"{quote(one.container)}/long.mkv", {"Content-Length": "1000"}, lasts())
        )
        count = 0
        while not waited():
            count += 1
            await second.put(f"{quote(two.container)}/{count}.mkv", {}, bytes(count))
        await long
        await first.send(one)
        await second.send(two)
    devices = {holding.origin.device for holding in await desk.station.holdings()}
    assert devices == {"axis:B8A44F000001", "axis:B8A44F000002"}
    assert len(await desk.held()) == 7 + count


async def test_what_comes_after_complete_is_taken_and_described_again(desk: Desk) -> None:
    sent = recording()
    async with desk.open(), desk.controller() as controller:
        await controller.send(sent)
        await controller.put(f"{sent.container}/late.mkv", {}, b"late")
        told = await desk.description()
        assert "late.mkv" in {one["name"] for one in told["objects"]}
        await controller.say("POST", sent.container, {"Note": "seen"})
    assert (await desk.description())["metadata"]["Note"] == "seen"
    assert (await desk.description())["number"] == 3
    group = [one for one in (await desk.held()).values() if one.group == sent.container]
    assert max(one.members or 0 for one in group) == len(group)


async def test_only_complete_ends_a_recording(desk: Desk) -> None:
    async with desk.open(), desk.controller() as controller:
        await controller.send(recording(complete=False))
        await controller._ask("POST", recording().container, {"X-Container-Meta-Status": "Incomplete"})
        await asyncio.sleep(0.2)
        assert not [key for key in await desk.held() if "description" in key]
        # By either prefix, in any case of letters.
        await controller._ask("POST", recording().container, {"X-Object-Meta-Status": "COMPLETE"})
    assert (await desk.description())["state"] == "complete"


@pytest.mark.parametrize("desk", [{"more": {"abandoned": 1.0}}], indirect=True)
async def test_silence_ends_what_was_never_complete_and_a_person_is_told(desk: Desk) -> None:
    async with desk.open(), desk.controller() as controller:
        await controller.send(recording(complete=False))
        await until(lambda: bool(desk.station.observed))
        assert (await desk.description())["state"] == "abandoned"
        await controller.send(recording())  # it comes back after all
        assert (await desk.description())["state"] == "complete"
    (told,) = desk.station.observed
    assert (told.kind, told.device) == ("recording.abandoned", "axis:B8A44F000001")


@pytest.mark.parametrize("desk", [{"more": {"abandoned": 1.0}}], indirect=True)
async def test_rejected_content_is_never_refused(desk: Desk) -> None:
    sent = recording()
    async with desk.open(), desk.controller() as controller:
        await controller.connect()
        await controller._send_rejected(sent, "400 for its user")
        while not [key for key in await desk.held() if "description" in key and "Rejected" in key]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await desk.description())["state"] == "complete"  # silence is its only end
    (told,) = desk.station.observed
    assert told.kind == "recording.rejected_elsewhere"
    assert told.detail["reason"] == "400 for its user"
    assert len([key for key in await desk.held() if key.endswith(".mkv")]) == 2


@pytest.mark.parametrize(
    "name", ["bookmark_2026-11-22T10:11:12Z_1", "Ünïcode né.mkv", "a;b.mkv", "a..b", "%zz", "x" * 600, "line\nbreak"]
)
async def test_any_name_that_can_be_kept_is_kept(desk: Desk, name: str) -> None:
    path = f"{recording().container}/{quote(name, safe='')}"
    async with desk.open(), desk.controller() as controller:
        await controller.say("PUT", recording().container, recording().about)
        await controller.put(path, {"Name": "Émilie"}, b"data")
        assert await controller.meta(path) == (200, {"X-Object-Meta-Name": "%C3%89milie"})
    assert (await desk.station.only()).digest.length == 4


@pytest.mark.parametrize("path", ["a" * 2000, "%ff%fe", "x/" + "y" * 2000])
async def test_a_name_that_cannot_be_kept_is_refused_for_ever(desk: Desk, path: str) -> None:
    async with desk.open(), desk.controller() as controller:
        with pytest.raises(Rejected, match="400"):
            await controller.say("PUT", path, {})


async def test_what_is_refused_for_ever_comes_back_as_rejected_content(desk: Desk) -> None:
    """The one thing that we refuse a recording for: an object whose name nobody could keep."""
    sent = recording(clips=[("x" * 1500, b"film")])
    async with desk.open(), desk.controller() as controller:
        await controller.connect()
        sending = asyncio.create_task(controller.send(sent))
        await until(lambda: bool(controller.rejected))
        with pytest.raises(Rejected):  # and under that name it cannot be kept there either
            await sending
        assert 400 in {status for _, _, status in controller.said}
    assert [one.kind for one in desk.station.observed] == ["recording.rejected_elsewhere"]
    assert "400" in str(desk.station.observed[0].detail["reason"])


async def test_a_clip_before_its_container_is_asked_for_again(desk: Desk) -> None:
    sent = recording()
    async with desk.open(), desk.controller() as controller:
        putting = asyncio.create_task(controller.put(f"{sent.container}/x.mkv", {}, b"data"))
        await until(lambda: bool(controller.said))
        assert controller.said[0][2] == 404
        await controller.say("PUT", sent.container, sent.about)
        await putting


async def test_a_container_begun_before_a_restart_goes_on_after_it(desk: Desk) -> None:
    sent = recording()
    async with desk.open(), desk.controller() as controller:
        await controller.say("PUT", sent.container, sent.about)
        await controller.put(f"{sent.container}/one.mkv", {}, b"one")
    async with desk.open(), desk.controller() as controller:
        await controller.put(f"{sent.container}/two.mkv", {}, b"two")
        await controller.say("POST", sent.container, {"Status": "Complete"})
    assert [one["name"] for one in (await desk.description())["objects"]] == ["one.mkv", "two.mkv"]


async def test_an_encrypted_clip_is_forwarded_untouched_with_its_key(desk: Desk) -> None:
    """Held byte for byte; whoever has the private key opens what was held, with openssl alone."""
    if not (samples := os.environ.get("EVIDOCK_SAMPLES")):
        pytest.skip("EVIDOCK_SAMPLES names no folder of samples")
    folder = Path(samples) / "axis-bodyworn" / "encrypted-clip"
    clip, key = (next(folder.glob(pattern)) for pattern in ("*0A1B.mkv", "*.key"))
    desk.options = desk.options.model_copy(update={"public_key": folder / "contentkey.public.pem"})
    sent = recording(clips=[(clip.name, clip.read_bytes())], keys=[(key.name, key.read_bytes())], track=TRACK)
    async with desk.open(), desk.controller() as controller:
        await controller.send(sent)
    held = await desk.held()
    film = held[f"{sent.container}/{clip.name}"]
    same_bytes(desk.bytes_of(film), clip.read_bytes())
    same_bytes(desk.bytes_of(held[f"{sent.container}/{key.name}"]), key.read_bytes())
    assert film.media_type == "application/octet-stream"
    assert "encrypted" in await claims_of(desk, film.origin.key)
    plain = await opened(desk, film.digest.sha256, held[f"{sent.container}/{key.name}"].digest.sha256, folder)
    same_bytes(plain, next(folder.glob("*.plaintext.mkv")).read_bytes())


async def opened(desk: Desk, film: bytes, key: bytes, folder: Path) -> bytes:
    kept = desk.station.spool.root / "kept"
    told = json.loads((kept / key.hex()).read_text())
    private, sealed = str(folder / "TEST-ONLY-contentkey.private.pem"), base64.b64decode(told["EncryptedKey"])
    oaep = ("-pkeyopt", "rsa_padding_mode:oaep")
    secret = await run("openssl", "pkeyutl", "-decrypt", "-inkey", private, *oaep, stdin=sealed)
    iv = base64.b64decode(told["ContentEncryptionIV"]).hex()
    return await run(
        "openssl", "enc", "-d", "-aes-256-cbc", "-K", secret.hex(), "-iv", iv, "-in", str(kept / film.hex())
    )


async def run(*command: str, stdin: bytes = b"") -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await process.communicate(stdin)
    assert process.returncode == 0, err
    return out


async def test_began_at_is_the_device_s_word(desk: Desk) -> None:
    then = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    async with desk.open(), desk.controller() as controller:
        await controller.send(recording(began_at=then))
    for holding in await desk.station.holdings():
        assert holding.origin.began_at is not None
        assert abs(holding.origin.began_at - then) < timedelta(seconds=1)


@pytest.mark.parametrize("desk", [{"more": {"abandoned": 1.0}}], indirect=True)
async def test_what_is_complete_by_the_time_that_its_silence_is_looked_at_is_not_abandoned(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may be described between the list of those that are silent and the turn of one of them."""
    listed, ended = Shelf.silent, asyncio.Event()
    sent = recording(complete=False)

    async with desk.open(), desk.controller() as controller:

        async def slow(shelf: Shelf, seconds: float, name: str | None = None) -> list[Container]:
            if (found := await listed(shelf, seconds, name)) and name is None:
                await controller.say("POST", sent.container, {"Status": "Complete", "Note": "of the officer"})
                ended.set()
            return found

        monkeypatch.setattr(Shelf, "silent", slow)
        await controller.send(sent)
        async with asyncio.timeout(20):
            await ended.wait()
        await controller.say("POST", sent.container, {"Status": "Complete"})
    told = await desk.description()
    assert (told["state"], told["metadata"]["Note"]) == ("complete", "of the officer")
    assert not desk.station.observed


async def test_two_sendings_at_once_of_one_name_are_both_kept(desk: Desk) -> None:
    """The second waits for the first, and its bytes are compared with what was held meanwhile."""
    name, first, other = "20261122_101612_8D08.mkv", some_bytes(70_000, 2), some_bytes(70_000, 3)
    path, take, inside = f"{recording().container}/{name}", desk.station.take, asyncio.Event()
    entered: list[str] = []

    async def both(offer: Readable) -> Standing:
        entered.append(offer.capture.key)
        if len(entered) == 2:
            inside.set()
        await inside.wait()
        return await take(offer)

    desk.station.take = both  # type: ignore[method-assign]
    async with desk.open(), desk.controller() as one, desk.controller() as two:
        await one.say("PUT", recording().container, recording().about)
        await two.authenticate()
        await asyncio.gather(one.put(path, {}, first), two.put(path, {}, other))
    held = [desk.bytes_of(holding) for holding in await desk.station.holdings()]
    assert sorted(held) == sorted([first, other])


async def test_a_trail_with_a_number_beyond_all_bounds_is_taken(desk: Desk) -> None:
    sent = recording(clips=[])
    entry = {"LocationWKT": "POINT (7.0 46.0)", "SecondsFromStart": 10**400}
    async with desk.open(), desk.controller() as controller:
        await controller.say("PUT", sent.container, sent.about)
        trail = json.dumps({"CoordinateEntries": [entry]}).encode()
        await controller.put(f"{sent.container}/GPSTrail.json", {}, trail)
        await controller.say("POST", sent.container, {"Status": "Complete"})
    (told,) = (await desk.description())["objects"]
    assert "no location object" in told["track"]["unread"]


async def test_a_camera_whose_number_must_be_escaped_is_a_camera(desk: Desk) -> None:
    sent = recording(serial="B8A4%1")
    async with desk.open(), desk.controller() as controller:
        await controller.send(sent)
    assert {holding.origin.device for holding in await desk.station.holdings()} == {"axis:B8A4%1"}


async def test_a_camera_whose_recordings_two_controllers_bring_at_once_is_one(desk: Desk) -> None:
    """It was docked at another one while the first still sent: nobody has to look for a second camera."""
    presence = Presence(desk.station.desk, Clock(), {})
    sent = [recording(controller=name, began_at=BEGAN_AT + timedelta(hours=at)) for at, name in enumerate("AB")]
    async with desk.open(), desk.controller() as one, desk.controller() as other:
        await asyncio.gather(one.send(sent[0]), other.send(sent[1]))
    (device,) = {device.id for device in desk.station.sighted} - {"axis:destination:axis-1"}
    for each in [*desk.station.sighted, *desk.station.sighted]:
        await presence.sight(each)
    assert not presence.twice(device)
    assert presence.settled(device)


@pytest.mark.parametrize("desk", [{"more": {"abandoned": 1.0}}], indirect=True)
async def test_a_recording_that_cannot_be_described_closes_no_door(desk: Desk) -> None:
    take, refused = desk.station.take, list[str]()

    async def once(offer: Readable) -> Standing:
        if ";description-" in offer.capture.key and not refused:
            refused.append(offer.capture.key)
            raise DeviceRefused("it is not taken now")
        return await take(offer)

    desk.station.take = once  # type: ignore[method-assign]
    async with desk.open() as driver, desk.controller() as controller:
        bound = driver.bound
        await controller.send(recording(complete=False))
        await until(lambda: bool(desk.station.observed))
        assert driver.bound is bound
    assert refused
    assert (await desk.description())["state"] == "abandoned"
