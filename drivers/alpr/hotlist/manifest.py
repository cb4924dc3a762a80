"""What is said about a list by whom we know: a JSON Web Signature (RFC 7515, flattened) over its facts.

    {"payload": "...", "protected": "...", "signature": "..."}      all three base64url, no other member

Keys come from the options alone; one that travels in a header proves nothing and is not looked at. The algorithm is
that of the key, ES256 or Ed25519 (`EdDSA`, RFC 8037; `Ed25519`, RFC 9864): the header never chooses another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.errors import ConfigError, Problem, in_words
from drivers.alpr.hotlist.errors import BadList

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FORMAT", "MANIFEST_MAX", "Key", "Manifest", "opened", "read_keys", "thumbprint"]

FORMAT: Final = "hotlist-manifest/1"
MANIFEST_MAX: Final = 64 * 1024
"""Bytes of a manifest."""

Key: TypeAlias = "ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey"


class Manifest(BaseModel):
    """The facts of one list."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["hotlist-manifest/1"]
    list: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    layout: Annotated[str, Field(max_length=64)] | None = None
    """Of what kind the sender means it to be; the station's own table decides."""
    as_of: AwareDatetime
    expires_at: AwareDatetime | None = None
    entries: Annotated[int, Field(ge=0, le=1 << 30)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    source: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.expires_at is not None and self.expires_at <= self.as_of:
            raise ValueError("it expires before it was made")
        return self


def opened(envelope: bytes, keys: Sequence[Key]) -> tuple[Manifest, str]:
    """(facts, thumbprint of the key that signed). Raises `BadList` where it is not signed by one of `keys`."""
    if len(envelope) > MANIFEST_MAX:
        raise BadList("the manifest is larger than any manifest")
    try:
        told = json.loads(envelope)
    except (ValueError, RecursionError) as error:
        raise BadList("the manifest is not JSON") from error
    if not isinstance(told, dict) or told.keys() != {"payload", "protected", "signature"}:
        raise BadList("the manifest is not a flattened JWS of payload, protected and signature")
    if not all(isinstance(value, str) and value.isascii() for value in told.values()):
        raise BadList("the manifest is not a flattened JWS of payload, protected and signature")
    header = _json(_bytes(told["protected"]))
    signed, signature = f"{told['protected']}.{told['payload']}".encode(), _bytes(told["signature"])
    signer = next((key for key in keys if _fits(key, header) and _verifies(key, signed, signature)), None)
    if signer is None:
        raise BadList("the manifest is not signed by any key that agent.toml names")
    try:
        return Manifest.model_validate(_json(_bytes(told["payload"]))), thumbprint(signer)
    except ValidationError as error:
        names = ", ".join(sorted({str(found["loc"][0]) for found in error.errors() if found["loc"]}))
        why = f"look at {names}" if names else error.errors()[0]["msg"].removeprefix("Value error, ")
        raise BadList(f"the manifest is signed, and cannot be used: {why}") from error


def read_keys(paths: Sequence[Path]) -> tuple[Key, ...]:
    """Public keys in PEM. Raises `ConfigError`."""
    keys: list[Key] = []
    for path in paths:
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError([Problem("list.keys", f"{path}: {in_words(error)}")]) from error
        if isinstance(key, ed25519.Ed25519PublicKey) or (
            isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            keys.append(key)
        else:
            raise ConfigError([Problem("list.keys", f"{path}: neither an Ed25519 key nor one of P-256")])
    return tuple(keys)


def thumbprint(key: Key) -> str:
    """The key's name: RFC 7638, SHA-256."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        jwk = {"crv": "Ed25519", "kty": "OKP", "x": _text(key.public_bytes_raw())}
    else:
        point = key.public_numbers()
        jwk = {
            "crv": "P-256",
            "kty": "EC",
            "x": _text(point.x.to_bytes(32, "big")),
            "y": _text(point.y.to_bytes(32, "big")),
        }
    return _text(hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest())


def _fits(key: Key, header: dict[str, Any]) -> bool:
    if "crit" in header or "b64" in header:
        return False  # what we do not understand may change what was signed (RFC 7515 section 4.1.11)
    named = header.get("kid")
    algorithms = ("EdDSA", "Ed25519") if isinstance(key, ed25519.Ed25519PublicKey) else ("ES256",)
    return header.get("alg") in algorithms and (named is None or named == thumbprint(key))


def _verifies(key: Key, signed: bytes, signature: bytes) -> bool:
    if len(signature) != 64:  # noqa: PLR2004 - r and s (RFC 7518 section 3.4), or Ed25519
        return False
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _bytes(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise BadList("the manifest has members that are not base64url")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise BadList("the manifest has members that are not base64url") from error


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadList("what the manifest has signed is not JSON") from error
    if not isinstance(found, dict):
        raise BadList("what the manifest has signed is not a JSON object")
    return found


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def seconds(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return int(moment.astimezone(UTC).timestamp())
