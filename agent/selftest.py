"""Does this machine still compute what the standards say: known answers, before anything is written on their strength.

A bad memory, a wrong library or a swapped program would otherwise sign nonsense without a word. The result stands in
every entry; where one answer is wrong, no entry is written at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from agent.errors import JournalError
from agent.merkle import EMPTY_ROOT, leaf_hash
from agent.note import ECDSA_P256, BadNote, Signer, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TESTS", "SelfTest", "last", "run"]

_EVERY: Final = timedelta(days=1)


def _sha256() -> bool:
    """FIPS 180-4, the one-block example."""
    return hashlib.sha256(b"abc").hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def _blake3() -> bool:
    """BLAKE3, the test vectors of its authors: no input, and 1025 bytes (more than one chunk)."""
    long = bytes(number % 251 for number in range(1025))
    return (
        blake3(b"").hexdigest() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        and blake3(long).hexdigest() == "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"
    )


def _tree() -> bool:
    """RFC 6962 section 2.1: the root of nothing, and a leaf of nothing."""
    return (
        EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        and leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


def _ed25519() -> bool:
    """RFC 8032 section 7.1, test 2: the public key of its seed. Then a signature, and a wrong one, of a note."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    signer = Signer.ed25519("test", seed)
    told = signer.verifier.public.hex() == public and _accepts(signer.verifier, "r", signature)
    return told and not _accepts(signer.verifier, "s", signature)


def _p256() -> bool:
    """RFC 6979 section A.2.5, SHA-256 over `sample`, and over another text."""
    point = (
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
    )
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004" + point)
    signature = (
        "3046"
        "022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    )
    key = Verifier("test", ECDSA_P256, spki)
    return _accepts(key, "sample", signature) and not _accepts(key, "Sample", signature)


def _accepts(key: Verifier, text: str, signature: str) -> bool:
    try:
        key.verify(text, bytes.fromhex(signature))
    except BadNote:
        return False
    return True


TESTS: Final[Mapping[str, Callable[[], bool]]] = MappingProxyType(
    {"blake3": _blake3, "ecdsa-p256": _p256, "ed25519": _ed25519, "rfc6962": _tree, "sha256": _sha256}
)
"""By the name of what is tested."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Known answers that were all right."""

    at: datetime
    mono: float
    tests: tuple[str, ...]


def run() -> SelfTest:
    """Try every known answer. Raises `JournalError` where one is wrong."""
    wrong = [name for name, test in TESTS.items() if not test()]
    if wrong:
        raise JournalError(
            f"this machine does not compute what the standards say: {', '.join(wrong)}",
            hint="Nothing is written any more. Test its memory, then install Evidock and its libraries anew.",
        )
    return SelfTest(datetime.now(UTC), monotonic(), tuple(TESTS))


_last: SelfTest | None = None


def last() -> SelfTest:
    """The last self-test of this process; done now where there was none, or none for a day."""
    global _last  # noqa: PLW0603 - one machine, one answer
    if _last is None or monotonic() - _last.mono > _EVERY.total_seconds():
        _last = run()
    return _last
