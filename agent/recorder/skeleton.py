"""A film's beginning with its boxes and nothing in them: enough to see why a parser stumbled, and no picture."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["skeleton"]

_CONTAINERS: Final = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts", b"udta", b"dinf")
)
_KEPT: Final = frozenset(
    (b"ftyp", b"hdlr", b"mfhd", b"mvhd", b"tkhd", b"mdhd", b"stts", b"stsc", b"stsz", b"stco", b"co64")
)
"""Boxes that hold kinds, numbers and times of the device, and nobody's words."""
_DEPTH: Final = 8
_HEAD: Final = 8
_WIDE: Final = 16


def skeleton(head: bytes) -> bytes:
    """The same length; of what is no box the first eight bytes stay, which say what format it is."""
    out = bytearray(len(head))
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        _boxes(head, 0, len(head), out, 0)
    else:
        out[:_HEAD] = head[:_HEAD]
    return bytes(out)


def _boxes(head: bytes, at: int, end: int, out: bytearray, depth: int) -> None:
    while at + _HEAD <= end:
        size, kind = struct.unpack_from(">I4s", head, at)
        begins = at + _HEAD
        if size == 1 and at + _WIDE <= end:
            (size,) = struct.unpack_from(">Q", head, at + _HEAD)
            begins = at + _WIDE
        out[at:begins] = head[at:begins]
        stops = end if size == 0 else min(at + size, end)
        if stops < begins:
            return
        if kind in _KEPT:
            out[begins:stops] = head[begins:stops]
        elif kind in _CONTAINERS and depth < _DEPTH:
            _boxes(head, begins, stops, out, depth + 1)
        at = stops
