"""The words of tus 1.0.0: headers written and read, nothing sent."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.uplink import BundleRoom
from agent.uplink.http.answer import RECEIPT, number
from agent.uplink.http.stretches import STRETCHES

if TYPE_CHECKING:
    from agent.uplink.http.answer import Answer
    from agent.uplink.http.proofs import Proof

__all__ = ["BUNDLE", "BUNDLE_TYPE", "BYTES_TYPE", "CHECKSUM_MISMATCH", "THROUGH", "VERSION", "Abilities", "stated"]

VERSION: Final = "1.0.0"
CHECKSUM_MISMATCH: Final = 460
BYTES_TYPE: Final = "application/offset+octet-stream"
BUNDLE: Final = "Evidock-Bundle"
"""In the answer to OPTIONS: how many captures one request may bring, and how many bytes of them together."""
BUNDLE_TYPE: Final = "application/vnd.evidock.bundle"
"""Media type of such a request."""
THROUGH: Final = "sha256-through"
"""An algorithm of `Upload-Checksum`: SHA-256 of the upload from its first byte through the end of the body."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server says of itself when asked with OPTIONS."""

    versions: tuple[str, ...]
    extensions: frozenset[str]
    checksums: frozenset[str]
    longest: int | None
    """Most bytes of one upload."""
    signs: bool
    """Every answer for a complete upload carries a signed receipt, and creating is idempotent by capture."""
    stretch: int | None = None
    """Least bytes of the stretches whose digests it takes beside a part's."""

    bundle: BundleRoom | None = None
    """How many small captures one request may bring."""

    @classmethod
    def told_by(cls, answer: Answer) -> Abilities:
        """Read the answer to OPTIONS."""
        return cls(
            versions=_listed(answer, "Tus-Version"),
            extensions=frozenset(_listed(answer, "Tus-Extension")),
            checksums=frozenset(_listed(answer, "Tus-Checksum-Algorithm")),
            longest=number(answer.headers.get("Tus-Max-Size")),
            stretch=number(answer.headers.get(STRETCHES)) or None,
            signs=answer.headers.get(RECEIPT, "").strip() == "signed",
            bundle=_room(answer.headers.get(BUNDLE, "")),
        )

    @property
    def checks_parts(self) -> bool:
        """A part that arrives with another SHA-256 than we said is refused."""
        return "checksum" in self.extensions and "sha256" in self.checksums

    @property
    def checks_through(self) -> bool:
        """The SHA-256 of everything through the end of a part proves that part as well: no byte is hashed for it."""
        return self.checks_parts and THROUGH in self.checksums

    @property
    def takes_whole(self) -> bool:
        """One request may create and fill an upload."""
        return "creation-with-upload" in self.extensions


def _room(text: str) -> BundleRoom | None:
    captures, _, length = text.strip().partition(" ")
    most, longest = number(captures), number(length)
    return BundleRoom(most, longest) if most and longest else None


def _listed(answer: Answer, name: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in answer.headers.get(name, "").split(",")) if word)


def stated(proof: Proof) -> str:
    """Return the value of `Upload-Checksum`."""
    return f"{THROUGH if proof.through else 'sha256'} {base64.b64encode(proof.digest).decode()}"
