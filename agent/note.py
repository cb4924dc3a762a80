"""Signed notes: short texts with signature lines that a stranger can check with openssl (c2sp.org/signed-note).

A checkpoint, a receipt and the policy are all such notes. A value is taken in one spelling only, also where others
let a second one pass: a byte that can be changed unnoticed has no place in evidence.

    0x01  Ed25519               over the text
    0x02  ECDSA P-256, SHA-256  over the text; for stations whose validated module has no Ed25519
    0x04  Ed25519               over a line, the time and the text: a witness's word (c2sp.org/tlog-cosignature)

Lines of other kinds, such as 0x06 (ML-DSA-44), are lines of unknown keys and ignored, so that a log may carry them.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "COSIGNATURE",
    "ECDSA_P256",
    "ED25519",
    "BadNote",
    "Note",
    "Signature",
    "Signer",
    "Verifier",
    "check_name",
    "decode64",
    "encode64",
    "parse_number",
    "sign",
]

ED25519: Final = 0x01
ECDSA_P256: Final = 0x02
COSIGNATURE: Final = 0x04

LENGTH_MAX: Final = 1 << 18  # bytes of a note: 16 signatures, of up to 5 kB in times to come, must fit beside the text
NUMBER_MAX: Final = 2**63 - 1  # the greatest size, index or time: more does not fit most verifiers' integers

_DASH: Final = "\N{EM DASH}"
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,18}")
# Searched by re, and not character by character: a note is checked with each receipt.
_NO_NAME: Final = re.compile(r"[+\x00-\x1f\s]")
_NO_TEXT: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_ID_LENGTH: Final = 4
_TIME_LENGTH: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000: Final = 253_402_300_800
_SPKI: Final = serialization.PublicFormat.SubjectPublicKeyInfo


class BadNote(ValueError):
    """A note, a key or a line is not what the format demands, or not signed as it must be; `str()` says why."""


def encode64(raw: bytes) -> str:
    """Return the standard base64 of `raw` (RFC 4648 section 4)."""
    return base64.b64encode(raw).decode("ascii")


def decode64(text: str) -> bytes:
    """Return the bytes of a base64 text, and raise `BadNote` unless it is the one spelling of them."""
    with suppress(ValueError):
        # The last digit has bits that mean nothing: set, they would give the same bytes and another file.
        if encode64(raw := base64.b64decode(text, validate=True)) == text:
            return raw
    raise BadNote("a value is not base64 in its one spelling")


def parse_number(text: str) -> int:
    """Return the decimal number, without sign or leading zero and at most 2**63 - 1, or raise `BadNote`."""
    if not _NUMBER.fullmatch(text) or (number := int(text)) > NUMBER_MAX:
        raise BadNote("a number is not written as the format demands, or too large")
    return number


def check_name(name: str) -> None:
    """Raise `BadNote` unless `name` can name a key: not empty, without plus, control characters and any space."""
    if not name or _NO_NAME.search(name):
        raise BadNote(f"{name!r} cannot be a key's name")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise BadNote("the text of a note must end in a newline")
    if _NO_TEXT.search(text):
        raise BadNote("a note may hold no control character but the newline")


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified: whose, and for a cosignature when."""

    by: Verifier
    time: int | None = None
    """POSIX seconds that the cosigner states; None for the kinds that state no time."""

    @property
    def cosigned_at(self) -> datetime | None:
        """The cosigner's time, or None."""
        return None if self.time is None else datetime.fromtimestamp(self.time, UTC)


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with the name that its owner signs under."""

    name: str
    kind: int
    public: bytes
    """32 bytes for Ed25519; DER SubjectPublicKeyInfo for P-256."""

    def __post_init__(self) -> None:
        check_name(self.name)
        self._key()  # raises for what can verify nothing

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Return the key of a `name+hex(key id)+base64(kind || public key)`, or raise `BadNote`."""
        name, _, rest = vkey.partition("+")
        key_id, _, value = rest.partition("+")  # base64 may hold a plus, a name may not
        if not (material := decode64(value)):
            raise BadNote("a verifier key is a name, a key id and a key, joined by +")
        made = cls(name, material[0], material[1:])
        if made.key_id.hex() != key_id:
            raise BadNote(f"the key id of {name} is not that of its key")
        return made

    @property
    def key_id(self) -> bytes:
        """Four bytes that pick the signature line, not a fingerprint to trust."""
        return _key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        """The text that `parse` reads."""
        return f"{self.name}+{self.key_id.hex()}+{encode64(bytes([self.kind]) + self.public)}"

    def pem(self) -> bytes:
        """Return the key as PEM SubjectPublicKeyInfo, for openssl."""
        return self._key().public_bytes(serialization.Encoding.PEM, _SPKI)

    def verify(self, text: str, value: bytes) -> Signature:
        """Return the signature whose bytes after the key id are `value`, or raise `BadNote` when it is wrong."""
        message, signature, time = text.encode(), value, None
        if self.kind == COSIGNATURE:  # c2sp.org/tlog-cosignature, "Format": u64 big-endian, then the signature
            time, signature = int.from_bytes(value[:_TIME_LENGTH]), value[_TIME_LENGTH:]
            if time >= _YEAR_10000:  # a verifier may refuse times to come, and these no calendar can hold
                raise BadNote(f"the cosignature of {self.name} states an impossible time")
            message = _cosigned(text, time)
        key = self._key()
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, message)
            else:
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise BadNote(f"the signature of {self.name} does not fit the text") from None
        return Signature(self, time)

    def _key(self) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
        try:
            if (key := _public_key(self.kind, self.public)) is not None:
                return key
        except (ValueError, UnsupportedAlgorithm):
            raise BadNote(f"the public key of {self.name} cannot be read") from None
        raise BadNote(f"the key of {self.name} is of a kind that is not supported, 0x{self.kind:02x}")


