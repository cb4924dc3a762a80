"""Firmware images made by their makers' own tools, read by us, and then damaged."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from firmware_specs import SpecError
from firmware_specs.formats.recognised import Recognised, recognise
from firmware_specs.formats.source import Text

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD = "".join(f"{n}\n" for n in range(1, 2001)).encode()[:5000]
TIME = 1_763_800_000
ITS = """/dts-v1/;
/ {
  description = "BWC FIT";
  images { firmware-1 { description = "fw 1.2.3"; data = /incbin/("payload.bin"); type = "firmware"; arch = "arm";
    os = "linux"; compression = "none"; hash-1 { algo = "sha256"; }; hash-2 { algo = "crc32"; }; }; };
  configurations { default = "conf-1"; conf-1 { description = "BWC-1 rev A"; firmware = "firmware-1"; }; };
};
"""
DTS = '/dts-v1/; / { compatible = "example,bwc-1"; model = "BWC-1"; serial-number = "SN-7"; };'


def tool(folder: Path, *command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(TIME)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "payload.bin").write_bytes(PAYLOAD)
    return tmp_path


def read(path: Path) -> Recognised:
    data = path.read_bytes()
    return recognise(Text(data, budget=64 << 20))


def flipped(path: Path, at: int) -> Recognised:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    return recognise(Text(data))


def test_a_dfu_suffix(folder: Path) -> None:
    made = folder / "fw.dfu"
    made.write_bytes(PAYLOAD)
    tool(folder, "dfu-suffix", "-v", "0x1209", "-p", "0x0001", "-d", "0x0123", "-a", "fw.dfu")
    assert "0x1209" in tool(folder, "dfu-suffix", "-c", "fw.dfu")
    found = read(made)
    assert (found.format, found.verdict) == ("USB DFU", "complete")
    assert found.told == {"device": "0123", "dfu": "0100", "payload": 5000, "product": "0001", "vendor": "1209"}
    assert flipped(made, 100).verdict == "damaged"


def test_a_legacy_image(folder: Path) -> None:
    words = ("-A", "arm", "-O", "linux", "-T", "firmware", "-C", "none", "-a", "0x80008000", "-e", "0x80008000")
    tool(folder, "mkimage", *words, "-n", "BWC fw 1.2.3", "-d", "payload.bin", "fw.uimg")
    made = folder / "fw.uimg"
    listed = tool(folder, "mkimage", "-l", "fw.uimg")
    found = read(made)
    assert (found.format, found.verdict) == ("U-Boot uImage", "complete")
    assert (found.told["name"], found.told["time"], found.told["data"]) == ("BWC fw 1.2.3", TIME, 5000)
    assert f"{found.told['architecture']} {found.told['os']} Firmware (uncompressed)" in listed
    assert flipped(made, 40).told["wrong"][0].startswith("the header's CRC")
    assert flipped(made, 100).told["wrong"][0].startswith("the data's CRC")
    assert "missing" in recognise(Text(made.read_bytes()[:-9])).told["wrong"][0]


@pytest.mark.parametrize("outside", [(), ("-E",), ("-E", "-p", "0x1000")], ids=["inside", "behind", "at a place"])
def test_a_fit(folder: Path, outside: tuple[str, ...]) -> None:
    (folder / "fw.its").write_text(ITS)
    tool(folder, "mkimage", *outside, "-f", "fw.its", "fw.itb")
    made = folder / "fw.itb"
    found = read(made)
    assert (found.format, found.verdict) == ("U-Boot FIT", "complete")
    assert (found.told["description"], found.told["default"], found.told["time"]) == ("BWC FIT", "conf-1", TIME)
    (image,) = found.told["images"]
    assert (image["name"], image["description"], image["length"]) == ("firmware-1", "fw 1.2.3", 5000)
    damaged = flipped(made, made.read_bytes().index(PAYLOAD) + 4000)
    assert [one.partition(" of ")[0] for one in damaged.told["wrong"]] == ["the sha256", "the crc32"]


def test_a_device_tree(folder: Path) -> None:
    (folder / "board.dts").write_text(DTS)
    tool(folder, "dtc", "-I", "dts", "-O", "dtb", "-o", "board.dtb", "board.dts")
    told = {"compatible": "example,bwc-1", "model": "BWC-1", "serial-number": "SN-7", "version": 17}
    assert read(folder / "board.dtb") == Recognised("device tree", None, told)


@pytest.mark.parametrize("kind", ["plain", "verity"])
def test_a_rauc_bundle(folder: Path, kind: str) -> None:
    inner = folder / "b"
    inner.mkdir()
    (inner / "payload.img").write_bytes(random.Random(1).randbytes(20_000))
    extra = "[bundle]\nformat=verity\n\n" if kind == "verity" else ""
    manifest = f"[update]\ncompatible=BWC-1\nversion=1.2.3\n\n{extra}[image.rootfs]\nfilename=payload.img\n"
    (inner / "manifest.raucm").write_text(manifest)
    subject = ("-subj", "/O=Evidock test/CN=rauc-test", "-days", "30")
    tool(folder, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", *subject)
    tool(folder, "rauc", "bundle", "--cert", "c", "--key", "k", "b", "fw.raucb")
    found = read(folder / "fw.raucb")
    assert (found.format, found.told["bundle"], found.told["signature"]) == ("RAUC bundle", kind, "not verified")
    if kind == "verity":
        assert (found.told["compatible"], found.told["version"]) == ("BWC-1", "1.2.3")


def test_a_mender_artifact(folder: Path) -> None:
    words = ("-t", "bwc-1", "-n", "fw-1.2.3", "-T", "single-file", "-f", "payload.bin", "-o", "fw.mender")
    tool(folder, "mender-artifact", "write", "module-image", *words)
    found = read(folder / "fw.mender")
    assert (found.format, found.verdict) == ("Mender artifact", "complete")
    assert found.told == {
        "devices": ["bwc-1"], "name": "fw-1.2.3", "payloads": ["single-file"], "signed": False, "version": 3,
    }  # fmt: skip
    data = (folder / "fw.mender").read_bytes()
    other = data.replace(b"data/0000/payload.bin", b"data/0000/payload.bix")
    assert "not in the manifest" in recognise(Text(other)).told["wrong"][0]


def images(samples: Path) -> list[bytes]:
    names = ("fw.dfu", "fw.uimg", "fw.itb", "fw.raucb", "fw.mender")
    return [(samples / "firmware" / name).read_bytes() for name in names]


def test_the_samples(samples: Path) -> None:
    formats = [recognise(Text(data)).format for data in images(samples)]
    assert formats == ["USB DFU", "U-Boot uImage", "U-Boot FIT", "RAUC bundle", "Mender artifact"]


def test_cut_and_bent_they_are_damaged_or_refused(samples: Path) -> None:
    """A typed error or a value, and never a right check sum over other bytes."""
    chance = random.Random(7)
    for whole in images(samples):
        for length in range(0, len(whole), 7):
            with suppress(SpecError):
                recognise(Text(whole[:length]))
        for _ in range(600):
            raw = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(raw)) if chance.random() < 0.5 else chance.randrange(min(512, len(raw)))
                raw[at : at + 4] = chance.choice(
                    (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", raw[at : at + 3])
                )
            with suppress(SpecError):
                json.dumps(recognise(Text(raw)).told)


def test_a_bomb_in_an_artifact_is_not_unpacked_for_ever(folder: Path) -> None:
    """Its header unpacks to more than a header has."""
    import gzip  # noqa: PLC0415
    import tarfile  # noqa: PLC0415

    def tar(path: Path, members: dict[str, bytes]) -> bytes:
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as made:
            for name, data in members.items():
                (folder / "one").write_bytes(data)
                made.add(folder / "one", name)
        return path.read_bytes()

    inner = gzip.compress(tar(folder / "inner.tar", {"header-info": bytes(8 << 20)}))
    version = b'{"format":"mender","version":3}'
    outer = tar(folder / "outer.tar", {"version": version, "manifest": b"", "header.tar.gz": inner})
    with pytest.raises(SpecError, match="unpacks to more"):
        recognise(Text(outer))
