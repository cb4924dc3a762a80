"""tus 1.0.0 as the emulated DEMS speaks it: every answer, asked for by a client that only does what it is told."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from agent.testing.dems import DemsProcess, EmulatedDems
from tests.dems.client import Client, b64, checksum_of, sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp

    from tests.dems.client import Answer, ClientOf


async def test_options_say_what_is_offered(tus: Client, dems: EmulatedDems) -> None:
    answer = await tus.ask("OPTIONS", dems.url, Tus_Resumable=None)
    assert answer.status == 204
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,checksum,expiration,termination"
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha256,sha256-through,blake3,sha1"
    assert answer.headers["Tus-Max-Size"] == str(1 << 40)
    assert answer.headers["Evidock-Receipt"] == "signed"


async def test_options_without_checksums_and_receipts_are_those_of_tusd(tmp_path: Path, client_of: ClientOf) -> None:
    async with EmulatedDems(tmp_path / "d", checksums=False, receipts=False) as dems:
        answer = await client_of(dems).ask("OPTIONS", dems.url)
        assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,expiration,termination"
        assert "Tus-Checksum-Algorithm" not in answer.headers
        assert "Evidock-Receipt" not in answer.headers


async def test_a_capture_in_parts(tus: Client, dems: EmulatedDems) -> None:
    one = sample(os.urandom(3_000_000))
    created = await tus.post(one)
    assert (created.status, created.offset) == (201, 0)
    assert created.headers["Location"].startswith("/evidence/")
    assert created.headers["Upload-Expires"].endswith("GMT")
    url = created.headers["Location"]
    for begin, end in ((0, 1_000_000), (1_000_000, 2_999_999), (2_999_999, 3_000_000)):
        part = one.data[begin:end]
        answer = await tus.patch(url, begin, part, **checksum_of(part))
        assert (answer.status, answer.offset) == (204, end)
        assert ("Evidock-Receipt" in answer.headers) == (end == 3_000_000)
    head = await tus.head(url)
    assert (head.status, head.offset, head.headers["Upload-Length"]) == (200, 3_000_000, "3000000")
    assert head.headers["Cache-Control"] == "no-store"
    assert head.headers["Upload-Metadata"] == one.metadata
    assert "Upload-Expires" not in head.headers
    [entry] = await dems.index()
    assert dems.stored(entry).read_bytes() == one.data
    assert (entry.state, entry.receipted, entry.received) == ("stored", True, 3_000_000)


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "blake3"])
async def test_a_wrong_checksum_moves_nothing(tus: Client, algorithm: str) -> None:
    one = sample(b"a" * 1000)
    url = await tus.create(one)
    digest = blake3 if algorithm == "blake3" else getattr(hashlib, algorithm)
    wrong = f"{algorithm} {b64(digest(b'b' * 400).digest())}"
    answer = await tus.patch(url, 0, b"a" * 400, Upload_Checksum=wrong)
    assert (answer.status, answer.offset) == (460, 0)
    assert (await tus.head(url)).offset == 0
    right = f"{algorithm} {b64(digest(b'a' * 400).digest())}"
    assert (await tus.patch(url, 0, b"a" * 400, Upload_Checksum=right)).offset == 400


async def test_a_part_is_proven_by_the_digest_of_everything_through_its_end(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with DemsProcess(tmp_path / "d") as dems:
        tus, one = Client(session, dems.url), sample(os.urandom(3_000_000))
        url = await tus.create(one)

        async def part(begin: int, end: int, body: bytes | None = None) -> Answer:
            stated = f"sha256-through {b64(hashlib.sha256(one.data[:end]).digest())}"
            return await tus.patch(url, begin, body or one.data[begin:end], Upload_Checksum=stated)

        assert (await part(0, 1_000_000)).offset == 1_000_000
        wrong = await part(1_000_000, 2_000_000, one.data[:1_000_000])
        assert (wrong.status, wrong.offset) == (460, 1_000_000)
        assert (await part(1_000_000, 2_000_000)).offset == 2_000_000
        one_more = one.data[2_000_000:2_500_000]
        assert (await tus.patch(url, 2_000_000, one_more, **checksum_of(one_more))).offset == 2_500_000
        dems.kill()
        await dems.restart()
        assert (await part(2_500_000, 2_900_000)).offset == 2_900_000  # what was before is read from the file again
        last = await part(2_900_000, 3_000_000)
        assert last.offset == 3_000_000
        assert "Evidock-Receipt" in last.headers
        assert await dems.violations() == []


@pytest.mark.parametrize(
    "said",
    [
        "md5 1B2M2Y8AsgTpgAmY7PhCfg==",
        "sha256-through AAAA",
        "sha256",
        "sha256 ",
        "sha256 !!!!",
        "sha256 AAAA",
        "SHA256 AAAA",
        "sha256  AAAA",
    ],
)
async def test_a_checksum_that_cannot_be_checked(tus: Client, said: str) -> None:
    url = await tus.create(sample(b"abc"))
    assert (await tus.patch(url, 0, b"abc", Upload_Checksum=said)).status == 400
    assert (await tus.head(url)).offset == 0


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {"Tus_Resumable": None}, 412),
        ("HEAD", {"Tus_Resumable": "0.2.2"}, 412),
        ("PATCH", {"Tus_Resumable": "2.0.0", "Upload_Offset": "0"}, 412),
        ("PATCH", {"Upload_Offset": "1"}, 409),
        ("PATCH", {"Upload_Offset": None}, 400),
        ("PATCH", {"Upload_Offset": "-1"}, 400),
        ("PATCH", {"Upload_Offset": "0x0"}, 400),
        ("PATCH", {"Upload_Offset": "00"}, 400),
        ("PATCH", {"Upload_Offset": "18446744073709551616"}, 400),
        ("PATCH", {"Upload_Offset": "0", "Content_Type": "application/octet-stream"}, 415),
        ("PATCH", {"Upload_Offset": "0", "Content_Type": None}, 415),
        ("PATCH", {"Upload_Offset": "0", "Content_Encoding": "gzip"}, 415),
        ("PUT", {}, 405),
        ("GET", {}, 403),  # evidence is not given back
        ("POST", {}, 405),
    ],
)
async def test_requests_that_are_refused(tus: Client, method: str, headers: dict[str, str | None], status: int) -> None:
    url = await tus.create(sample(b"abc"))
    answer = await tus.ask(method, url, data=b"abc" if method == "PATCH" else None, **headers)
    assert answer.status == status
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    if status == 412:
        assert answer.headers["Tus-Version"] == "1.0.0"
    if status == 409:
        assert answer.offset == 0
    assert (await tus.head(url)).offset == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload_Length": None}, 400),
        ({"Upload_Length": "-5"}, 400),
        ({"Upload_Length": "5.0"}, 400),
        ({"Upload_Length": str(1 << 63)}, 400),
        ({"Upload_Length": str((1 << 40) + 1)}, 413),
        ({"Upload_Length": None, "Upload_Defer_Length": "1"}, 400),
        ({"Upload_Concat": "partial"}, 400),
        ({"Upload_Metadata": None}, 400),
        ({"Upload_Metadata": ""}, 400),
        ({"Upload_Metadata": "capture !!!"}, 400),
        ({"Upload_Metadata": "capture QQ==,capture QQ=="}, 400),
        ({"Upload_Metadata": "capture /////w=="}, 400),
        ({"Upload_Metadata": "k" * 20_000}, 400),
        ({"Upload_Metadata": ",".join(f"k{n}" for n in range(40))}, 400),
    ],
)
async def test_creations_that_are_refused(
    tus: Client, dems: EmulatedDems, headers: dict[str, str | None], status: int
) -> None:
    answer = await tus.post(sample(b"abcde"), **headers)
    assert answer.status == status
    assert "Location" not in answer.headers
    assert await dems.index() == []


@pytest.mark.parametrize(
    "claims",
    [
        {"capture": ""},
        {"capture": "not-a-uuid"},
        {"capture": "../../../../etc/passwd"},
        {"capture": "0193F0C2-6A1E-7D43-9F0E-0A6C6F2F9B11"},
        {"log": ""},
        {"log": "edge.example.org/log1"},
        {"log": "edge.example.org/log1 -1"},
        {"log": "edge.example.org/log1 07"},
        {"log": "edge+example/log1 7"},
        {"log": f"edge.example.org/log1 {1 << 53}"},
        {"blake3": "00"},
        {"device": "bell\x07"},
        {"key": "line\nbreak"},
        {"key": "k" * 1025},
        {"media_type": "m" * 256},
        {"group_members": "many"},
        {"group_members": "0"},
        {"began_at": "yesterday"},
        {"began_at": "2026-02-31T00:00:00Z"},
        {"began_at": "2026-02-01T00:00:00+01:00"},
    ],
)
async def test_claims_that_are_refused(tus: Client, dems: EmulatedDems, claims: dict[str, str]) -> None:
    answer = await tus.post(sample(b"abc", **claims))
    assert answer.status == 400
    assert next(iter(claims)) in answer.text
    assert await dems.index() == []


async def test_long_names_in_other_scripts_are_welcome(tus: Client) -> None:
    one = sample(
        b"abc",
        device="é" * 1024,
        key="影像" * 512,
        began_at="2026-11-22T07:02:17.123Z",
        media_type="video/mp4",
        group="g",
        group_members="2",
    )
    url = await tus.create(one)
    assert (await tus.head(url)).headers["Upload-Metadata"] == one.metadata


async def test_a_body_beyond_the_length_is_refused_and_nothing_of_it_kept(tus: Client) -> None:
    url = await tus.create(sample(b"abcde"))
    assert (await tus.patch(url, 0, b"abcdef")).status == 413

    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    assert (await tus.patch(url, 0, chunked())).status == 413
    assert (await tus.head(url)).offset == 0
    assert (await tus.patch(url, 0, b"abcde")).status == 204


async def test_unknown_uploads(tus: Client) -> None:
    for token in ("0" * 32, "..%2f..%2fetc", "x" * 5000):
        answer = await tus.head(f"/evidence/{token}")
        assert answer.status == 404
        assert "Upload-Offset" not in answer.headers


async def test_an_empty_capture_is_complete_at_creation(tus: Client, dems: EmulatedDems) -> None:
    answer = await tus.post(sample(b""))
    assert (answer.status, answer.offset) == (201, 0)
    assert b"length 0\n" in answer.note
    [entry] = await dems.index()
    assert (entry.state, dems.stored(entry).read_bytes()) == ("stored", b"")


async def test_creation_with_the_whole_body(tus: Client, dems: EmulatedDems) -> None:
    one = sample(os.urandom(150_000))
    answer = await tus.post(one, data=one.data, **checksum_of(one.data))
    assert (answer.status, answer.offset) == (201, 150_000)
    assert one.sha256.hex().encode() in answer.note
    [entry] = await dems.index()
    assert dems.stored(entry).read_bytes() == one.data


async def test_creation_with_the_first_part(tus: Client) -> None:
    one = sample(os.urandom(2_000))
    answer = await tus.post(one, data=one.data[:500])
    assert (answer.status, answer.offset) == (201, 500)
    assert (await tus.patch(answer.headers["Location"], 500, one.data[500:])).status == 204


async def test_creation_with_a_body_that_is_refused_leaves_nothing(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    assert (await tus.post(one, data=b"abc", **checksum_of(b"abd"))).status == 460
    assert (await tus.post(one, data=b"abc", Upload_Checksum="crc32 AAAA")).status == 400
    assert (await tus.post(one, data=b"abcd")).status == 413
    assert (await tus.post(one, data=b"abc", Content_Type="text/plain")).status == 415
    assert await dems.index() == []
    assert list((dems.options.folder / "files").iterdir()) == []


async def test_method_override(tus: Client) -> None:
    url = await tus.create(sample(b"abc"))
    answer = await tus.ask("POST", url, data=b"abc", X_HTTP_Method_Override="PATCH", Upload_Offset="0")
    assert (answer.status, answer.offset) == (204, 3)
    assert (await tus.ask("POST", url, X_HTTP_Method_Override="HEAD")).offset == 3


async def test_termination(tus: Client, dems: EmulatedDems) -> None:
    url = await tus.create(sample(b"abc"))
    assert (await tus.ask("DELETE", url)).status == 204
    assert (await tus.head(url)).status == 410
    assert (await tus.patch(url, 0, b"abc")).status == 410
    assert list((dems.options.folder / "files").iterdir()) == []


async def test_finished_evidence_is_neither_deleted_nor_written(tus: Client, dems: EmulatedDems) -> None:
    one = sample(b"abc")
    url = (await tus.post(one, data=one.data)).headers["Location"]
    assert (await tus.ask("DELETE", url)).status == 403
    assert await dems.violations() == []
    assert (await tus.patch(url, 0, b"abc")).status == 409  # an overtaken request, byte for byte the same: no alarm
    assert await dems.violations() == []
    assert (await tus.patch(url, 0, b"abX")).status == 409
    assert (await tus.patch(url, 3, b"d")).status == 403
    assert [one.kind for one in await dems.violations()] == ["committed-bytes-changed", "finished-upload-written"]
    [entry] = await dems.index()
    assert dems.stored(entry).read_bytes() == b"abc"


async def test_other_bytes_for_a_committed_offset_are_an_alarm(tus: Client, dems: EmulatedDems) -> None:
    url = await tus.create(sample(b"abcdef"))
    await tus.patch(url, 0, b"abc")
    assert (await tus.patch(url, 0, b"abcd")).status == 409
    assert await dems.violations() == []
    answer = await tus.patch(url, 1, b"Xcd")
    assert (answer.status, answer.offset) == (409, 3)
    assert [one.kind for one in await dems.violations()] == ["committed-bytes-changed"]


async def test_the_prefix_can_be_proven(tus: Client, dems: EmulatedDems) -> None:
    one = sample(os.urandom(5_000))
    url = await tus.create(one)
    await tus.patch(url, 0, one.data[:3_000])
    digest = hashlib.sha256(one.data[:3_000]).digest()
    answer = await tus.head(url, Want_Repr_Digest="sha-512=3, sha-256=10")
    assert answer.headers["Repr-Digest"] == f"sha-256=:{b64(digest)}:"
    for unwanted in (None, "sha-512=10", "sha-256=0", "sha-256", "unixsum=1"):
        assert "Repr-Digest" not in (await tus.head(url, Want_Repr_Digest=unwanted)).headers
    # Read from the file each time: bytes that changed at rest are seen.
    [entry] = await dems.index()
    path = dems.stored(entry)
    kept = path.read_bytes()
    path.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
    other = await tus.head(url, Want_Repr_Digest="sha-256=10")
    assert other.headers["Repr-Digest"] != answer.headers["Repr-Digest"]


async def test_lengths_beyond_32_bits(tus: Client) -> None:
    huge = (1 << 32) + 5
    url = (await tus.post(sample(b""), Upload_Length=str(huge))).headers["Location"]
    assert (await tus.head(url)).headers["Upload-Length"] == str(huge)
    assert (await tus.patch(url, 0, b"abc", **checksum_of(b"abc"))).offset == 3


async def test_evidence_is_never_given_back_and_a_drill_is(tus: Client) -> None:
    for media_type, status in (("video/mp4", 403), ("application/vnd.evidock.drill", 200)):
        one = sample(b"some bytes", media_type=media_type)
        url = await tus.create(one)
        assert (await tus.ask("GET", url)).status == 403, "not complete yet"
        await tus.patch(url, 0, one.data)
        answer = await tus.ask("GET", url)
        assert (answer.status, answer.text == "some bytes") == (status, status == 200)
