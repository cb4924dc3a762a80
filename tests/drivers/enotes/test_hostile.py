"""What a tablet, or whoever has its certificate, may send: kept and flagged, or refused with nothing promised."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwcrypto import jws

from drivers.enotes.emulator import Notebook
from drivers.enotes.emulator.notebook import Signer
from drivers.enotes.emulator.tablet import Refused
from drivers.enotes.judging import judge
from drivers.enotes.reading import from_index
from drivers.enotes.rendering import rendered
from firmware_specs.formats.enote import BATCH_LINES, BATCH_MAX, LINE_MAX, Unreadable, b64url
from tests.drivers.enotes.test_vectors import ENTRIES, KEYS, NOW, line

if TYPE_CHECKING:
    from drivers.enotes.emulator import Tablet
    from tests.drivers.enotes.conftest import Desk

NDJSON = {"Content-Type": "application/x-ndjson"}


def members(data: bytes) -> dict[str, str]:
    told: dict[str, str] = json.loads(data)
    return told


def again(data: bytes, header: dict[str, Any] | None = None, **more: Any) -> bytes:  # noqa: ANN401
    """The same envelope with another header or other members, the signature as it was."""
    told: dict[str, Any] = {**members(data), **more}
    if header is not None:
        told["protected"] = b64url(json.dumps(header, separators=(",", ":"), sort_keys=True).encode())
    return json.dumps(told).encode()


def written(tablet: Tablet) -> bytes:
    tablet.notebook.create("text")
    return tablet.notebook.outbox[-1]


async def sent(tablet: Tablet, data: bytes) -> str:
    return str((await tablet.send([data]))["results"][0]["status"])


async def test_confusion_of_algorithms(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        data = written(tablet)
        header = json.loads(base64.urlsafe_b64decode(members(data)["protected"] + "=="))
        assert await sent(tablet, again(data, {**header, "alg": "none"}, signature="")) == "bad_sig"
        assert await sent(tablet, again(data, {**header, "alg": "EdDSA"})) == "bad_sig"
        secret = tablet.signer.key.export_to_pem()
        hs256 = {**header, "alg": "HS256"}
        protected = b64url(json.dumps(hs256, separators=(",", ":"), sort_keys=True).encode())
        mac = hmac.digest(secret, f"{protected}.{members(data)['payload']}".encode(), "sha256")
        assert await sent(tablet, again(data, hs256, signature=b64url(mac))) == "bad_sig"
        assert await sent(tablet, data) == "ok"


async def test_a_key_that_travels_with_its_signature_proves_nothing(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        stranger = Signer("4471", "PC A. Sample")
        book = Notebook(stranger)
        entry = {"text": "forged", "kind": "occurrence"}
        book.write("create", "n-1", **entry)
        payload = json.loads(base64.urlsafe_b64decode(members(book.outbox[0])["payload"] + "=="))
        for header in (
            {"jwk": stranger.public},
            {"jku": "https://192.0.2.1/keys"},
            {"x5c": ["MIIB"]},
            {"x5u": "https://192.0.2.1/chain"},
        ):
            forged = stranger.sign(payload, "enote+jws", "enote-entry+json", **header)
            told = (await tablet.send([json.dumps(forged).encode()]))["results"][0]
            assert (told["status"], told["flags"]) == ("unknown_key", ["key_in_header"])
        named = Signer("4471", "PC A. Sample", stranger.key)
        header = {"alg": "ES256", "cty": "enote-entry+json", "kid": tablet.signer.kid, "typ": "enote+jws"}
        forged = named.sign(payload, "enote+jws", "enote-entry+json")
        bent = again(json.dumps(forged).encode(), {**header, "jwk": stranger.public})
        assert await sent(tablet, bent) == "bad_sig"
        assert len(await desk.lines()) == 5, "something was dropped"


async def test_members_that_are_not_as_they_must_be(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        data = written(tablet)
        for more in (
            {"header": {"kid": "x"}},
            {"signature": "AAAA"},
            {"payload": "AA=="},
            {"protected": "e30"},
            {"signature": "\ud800"},
            {"extra": 1},
        ):
            assert await sent(tablet, again(data, **more)) == "bad_sig", more
        doubled = data[:-1] + b',"payload":"' + members(data)["payload"].encode() + b'"}'
        assert await sent(tablet, doubled) == "bad_sig"
        assert await sent(tablet, data) == "ok"
        assert len(await desk.lines()) == 8


def payloads() -> dict[str, Any]:
    return {
        "deep": '{"a":' * 900 + "1" + "}" * 900,
        "deeper": "[" * 100_000,
        "twice": '{"seq":1,"seq":2}',
        "nan": '{"seq":NaN}',
        "large": '{"seq":1' + "0" * 5000 + "}",
        "text": '"text"',
        "latin": '{"a":"é"}'.encode("latin-1"),
        "bom": "\ufeff{}",
        "empty": "",
        "surrogate": '{"author":{"badge":"\\ud800"},"seq":1}',
        "float": '{"seq":1.0,"v":1}',
    }


async def test_payloads_that_are_no_entries_are_kept(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        signed = tablet.signer.sign({}, "enote+jws", "enote-entry+json")
        protected = base64.urlsafe_b64decode(signed["protected"] + "==").decode()
        for name, raw in payloads().items():
            token = jws.JWS(raw if isinstance(raw, bytes) else raw.encode())
            token.add_signature(tablet.signer.key, None, protected, None)
            told = json.loads(token.serialize())
            line_ = json.dumps({member: told.get(member, "") for member in signed}).encode()
            assert await sent(tablet, line_) in ("unknown_key", "bad_entry", "bad_sig"), name
        assert len(await desk.lines()) == len(payloads())
        # And a reader is shown them, also those that nest as deep as anything may.
        with from_index(desk.options.state, None, late_after=timedelta(hours=12)) as found:
            page = b"".join(rendered(found))
        assert page.count(b"<table>") == len(payloads()) + 1


async def test_an_upload_that_cannot_be_split_is_kept_as_it_came(desk: Desk) -> None:
    bodies = [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff\n",
        b'{"payload":1,"protected":"","signature":""}\n',
        b"{}\n" * (BATCH_LINES + 1),
        b"x" * (LINE_MAX + 1),
        b"[" * 100_000,
    ]
    async with desk.open(), desk.tablet() as tablet:
        for body in bodies:
            async with tablet.request("POST", "/enotes/v1/entries", body, NDJSON) as answer:
                told = json.loads(await answer.text())
                assert answer.status == 400, told
            assert told["received_sha256"] == sha256(body).hexdigest()
            only = (await desk.held())[f"unreadable/{sha256(body).hexdigest()}"]
            assert desk.bytes_of(only) == body
        assert len(await desk.station.holdings()) == len(bodies)


async def test_limits_of_an_upload(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        for headers, body, status in (
            ({"Content-Type": "application/json"}, b"{}", 415),
            ({**NDJSON, "Content-Encoding": "gzip"}, b"{}", 415),
            (NDJSON, b"x" * (BATCH_MAX + 1), 413),
        ):
            async with tablet.request("POST", "/enotes/v1/entries", body, headers) as answer:
                assert answer.status == status
        for path in ("/enotes/v1/receipts", "/enotes/v1/receipts?notebook=x&from=1", "/enotes/v1/receipts?from=-1"):
            with pytest.raises(Refused, match="400"):
                await tablet._ask("GET", path, None, {})
        assert await desk.station.holdings() == []


async def test_replayed_envelopes_are_the_same_envelopes(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        data = written(tablet)
        for _ in range(3):
            await tablet.send([data, data])
        spaced = json.dumps(members(data), indent=1).replace("\n", " ").encode()
        assert await sent(tablet, spaced) == "duplicate"
        assert [one["status"] for one in tablet.said] == ["ok", *["duplicate"] * 6]
        assert len(await desk.lines()) == 2, "other bytes are another capture, and the same are none"


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_a_bent_envelope_is_never_good(data: st.DataObject) -> None:
    whole = line(ENTRIES[0])
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = judge(bytes(raw), KEYS, tablet=None, received_at=NOW)
    except Unreadable:
        return
    same = all(json.loads(bytes(raw)).get(name) == value for name, value in json.loads(whole).items())
    assert found.base is not None or (same and len(json.loads(bytes(raw))) == 3)


def test_cut_after_every_byte_it_is_unreadable() -> None:
    whole = line(ENTRIES[0])
    for length in range(len(whole)):
        with pytest.raises(Unreadable):
            judge(whole[:length], KEYS, tablet=None, received_at=NOW)
