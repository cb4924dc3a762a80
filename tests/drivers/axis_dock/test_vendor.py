"""Our answers beside those that the vendor's own example server gave to the same requests."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from drivers.body_worn.axis_dock.emulator import Recording
from firmware_specs import SpecError
from firmware_specs.formats import axis_body_worn as spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.drivers.axis_dock.conftest import Desk

pytestmark = pytest.mark.proves("body_worn.axis_dock", vectors="transcript of the vendor's example server 1.6.10")

PLACE = Recording().container
VECTORS = Path(__file__).parent / "vectors"

OTHERWISE = {
    # the vendor's server stores a body that its own Etag contradicts
    ("PUT", "{recording}/20261122_101112_0A1B.mkv", "00000000000000000000000000000000"): 422,
    # a name with a slash can be kept, and 400 would be for ever
    ("PUT", "{recording}/a/b", None): 201,
    # the account is there; the vendor's answer is one of a folder
    ("HEAD", "", None): 204,
}


def exchanges() -> list[tuple[str, str, dict[str, str], int, int, dict[str, str]]]:
    """(method, path below the store, headers, length of the body, status, answer's headers) of the transcript."""
    found = []
    transcript = (VECTORS / "server-transcript.txt").read_text()
    for request, answer in re.findall(r"^>> (.*)\n<< (.*)$", transcript, re.MULTILINE):
        method, path, rest = request.split(" ", 2)
        sent, _, body = rest.partition("} ")
        told = dict(one.split(": ", 1) for one in answer.split(" | ")[1:])
        length = int(re.sub(r"\D", "", body) or 0)
        found.append((method, path, ast.literal_eval(sent + "}"), length, int(answer.split(" ")[1]), told))
    return found


async def test_every_answer_of_the_transcript(desk: Desk) -> None:
    """In its order, with the same words; where ours is another status, there is a reason."""
    seen = []
    async with desk.open() as dock, aiohttp.ClientSession(auto_decompress=False) as session, desk.controller() as one:
        await one.authenticate()
        assert dock.bound is not None
        for method, path, sent, length, status, told in exchanges():
            below = path.removeprefix("/v1.0/abc").removeprefix("/").replace(PLACE, "{recording}")
            other = OTHERWISE.get((method, below, sent.get("Etag")))
            expected = other or OTHERWISE.get((method, below, None), status)
            headers = {**sent, "X-Auth-Token": one.token} if "X-Auth-Token" in sent else dict(sent)
            if "X-Auth-User" in sent:
                right = desk.connection["BlobAPIKey"] if sent["X-Auth-Key"] == "example-key-01" else "bad"
                headers = {"X-Auth-User": "evidock", "X-Auth-Key": right}
            url = dock.bound.url + path.replace("/v1.0/abc", "/v1/evidock")
            body = b"abcd"[:length] or None
            async with session.request(method, url, headers=headers, data=body, ssl=False) as answer:
                await answer.read()
                seen.append(answer.status)
                assert answer.status == expected, (method, path)
                if method == "HEAD" and status == 200:
                    assert meta(answer.headers) == meta(told), path
                if "Etag" in told and "Capabilities" in path:
                    assert answer.headers["Etag"] == told["Etag"]
    assert len(seen) == 37


def meta(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if "-Meta-" in name}


def test_the_two_documents_are_the_vendor_s() -> None:
    assert (VECTORS / "Capabilities.json").read_bytes() == spec.CAPABILITIES
    words = ["Testimony", "Disorderly Conduct", "Assault", "Homicide", "Traffic"]
    words += [f"Category {letter}" for letter in "ABCDE"]
    told = spec.categories({str(n): word for n, word in enumerate(words, start=1)})
    assert told == (VECTORS / "Categories.json").read_bytes()
    assert hashlib.md5(told, usedforsecurity=False).hexdigest() == "ca9cee69af2447e093eda606b84bc213"


def test_a_connection_file_reads_as_the_vendor_s() -> None:
    vendor = json.loads((VECTORS / "connection-https-encrypted.json").read_bytes())
    certificate, key = (base64.b64decode(one) for one in (vendor["HTTPSCertificate"][0], vendor["PublicKey"]))
    assert certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    ours = json.loads(
        spec.connection_file(
            site=vendor["SiteName"], version=vendor["ApplicationVersion"], urls=vendor["AuthenticationTokenURI"],
            user=vendor["BlobAPIUserName"], password=vendor["BlobAPIKey"], certificate=certificate,
            container_type=vendor["ContainerType"], public_key=(vendor["PublicKeyId"], key), time_server=False,
        )
    )  # fmt: skip
    same = {"ApplicationName": "Axis body worn Swift service example", "FullStoreAndReadSupport": True}
    assert {**ours, **same} == {**vendor, "ContentDestinationAsNTPServer": False}


def test_a_trail() -> None:
    points = spec.trail((VECTORS / "gpstrail-example.json").read_bytes())
    assert len(points) == 5
    assert (points[0].longitude, points[0].latitude, points[0].after) == (13.221184, 55.718409, 64.0)
    assert spec.moment("2022-08-23T11:48:10Z") == points[0].at


@pytest.mark.parametrize("cut", range(0, 722, 3))
def test_a_trail_that_is_cut_is_no_trail(cut: int) -> None:
    with pytest.raises(SpecError):
        spec.trail((VECTORS / "gpstrail-example.json").read_bytes()[:cut])


@pytest.mark.parametrize(
    "wrong",
    [
        b"[]",
        b"{}",
        b'{"CoordinateEntries": 1}',
        b'{"CoordinateEntries": [1]}',
        b'{"CoordinateEntries": [{"LocationWKT": "POINT(55 181)"}]}',
        b'{"CoordinateEntries": [{"LocationWKT": "POINT(nan nan)"}]}',
        b'{"CoordinateEntries": [{"LocationWKT": "POINT(1 2)", "SecondsFromStart": Infinity}]}',
        b"[" * 100_000,
        b" " * (spec.TRAIL_MAX + 1),
    ],
)
def test_what_is_no_trail(wrong: bytes) -> None:
    with pytest.raises(SpecError):
        spec.trail(wrong)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1795342272", "2026-11-22T10:11:12+00:00"),
        ("1795342272000", "2026-11-22T10:11:12+00:00"),
        ("1795342272000000", "2026-11-22T10:11:12+00:00"),
        ("2026-11-22T05:11:12-05:00", "2026-11-22T10:11:12+00:00"),
        ("2026-11-22T10:11:12", None),
        ("yesterday", None),
        ("9" * 18, None),
        ("", None),
        (None, None),
    ],
)
def test_moments(text: str | None, told: str | None) -> None:
    found = spec.moment(text)
    assert (None if found is None else found.isoformat()) == told
