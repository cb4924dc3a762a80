"""Side-cars: those that other programs write are understood, and a recording that they contradict is not held."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import suppress
from hashlib import md5, sha256
from typing import TYPE_CHECKING

import bagit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Standing, printable
from agent.driver import INDEX
from agent.errors import BadCapture
from agent.testing.probe import Probe, read_all
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from drivers.interview_room.drop_folder.sidecars import Beside, Named, digests_in, is_digest_file, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agent.capture import Observation
    from agent.driver import Offer
    from drivers.interview_room.drop_folder import DropFolder
    from drivers.interview_room.drop_folder.emulator import RecorderEmulator

FILM = b"what was said in the room" * 100_000
SHA, MD5 = sha256(FILM).digest(), md5(FILM, usedforsecurity=False).digest()


class Counting(Probe):
    """Keeps the sums that are told."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: list[Mapping[str, object]] = []

    async def observe(self, observation: Observation, /) -> None:
        if observation.kind == INDEX:
            self.sums.append(observation.detail)


def told(sidecar: str, content: bytes, *keys: str) -> dict[str, list[tuple[str, bytes]]]:
    found = told_of({sidecar: digests_in(sidecar, content)}, Beside([sidecar, *keys]))
    return {film: [(one.algorithm, one.digest) for one in ones] for film, ones in found.items()}


@pytest.mark.proves("interview_room.drop_folder", vectors="sums of coreutils, openssl and BagIt's own program")
@pytest.mark.parametrize(
    "arguments",
    [["sha256sum"], ["md5sum"], ["sha1sum"], ["sha512sum"], ["sha256sum", "--tag"], ["sha256sum", "-b"]],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "name",
    [
        *("film.mp4", "film of room 1 (back).mp4", "ünïcode.mp4"),
        *("D\\film.mp4", "new\nline.mp4", "\\n.mp4", "line\u2028apart.mp4", "page\x0cfeed.mp4"),
    ],
)
def test_what_coreutils_write(tmp_path: Path, arguments: list[str], name: str) -> None:
    """Names with a backslash or a line's end are escaped by them, and the line says so at its beginning."""
    (tmp_path / name).write_bytes(FILM)
    done = subprocess.run([*arguments, name], cwd=tmp_path, capture_output=True, check=True)
    algorithm = arguments[0].removesuffix("sum")
    key = printable(name)
    expected = {key: [(algorithm, hashlib.new(algorithm, FILM).digest())]}
    assert told("SHA256SUMS", done.stdout, key, "film.mp4") == expected
    assert told(f"{key}.{algorithm}", done.stdout, key) == expected


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_what_openssl_writes(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(FILM)
    done = subprocess.run(["openssl", "dgst", "-sha256", "film.mp4"], cwd=tmp_path, capture_output=True, check=True)
    assert told("film.mp4.sha256", done.stdout, "film.mp4") == {"film.mp4": [("sha256", SHA)]}


def test_what_bagit_writes(tmp_path: Path) -> None:
    """The Library of Congress' own program, whose manifests other archives hand over."""
    (tmp_path / "cam1.mp4").write_bytes(FILM)
    (tmp_path / "cam2.mp4").write_bytes(FILM[::-1])
    bagit.make_bag(str(tmp_path), checksums=["sha256"])
    content = (tmp_path / "manifest-sha256.txt").read_bytes()
    assert told("manifest-sha256.txt", content, "data/cam1.mp4", "data/cam2.mp4") == {
        "data/cam1.mp4": [("sha256", SHA)],
        "data/cam2.mp4": [("sha256", sha256(FILM[::-1]).digest())],
    }


@pytest.mark.parametrize(
    "content",
    [
        SHA.hex().encode(),
        SHA.hex().upper().encode() + b"\r\n",
        b"\xef\xbb\xbf" + SHA.hex().encode() + b" *film.mp4\r\n",
        (SHA.hex() + "\r\n").encode("utf-16"),  # PowerShell's Out-File
        SHA.hex().encode() + b"  C:\\Exports\\Room 1\\film.mp4",
        SHA.hex().encode() + b"  film-as-the-recorder-called-it.mp4",
        b"# made by the exporter\n\n" + SHA.hex().encode() + b"  ./film.mp4\n",
    ],
)
@pytest.mark.parametrize("sidecar", ["film.mp4.sha256", "film.sha256"])
def test_forms_of_a_digest_file(content: bytes, sidecar: str) -> None:
    assert told(sidecar, content, "film.mp4") == {"film.mp4": [("sha256", SHA)]}


@pytest.mark.parametrize(
    "xml",
    [
        f"<Asset><FileName>film.mp4</FileName><Sha256>{SHA.hex()}</Sha256></Asset>",
        f"<Asset><SHA-256>{SHA.hex().upper()}</SHA-256></Asset>",
        f'<a:clip xmlns:a="urn:x"><a:media file="film.mp4" hash="{SHA.hex()}"/></a:clip>',
        f"<l><f><name>o.mp4</name><hash>{'0' * 64}</hash></f><f><name>film.mp4</name><hash>{SHA.hex()}</hash></f></l>",
    ],
)
def test_forms_of_xml(xml: str) -> None:
    assert told("film.xml", xml.encode(), "film.mp4") == {"film.mp4": [("sha256", SHA)]}


def test_a_name_never_leads_out_of_the_folder() -> None:
    content = f"{SHA.hex()}  ../secret.mp4\n{SHA.hex()}  /etc/passwd\n{SHA.hex()}  film.mp4\n".encode()
    found = told("room/SHA256SUMS", content, "secret.mp4", "etc/passwd", "room/film.mp4")
    assert found == {"room/film.mp4": [("sha256", SHA)]}


def test_a_base_that_two_films_share_is_nobodys() -> None:
    assert told("film.sha256", SHA.hex().encode(), "film.mp4", "film.wav") == {}


NO_DIGESTS = [b"", b"not yet", b"\n\n", b"abc  film.mp4", b"<html>404</html>", SHA.hex()[:-1].encode()]


@pytest.mark.parametrize("content", NO_DIGESTS)
def test_what_is_no_digest_says_so(content: bytes) -> None:
    with pytest.raises(ValueError, match="digest"):
        digests_in("film.mp4.sha256", content)


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY c "&b;&b;">]><a>&c;</a>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'.encode("utf-16"),
        b"<a>" * 100_000,
        b"<a",
        b'<?xml version="1.0" encoding="utf-99"?><a/>',
        b"\x00" * 100,
    ],
)
def test_hostile_xml_is_no_xml(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"XML|entities"):
        digests_in("film.xml", content)


