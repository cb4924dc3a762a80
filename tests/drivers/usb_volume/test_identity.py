"""Whose volume it is: by spec and descriptor, never by a guess, and never the same for two devices."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from agent.capture import printable
from agent.errors import DeviceRefused
from agent.mounts import mount_at
from drivers.body_worn.usb_volume import UsbVolume, blocks, dock, identity, volume
from drivers.body_worn.usb_volume.blocks import Block, Usb, tells_apart
from drivers.body_worn.usb_volume.identity import Known, recognise
from drivers.body_worn.usb_volume.volume import Volume, look
from drivers.body_worn.usb_volume.wire import Wire
from firmware_specs.devices import DeviceSpec, Match, device_specs
from tests.drivers.usb_volume.desk import Desk, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import EventDict

    from drivers.body_worn.usb_volume.emulator import VolumeEmulator

USB = Usb("0951", "1666", "SN-BWC-0002", "1-2", "Acme", "Cam 2")
BLOCK = Block(8, 17, "/dev/sdb1", USB, None, "1122-BEEF")


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True)


def options(**more: object) -> UsbVolume.Options:
    return UsbVolume.Options.model_validate({"use": "x", "name": "bay-1", "mount": "/run/evidock-media/x"} | more)


def known(path: Path, block: Block | None, **more: object) -> Known:
    ground = look(path, must_be_mountpoint=False)
    assert ground is not None
    there = Volume(replace(ground, block=block), Wire())
    there._looked = lambda: there.ground  # type: ignore[method-assign] - nothing is plugged in that udev would know

    async def recognised() -> Known:
        async with there.held():
            return await there.call(lambda: recognise(there, options(**more)))

    return asyncio.run(recognised())


@pytest.fixture
def card(tmp_path: Path) -> Path:
    (tmp_path / "card/DCIM").mkdir(parents=True)
    return tmp_path / "card"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (BLOCK, "usb:0951:1666:SN-BWC-0002"),
        (replace(BLOCK, part="unit1-part1"), "usb:0951:1666:SN-BWC-0002:unit1-part1"),
        (replace(BLOCK, usb=replace(USB, serial="a b\u202ec")), "usb:0951:1666:a_b_c"),
        (replace(BLOCK, usb=replace(USB, serial=None)), "usb:0951:1666:fs:1122-BEEF"),
        (replace(BLOCK, usb=None), "fs:1122-BEEF"),
    ],
)
def test_a_device_is_the_same_everywhere(card: Path, block: Block, expected: str) -> None:
    assert known(card, block).device.id == expected


@pytest.mark.parametrize("serial", [b"SN\xff\x01%1", b"100%"])
def test_a_descriptor_whose_number_must_be_escaped_names_a_device(card: Path, serial: bytes) -> None:
    said = {"idVendor": b"0951", "idProduct": b"1666", "serial": serial}
    usb = blocks._usb(SimpleNamespace(attributes=said, sys_name="1-2"))
    assert known(card, replace(BLOCK, usb=usb)).device.id == f"usb:0951:1666:{printable(serial)}"


def test_a_device_that_was_upgraded_stays_the_same(camera: VolumeEmulator) -> None:
    """Its own serial number names it where its descriptor has none, and another spec describes its new firmware."""
    nameless, found = replace(BLOCK, usb=replace(USB, serial=None)), list[tuple[str | None, str]]()
    for firmware in ("1.4.2", "2.0"):
        about = {"serial": "BWC-0001", "firmware": firmware}
        (camera.files / "MISC/evidock-emulator.json").write_text(json.dumps(about))
        device = known(camera.files, nameless).device
        found.append((device.spec, device.id))
    assert found == [("emulated_bwc", "spec:emulated_bwc:BWC-0001"), ("emulated_bwc_2", "spec:emulated_bwc:BWC-0001")]


def test_a_number_that_its_maker_left_in_a_file_names_no_device(camera: VolumeEmulator) -> None:
    """Every camera of that maker has it, as in a descriptor; what the operator says it is, it is."""
    nameless = replace(BLOCK, usb=replace(USB, serial=None))
    (camera.files / "MISC/evidock-emulator.json").write_text(json.dumps({"serial": "000000000000"}))
    assert known(camera.files, nameless).device.id == "usb:0951:1666:fs:1122-BEEF"
    assert known(camera.files, nameless).device.serial == "000000000000"
    assert known(camera.files, nameless, device={"serial": "0"}).device.id.endswith(":0")
    (camera.files / "MISC/evidock-emulator.json").write_text(json.dumps({"serial": "0007"}))
    assert known(camera.files, nameless).device.id == "spec:emulated_bwc:0007"
    (camera.files / "MISC/evidock-emulator.json").write_text(json.dumps({"serial": "123456789ABC"}))
    with pytest.raises(DeviceRefused, match="nothing tells"):
        known(camera.files, replace(nameless, uuid=None))


def test_what_nothing_tells_apart_is_refused_until_the_operator_names_it(card: Path) -> None:
    for block in (None, replace(BLOCK, usb=None, uuid=None), replace(BLOCK, usb=replace(USB, serial=None), uuid=None)):
        with pytest.raises(DeviceRefused, match="nothing tells the volume"):
            known(card, block)
    assert known(card, None, device={"id": "interview camera 1"}).device.id == "interview camera 1"


@pytest.mark.parametrize("serial", ["", "0", "000000000000", "111111", "123456789ABC", "0123456789abcdef"])
def test_serial_numbers_that_makers_left_in_identify_nothing(serial: str) -> None:
    assert not tells_apart(serial)
    assert tells_apart("SN-BWC-0002")


def test_what_the_device_says_of_itself(camera: VolumeEmulator) -> None:
    told = known(camera.files, BLOCK).device
    assert (told.maker, told.model, told.serial, told.firmware) == ("Evidock", "Emulated BWC", "BWC-0001", "1.4.2")
    assert (told.place, told.spec, told.family) == ("usb 1-2", "emulated_bwc", "body_worn")
    generic = known(camera.files, BLOCK, spec="generic_dcf").device
    assert (generic.maker, generic.model, generic.serial, generic.firmware) == ("Acme", "Cam 2", "SN-BWC-0002", None)
    named = known(camera.files, BLOCK, device={"maker": "A", "model": "B", "serial": "C", "firmware": "D"}).device
    assert (named.maker, named.model, named.serial, named.firmware) == ("A", "B", "C", "D")


@pytest.mark.parametrize(
    "text",
    [b"{}", b"\xff" * 100, b'"serial": ""', b'"serial": "' + b"9" * 65 + b'"', b" " * 5000 + b'"serial": "far behind"'],
    ids=["nothing", "no text", "empty", "too long", "too far behind"],
)
def test_a_file_that_tells_nothing_of_use_is_no_obstacle(camera: VolumeEmulator, text: bytes) -> None:
    (camera.files / "MISC/evidock-emulator.json").write_bytes(text)
    assert known(camera.files, BLOCK).device.serial == "SN-BWC-0002"


def test_what_a_file_says_is_shown_without_what_cannot_be_seen(camera: VolumeEmulator) -> None:
    (camera.files / "MISC/evidock-emulator.json").write_bytes('"serial": "A\x1b[2J\u202eB"'.encode())
    assert known(camera.files, BLOCK).device.serial == "A%1B[2J%E2%80%AEB"


def test_a_link_instead_of_the_file_is_not_followed(camera: VolumeEmulator, tmp_path: Path) -> None:
    about = camera.files / "MISC/evidock-emulator.json"
    about.rename(tmp_path / "elsewhere")
    about.symlink_to(tmp_path / "elsewhere")
    assert known(camera.files, BLOCK).device.spec == "generic_dcf"


@pytest.mark.parametrize(
    ("paths", "spec", "family"),
    [
        (["DCIM/Movie", "DCIM/Photo"], "novatek_card", "body_worn"),
        (["DCIM/100MEDIA"], "generic_dcf", "body_worn"),
        (["DATA/20261122", "WIDKEY"], "panasonic_arbitrator", "in_car"),
        (["BlackVue/Record", "BlackVue/Config"], "blackvue_card", "in_car"),
        (["photos"], None, "body_worn"),
    ],
)
def test_which_spec_fits_which_volume(tmp_path: Path, paths: list[str], spec: str | None, family: str) -> None:
    for path in paths:
        (tmp_path / "card" / path).mkdir(parents=True)
    found = known(tmp_path / "card", BLOCK)
    assert (found.device.spec, found.device.family) == (spec, family)
    assert (found.layout is None) == (spec is None)


def test_a_card_in_a_reader_is_not_the_reader(tmp_path: Path) -> None:
    (tmp_path / "card/BlackVue/Record").mkdir(parents=True)
    assert known(tmp_path / "card", BLOCK).device.id == "fs:1122-BEEF"


def test_two_specs_that_fit_equally_well_are_no_answer(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dcf = device_specs()["generic_dcf"]
    two = {name: dcf.model_copy(update={"name": name}) for name in ("a", "b")}
    monkeypatch.setattr(identity, "device_specs", lambda: two)
    found = known(card, BLOCK)
    assert (found.device.spec, found.layout) == (None, None)
    assert found.doubt == "several device specs fit equally well: a, b"


MATCH = Match(usb=("0951:1666", "2b57:*"), paths=("DCIM",))


def test_usb_ids_count_for_more_than_folders() -> None:
    one = DeviceSpec(
        name="x", family="body_worn", layout="dcf", match=Match(usb=("0951:1666", "2b57:*"), paths=("DCIM",))
    )
    assert one.weight("0951:1666") == (2, 1)
    assert one.weight("2b57:0001") == (1, 1)
    assert one.weight("0951:0001") is None
    assert one.weight(None) is None
    assert device_specs()["generic_dcf"].weight("0951:1666") == (0, 1)


async def test_an_unknown_volume_is_sighted_and_nothing_of_it_is_guessed(
    tmp_path: Path, dock: Callable[..., UsbVolume], log: list[EventDict]
) -> None:
    (tmp_path / "dock/private").mkdir(parents=True)
    (tmp_path / "dock/private/letter.txt").write_bytes(b"x")
    desk = Desk()
    async with running(dock(), desk):
        await desk.until(lambda: any(line["event"] == "device_unknown" for line in log))
        await asyncio.sleep(0.2)
    (device,) = desk.devices.values()
    assert device.spec is None
    assert not desk.offered
    assert [line["why"] for line in log if line["event"] == "device_unknown"] == [
        "no device spec describes this volume"
    ]


async def test_the_operator_may_name_the_layout_of_an_unknown_volume(
    tmp_path: Path, dock: Callable[..., UsbVolume]
) -> None:
    (tmp_path / "dock/DATA/20261122").mkdir(parents=True)
    (tmp_path / "dock/DATA/20261122/101112B1.avi").write_bytes(b"x")
    desk = Desk()
    async with running(dock(layout="arbitrator"), desk):
        await desk.until(lambda: desk.held)
    assert desk.keys() == ["DATA/20261122/101112B1.avi"]


async def test_another_device_in_the_same_place_is_another_device(
    camera: VolumeEmulator, dock: Callable[..., UsbVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where mount, numbers and names are all the same: it is asked again at each look."""
    name = camera.add(b"clip")
    serials = iter(["SN-1", "SN-1", "SN-1"])
    real = identity.recognise

    def swapped(volume: Volume, options: UsbVolume.Options) -> Known:
        found = real(volume, options)
        return replace(found, device=replace(found.device, id=f"usb:{next(serials, 'SN-2')}"))

    monkeypatch.setattr("drivers.body_worn.usb_volume.dock.recognise", swapped)
    desk = Desk()
    async with running(dock(), desk):
        await desk.until(lambda: len(desk.held) == 2)
    assert sorted((origin.device, origin.key) for origin in desk.held) == [("usb:SN-1", name), ("usb:SN-2", name)]


