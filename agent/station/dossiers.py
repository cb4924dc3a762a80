"""What an export needs of the journal, as JSON: entries, their proofs, receipts, and the checkpoint above them all."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from agent.custody.proof import Proof
from agent.errors import Refusal
from agent.journal import anchors, queries
from agent.journal.entry import Event
from agent.merkle import inclusion_proof
from agent.station.acts import chosen, hand_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.journal import Journal
    from agent.station.views import View

__all__ = ["MOST", "UNSAID", "dossiers", "exported"]

MOST: Final = 100
"""Captures of one question."""
SOURCES_MAX: Final = 1000
"""Entries of one capture's context that are exported with it."""
UNSAID: Final = "not said"
"""The reason of an export for which none was given."""


def exported(journal: Journal, beginnings: list[str], *, actor: str, why: str) -> View:
    """The dossiers, and an entry for each capture that says who took them. Call it inside a transaction."""
    told = dossiers(journal, beginnings)
    hand_out(journal, [one["capture"] for one in told["captures"]], actor=actor, why=why)
    return told


def dossiers(journal: Journal, beginnings: list[str]) -> View:
    """Everything about these captures. Bytes are base64."""
    if not 0 < len(beginnings) <= MOST:
        raise Refusal(f"name 1 to {MOST} captures", hint="Nothing was written. Export the others by themselves.")
    names = list(dict.fromkeys(chosen(journal, beginning) for beginning in beginnings))
    signed = anchors.newest_cosigned(journal) or anchors.newest(journal)
    stories = {name: _story(journal, name, 0 if signed is None else signed.size) for name in names}
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
                "quoted": _quoted(journal, holding.index, leaf),
                "sources": [leaf(index, journal.leaves.leaf(index)) for index in _sources(story)],
            }
        )
    return {
        "log": journal.log,
        "log_vkeys": list(anchors.log_keys(journal).every),
        "checkpoint": _text(checkpoint),
        "token": _text(token),
        "captures": captures,
        "left_out": _left_out(journal, names),
    }


def _quoted(journal: Journal, held: int, leaf: Callable[[int, bytes], View]) -> View | None:
    """The last entry before this one that quotes a cosigned checkpoint, with what it quotes: the lower bound."""
    found = anchors.quoted_before(journal, held)
    if found is None:
        return None
    index, note = found
    return {"entry": leaf(index, journal.leaves.leaf(index)), "checkpoint": _text(note)}


def _sources(story: list[tuple[int, bytes]]) -> list[int]:
    """Entries on which a capture's context rests: assignments, incidents, triggers, clocks, batches of positions."""
    found: set[int] = set()
    for _, entry in story:
        context = json.loads(entry)["predicate"].get("context")
        if context is None:
            continue
        joins = [one for part in ("officers", "units", "incidents", "marks") for one in context[part]]
        found.update(one[name] for one in joins for name in ("entry", "through") if one.get(name) is not None)
        if (clock := context["interval"]["clock"]) is not None:
            found.add(clock["entry"])
        for track in context["track"]:
            found.update(track.get("batches", {}).get("entries", ()))
    return sorted(found)[:SOURCES_MAX]


def _left_out(journal: Journal, names: list[str]) -> list[str]:
    """Captures that are clips of one recording with those that are exported, and are not named."""
    found: dict[str, None] = {}
    for name in names:
        holding = journal.get(name)
        if holding.group is not None:
            clips = queries.recording(journal, holding.origin.device, holding.group, MOST)
            found |= dict.fromkeys(one.id for one in clips if one.id not in names)
    return list(found)


def _checkpoint(journal: Journal, last: int, held: int) -> tuple[bytes | None, bytes | None, int]:
    """The best checkpoint above the last entry, or at least above the last one that says held; its token; its size.

    Stamped and cosigned is best, then cosigned, then what the station signed alone.
    """
    for index in dict.fromkeys((last, held)):
        if (both := anchors.cosigned_time_stamp_over(journal, index)) is not None:
            return both.note, both.token, both.size
        if (cosigned := anchors.covering(journal, index)) is not None:
            return cosigned.best, None, cosigned.size
        if (stamp := anchors.time_stamp_over(journal, index)) is not None:
            return stamp.note, stamp.token, stamp.size
    newest = anchors.newest(journal)
    return (None, None, 0) if newest is None else (newest.best, None, newest.size)


def _story(journal: Journal, name: str, signed: int) -> list[tuple[int, bytes]]:
    """(index, entry) of every entry about one capture, in order.

    Earlier exports that no checkpoint covers yet are left to the next bag: an entry that says that a copy was made must
    not keep that copy from being proven.
    """
    rows = journal.connection.execute(
        "SELECT seq, leaf FROM entry WHERE capture = (SELECT row FROM capture WHERE held_seq = ?) ORDER BY seq",
        (journal.get(name).index,),
    )
    story = [(seq, bytes(leaf)) for seq, leaf in rows]
    while story[-1][0] >= signed and _is_export(story[-1][1]):
        story.pop()
    return story


def _is_export(leaf: bytes) -> bool:
    said = json.loads(leaf)["predicate"]
    return bool(said["event"] == Event.OPERATOR_COMMAND and said.get("command") == "export")


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()
