"""The format against what others wrote: canonical JSON, signatures, a whole notebook, and what must not pass."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from drivers.enotes.judging import Judged, judge
from drivers.enotes.register import Key
from drivers.enotes.signatures import PublicKey, StationKey, thumbprint
from firmware_specs import SpecError
from firmware_specs.formats.enote import (
    Envelope,
    Status,
    b64url,
    canonical,
    envelope,
    lines,
    payload_of,
    strict_json,
    unb64url,
)
from firmware_specs.formats.enote_notebook import Notebook

pytestmark = pytest.mark.proves(
    "enotes.tablets",
    vectors="cyberphone/json-canonicalization, C2SP/wycheproof, ietf-jose/cookbook; a notebook signed by npm jose",
)

VECTORS = Path(__file__).parent / "vectors"
GOLDEN: dict[str, Any] = json.loads((VECTORS / "notebook.json").read_text())
ENTRIES: list[dict[str, Any]] = GOLDEN["entries"]
NOW = datetime(2026, 11, 22, 13, tzinfo=UTC)


def key(who: str, badge: str) -> Key:
    public = PublicKey.of({name: value for name, value in GOLDEN["public_keys"][who].items() if name != "kid"})
    return Key(public, badge, None, "TAB-0117", NOW - timedelta(days=1), None, "enrolled", NOW, None)


def supervisor() -> str:
    badge: str = json.loads(ENTRIES[5]["payload_jcs"])["author"]["badge"]
    return badge


KEYS = {one.public.kid: one for one in (key("officer", "4471"), key("supervisor", supervisor()))}


def line(member: dict[str, Any]) -> bytes:
    return json.dumps(member["envelope"]).encode()


@cache
def judged_once(data: bytes) -> Judged:
    return judge(data, KEYS, tablet=None, received_at=NOW)


def statuses(*members: dict[str, Any]) -> list[str]:
    """What each is when the last of them has come."""
    chain, found = Notebook(late_after=timedelta(hours=12)), []
    for number, member in enumerate(members):
        judged = judged_once(line(member))
        item = None if judged.base else judged.item(number)
        if item is not None:
            chain.add(item)
        found.append(item or judged)
    return [str(one.status if hasattr(one, "status") else one.base) for one in found]


# -- canonical JSON ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["arrays", "structures", "unicode", "values"])
def test_canonical_json_is_that_of_its_author(name: str) -> None:
    value = strict_json((VECTORS / "jcs" / f"{name}.input.json").read_bytes())
    assert canonical(value) == (VECTORS / "jcs" / f"{name}.output.json").read_bytes()


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":2}', b"[NaN]", b"[Infinity]", b"\xef\xbb\xbf{}", b"\xff", b"[" * 100_000, b"", b"[1" + b"0" * 9999],
)
def test_what_is_no_strict_json(data: bytes) -> None:
    with pytest.raises(SpecError):
        strict_json(data) if data[:2] != b"[1" else canonical(strict_json(data + b"]"))


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "Q Q", "Q\n", "+/8", "é"])
def test_base64url_is_written_in_one_way(text: str) -> None:
    with pytest.raises(SpecError):
        unb64url(text)


# -- signatures --------------------------------------------------------------------------------------------------------


def test_wycheproof() -> None:
    (group,) = json.loads((VECTORS / "jws" / "es256_wycheproof.json").read_text())["testGroups"]
    public = PublicKey.of({name: group["public"][name] for name in ("kty", "crv", "x", "y")})
    for test in group["tests"]:
        parts = test["jws"].split(".")
        good = False
        if len(parts) == 3:
            try:
                header = strict_json(unb64url(parts[0]))
                good = public.signed(header.get("alg"), f"{parts[0]}.{parts[1]}".encode(), unb64url(parts[2]))
            except SpecError:
                pass
        assert good == (test["result"] == "valid"), test["comment"]


def test_ed25519_of_the_cookbook() -> None:
    told = json.loads((VECTORS / "jws" / "ed25519_cookbook.json").read_text())
    public = PublicKey.of({name: told["input"]["key"][name] for name in ("kty", "crv", "x")})
    assert public.signed("EdDSA", told["signing"]["sig-input"].encode(), unb64url(told["signing"]["sig"]))
    assert public.signed("Ed25519", told["signing"]["sig-input"].encode(), unb64url(told["signing"]["sig"]))
    assert not public.signed("ES256", told["signing"]["sig-input"].encode(), unb64url(told["signing"]["sig"]))


def test_thumbprints() -> None:
    for one in GOLDEN["public_keys"].values():
        assert thumbprint(one) == one["kid"]
    # RFC 8037 A.3
    rfc = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(rfc) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": b64url(b"\1" * 32), "y": b64url(b"\2" * 32)},
        {"kty": "EC", "crv": "P-256", "x": b64url(b"\1" * 31), "y": b64url(b"\2" * 32)},
        {"kty": "OKP", "crv": "X25519", "x": b64url(b"\1" * 32)},
        {"kty": "OKP", "crv": "Ed25519", "x": b64url(b"\1" * 32), "d": b64url(b"\1" * 32)},
        None,
    ],
)
def test_keys_that_are_not_taken(jwk: object) -> None:
    with pytest.raises(SpecError):
        PublicKey.of(jwk)


# -- the notebook ------------------------------------------------------------------------------------------------------


def test_payloads_digests_and_chain() -> None:
    before = None
    for member in ENTRIES:
        found = envelope(line(member))
        assert (found.wrong, found.canonical) == ((), True)
        entry, wrong, is_canonical = payload_of(found)
        assert (wrong, is_canonical) == ((), True)
        payload = unb64url(found.payload)
        assert payload.decode() == member["payload_jcs"]
        assert sha256(payload).hexdigest() == member["payload_sha256"]
        assert unb64url(found.protected).decode() == member["protected_jcs"]
        assert f"sha-256:{found.digest.hex()}" == member["envelope_jcs_sha256"]
        assert entry is not None
        assert entry["prev"] == before
        before = member["envelope_jcs_sha256"]


def test_the_batch_is_the_same_six() -> None:
    found = [envelope(one).digest.hex() for one in lines((VECTORS / "batch.ndjson").read_bytes())]
    assert [f"sha-256:{one}" for one in found] == [member["envelope_jcs_sha256"] for member in ENTRIES]


def test_in_any_order_doubled_and_with_any_one_late_the_end_is_the_same() -> None:
    for order in itertools.permutations(range(len(ENTRIES))):
        found = statuses(*(ENTRIES[at] for at in order), ENTRIES[order[0]])
        assert found == ["ok"] * len(ENTRIES) + ["duplicate"], order


@pytest.mark.parametrize("name", GOLDEN["negatives"])
def test_negatives(name: str) -> None:
    told = GOLDEN["negatives"][name]
    before = ENTRIES[:2] if name in ("fork", "twin_signature") else ENTRIES[:1]
    rest = ENTRIES[len(before) :]
    found = statuses(*before, told, *rest)
    assert found[len(before)] == told["status"]
    assert [*found[: len(before)], *found[len(before) + 1 :]] == ["ok"] * 6, "the chain's head was moved"


def test_the_receipt_is_of_the_stations_key_and_says_what_ours_say(tmp_path: Path) -> None:
    told = GOLDEN["receipt"]["envelope"]
    station = PublicKey.of({name: value for name, value in GOLDEN["public_keys"]["station"].items() if name != "kid"})
    assert station.signed("ES256", f"{told['protected']}.{told['payload']}".encode(), unb64url(told["signature"]))
    made_by = _station_key(tmp_path)
    ours = made_by.sign(strict_json(unb64url(told["payload"])), typ="enote-receipt")
    assert ours["payload"] == told["payload"]
    theirs, header = (strict_json(unb64url(one["protected"])) for one in (told, ours))
    assert {**theirs, "kid": None} == {**header, "kid": None}
    assert made_by.public.signed(
        "ES256", f"{ours['protected']}.{ours['payload']}".encode(), unb64url(ours["signature"])
    )


def _station_key(folder: Path) -> StationKey:
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    (folder / "receipt.key").write_bytes(pem)
    return StationKey(folder / "receipt.key")


def test_every_status_has_its_place_in_the_order() -> None:
    from firmware_specs.formats.enote import STRENGTH  # noqa: PLC0415

    assert set(STRENGTH) == set(Status)


def test_an_envelope_is_known_by_its_bytes() -> None:
    found: Envelope = envelope(line(ENTRIES[0]))
    assert found.received_sha256 == sha256(line(ENTRIES[0])).digest()
    assert found.digest != found.received_sha256
