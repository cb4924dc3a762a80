"""What an export needs of the journal, as JSON: entries, their proofs, receipts, and the checkpoint above them all."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from agent.custody.proof import Proof
from agent.errors import Refusal
from agent.journal import anchors
from agent.merkle import inclusion_proof
from agent.station.acts import chosen

if TYPE_CHECKING:
    from agent.journal import Journal
    from agent.station.views import View

__all__ = ["MOST", "dossiers"]

MOST: Final = 100
"""Captures of one question."""


def dossiers(journal: Journal, beginnings: list[str]) -> View:
    """Everything about these captures. Bytes are base64."""
    if not 0 < len(beginnings) <= MOST:
        raise Refusal(f"name 1 to {MOST} captures", hint="Nothing was written. Export the others by themselves.")
    names = list(dict.fromkeys(chosen(journal, beginning) for beginning in beginnings))
    stories = {name: _story(journal, name) for name in names}
    held = max(journal.get(name).index for name in names)
    checkpoint, token, size = _checkpoint(journal, max(story[-1][0] for story in stories.values()), held)
    reader = journal.leaves.reader(size)

    def leaf(index: int, entry: bytes) -> View:
        proof = None
        if checkpoint is not None and index < size:
            proof = Proof(index, tuple(inclusion_proof(index, size, reader)), checkpoint).write()
        return {"index": index, "entry": _text(entry), "proof": _text(proof)}

    captures = []
    for name, story in stories.items():
        holding = journal.get(name)
        captures.append(
            {
                "capture": name,
                "story": [leaf(index, entry) for index, entry in story],
                "receipt": _text(None if holding.receipt is None else holding.receipt.note),
                "spooled": holding.spooled,
            }
        )
    return {"log": journal.log, "checkpoint": _text(checkpoint), "token": _text(token), "captures": captures}


def _checkpoint(journal: Journal, last: int, held: int) -> tuple[bytes | None, bytes | None, int]:
    """The best checkpoint above the last entry, or at least above the last one that says held; its token; its size.

    Stamped and cosigned is best, then cosigned, then what the station signed alone.
    """
    for index in dict.fromkeys((last, held)):
        stamp, cosigned = anchors.time_stamp_over(journal, index), anchors.covering(journal, index)
        if stamp is not None:
            over = anchors.of_size(journal, stamp.size)
            if cosigned is None or (over is not None and over.cosigned_at is not None and over.best == stamp.note):
                return stamp.note, stamp.token, stamp.size
        if cosigned is not None:
            return cosigned.best, None, cosigned.size
    newest = anchors.newest(journal)
    return (None, None, 0) if newest is None else (newest.best, None, newest.size)


def _story(journal: Journal, name: str) -> list[tuple[int, bytes]]:
    """(index, entry) of every entry about one capture, in order."""
    rows = journal.connection.execute(
        "SELECT seq, leaf FROM entry WHERE capture = (SELECT row FROM capture WHERE held_seq = ?) ORDER BY seq",
        (journal.get(name).index,),
    )
    return [(seq, bytes(leaf)) for seq, leaf in rows]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()
