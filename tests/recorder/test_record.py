"""What a device gave becomes a test: nothing of a person is in it, and a volume made of it is offered alike."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Standing
from agent.errors import SpoolFull
from agent.recorder import RecordingHand, Veil, write
from agent.recorder.skeleton import skeleton
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.recorded import lay_out
from drivers.body_worn.usb_volume import UsbVolume
from drivers.body_worn.usb_volume.emulator import VolumeEmulator
from tests.formats.parsers import everything

if TYPE_CHECKING:
    from pathlib import Path


SECRETS = ("MUELLER", "Mueller", "4471992", "SN-BWC-77120", "AB123CD", "secret words")


@pytest.fixture
def camera(tmp_path: Path) -> VolumeEmulator:
    camera = VolumeEmulator(tmp_path / "dock", serial="SN-BWC-77120")
    camera.add(everything(), "DCIM/100EVDCK/CLIP0001.MP4")
    camera.add(b"secret words", "DCIM/100EVDCK/CLIP0001.TXT")
    camera.add(some_bytes(300_000), "DCIM/MUELLER/2026_1122_101112_Mueller_4471992.MP4")
    camera.add(b"x" * 5, "OTHER/AB123CD.BIN")
    camera.plug()
    return camera


def options(mount: Path) -> UsbVolume.Options:
    told: dict[str, Any] = {"use": "body_worn.usb_volume", "name": "bay-1", "mount": mount, "must_be_mountpoint": False}
    told |= {"device": {"id": "bay-1-device"}, "settle": 0.0, "rescan": 0.05}
    return UsbVolume.Options.model_validate(told)


async def looked(mount: Path, veil: Veil) -> tuple[RecordingHand, list[dict[str, Any]]]:
    driver, hand = UsbVolume(options(mount)), RecordingHand(veil)
    task = asyncio.create_task(driver.run(hand))
    async with asyncio.timeout(10):
        while len(hand.captures) < 3:  # noqa: ASYNC110 - another task makes it true
            await asyncio.sleep(0.01)
    found = await driver.recorded()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return hand, [dict(one) for one in found]


def veiled(volumes: list[dict[str, Any]], veil: Veil) -> list[dict[str, Any]]:
    from agent.cli.recording import _veiled  # noqa: PLC0415

    return [_veiled(one, veil) for one in volumes]


async def test_a_field_problem_becomes_a_test(tmp_path: Path, camera: VolumeEmulator) -> None:
    veil = Veil()
    before = camera.captures()
    hand, volumes = await looked(tmp_path / "dock", veil)
    told = {"0": {"use": "body_worn.usb_volume", "volumes": veiled(volumes, veil), "failed": None}}
    write(tmp_path / "out", hand, told, who="the police of Riverton", day="2026-11-22", version="0")
    assert camera.captures() == before
    # Nothing of a person is in any file of it, in any case of letters.
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            raw = path.read_bytes().lower()
            assert not [word for word in SECRETS if word.lower().encode() in raw], path
    assert b"MISC/evidock-emulator.json" in (tmp_path / "out" / "recorded.json").read_bytes()
    # A volume made of it is recognised by the same spec, and offered with the same groups, lengths and times.
    again, more = tmp_path / "again", RecordingHand(Veil())
    lay_out(tmp_path / "out", again)
    more, _ = await looked(again, Veil())
    (was,), (now,) = hand.devices.values(), more.devices.values()
    assert (now["spec"], now["firmware"], now["spec_fits"]) == (was["spec"], was["firmware"], was["spec_fits"])

    def shape(found: RecordingHand) -> list[tuple[Any, ...]]:
        names = ("length", "began_at", "media_type", "members", "priority")
        return sorted(tuple(one[name] for name in names) for one in found.captures.values())

    assert shape(more) == shape(hand)


async def test_what_is_pushed_is_not_taken_and_stays_with_its_device() -> None:
    pushing, hand = BenchDevice("bench:push", volatile=True), RecordingHand(Veil())
    pushing.record("film", b"secret")
    with pytest.raises(SpoolFull):
        await hand.take(pushing.offer("film"))
    assert pushing.clips["film"].given == 0
    assert hand.heads == {}
    assert len(hand.captures) == 1


async def test_a_device_that_fails_is_recorded_with_its_failure() -> None:
    bench, hand = BenchDevice(), RecordingHand(Veil())
    bench.record("film", b"x" * 100, wire="E")
    assert await hand.take(bench.offer("film")) is Standing.HELD
    (found,) = hand.captures.values()
    assert found["failed"] == "DeviceRefused"


async def test_there_is_an_end_to_what_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.recorder.hand.CAPTURES", 3)
    bench, hand = BenchDevice(), RecordingHand(Veil())
    for number in range(10):
        bench.record(f"{number}", b"x")
        await hand.take(bench.offer(f"{number}"))
    assert (len(hand.captures), hand.left_out) == (3, 7)


def test_the_veil_keeps_shapes_and_no_names() -> None:
    veil = Veil()
    assert veil.name("DCIM/100GOPRO/GX010048.MP4")[:12] == "DCIM/" + veil.name("100") + "GOPR"
    assert veil.name("BlackVue/Record/20261122_101112_NF.mp4") == "BlackVue/Record/20261122_101112_NF.mp4"
    first, again = veil.name("Smith 4471"), veil.name("SMITH 4471")
    assert first.upper() == again
    assert "Smith" not in first
    assert "4471" not in first
    assert [len(one) for one in first.split()] == [5, 4]
    assert first[0].isupper()
    assert Veil().name("Smith") != first.split()[0]  # each recording has a veil of its own
    assert veil.value({"plate": "AB123CD", "on": True, "count": 12345}) != {
        "plate": "AB123CD",
        "on": True,
        "count": 12345,
    }


@given(st.text(max_size=60), st.text(max_size=60))
def test_two_names_stay_two_names(left: str, right: str) -> None:
    veil = Veil(b"k" * 32)
    one, two = veil.name(left), veil.name(right)
    assert veil.name(left) == one
    if left.casefold() == right.casefold():
        assert one.casefold() == two.casefold()


@given(st.binary(max_size=400))
def test_a_skeleton_has_the_same_length_whatever_it_is_of(data: bytes) -> None:
    assert len(skeleton(data)) == len(data)
    assert len(skeleton(struct.pack(">I4s", 16, b"ftyp") + data)) == 8 + len(data)


def test_a_skeleton_keeps_boxes_and_no_places() -> None:
    film = everything()
    bare = skeleton(film)
    assert b"+42.98" in film
    assert b"+42.98" not in bare
    assert b"DR900" not in bare
    for box in (b"ftyp", b"moov", b"mvhd", b"trak", b"stsz", b"udta"):
        assert box in bare


def test_a_recording_cannot_lead_out_of_the_volume(tmp_path: Path) -> None:
    there = {"path": "../../etc/x", "kind": "file", "length": 1, "mtime_ns": "0"}
    told = {"captures": [], "drivers": {"0": {"volumes": [{"listed": [there]}]}}}
    (tmp_path / "recorded.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="leads out"):
        lay_out(tmp_path, tmp_path / "volume")


@pytest.mark.slow
def test_the_command(tmp_path: Path, camera: VolumeEmulator) -> None:
    def evidock(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent.cli", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    config = tmp_path / "agent.toml"
    config.write_text(
        f'[station]\nname = "dock-1"\nagency = "example.org"\nstate = "{tmp_path}/state"\n'
        f'[[driver]]\nuse = "body_worn.usb_volume"\nname = "bay-1"\nmount = "{tmp_path}/dock"\n'
        'must_be_mountpoint = false\ndevice = { id = "d" }\nsettle = 0.0\nrescan = 0.1\n'
    )
    out = tmp_path / "out"
    done = evidock("--config", config, "device", "record", out, "--seconds", 4, "--by", "Riverton", "--json")
    told = json.loads(done.stdout)
    assert (len(told["devices"]), told["captures"]) == (1, 3)
    assert json.loads((out / "recorded.json").read_text())["source"]["by"] == "Riverton"
    assert out.stat().st_mode & 0o077 == 0
    assert evidock("--config", config, "device", "record", out).returncode == 3
    assert not (tmp_path / "state").exists()
