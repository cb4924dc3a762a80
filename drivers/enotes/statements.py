"""What a tablet says of keys, signed with them: its enrolment, and the rotation of its key. JWS (RFC 7515) over JSON.

enrolment   flattened, signed by the new key; a one-time code in it says that it may
rotation    general, two signatures over one payload: by the key that is registered, and by the new one
            (one signature where only the certificate is renewed)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from drivers.enotes.signatures import PublicKey
from firmware_specs import SpecError
from firmware_specs.formats.enote import moment, strict_json, unb64url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLOCK", "STATEMENT_MAX", "Statement", "read"]

STATEMENT_MAX: Final = 64 * 1024
"""Bytes of one statement."""
CLOCK: Final = timedelta(minutes=5)
"""How far a tablet's clock may be off when it is enrolled: a person stands beside it and can set it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with who signed it."""

    said: Mapping[str, Any]
    key: PublicKey
    """The key that it is about; the statement is signed by it, so whoever sends it has its private half."""
    recorded_at: datetime
    signatures: tuple[tuple[str | None, str, bytes, bytes], ...]
    """(algorithm, kid, what is signed, signature)."""

    def signed_by(self, key: PublicKey) -> bool:
        """Whether one of the signatures is of this key."""
        return any(kid == key.kid and key.signed(alg, message, raw) for alg, kid, message, raw in self.signatures)


def read(body: bytes, typ: str) -> Statement:
    """Read one. Raises `SpecError` with what is wrong with it; who may say it is for others to know."""
    told = strict_json(body)
    if not isinstance(told, dict) or not isinstance(payload := told.get("payload"), str):
        raise SpecError("a JSON Web Signature in its JSON form is asked for")
    parts = told["signatures"] if isinstance(told.get("signatures"), list) else [told]
    if not 0 < len(parts) <= 2:  # noqa: PLR2004 - the old key's and the new one's
        raise SpecError("one or two signatures are asked for")
    signatures = tuple(_signature(part, payload, typ) for part in parts)
    said = strict_json(unb64url(payload))
    if not isinstance(said, dict) or said.get("typ") != typ or said.get("v") != 1:
        raise SpecError(f"a statement of the type {typ}, v 1, is asked for")
    key = PublicKey.of(said.get("key"))
    recorded_at = moment(said.get("recorded_at"))
    if recorded_at is None or abs(recorded_at - datetime.now(UTC)) > CLOCK:
        raise SpecError("the tablet's clock and this station's do not agree to five minutes: set it, and try again")
    made = Statement(said, key, recorded_at, signatures)
    if not made.signed_by(key):
        raise SpecError("it is not signed by the key that it brings")
    return made


def _signature(part: object, payload: str, typ: str) -> tuple[str | None, str, bytes, bytes]:
    if not isinstance(part, dict):
        raise SpecError("a signature is an object")
    protected, signature = part.get("protected"), part.get("signature")
    if not isinstance(protected, str) or not isinstance(signature, str) or "header" in part:
        raise SpecError("a signature has `protected` and `signature`, and no other header")
    header = strict_json(unb64url(protected))
    if not isinstance(header, dict) or "crit" in header or "b64" in header or header.get("typ") != f"{typ}+jws":
        raise SpecError(f"its header must be that of {typ}")
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(kid, str):
        raise SpecError("its header names no key")
    return (
        alg if isinstance(alg, str) else None,
        kid,
        f"{protected}.{payload}".encode("ascii", "replace"),
        unb64url(signature),
    )
