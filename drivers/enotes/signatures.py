"""Keys and signatures of `enote/1`: ES256 (RFC 7518) and Ed25519 (RFC 8037, 9864), over keys that are registered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from agent.errors import ConfigError, Problem, in_words
from firmware_specs import SpecError
from firmware_specs.formats.enote import ALGORITHMS, b64url, canonical, compact, unb64url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["PublicKey", "StationKey", "thumbprint"]

_HALF: Final = 32
"""Bytes of one coordinate, and of r and s: P-256, and of an Ed25519 key."""
_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638: SHA-256 over the canonical JSON of the members that make the key. `SpecError` for a foreign kind."""
    members = _MEMBERS.get(str(jwk.get("kty")))
    if members is None:
        raise SpecError("only EC and OKP keys are taken")
    return b64url(sha256(canonical({name: jwk.get(name) for name in members})).digest())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key; what may be done with it is the register's business."""

    jwk: Mapping[str, str]
    """Its members that make it, and no others."""
    kid: str
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

    @classmethod
    def of(cls, jwk: object) -> PublicKey:
        """Read a JWK (RFC 7517). `SpecError` where it is none of ours, or is a private one."""
        if not isinstance(jwk, dict) or "d" in jwk:
            raise SpecError("a public key is asked for, as a JWK")
        kty = str(jwk.get("kty"))
        members = {name: jwk.get(name) for name in _MEMBERS.get(kty, ())}
        if (
            kty not in _CURVES
            or jwk.get("crv") != _CURVES[kty]
            or not all(isinstance(text, str) for text in members.values())
        ):
            raise SpecError("only P-256 and Ed25519 keys are taken")
        told = {name: str(text) for name, text in members.items()}
        raw = [unb64url(told[name]) for name in ("x", "y") if name in told]
        if any(len(part) != _HALF for part in raw):
            raise SpecError("its coordinates have not 32 bytes each")
        try:
            key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
            if kty == "EC":
                x, y = (int.from_bytes(part, "big") for part in raw)
                key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
            else:
                key = ed25519.Ed25519PublicKey.from_public_bytes(raw[0])
        except ValueError as error:
            raise SpecError("it is no point of its curve") from error
        return cls(told, thumbprint(told), key)

    def signed(self, alg: str | None, message: bytes, signature: bytes) -> bool:
        """Whether this key made this signature by this algorithm. The key's kind decides, never the header."""
        if ALGORITHMS.get(alg or "") != self.jwk["kty"] or len(signature) != 2 * _HALF:
            return False
        try:
            if isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, message)
            else:
                r, s = (int.from_bytes(part, "big") for part in (signature[:_HALF], signature[_HALF:]))
                self.key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


class StationKey:
    """The key by which this station signs receipts to tablets: for nothing else."""

    def __init__(self, path: Path) -> None:
        """`ConfigError` where it is not there or is none of ours."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except FileNotFoundError as error:
            told = f"{path} is not there yet; make it first: evidock device enrol enotes"
            raise ConfigError([Problem("state", told)]) from error
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError([Problem("state", f"{path} cannot be used: {in_words(error)}")]) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ConfigError([Problem("state", f"{path} holds no P-256 key")])
        self._key = key
        numbers = key.public_key().public_numbers()
        x, y = (b64url(part.to_bytes(_HALF, "big")) for part in (numbers.x, numbers.y))
        self.public = PublicKey.of({"kty": "EC", "crv": "P-256", "x": x, "y": y})

    def sign(self, value: Mapping[str, Any], *, typ: str) -> dict[str, str]:
        """A flattened JWS over canonical JSON; `typ` such as `enote-receipt`."""
        header = {"alg": "ES256", "cty": f"{typ}+json", "kid": self.public.kid, "typ": f"{typ}+jws"}
        protected, payload = b64url(canonical(header)), b64url(canonical(dict(value)))
        r, s = decode_dss_signature(self._key.sign(f"{protected}.{payload}".encode(), ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")
        told: dict[str, str] = json.loads(compact(payload, protected, b64url(raw)))
        return told
