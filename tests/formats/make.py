"""Small films, made box by box: for what no sample shows, and for tests without samples."""

from __future__ import annotations

import struct


def box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *bodies: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *bodies)


def mvhd(created: int = 0, timescale: int = 1000, duration: int = 6000) -> bytes:
    return full(b"mvhd", struct.pack(">IIII", created, created, timescale, duration), bytes(80))


def trak(number: int, handler: bytes, codec: bytes, samples: list[tuple[int, int]]) -> bytes:
    """One chunk for each sample: (offset, length)."""
    tkhd = full(b"tkhd", struct.pack(">IIII", 0, 0, number, 0), struct.pack(">I", 6000), bytes(60))
    mdhd = full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, 6000, 0x55C4, 0))
    hdlr = full(b"hdlr", bytes(4), handler, bytes(12), b"\0")
    stsd = full(b"stsd", struct.pack(">I", 1), box(codec, bytes(6), b"\0\1"))
    stsz = full(b"stsz", struct.pack(">II", 0, len(samples)), *(struct.pack(">I", one[1]) for one in samples))
    stsc = full(b"stsc", struct.pack(">IIII", 1, 1, 1, 1))
    stco = full(b"stco", struct.pack(">I", len(samples)), *(struct.pack(">I", one[0]) for one in samples))
    stbl = box(b"stbl", stsd, stsz, stsc, stco)
    return box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, box(b"minf", stbl)))


FTYP = box(b"ftyp", b"isom", bytes(4), b"isom")


def camm_film() -> bytes:
    """A film with two records of CAMM."""
    records = [struct.pack("<HH3d", 0, 5, 42.5, -81.25, 250.0), struct.pack("<HH3f", 0, 2, 0.0, 0.5, 1.0)]
    at = len(FTYP) + 8
    places = [(at, len(records[0])), (at + len(records[0]), len(records[1]))]
    index = box(b"moov", mvhd(3_800_000_000), trak(1, b"camm", b"camm", places), box(b"udta", box(b"@mak", b"Maker")))
    return FTYP + box(b"mdat", *records) + index
