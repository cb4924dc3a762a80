"""The private key of a log or a witness, in a file as Go's note package writes it; made where it may be.

    PRIVATE+KEY+<name>+<key id>+<base64 of kind and seed>

The text carries the name, so that a key that was put in the place of another is noticed before it signs. Of a P-256 key
the seed is its number, 32 bytes; Go's package knows none, and leaves the form to us.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from agent import durable
from agent.errors import ConfigError, Problem
from agent.note import COSIGNATURE, ECDSA_P256, ED25519, BadNote, Signer, decode64, encode64

__all__ = ["CREDENTIAL", "credential", "load_key", "make_key", "new_key", "parse_key"]

CREDENTIAL: Final = "log.key"
"""Name of the systemd credential (`LoadCredentialEncrypted=log.key:...`)."""

_PREFIX: Final = "PRIVATE+KEY+"
_SEED_LENGTH: Final = 32


def credential() -> Path | None:
    """Where systemd put the key; None where it gave none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    return path if path is not None and path.exists() else None


def new_key(name: str, *, kind: int = ED25519) -> str:
    """A new key, as it stands in its file."""
    seed = _number() if kind == ECDSA_P256 else os.urandom(_SEED_LENGTH)
    key_id = _signer(name, kind, seed).verifier.key_id.hex()
    return f"{_PREFIX}{name}+{key_id}+{encode64(bytes([kind]) + seed)}\n"


def make_key(path: Path, name: str, *, kind: int = ED25519) -> None:
    """Write a new key, readable by its owner alone, whole or not at all.

    What `durable.unwritable` makes of it where the disk refuses it.
    """
    try:
        durable.make_folder(path.parent)
        durable.replace_file(path, new_key(name, kind=kind).encode())
    except OSError as error:
        raise durable.unwritable(str(path), "a new private key cannot be written", error) from error


def load_key(path: Path, name: str, *, kind: int | None = None, private: bool = True) -> Signer:
    """Return the signer of a key file. `ConfigError` where it cannot be used; nothing of the key is in its sentence.

    `kind`: None takes what may sign for a log. `private`: refuse a file that others than its owner may read.
    """
    try:
        if private and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError([Problem(str(path), "others may read this private key; make it mode 0600")])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(str(path), f"the private key cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), "this is no private key: it is no text")]) from None
    return parse_key(text, name, str(path), kind=kind)


def parse_key(text: str, name: str, where: str, *, kind: int | None = None) -> Signer:
    """Return the signer of a key file's text. `ConfigError`, which names `where` it lay and nothing of the key."""
    try:
        return _read(text.strip(), name, kind)
    except ValueError:  # a BadNote too; its sentence might quote what it read
        raise ConfigError([Problem(where, f"this is not the private key of {name}, or it is damaged")]) from None


def _number() -> bytes:
    """A new private key of P-256, as the number that it is."""
    made = ec.generate_private_key(ec.SECP256R1())
    return made.private_numbers().private_value.to_bytes(_SEED_LENGTH, "big")


def _read(text: str, name: str, kind: int | None) -> Signer:
    said, _, rest = text.removeprefix(_PREFIX).partition("+")
    key_id, _, value = rest.partition("+")
    material, kinds = decode64(value), (ED25519, ECDSA_P256) if kind is None else (kind,)
    if not text.startswith(_PREFIX) or said != name or len(material) != 1 + _SEED_LENGTH or material[0] not in kinds:
        raise BadNote("another key")
    signer = _signer(name, material[0], material[1:])
    if signer.verifier.key_id.hex() != key_id:
        raise BadNote("another key id")
    return signer


def _signer(name: str, kind: int, seed: bytes) -> Signer:
    if kind == ECDSA_P256:
        return Signer.p256(name, ec.derive_private_key(int.from_bytes(seed, "big"), ec.SECP256R1()))
    return Signer.cosigner(name, seed) if kind == COSIGNATURE else Signer.ed25519(name, seed)
