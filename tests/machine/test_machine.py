"""What the machine tells of itself, read from trees and answers in the form that kernel and tools document."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.machine import smart
from agent.machine.disk import ground_of
from agent.machine.keeper import Keeper, of_chrony, of_timesyncd
from agent.machine.usb import serial_lines, usb_tree

if TYPE_CHECKING:
    from collections.abc import Mapping


def planted(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


# -- disk --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """A /sys in which the folder of this test lies on the second partition of a SATA disk."""
    number = tmp_path.stat().st_dev
    disk = tmp_path / "sys" / "devices" / "sata" / "block" / "sda"
    planted(disk, {"device/model": "ACME SSD\n", "device/state": "running\n", "device/ioerr_cnt": "0x2\n"})
    planted(disk, {"sda2/partition": "2\n"})
    place = tmp_path / "sys" / "dev" / "block"
    place.mkdir(parents=True)
    (place / f"{os.major(number)}:{os.minor(number)}").symlink_to(disk / "sda2")
    return tmp_path / "sys"


def mounts(folder: Path, kind: str = "ext4", options: str = "rw,relatime") -> Path:
    number = folder.stat().st_dev
    text = f"36 35 {os.major(number)}:{os.minor(number)} / / {options} shared:1 - {kind} /dev/sda2 rw\n"
    (folder / "mountinfo").write_text(text)
    return folder / "mountinfo"


def test_the_disk_that_is_really_here(tmp_path: Path) -> None:
    ground = ground_of(tmp_path)
    assert ground.file_system != "unknown"
    assert not ground.read_only


def test_a_disk_and_its_file_system_that_count_nothing(sys: Path, tmp_path: Path) -> None:
    ground = ground_of(tmp_path, sys=sys, mounts=mounts(tmp_path))
    (disk,) = ground.disks
    assert (disk.name, disk.model, disk.troubles) == ("sda", "ACME SSD", ())
    assert ground.troubles == ()


def test_what_kernel_and_file_system_have_counted_is_told(sys: Path, tmp_path: Path) -> None:
    planted(sys, {"fs/ext4/sda2/errors_count": "3\n", "devices/sata/block/sda/device/ioerr_cnt": "0x40\n"})
    planted(sys, {"devices/sata/block/sda/device/state": "offline\n"})
    ground = ground_of(tmp_path, sys=sys, mounts=mounts(tmp_path, options="ro,relatime"))
    assert ground.read_only
    assert "3 errors" in ground.troubles[0]
    assert "64 commands" in ground.disks[0].troubles[0]
    assert "offline" in ground.disks[0].troubles[1]


def test_an_array_and_a_card_that_wear_out(sys: Path, tmp_path: Path) -> None:
    """The partition is a mapping over one disk of an array that lacks one, and over an eMMC at its end."""
    whole = sys / "devices"
    planted(whole, {"md0/md/degraded": "1\n", "mmcblk0/device/life_time": "0x02 0x0a\n"})
    planted(whole, {"mmcblk0/device/name": "ACME16\n", "mmcblk0/device/pre_eol_info": "0x02\n"})
    for name in ("md0", "mmcblk0"):
        place = sys / "devices" / "sata" / "block" / "sda" / "sda2" / "slaves"
        place.mkdir(exist_ok=True)
        (place / name).symlink_to(whole / name)
    ground = ground_of(tmp_path, sys=sys, mounts=mounts(tmp_path))
    said = {disk.name: " ".join(disk.troubles) for disk in ground.disks}
    assert "missing" in said["md0"]
    assert "100 %" in said["mmcblk0"]
    assert "spare" in said["mmcblk0"]


def test_btrfs_is_found_by_its_source(sys: Path, tmp_path: Path) -> None:
    planted(sys, {"fs/btrfs/uuid/devinfo/1/error_stats": "write_errs 0\nread_errs 7\ncorruption_errs 0\n"})
    ground = ground_of(tmp_path, sys=sys, mounts=mounts(tmp_path, kind="btrfs"))
    assert ground.troubles == ("btrfs has counted errors: read_errs 7",)


# -- SMART: field names of smartctl(8) --json --------------------------------------------------------------------------

ATA = {
    "smart_status": {"passed": True},
    "temperature": {"current": 31},
    "power_on_time": {"hours": 1730},
    "ata_smart_attributes": {
        "table": [
            {"id": 5, "name": "Reallocated_Sector_Ct", "value": 100, "when_failed": "", "raw": {"value": 0}},
            {"id": 194, "name": "Temperature_Celsius", "value": 69, "when_failed": "", "raw": {"value": 31}},
        ]
    },
}


def answered(**more: object) -> smart.Smart | smart.Silent:
    return smart.read(json.dumps({**ATA, **more}).encode())


def test_a_disk_that_is_well() -> None:
    found = answered()
    assert isinstance(found, smart.Smart)
    assert (found.healthy, found.troubles, found.facts) == (True, (), ("31 °C", "1730 h in use"))


def test_disks_that_are_not() -> None:
    worn = {"critical_warning": 4, "percentage_used": 97, "media_errors": 2, "available_spare": 5}
    nvme = answered(nvme_smart_health_information_log={**worn, "available_spare_threshold": 10})
    assert isinstance(nvme, smart.Smart)
    assert len(nvme.troubles) == 4
    rows = [
        {"id": 197, "name": "Current_Pending_Sector", "value": 100, "when_failed": "", "raw": {"value": 8}},
        {"id": 5, "name": "Reallocated_Sector_Ct", "value": 1, "when_failed": "now", "raw": {"value": 2000}},
    ]
    ata = answered(smart_status={"passed": False}, ata_smart_attributes={"table": rows})
    assert isinstance(ata, smart.Smart)
    assert (ata.healthy, len(ata.troubles)) == (False, 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'"x"',
        b"{}",
        b'{"smart_status": 1}',
        b'{"smart_status": {"passed": true}, "ata_smart_attributes": {"table": [{"id": 5}]}}',
        b'{"smart_status": {"passed": true}, "temperature": 3}',
        b'{"smartctl": {"messages": [{"string": "Smartctl open device: /dev/sda failed: Permission denied"}]}}',
    ],
)
def test_an_answer_that_tells_nothing_is_a_sentence(answer: bytes) -> None:
    found = smart.read(answer)
    assert isinstance(found, smart.Silent)
    assert found.why


def test_smartctl_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name that answers as the real one; where there is none, that is said."""
    monkeypatch.setattr(smart, "_PLACES", "/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = smart.asked("sda")
    assert isinstance(missing, smart.Silent)
    assert "apt install smartmontools" in str(missing.todo)
    program = tmp_path / "smartctl"
    program.write_text(f"#!/bin/sh\n[ \"$5\" = /dev/sda ] && cat <<'END'\n{json.dumps(ATA)}\nEND\nexit 4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = smart.asked("sda")
    assert isinstance(found, smart.Smart)
    assert found.healthy


# -- time --------------------------------------------------------------------------------------------------------------


def test_chrony_tells_source_stratum_and_how_far_the_clock_is_off() -> None:
    told = "C0A80101,192.168.1.1,3,1795384526.38,-0.000234,0.000101,0.000098,-12.3,0.001,0.05,0.0102,0.0005,64.2,Normal"
    synced_at = datetime.fromtimestamp(1795384526.38, UTC)
    assert of_chrony(told) == Keeper("chronyd", "192.168.1.1", 3, 0.000234, synced_at)
    alone = "7F7F0101,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised"
    assert of_chrony(alone) == Keeper("chronyd")
    assert of_chrony("506 Cannot talk to daemon") is None


def test_timesyncd_tells_them_too() -> None:
    told = """
       Server: 192.0.2.7 (time.example.org)
Poll interval: 34min 8s (min: 32s; max 34min 8s)
         Leap: normal
      Version: 4
      Stratum: 2
    Reference: C0000201
       Offset: -1.523ms
        Delay: 12.3ms
"""
    found = of_timesyncd(told)
    assert found is not None
    assert (found.source, found.stratum, found.off) == ("192.0.2.7 (time.example.org)", 2, pytest.approx(0.001523))
    assert of_timesyncd("Failed to query server: no such service") is None


# -- USB and serial lines ----------------------------------------------------------------------------------------------


def plug(sys: Path, port: str, **words: str) -> None:
    place = sys / "bus" / "usb" / "devices" / port
    planted(place, {name: f"{word}\n" for name, word in words.items()})


def test_the_tree_is_in_the_order_of_its_ports_and_tells_what_is_wrong(tmp_path: Path) -> None:
    plug(tmp_path, "usb1", idVendor="1d6b", idProduct="0002", speed="480", bDeviceClass="09")
    plug(tmp_path, "1-2", idVendor="05e3", idProduct="0610", product="Hub", speed="480", bDeviceClass="09")
    plug(tmp_path, "1-2.10", idVendor="0951", idProduct="1666", product="BWC\x1b[2J", serial="A1", speed="480")
    plug(tmp_path, "1-2.10/1-2.10:1.0", bInterfaceClass="08")
    plug(tmp_path, "1-2.9", idVendor="0951", idProduct="1666", speed="12")
    plug(tmp_path, "1-2.9/1-2.9:1.0", bInterfaceClass="08")
    plug(tmp_path, "1-3", idVendor="aaaa", idProduct="bbbb", speed="12", authorized="0")
    plug(tmp_path, "1-4", idVendor="aaaa", idProduct="cccc", speed="480")
    plug(tmp_path, "1-5", product="no ids: it is going away")
    found = usb_tree(tmp_path)
    assert [one.port for one in found] == ["1-2", "1-2.9", "1-2.10", "1-3", "1-4"]
    hub, slow, camera, refused, dead = found
    assert (hub.hub, hub.trouble, hub.depth, slow.depth) == (True, None, 0, 1)
    assert "12 Mbit/s only" in str(slow.trouble)
    assert (camera.trouble, camera.storage, camera.serial) == (None, True, "A1")
    assert "\x1b" not in camera.name
    assert "does not permit" in str(refused.trouble)
    assert "no interface" in str(dead.trouble)


def test_a_serial_line_has_one_name_that_of_its_bay_first(tmp_path: Path) -> None:
    for name in ("ttyUSB0", "ttyUSB1"):
        (tmp_path / name).touch()
    for link, node in (
        ("evidock/serial/lane1", "ttyUSB0"),
        ("serial/by-id/usb-FTDI_A", "ttyUSB0"),
        ("serial/by-id/usb-FTDI_B", "ttyUSB1"),
        ("serial/by-path/pci-1", "ttyUSB1"),
    ):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / node)
    assert [Path(link).name for link in serial_lines(tmp_path)] == ["lane1", "usb-FTDI_B"]
