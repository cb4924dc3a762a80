"""How a witness is asked for its cosignature, and how it decides: it remembers how large each log was, with what root.

c2sp.org/tlog-witness, `POST <submission prefix>/add-checkpoint`. The body is

    old 100                                               the size that the witness cosigned last
    Yg3JMGdlpa3DA2kwONPwSUkZajSEuxohf52oatM2mYo=          the proof that the log only grew since then
    ...
                                                          an empty line, then the checkpoint as it was signed
    edge.example.org/dock-0042/log1
    ...

and the answer is

    200  signature lines: `add_cosignatures` puts them under the checkpoint
    400  nothing: this is no request
    403  nothing: the log did not sign this
    404  nothing: the witness does not know this log
    409  the size that it cosigned last: ask from there; if ours is smaller, this station was rolled back or cloned
    422  nothing: this is another history, of a station that was rolled back or cloned and has written on
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from agent.custody.checkpoint import Checkpoint
from agent.custody.proof import parse_hashes
from agent.merkle import EMPTY_ROOT, BadProof, check_consistency
from agent.note import COSIGNATURE, BadNote, Note, encode64, parse_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from agent.note import Signer, Verifier

__all__ = ["NOTHING_SEEN", "SIZE_TYPE", "Answer", "Head", "Request", "add_cosignatures", "judge", "read_size"]

SIZE_TYPE: Final = "text/x.tlog.size"
"""The content type of a 409, whose body is a size."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a witness remembers of one log: the checkpoint that it cosigned last."""

    size: int
    root: bytes


NOTHING_SEEN: Final = Head(0, EMPTY_ROOT)
"""What a witness remembers of a log that it never cosigned."""


@dataclass(frozen=True, slots=True)
class Request:
    """The body of an add-checkpoint request."""

    old: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note, verbatim."""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Return the parts of a body, or raise `BadNote`. Whether the checkpoint is one is not looked at."""
        head, parted, checkpoint = raw.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise BadNote("a request must be ASCII above its checkpoint") from None
        if not parted or not first.startswith("old "):
            raise BadNote("a request begins with the old size, and an empty line stands above its checkpoint")
        return cls(parse_number(first.removeprefix("old ")), parse_hashes(lines), checkpoint)

    def write(self) -> bytes:
        """Return the body."""
        return "\n".join([f"old {self.old}", *map(encode64, self.hashes), "", ""]).encode() + self.checkpoint


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers, and what it must remember before it does."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    origin: str | None = None
    head: Head | None = None
    """With status 200: on disk under `origin` before the answer is sent, else two histories could both be cosigned."""


def judge(
    body: bytes,
    logs: Mapping[str, Iterable[Verifier]],
    seen: Mapping[str, Head],
    cosigner: Signer,
    now: datetime,
) -> Answer:
    """Return a witness's answer to an add-checkpoint request.

    `logs` has the keys of each origin that the witness watches, `seen` what it cosigned last. Nothing is remembered
    here. Reading `seen` and keeping the answer's head must be one step: nothing else may judge this log between them.
    """
    try:
        request = Request.parse(body)
        note = Note.parse(request.checkpoint)
        new = Checkpoint.parse(note.text)
    except BadNote:
        return Answer(HTTPStatus.BAD_REQUEST)
    last = seen.get(new.origin, NOTHING_SEEN)
    status = _status(request, note, new, last, [key for key in logs.get(new.origin, ()) if key.kind != COSIGNATURE])
    if status == HTTPStatus.CONFLICT:
        return Answer(status, f"{last.size}\n".encode(), SIZE_TYPE)
    if status != HTTPStatus.OK:
        return Answer(status)
    line = cosigner.at(now).line(note.text)
    return Answer(status, line.encode(), origin=new.origin, head=Head(new.size, new.root))


def _status(request: Request, note: Note, new: Checkpoint, last: Head, keys: list[Verifier]) -> HTTPStatus:
    """Return the status of an answer; the order of the questions is that of the standard."""
    if not keys:
        return HTTPStatus.NOT_FOUND
    try:
        note.verified_by(keys)
    except BadNote:
        return HTTPStatus.FORBIDDEN
    if request.old > new.size:
        return HTTPStatus.BAD_REQUEST
    if request.old != last.size:
        return HTTPStatus.CONFLICT
    try:
        check_consistency(last.size, new.size, last.root, new.root, request.hashes)
    except BadProof:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.OK


def add_cosignatures(checkpoint: bytes, answer: bytes, witnesses: Iterable[Verifier]) -> bytes:
    """Return the checkpoint's note with the cosignatures of known witnesses that `answer`, the body of a 200, brings.

    Lines of other keys are left out, and so is a line of a witness that has cosigned this note already: its first word
    is the earlier bound. Raises `BadNote` when a line is wrong, or none is a known witness's.
    """
    note = Note.parse(checkpoint)
    brought = Note.parse(note.text.encode() + b"\n" + answer)
    if brought.text != note.text:
        raise BadNote("the answer is more than signature lines")
    witnesses = [one for one in witnesses if one.kind == COSIGNATURE]
    if any(not signature.time for signature in brought.verified_by(witnesses)):
        raise BadNote("a witness must state its time")
    wanted = {(one.name, one.key_id) for one in witnesses} - {(name, key_id) for name, key_id, _ in note.lines}
    for row, (name, key_id, _) in zip(answer.splitlines(keepends=True), brought.lines, strict=True):
        if (name, key_id) in wanted:
            wanted.remove((name, key_id))
            checkpoint += row
    return checkpoint


def read_size(answer: bytes) -> int:
    """Return the size in the body of a 409, or raise `BadNote`."""
    try:
        line = answer.decode("ascii")
    except UnicodeDecodeError:
        raise BadNote("the answer is not a size") from None
    if not line.endswith("\n"):
        raise BadNote("the answer is not a size and a newline")
    return parse_number(line[:-1])
