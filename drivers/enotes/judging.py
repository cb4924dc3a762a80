"""What is to be said of one envelope by itself: signature, key, form. Where it stands in its notebook comes after."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats.enote import Envelope, Status, envelope, moment, payload_of, unb64url
from firmware_specs.formats.enote_notebook import CLOCK_SLACK, Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from drivers.enotes.register import Key, Tablet

__all__ = ["ALARMING", "Judged", "judge"]

ALARMING: Final = frozenset(
    {
        Status.NOT_CANONICAL,
        Status.BAD_SIG,
        Status.UNKNOWN_KEY,
        Status.BAD_ENTRY,
        Status.BAD_OPS,
        Status.OUT_OF_ORDER,
        Status.CHAIN_GAP,
        Status.FORK,
    }
)
"""What a person is told of."""

_NOTEBOOK: Final = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SAFE: Final = 1 << 53


@dataclass(slots=True)
class Judged:
    """One envelope with what is wrong with it by itself."""

    envelope: Envelope
    entry: dict[str, Any] | None
    """What it says; to be believed only where `base` is None."""
    base: Status | None
    """None: signature, key, rules and form are good, and the chain decides."""
    flags: tuple[str, ...]
    why: tuple[str, ...]
    """In a few words each."""
    notebook: str | None
    seq: int | None

    def item(self, number: int) -> Item:
        """As a link of its chain. Only where `base` is None."""
        return Item(
            number,
            self.envelope.digest,
            sha256(unb64url(self.envelope.payload)).digest(),
            self.entry or {},
            flags=self.flags,
        )


def judge(line: bytes, keys: Mapping[str, Key], *, tablet: Tablet | None, received_at: datetime) -> Judged:
    """Look at one line. Raises `Unreadable`. `tablet`: who brought it, where that is to be said."""
    found = envelope(line)
    entry, wrong, canonical = payload_of(found)
    said = entry or {}
    recorded_at = moment(said.get("recorded_at"))
    key = keys.get(found.kid or "")
    base, why = next(_objections(found, said, key, wrong, canonical=canonical), (None, ()))
    flags = [*found.noted]
    if recorded_at is not None and recorded_at > received_at + CLOCK_SLACK:
        flags.append("recorded_in_the_future")
    if key is not None and key.revoked and key.ended_at is not None and received_at >= key.ended_at:
        flags.append("came_after_revocation")
    if tablet is not None:
        if tablet.revoked or not tablet.known:
            flags.append("tablet_revoked" if tablet.revoked else "tablet_unknown")
        device = said.get("device")
        if isinstance(device, dict) and device.get("id") != tablet.id:
            flags.append("other_tablet")
    notebook, seq = said.get("notebook"), said.get("seq")
    placed = isinstance(notebook, str) and bool(_NOTEBOOK.fullmatch(notebook))
    counted = type(seq) is int and 0 < seq < _SAFE
    return Judged(
        found,
        entry,
        base,
        tuple(flags),
        why,
        notebook if placed and isinstance(notebook, str) else None,
        seq if counted and isinstance(seq, int) else None,
    )


def _objections(
    found: Envelope, entry: dict[str, Any], key: Key | None, wrong: tuple[str, ...], *, canonical: bool
) -> Iterator[tuple[Status, tuple[str, ...]]]:
    """What speaks against it, the strongest first. Only the first is asked for: what comes after may not make sense."""
    if found.wrong:
        yield Status.BAD_SIG, found.wrong
    if key is None:
        # It can prove nothing, also not that its signature is good.
        yield Status.UNKNOWN_KEY, ("its key is not registered here",)
        return
    if not key.public.signed(found.alg, found.signed, unb64url(found.signature)):
        yield Status.BAD_SIG, ("the signature is not that of its key over these bytes",)
    if not key.believed(moment(entry.get("recorded_at"))):
        yield Status.UNKNOWN_KEY, ("its key was not valid when it says that it was recorded",)
    if wrong:
        yield Status.BAD_ENTRY, wrong
    if entry["author"]["badge"] != key.badge:
        yield Status.UNKNOWN_KEY, (f"its key is that of badge {key.badge}, and it names another author",)
    if not canonical:
        yield Status.NOT_CANONICAL, ("payload or header are not canonical JSON",)
