"""Between a row of the `capture` table and a Holding: the only place that knows both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Digest, Holding, Origin, Parts, Priority, Receipt, Standing, Strength, rfc3339
from agent.written import text_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.capture import Capture

__all__ = ["CODES", "COLUMNS", "FLAGS", "STANDINGS", "holding", "just_held", "micros", "moment", "raw_id", "text_id"]

STANDINGS: Final = (
    Standing.UNKNOWN,
    Standing.HELD,
    Standing.RECEIPTED,
    Standing.RELEASED,
    Standing.PURGED,
    Standing.REFUSED,
    Standing.QUARANTINED,
)
"""The numbers in the `standing` column; the indexes of the schema rest on them."""

CODES: Final = {standing: code for code, standing in enumerate(STANDINGS)}

COLUMNS: Final = (
    "id, device, key, began_at, sha256, blake3, length, part_sha256, part_through, media_type, grouping, volatile, "
    "standing, priority, spooled, retained, held_seq, held_at, changed_at, strength, destination, note, receipted_at, "
    "reason, clip, members, forgets"
)

FLAGS: Final = (11, 14, 15)
"""Of these, those that are true or false: volatile, spooled, retained."""

_ID_LENGTH: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(when: datetime) -> int:
    """Microseconds since 1970, UTC, exactly."""
    return (when - _EPOCH) // _MICROSECOND


def moment(when: int) -> datetime:
    """The inverse of `micros`."""
    return _EPOCH + timedelta(microseconds=when)


def raw_id(capture: str) -> bytes:
    """The 16 bytes of a capture's id, as `text_id` writes it; `ValueError` where the text is none."""
    raw = bytes.fromhex(capture.replace("-", ""))
    if len(raw) != _ID_LENGTH or text_id(raw) != capture.lower():
        raise ValueError(f"{capture} is not a capture's id")
    return raw


def holding(row: Sequence[Any], log: str) -> Holding:
    """A row of COLUMNS as a value."""
    length = row[6]
    receipt = None
    if row[19] is not None:
        strength = Strength(row[19])
        proven = row[4] if strength >= Strength.DIGEST else None
        receipt = Receipt(strength, row[20], length, proven, row[21])
    return Holding(
        id=text_id(row[0]),
        origin=Origin(row[1], row[2], None if row[3] is None else datetime.fromisoformat(row[3])),
        digest=Digest(row[4], row[5], length),
        standing=STANDINGS[row[12]],
        log=log,
        index=row[16],
        held_at=moment(row[17]),
        changed_at=moment(row[18]),
        priority=Priority(row[13]),
        media_type=row[9],
        group=row[10],
        clip=row[24],
        members=row[25],
        volatile=bool(row[11]),
        forgets=row[26],
        spooled=bool(row[14]),
        retained=bool(row[15]),
        receipt=receipt,
        receipted_at=None if row[22] is None else moment(row[22]),
        reason=row[23],
        parts=Parts(row[7], row[8]),
    )


def just_held(
    name: str, capture: Capture, digest: Digest, parts: Parts, *, log: str, index: int, at: datetime
) -> Holding:
    """The same of a row that was written a moment ago, without reading it."""
    origin = capture.origin
    if origin.began_at is not None:
        written = datetime.fromisoformat(rfc3339(origin.began_at))
        if written != origin.began_at:  # it was told finer than to the millisecond
            origin = Origin(origin.device, origin.key, written)
    return Holding(
        id=name,
        origin=origin,
        digest=digest,
        standing=Standing.HELD,
        log=log,
        index=index,
        held_at=at,
        changed_at=at,
        priority=capture.priority,
        media_type=capture.media_type,
        group=capture.group,
        clip=capture.clip,
        members=capture.members,
        volatile=capture.volatile,
        forgets=capture.forgets,
        parts=parts,
    )
