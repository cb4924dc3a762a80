"""The receipt key of an emulated DEMS: it signs what was read back from the store, and twists it for a test."""

from __future__ import annotations

import dataclasses
import os
import uuid
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.custody.receipt import ReceiptNote, open_receipt, write
from agent.note import ED25519, BadNote, Signer, decode64, encode64, sign

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TWISTS", "Signatory"]

_SEED_LENGTH: Final = 32
_PREFIX: Final = "PRIVATE+KEY"

TWISTS: Final = ("wrong-digest", "wrong-length", "wrong-signature", "other-capture", "other-log")
"""The ways in which a receipt can be made wrong on purpose."""


class Signatory:
    """A receipt key in a file, made when it is missing."""

    def __init__(self, name: str, key_file: Path) -> None:
        if not key_file.exists():
            durable.make_folder(key_file.parent)
            durable.replace_file(key_file, _key_text(name, os.urandom(_SEED_LENGTH)))
        self._signer = _read_key(key_file)

    @property
    def vkey(self) -> str:
        """The public half, as it stands under `receipt_keys` in agent.toml."""
        return self._signer.vkey

    def sign(self, receipt: ReceiptNote) -> bytes:
        """Return the signed receipt."""
        return sign(write(receipt), self._signer)

    def check(self, note: bytes) -> ReceiptNote:
        """Return what one of our own receipts says; `BadReceipt` for any other."""
        return open_receipt(note, [self._signer.verifier])

    def twisted(self, note: bytes, how: str) -> bytes:
        """Return the receipt made wrong in one of the `TWISTS`; all but one are signed rightly."""
        said = self.check(note)
        if how == "wrong-signature":
            head, _, last = note.decode().rstrip("\n").rpartition(" ")
            raw = bytearray(decode64(last))
            raw[-1] ^= 0x01
            return f"{head} {encode64(bytes(raw))}\n".encode()
        wrong = {
            "wrong-digest": lambda: dataclasses.replace(said, sha256=bytes(byte ^ 0xFF for byte in said.sha256)),
            "wrong-length": lambda: dataclasses.replace(said, length=said.length + 1),
            "other-capture": lambda: dataclasses.replace(said, capture=str(uuid.uuid4())),
            "other-log": lambda: dataclasses.replace(said, index=said.index + 1),
        }[how]()
        return self.sign(wrong)


def _key_text(name: str, seed: bytes) -> bytes:
    """Return a private key as Go's note package writes it: `PRIVATE+KEY+name+key id+base64(kind || seed)`."""
    key_id = Signer.ed25519(name, seed).verifier.key_id.hex()
    return f"{_PREFIX}+{name}+{key_id}+{encode64(bytes([ED25519]) + seed)}\n".encode()


def _read_key(path: Path) -> Signer:
    name, _, rest = path.read_text("ascii").strip().removeprefix(f"{_PREFIX}+").partition("+")
    key_id, _, value = rest.partition("+")
    material = decode64(value)
    if len(material) != 1 + _SEED_LENGTH or material[0] != ED25519:
        raise BadNote(f"{path} does not hold an Ed25519 receipt key")
    signer = Signer.ed25519(name, material[1:])
    if signer.verifier.key_id.hex() != key_id:
        raise BadNote(f"{path} is damaged: its key id is not that of its key")
    return signer
