"""Manifests: signatures of the RFCs' own examples, and whatever is wrong with one."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError
from drivers.alpr.hotlist.emulator import signed
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.manifest import opened, read_keys, thumbprint

if TYPE_CHECKING:
    from pathlib import Path

FACTS: dict[str, Any] = {
    "format": "hotlist-manifest/1",
    "list": "region",
    "as_of": "2026-11-22T05:00:00Z",
    "expires_at": "2026-11-23T05:00:00Z",
    "entries": 4,
    "sha256": "ab" * 32,
}
OURS = ed25519.Ed25519PrivateKey.generate()


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# RFC 8037, appendix A.1 to A.4
ED_KEY = ed25519.Ed25519PublicKey.from_public_bytes(raw("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
ED_SIGNED = {
    "protected": "eyJhbGciOiJFZERTQSJ9",
    "payload": "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
    "signature": "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
}
# RFC 7515, appendix A.3
EC_KEY = ec.EllipticCurvePublicNumbers(
    int.from_bytes(raw("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"), "big"),
    int.from_bytes(raw("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"), "big"),
    ec.SECP256R1(),
).public_key()
EC_SIGNED = {
    "protected": "eyJhbGciOiJFUzI1NiJ9",
    "payload": "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "signature": "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
}


@pytest.mark.parametrize(
    ("key", "envelope", "why"),
    [(ED_KEY, ED_SIGNED, "has signed is not JSON"), (EC_KEY, EC_SIGNED, "cannot be used: look at")],
    ids=["RFC 8037 A.4", "RFC 7515 A.3"],
)
def test_signatures_of_the_standards(key: Any, envelope: dict[str, str], why: str) -> None:  # noqa: ANN401 - either kind
    with pytest.raises(BadList, match=why):
        opened(json.dumps(envelope).encode(), [key])
    with pytest.raises(BadList, match="not signed by any key"):
        opened(json.dumps({**envelope, "payload": envelope["payload"][:-4] + "AAAA"}).encode(), [key])
    with pytest.raises(BadList, match="not signed by any key"):
        opened(json.dumps(envelope).encode(), [OURS.public_key()])


def test_a_key_has_the_name_of_the_standard() -> None:
    assert thumbprint(ED_KEY) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # RFC 8037, appendix A.3


def test_a_manifest_is_read() -> None:
    manifest, signer = opened(signed(FACTS, OURS), [ED_KEY, OURS.public_key()])
    assert manifest.as_of == datetime(2026, 11, 22, 5, tzinfo=UTC)
    assert (manifest.entries, signer) == (4, thumbprint(OURS.public_key()))
    assert opened(signed({**FACTS, "more": "of theirs"}, OURS), [OURS.public_key()])[0] == manifest


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"as_of": "2026-11-22T05:00:00"}, "as_of"),
        ({"entries": -1}, "entries"),
        ({"sha256": "AB"}, "sha256"),
        ({"format": "hotlist-manifest/2"}, "format"),
        ({"expires_at": "2026-11-21T05:00:00Z"}, "it expires before it was made"),
        ({"list": "../x"}, "list"),
    ],
)
def test_what_cannot_be_used_is_named(changed: dict[str, Any], names: str) -> None:
    with pytest.raises(BadList, match=f"cannot be used: (look at )?{names}$"):
        opened(signed({**FACTS, **changed}, OURS), [OURS.public_key()])


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "ES256"},
        {"alg": "HS256"},
        {"alg": "EdDSA", "crit": ["exp"], "exp": 1},
        {"alg": "EdDSA", "b64": False},
        {"alg": "EdDSA", "kid": "another"},
        {"alg": "EdDSA", "kid": ["x"]},
    ],
)
def test_a_header_chooses_nothing(header: dict[str, Any]) -> None:
    told = json.loads(signed(FACTS, OURS))
    told["protected"] = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    signature = OURS.sign(f"{told['protected']}.{told['payload']}".encode())
    told["signature"] = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    with pytest.raises(BadList, match="not signed by any key"):
        opened(json.dumps(told).encode(), [OURS.public_key()])


WHOLE = signed(FACTS, OURS)


@pytest.mark.parametrize("at", range(0, len(WHOLE), 3))
def test_cut_anywhere_it_is_none(at: int) -> None:
    with pytest.raises(BadList):
        opened(WHOLE[:at], [OURS.public_key()])


@given(at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
@settings(max_examples=200)
def test_no_byte_of_it_can_be_another(at: int, byte: int) -> None:
    changed = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
    try:
        manifest, _ = opened(changed, [OURS.public_key()])
    except BadList:
        return
    assert manifest == opened(WHOLE, [OURS.public_key()])[0]


@pytest.mark.parametrize(
    "envelope", [b"[" * 100_000, b"{}", b"[]", b'{"payload":1,"protected":"","signature":""}', b"\xff"]
)
def test_anything_else_is_none(envelope: bytes) -> None:
    with pytest.raises(BadList):
        opened(envelope, [OURS.public_key()])


def test_keys_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for content in (
        b"",
        b"no key",
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ec.generate_private_key(ec.SECP384R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            read_keys([path])
    with pytest.raises(ConfigError):
        read_keys([tmp_path / "none.pem"])
    path.write_bytes(EC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert len(read_keys([path])) == 1