@lru_cache(64)
def _public_key(kind: int, public: bytes) -> Ed25519PublicKey | ec.EllipticCurvePublicKey | None:
    """The key of a kind that is known. Every receipt is verified by one of a few."""
    if kind in {ED25519, COSIGNATURE}:
        return Ed25519PublicKey.from_public_bytes(public)
    key = serialization.load_der_public_key(public) if kind == ECDSA_P256 else None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None


@lru_cache(64)
def _key_id(name: str, kind: int, public: bytes) -> bytes:
    named = public if kind == ECDSA_P256 else b"%s\n%c%s" % (name.encode(), kind, public)
    return sha256(named).digest()[:_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with the name that it signs under. Its text form shows only the public half."""

    verifier: Verifier
    _key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)
    time: int | None = None

    @classmethod
    def ed25519(cls, name: str, seed: bytes) -> Self:
        """Return the signer of kind 0x01 for a 32-byte seed (the RFC 8032 private key)."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(Verifier(name, ED25519, key.public_key().public_bytes_raw()), key)

    @classmethod
    def cosigner(cls, name: str, seed: bytes) -> Self:
        """Return a witness's signer, kind 0x04; `at` must set the time before it signs.

        The signed message does not hold the name: a seed must never serve two witnesses, nor a log.
        """
        key = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(Verifier(name, COSIGNATURE, key.public_key().public_bytes_raw()), key)

    @classmethod
    def p256(cls, name: str, key: ec.EllipticCurvePrivateKey) -> Self:
        """Return the signer of kind 0x02."""
        public = key.public_key().public_bytes(serialization.Encoding.DER, _SPKI)
        return cls(Verifier(name, ECDSA_P256, public), key)

    @property
    def vkey(self) -> str:
        """The public half, as a verifier is configured with it."""
        return self.verifier.vkey

    def at(self, when: datetime) -> Self:
        """Return this cosigner with the time that its next cosignature states, in whole seconds."""
        return replace(self, time=(when - _EPOCH) // timedelta(seconds=1))  # a naive time is a TypeError

    def line(self, text: str) -> str:
        """Return the signature line for `text`, with its newline. Raises `ValueError` for a cosigner without a time."""
        _check_text(text)
        message, value = text.encode(), self.verifier.key_id
        if self.verifier.kind == COSIGNATURE:
            if self.time is None or not 0 < self.time < _YEAR_10000:  # tlog-witness: the time must not be zero
                raise ValueError("a cosignature needs its time")
            message, value = _cosigned(text, self.time), value + self.time.to_bytes(_TIME_LENGTH)
        if isinstance(self._key, Ed25519PrivateKey):
            value += self._key.sign(message)
        else:
            value += self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        return f"{_DASH} {self.verifier.name} {encode64(value)}\n"


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()  # c2sp.org/tlog-cosignature, "Ed25519 signed message"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read: nothing in it may be believed before `verified_by` returned."""

    text: str
    """What is signed: with its last newline, and without the empty line after it."""
    lines: tuple[tuple[str, bytes, bytes], ...]
    """For each signature line the key's name, the key id and the signature."""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Return the parts of a note, or raise `BadNote` with what the format forbids."""
        if len(raw) > LENGTH_MAX:
            raise BadNote(f"a note of {len(raw)} bytes is too long")
        try:
            whole = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise BadNote("a note must be UTF-8") from None
        _check_text(whole)
        text, parted, below = whole.rpartition("\n\n")  # the text may hold empty lines too
        rows = below.split("\n")[:-1]  # not splitlines, which knows newlines that the format does not
        if not parted or not rows:
            raise BadNote("a note needs a text, an empty line and at least one signature line")
        return cls(text + "\n", tuple(map(_signature_line, rows)))

    def verified_by(self, verifiers: Iterable[Verifier]) -> list[Signature]:
        """Return the signatures of known keys, in the order of their lines; there is at least one.

        Lines of other keys are ignored, as the standard demands. Raises `BadNote` when a line of a known key is wrong,
        which spoils the whole note, and when no known key signed.
        """
        known: dict[tuple[str, bytes], Verifier] = {}
        for one in verifiers:
            if known.setdefault((one.name, one.key_id), one) != one:
                raise BadNote(f"two keys of {one.name} share one key id")
        lines = [(known[name, key_id], value) for name, key_id, value in self.lines if (name, key_id) in known]
        if not lines:
            raise BadNote("no known key signed this")
        return [verifier.verify(self.text, value) for verifier, value in dict.fromkeys(lines)]  # each line counts once


def _signature_line(row: str) -> tuple[str, bytes, bytes]:
    if not row.startswith(_DASH + " "):
        raise BadNote("a signature line begins with an em dash and a space")
    name, _, value = row[2:].partition(" ")
    check_name(name)
    if len(raw := decode64(value)) <= _ID_LENGTH:
        raise BadNote(f"the signature line of {name} holds no signature")
    return name, raw[:_ID_LENGTH], raw[_ID_LENGTH:]


def sign(text: str, *signers: Signer) -> bytes:
    """Return the note of `text`, which must end in a newline, with one signature line for each signer, in order."""
    if not signers:
        raise ValueError("a note needs a signer")
    return f"{text}\n{''.join(signer.line(text) for signer in signers)}".encode()
