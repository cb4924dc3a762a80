"""A DEMS known by its key, beside its authorities: who opens the encryption is found out before a byte is sent.

A pin is that of RFC 7469 section 2.4: SHA-256 of the certificate's SubjectPublicKeyInfo, in base64. It stays the same
when a certificate is renewed with the same key.
"""

from __future__ import annotations

import base64
import ssl
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableSequence

__all__ = ["NOT_PINNED", "pin_of", "pinned", "read_pin"]

NOT_PINNED: Final = -1
"""`verify_code` of a certificate whose key is none of those pinned; OpenSSL's own are not negative."""

_LENGTH: Final = 32


class _NotPinnedError(ssl.SSLCertVerificationError):
    verify_code = NOT_PINNED
    verify_message = "its key is none of those that are pinned"


def read_pin(text: str) -> str:
    """The pin as it was written; `ValueError` for what is none."""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != _LENGTH:
        raise ValueError("a pin is the SHA-256 of a public key in base64: 44 characters")
    return text


def pin_of(certificate: bytes) -> str:
    """The pin of a certificate (DER)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - for who pins keys
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    key = load_der_x509_certificate(certificate).public_key()
    return base64.b64encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()


def pinned(
    pins: Iterable[str], *, refused: MutableSequence[ssl.SSLCertVerificationError] | None = None
) -> tuple[type[ssl.SSLObject], type[ssl.SSLSocket]]:
    """TLS that ends its handshake only with a server that has one of these keys; without any, as ever. For any loop.

    The second one is that of a socket which a thread uses.

    `refused`: where it is written down what was wrong with a certificate, for who has to name it and is not told.
    """
    known = frozenset(pins)

    def compare(certificate: bytes | None) -> None:
        if known and pin_of(certificate or b"") not in known:
            raise _NotPinnedError(_NotPinnedError.verify_message)

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
                compare(self.getpeercert(binary_form=True))
            except ssl.SSLCertVerificationError as error:
                if refused is not None:
                    refused.append(error)
                raise

    class PinnedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as its base has it
            super().do_handshake(block)
            compare(self.getpeercert(binary_form=True))

    return Pinned, PinnedSocket