# --- through udev ---------------------------------------------------------------------------------------------------

UDEV = r"""P: /devices/pci0000:00/0000:00:14.0/usb1/1-2
N: bus/usb/001/002=12
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
E: DEVNAME=/dev/bus/usb/001/002
A: idVendor=0951\n
A: idProduct=1666\n
A: serial=SN-BWC-0002\n
A: manufacturer=Acme\n
A: product=Cam 2\n

P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb/sdb1
N: sdb1
E: DEVNAME=/dev/sdb1
E: DEVTYPE=partition
E: SUBSYSTEM=block
E: MAJOR=8
E: MINOR=17
E: ID_FS_UUID=1122-BEEF
A: dev=8:17\n
A: partition=1\n

P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:1/block/sdc
N: sdc
E: DEVNAME=/dev/sdc
E: DEVTYPE=disk
E: SUBSYSTEM=block
E: MAJOR=8
E: MINOR=32
A: dev=8:32\n

P: /devices/virtual/block/loop0
N: loop0
E: DEVNAME=/dev/loop0
E: SUBSYSTEM=block
E: MAJOR=7
E: MINOR=0
A: dev=7:0\n
"""

ASK = """
import json, sys
from dataclasses import asdict
from drivers.body_worn.usb_volume.blocks import block_of, usb_blocks
found = {ids: [asdict(block) for block in usb_blocks([ids])] for ids in ("0951:1666", "0951:*", "0951:0001")}
of = [block and asdict(block) for block in (block_of(8, 17), block_of(7, 0), block_of(8, 99), block_of(0, 5))]
json.dump([found, of], sys.stdout)
"""


@pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed: no emulated udev")
def test_what_udev_tells_is_read_through_the_real_library(tmp_path: Path) -> None:
    (tmp_path / "usb.umockdev").write_text(UDEV)
    told = subprocess.run(
        ["umockdev-run", "-d", tmp_path / "usb.umockdev", "--", sys.executable, "-c", ASK],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found, (of_sdb1, of_loop, of_nothing, of_tmpfs) = json.loads(told.stdout)
    assert of_sdb1 == asdict(BLOCK)
    both = [asdict(BLOCK), asdict(replace(BLOCK, minor=32, node="/dev/sdc", part="unit1-part1", uuid=None))]
    assert [sorted(blocks, key=lambda block: block["minor"]) for blocks in found.values()] == [both, both, []]
    assert (of_loop["usb"], of_nothing, of_tmpfs) == (None, None, None)


def test_a_machine_without_udev_has_no_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library() -> None:
        raise ImportError("No library named udev")

    monkeypatch.setattr(blocks.pyudev, "Context", no_library)
    assert list(blocks.usb_blocks(["0951:1666"])) == []
    assert blocks.block_of(8, 17) is None


async def test_devices_are_found_by_their_usb_ids_wherever_they_are_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / name for name in ("sdb1", "sdc1", "bind")]
    for place in places:
        place.mkdir()
    try:
        for place in places[:2]:
            run("mount", "-t", "tmpfs", "card", place)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    try:
        run("mount", "--bind", places[0], places[2])
        for number, place in enumerate(places[:2]):
            (place / "DCIM").mkdir()
            (place / "DCIM/CLIP0001.MP4").write_bytes(str(number).encode())
            os.utime(place / "DCIM/CLIP0001.MP4", (1795330000, 1795330000))

        def plugged() -> dict[tuple[int, int], Block]:
            found = {}
            for number, place in enumerate(places[:2]):
                if mount := mount_at(place):
                    usb = replace(USB, serial=f"SN-{number}")
                    block = replace(BLOCK, major=mount.major, minor=mount.minor, usb=usb)
                    found[mount.major, mount.minor] = block
            return found

        monkeypatch.setattr(dock, "usb_blocks", lambda _: list(plugged().values()))
        monkeypatch.setattr(volume, "block_of", lambda major, minor: plugged().get((major, minor)))
        desk = Desk()
        choice = {"use": "x", "name": "dock", "usb": ["0951:*"], "settle": 0.0, "rescan": 0.05}
        driver = UsbVolume(UsbVolume.Options.model_validate(choice))
        async with running(driver, desk):
            await desk.until(lambda: len(desk.held) == 2)
            assert len(await driver.health()) == 2
            run("umount", "-l", places[2])
            run("umount", "-l", places[1])
            await desk.until(lambda: len(driver.bays()) == len(driver._health) == 1)
            assert list(await driver.health()) == [str(places[0])]
        assert {origin.device: held for origin, held in desk.held.items()} == {
            "usb:0951:1666:SN-0": b"0",
            "usb:0951:1666:SN-1": b"1",
        }
    finally:
        for place in places:
            if mount_at(place):
                run("umount", "-l", place)


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"mount": None}, "either `mount`"),
        ({"usb": ["0951:1666"]}, "either `mount`"),
        ({"mount": None, "usb": ["951:1666"]}, "String should match pattern"),
        ({"mount": None, "usb": ["0951:*"], "device": {"id": "x"}}, "remove `device.id`"),
        ({"must_be_mountpoint": False}, "a plain folder has no identity"),
        ({"mount": "relative"}, "absolute path"),
        ({"mount": "/run/../etc"}, "absolute path"),
        ({"layout": "no such"}, "there is no layout"),
        ({"spec": "no such"}, "there is no device spec"),
        ({"device": {"id": "a\u202eb"}}, "String should match pattern"),
        ({"max_entries": 0}, "greater than or equal to 1"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        options(**wrong)


async def test_firmware_decides_which_spec_of_a_model_counts_and_the_device_says_how(
    tmp_path: Path, dock: Callable[..., UsbVolume]
) -> None:
    from drivers.body_worn.usb_volume.emulator import VolumeEmulator  # noqa: PLC0415

    for firmware, spec, how, battery in (
        ("1.4.2", "emulated_bwc", "any firmware", None),
        ("2.0", "emulated_bwc_2", "exact", 63),
        ("2.7.1", "emulated_bwc_2", "newest older: 2.0", 63),
    ):
        camera = VolumeEmulator(tmp_path / firmware / "dock", firmware=firmware)
        camera.add(b"film")
        camera.plug()
        driver, desk = dock(mount=tmp_path / firmware / "dock"), Desk()
        async with running(driver, desk):
            await desk.until(lambda desk=desk: desk.held)  # type: ignore[misc]
            (device,) = desk.devices.values()
            assert (device.firmware, device.spec, device.spec_fits) == (firmware, spec, how)
            (known,) = driver.care().values()
            assert known.battery == battery
            assert known.free_bytes is not None
            assert known.room_bytes is not None
            assert known.free_bytes <= known.room_bytes
        assert device.claims["spec_fits"] == how
        assert driver.care() == {}