@given(st.sampled_from(["f.sha256", "f.md5", "SHA256SUMS", "f.xml"]), st.binary(max_size=300))
def test_any_bytes_give_digests_or_a_reason(key: str, content: bytes) -> None:
    with suppress(ValueError):
        assert all(isinstance(one, Named) for one in digests_in(key, content))


@given(st.integers(0, 200), st.integers(0, 255))
def test_an_xml_that_is_cut_or_changed_anywhere(at: int, byte: int) -> None:
    whole = f'<?xml version="1.0"?><A><FileName>film.mp4</FileName><Sha256>{SHA.hex()}</Sha256></A>'.encode()
    for content in (whole[:at], whole[:at] + bytes([byte]) + whole[at + 1 :]):
        try:
            found = digests_in("film.xml", content)
        except ValueError:
            continue
        assert all(len(one.digest) == 32 for one in found)


@given(st.lists(st.text(alphabet="ab.xmlsh25644/", min_size=1, max_size=12), max_size=20))
def test_who_stands_beside_whom_is_never_himself(names: list[str]) -> None:
    beside = Beside(names)
    for name in names:
        assert beside.of(name) != name or is_digest_file(name) is None


# -- with a station ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sha256", "md5", "xml"])
async def test_a_proven_recording_is_held_with_what_proved_it(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path, kind: str
) -> None:
    recorder.export("one/film.mp4", FILM)
    recorder.prove("one/film.mp4", FILM, kind)
    seen: dict[str, Offer] = {}

    async def look(offer: Offer) -> None:
        seen[offer.capture.key] = offer

    async with running(made(complete="side-car"), Probe(look)):
        await until(lambda: len(seen) == 2)
    film = seen.pop("one/film.mp4").capture
    (sidecar,) = seen.values()
    algorithm = "md5" if kind == "md5" else "sha256"
    digest = (MD5 if kind == "md5" else SHA).hex()
    assert film.claims["side_cars"] == [{"algorithm": algorithm, "by": sidecar.capture.key, "digest": digest}]
    assert film.claims["complete_by"] == "side-car"
    assert sidecar.capture.claims["side_car_of"] == "one/film.mp4"
    assert film.group == sidecar.capture.group == "one"
    async with Station(tmp_path / "station") as station, running(made(complete="side-car"), station):
        await held(station, 2)
        await station.verify()


