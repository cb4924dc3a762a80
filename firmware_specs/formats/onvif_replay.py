"""RTP as recorders of ONVIF Profile G replay it: the extension that says when a picture was taken, and where gaps are.

Source: ONVIF Streaming Specification, chapter "Playback", RTP header extension 0xABAC; RFC 3550 section 5.1 for RTP.
Not known: recorders that count the CSeq byte otherwise; it is not looked at, for GStreamer's server leaves it zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from construct import Bytes, ConstructError, Int8ub, Int16ub, Int32ub, Struct

from firmware_specs import SpecError

__all__ = ["Packet", "packet"]

_HEADER: Final = Struct("first" / Int8ub, "second" / Int8ub, "sequence" / Int16ub, "time" / Int32ub, "source" / Int32ub)
_EXTENSION: Final = Struct("profile" / Int16ub, "words" / Int16ub)
_REPLAY: Final = Struct(
    "seconds" / Int32ub, "fraction" / Int32ub, "flags" / Int8ub, "cseq" / Int8ub, "padding" / Bytes(2)
)
_PROFILE: Final = 0xABAC
_VERSION: Final = 2
_SINCE: Final = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet; the last five are None or False where it carries no extension of replay."""

    sequence: int
    time: int
    """In the clock of the track."""
    source: int
    type: int
    marker: bool
    at: datetime | None = None
    """When its picture was taken, by the recorder's clock."""
    clean: bool = False
    """C: a decoder may begin here."""
    gap: bool = False
    """E: after this picture nothing was recorded for a while."""
    jump: bool = False
    """D: what was before was somewhere else in time."""
    last: bool = False
    """T: there is nothing more."""


def packet(data: bytes) -> Packet:
    """Read a packet's head. `SpecError` where it is none; the payload is not looked at."""
    try:
        head = _HEADER.parse(data)
    except ConstructError as error:
        raise SpecError("no RTP packet: it is too short") from error
    if head.first >> 6 != _VERSION:
        raise SpecError("no RTP packet: it is of another version")
    plain = Packet(head.sequence, head.time, head.source, head.second & 0x7F, bool(head.second & 0x80))
    if not head.first & 0x10:
        return plain
    at = 12 + 4 * (head.first & 0x0F)
    try:
        extension = _EXTENSION.parse(data[at:])
        if extension.profile != _PROFILE or extension.words < 3:  # noqa: PLR2004 - of another kind
            return plain
        said = _REPLAY.parse(data[at + 4 :])
    except ConstructError as error:
        raise SpecError("an RTP packet whose header extension is cut") from error
    moment = _SINCE + timedelta(seconds=said.seconds, microseconds=said.fraction * 1_000_000 >> 32)
    return Packet(
        plain.sequence,
        plain.time,
        plain.source,
        plain.type,
        plain.marker,
        moment,
        clean=bool(said.flags & 0x80),
        gap=bool(said.flags & 0x40),
        jump=bool(said.flags & 0x20),
        last=bool(said.flags & 0x10),
    )
