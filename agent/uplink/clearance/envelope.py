"""The envelope around one capture: Azure's client-side encryption, protocol 1.0, over the whole blob.

AES-256 in CBC with PKCS7, a key and IV for this one file, the key wrapped with RSA-OAEP (RFC 7518 section 4.3: SHA-1
and MGF1 with SHA-1) to the agency's public key. What opens it stands beside the blob, and in the entry of the log.

The content key is not kept. It is derived (HKDF, RFC 5869) from the integration's private key, a random salt and the
capture's id, so that a restart makes the same ciphertext again, and the state folder alone opens nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as wrapping
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    from agent.capture import Json

__all__ = ["Envelope", "Sealing", "cipher_length", "pin_of", "salt"]

BLOCK: Final = 16
"""Bytes of one block of AES."""
_KEY: Final = 32
_SALT: Final = 32
_PURPOSE: Final = b"evidock clearance content key v1\x00"


def salt() -> bytes:
    """A new one: for each upload that is begun."""
    return os.urandom(_SALT)


def cipher_length(length: int) -> int:
    """Bytes of the encrypted file: PKCS7 always adds 1 to 16."""
    return (length // BLOCK + 1) * BLOCK


def pin_of(key: RSAPublicKey) -> str:
    """SHA-256 of its SubjectPublicKeyInfo, in base64."""
    raw = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(raw).digest()).decode()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What of an upload's encryption is kept: with the integration's private key it gives the content key again."""

    salt: bytes
    key_id: str
    """Name of the agency's key, as the Key Store Service gave it."""
    pin: str
    wrapped: bytes
    """The content key, for the holder of that key alone."""
    iv: bytes

    @classmethod
    def new(cls, secret: RSAPrivateKey, capture: str, key: RSAPublicKey, key_id: str) -> Envelope:
        """For an upload that begins."""
        fresh = salt()
        content, iv = _derived(secret, fresh, capture)
        oaep = wrapping.OAEP(wrapping.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - as RSA-OAEP is defined
        return cls(fresh, key_id, pin_of(key), key.encrypt(content, oaep), iv)

    def data(self) -> str:
        """What stands beside the blob as `x-ms-meta-encryptiondata`, in the order of the maker's example."""
        return json.dumps(
            {
                "ContentEncryptionIV": _b64(self.iv),
                "EncryptionAgent": {"EncryptionAlgorithm": "AES_CBC_256", "Protocol": "1.0"},
                "EncryptionMode": "FullBlob",
                "WrappedContentKey": {
                    "Algorithm": "RSA-OAEP",
                    "EncryptedKey": _b64(self.wrapped),
                    "KeyId": self.key_id,
                },
            },
            separators=(",", ":"),
        )

    def told(self) -> dict[str, Json]:
        """The same for the entry of the log: enough for the holder of the agency's key to repeat the encryption."""
        return {
            "algorithm": "AES_CBC_256",
            "iv": _b64(self.iv),
            "key_id": self.key_id,
            "key_spki_sha256": self.pin,
            "protocol": "Azure client-side encryption 1.0",
            "wrapped_key": _b64(self.wrapped),
            "wrapping": "RSA-OAEP",
        }

    def sealing(self, secret: RSAPrivateKey, capture: str, checksum: str) -> Sealing | None:
        """Begin to encrypt; None where the integration has another key by now, so that nothing can be continued."""
        content, iv = _derived(secret, self.salt, capture)
        return Sealing(content, iv, checksum) if iv == self.iv else None


class Sealing:
    """One pass over a capture, from its first byte: ciphertext, and the digest of all of it."""

    def __init__(self, key: bytes, iv: bytes, checksum: str) -> None:
        """`checksum`: Sha512, Sha384 or Sha256."""
        self._cipher = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
        self._padder = padding.PKCS7(BLOCK * 8).padder()
        self._total = hashlib.new(checksum.lower())
        self.length = 0
        """Bytes of ciphertext so far."""

    def sealed(self, content: bytes, *, last: bool) -> bytes:
        """The next stretch; all but the last must be multiples of 16 bytes."""
        if last:
            out = self._cipher.update(self._padder.update(content) + self._padder.finalize()) + self._cipher.finalize()
        else:
            out = self._cipher.update(content)
        self._total.update(out)
        self.length += len(out)
        return out

    @property
    def digest(self) -> str:
        """Of everything so far, in hexadecimal."""
        return self._total.hexdigest()


def _derived(secret: RSAPrivateKey, fresh: bytes, capture: str) -> tuple[bytes, bytes]:
    numbers = secret.private_numbers()
    raw = numbers.d.to_bytes((numbers.public_numbers.n.bit_length() + 7) // 8)
    made = HKDF(hashes.SHA256(), _KEY + BLOCK, fresh, _PURPOSE + capture.encode()).derive(raw)
    return made[:_KEY], made[_KEY:]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
