"""What ever stood in a note of `enote/1`, in the order of reading: which entry said it, and which struck it out.

The text itself stays where it is said, so a note of any length takes little room here: a piece says which part of which
entry's text it is. What is done here was permitted before: `enote_notebook` decides that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Piece", "pieces_of"]


@dataclass(slots=True)
class Piece:
    """Some text of a note, as it stands or stood."""

    rev: int
    """Which act brought it."""
    op: int | None
    """Which of that act's strikes brought it; None: it is of the act's own text."""
    start: int
    """Where it begins in what the act or its strike says; code points, as `length`."""
    length: int
    struck_by: int | None = None
    """Which act struck it out."""

    def text_in(self, entry: dict[str, Any]) -> str:
        """It, out of the entry of its act."""
        said: str = entry["text"] if self.op is None else entry["ops"][self.op]["with"]
        return said[self.start : self.start + self.length]


def pieces_of(entries: Iterable[dict[str, Any]]) -> list[Piece]:
    """The pieces of one note, by the acts that were done to it, in their order."""
    pieces: list[Piece] = []
    for entry in entries:
        if entry["op"] == "correct":
            _strike(pieces, entry["ops"], entry["rev"])
        elif entry["op"] in ("create", "append", "supplement") and entry["text"]:
            pieces.append(Piece(entry["rev"], None, 0, len(entry["text"])))
    return pieces


def _strike(pieces: list[Piece], ops: list[dict[str, Any]], rev: int) -> None:
    """Strike these ranges of the standing text out, and put what replaces each behind it."""
    for number, op in sorted(enumerate(ops), key=lambda one: one[1]["at"], reverse=True):
        first, last = (_cut(pieces, at) for at in op["at"])
        for piece in pieces[first:last]:
            if piece.struck_by is None:
                piece.struck_by = rev
        if op["with"]:
            pieces.insert(last, Piece(rev, number, 0, len(op["with"])))


def _cut(pieces: list[Piece], at: int) -> int:
    """Which piece begins at this place of the standing text; one that goes over it becomes two."""
    offset = 0
    for number, piece in enumerate(pieces):
        if piece.struck_by is not None:
            continue
        if offset == at:
            return number
        if (left := at - offset) < piece.length:
            rest = replace(piece, start=piece.start + left, length=piece.length - left)
            pieces[number : number + 1] = [replace(piece, length=left), rest]
            return number + 1
        offset += piece.length
    return len(pieces)
