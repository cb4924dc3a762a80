"""The receipt: the signed word of the DEMS that it stores exactly these bytes and computed their digest itself.

    evidock-receipt/v1
    capture 0193f0c2-6a1e-7d43-9f0e-0a6c6f2f9b11
    sha256 d80eae6e96d148b3b2abbbc6760077b66c4ea071f847dab573d507a32c4d99a5
    length 123456789
    log edge.example.org/dock-0042/log1 137
    stored_at 2026-11-22T07:48:12Z
    copies 2

That is the text of a signed note (`agent.note`), by a key that serves for receipts and for nothing else. The lines
stand in this order, each once: two readers of one receipt must not be able to take different values from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.errors import BadReceipt
from agent.note import COSIGNATURE, BadNote, Note, check_name, parse_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.note import Verifier

__all__ = ["ReceiptNote", "check_receipt", "earliest", "open_receipt", "write"]

_CLOCKS_DIFFER: Final = timedelta(days=1)
"""How far two clocks that nobody compared may differ before a receipt counts as one from before."""

_VERSION: Final = "evidock-receipt/v1"
_FIELDS: Final = ("capture", "sha256", "length", "log", "stored_at", "copies")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True, slots=True)
class ReceiptNote:
    """What a receipt says."""

    capture: str
    """The capture's id."""
    sha256: bytes
    """32 bytes: the digest that the DEMS computed over what it stored."""
    length: int
    """Bytes of the capture."""
    log: str
    """The origin of the log whose entry says that the capture is held."""
    index: int
    """That entry's index."""
    stored_at: datetime
    """The DEMS's clock, aware; whole seconds."""
    copies: int
    """How many copies the DEMS keeps, at least 1."""


def write(receipt: ReceiptNote) -> str:
    """Return the text to sign. Raises `ValueError` for what the format cannot say, such as a naive time."""
    if receipt.stored_at.tzinfo is None:
        raise ValueError("stored_at must be aware")
    text = (
        f"{_VERSION}\n"
        f"capture {receipt.capture}\n"
        f"sha256 {receipt.sha256.hex()}\n"
        f"length {receipt.length}\n"
        f"log {receipt.log} {receipt.index}\n"
        f"stored_at {receipt.stored_at.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}\n"
        f"copies {receipt.copies}\n"
    )
    _parse(text)  # what no reader would take must not be signed
    return text


def open_receipt(note: bytes, verifiers: Iterable[Verifier]) -> ReceiptNote:
    """Return what the receipt says, once one of the receipt keys `verifiers` has signed it.

    Raises `BadReceipt` otherwise. A witness's key is no receipt key even if it is given: what a witness signs are sizes
    and hashes of a log, not stored bytes.
    """
    try:
        opened = Note.parse(note)
        opened.verified_by(one for one in verifiers if one.kind != COSIGNATURE)
        return _parse(opened.text)
    except BadNote as bad:
        raise BadReceipt(f"this is not a receipt that can be trusted: {bad}") from bad


def earliest(held_at: datetime, now: datetime) -> datetime:
    """When a receipt for what was held then can have been given: `not_before` of `check_receipt`.

    An entry that is of the future was written by a clock that was wrong, and its time bounds nothing: what the receipt
    names, down to the entry's number in the log, is known to nobody before it is written.
    """
    return held_at - _CLOCKS_DIFFER if held_at <= now + _CLOCKS_DIFFER else datetime.min.replace(tzinfo=UTC)


def check_receipt(
    note: bytes,
    verifiers: Iterable[Verifier],
    *,
    capture: str,
    sha256: bytes,
    length: int,
    log: str,
    index: int,
    not_before: datetime,
) -> ReceiptNote:
    """Return the receipt when it is one for exactly this capture; `BadReceipt` says all that differs otherwise.

    `not_before` is when the capture was held, aware: the DEMS cannot have stored it earlier. A receipt has whole
    seconds, so the second of `not_before` counts as soon enough.
    """
    receipt = open_receipt(note, verifiers)
    pairs = (
        ("capture", receipt.capture, capture),
        ("sha256", receipt.sha256.hex(), sha256.hex()),
        ("length", receipt.length, length),
        ("log", receipt.log, log),
        ("entry", receipt.index, index),
    )
    wrong = [f"its {name} is {theirs}, ours is {ours}" for name, theirs, ours in pairs if theirs != ours]
    if receipt.stored_at < not_before.replace(microsecond=0):
        wrong.append(f"it was stored at {receipt.stored_at.isoformat()}, before {not_before.isoformat()}")
    if wrong:
        raise BadReceipt(f"the receipt is not for this capture: {'; '.join(wrong)}")
    return receipt


def _parse(text: str) -> ReceiptNote:
    """Return the fields of a receipt's text, or raise `BadNote`."""
    version, *lines = text.removesuffix("\n").split("\n")
    if version != _VERSION:
        raise BadNote(f"the first line is not {_VERSION}")
    parts = [line.partition(" ") for line in lines]
    if tuple(name for name, _, _ in parts) != _FIELDS:
        raise BadNote(f"the lines after the first are not {', '.join(_FIELDS)}, each once and in this order")
    capture, digest, length, log, stored_at, copies = (value for _, _, value in parts)
    origin, _, index = log.rpartition(" ")
    check_name(origin)
    if not capture or any(char.isspace() for char in capture):
        raise BadNote("the capture has no id")
    if not _DIGEST.fullmatch(digest):
        raise BadNote("the sha256 is not 64 small hexadecimal digits")
    if (kept := parse_number(copies)) == 0:
        raise BadNote("no copy is kept")
    return ReceiptNote(
        capture=capture,
        sha256=bytes.fromhex(digest),
        length=parse_number(length),
        log=origin,
        index=parse_number(index),
        stored_at=_parse_time(stored_at),
        copies=kept,
    )


def _parse_time(text: str) -> datetime:
    """Return the time of an RFC 3339 text in UTC with whole seconds and a Z, the only form that a receipt uses."""
    # fromisoformat takes many other forms too: the pattern decides the form, and it decides the value.
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass  # the 30th of February
    raise BadNote("stored_at is not a time such as 2026-11-22T07:48:12Z")