async def test_a_side_car_is_of_the_recording_that_the_name_of_its_film_says(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    """What never becomes complete beside it keeps neither from being counted."""
    recorder.export("INT0042_CAM1_0001.mp4", FILM)
    recorder.prove("INT0042_CAM1_0001.mp4", FILM)
    (recorder.folder / "INT0042_CAM1_0002.mp4.part").write_bytes(FILM)
    probe = Counting()
    async with running(made(names="{recording}_{camera}_{clip}.mp4"), probe):
        await until(lambda: any(sums["listed"] == 2 for sums in probe.sums))
    captures = {offer.capture.key: offer.capture for offer in probe.offered}
    film, side_car = (captures[key] for key in sorted(captures))
    assert (film.group, film.clip) == ("INT0042", 1)
    assert (side_car.group, side_car.clip) == ("INT0042", None)
    assert not any(sums["complete"] for sums in probe.sums)


@pytest.mark.parametrize("kind", ["sha256", "md5", "xml"])
async def test_a_contradiction_is_not_held_and_is_told(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path, kind: str
) -> None:
    recorder.export("film.mp4", FILM)
    recorder.prove("film.mp4", FILM + b"!", kind)
    recorder.export("other.mp4", FILM)
    driver = made()
    async with Station(tmp_path / "station") as station, running(driver, station):
        await until(lambda: bool(driver.notices()))
        await held(station, 2)
        assert {one.origin.key for one in await station.holdings() if one.standing is Standing.HELD} == {
            "other.mp4",
            "film.xml" if kind == "xml" else f"film.mp4.{kind}",
        }
    (notice,) = driver.notices()
    assert notice.id == "room.contradicts"
    assert "film.mp4 has the " in notice.detail
    assert (recorder.folder / "film.mp4").read_bytes() == FILM


async def test_a_corrected_side_car_ends_it(recorder: RecorderEmulator, made: Callable[..., DropFolder]) -> None:
    recorder.export("film.mp4", FILM)
    recorder.prove("film.mp4", b"another film")
    driver, read = made(), list[bytes]()

    async def look(offer: Offer) -> None:
        if offer.capture.key == "film.mp4":
            read.append(await read_all(offer, 0))

    probe = Probe(look)
    async with running(driver, probe):
        await until(lambda: [one.id for one in driver.notices()] == ["room.contradicts"])
        assert all(isinstance(error, BadCapture) for error in probe.failures)
        recorder.prove("film.mp4", FILM)
        await until(lambda: bool(read) and not driver.notices())
    assert read[-1] == FILM


async def test_a_continued_reading_is_compared_as_a_whole(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    """From a later byte on, what was read before counts for the digest as well."""
    recorder.export("film.mp4", FILM)
    recorder.prove("film.mp4", FILM)
    parts: list[bytes] = []

    async def look(offer: Offer) -> None:
        if offer.capture.key == "film.mp4":
            parts.append(await read_all(offer, len(FILM) - 10))

    probe = Probe(look)
    async with running(made(), probe):
        await until(lambda: bool(parts))
    assert (parts[0], probe.failures) == (FILM[-10:], [])


async def test_side_cars_are_offered_after_their_films(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    for name in ("a.mp4", "z.mp4"):
        recorder.export(name, FILM)
        recorder.prove(name, FILM)
    probe = Probe()
    async with running(made(complete="side-car"), probe):
        await until(lambda: len(probe.offered) >= 4)
    assert [offer.capture.key.count(".") for offer in probe.offered[:4]] == [1, 1, 2, 2]
