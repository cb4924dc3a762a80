"""What the index of an ISO base media file (`moov`) says: duration, tracks, codecs, times, and words of the maker.

Known:        ISO/IEC 14496-12, QuickTime File Format and its metadata keys. Times count seconds from 1904 in UTC; 0 is
              "not set". Many cameras write their local time there, or seconds from 1970: the raw number is reported,
              what it would mean, and why that may be wrong, and never a corrected time.
Not verified: `stz2`; contents of `uuid` boxes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from firmware_specs.formats import gpmf
from firmware_specs.formats.bmff import Box, children
from firmware_specs.formats.source import Malformed, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_specs.formats.bmff import Structure
    from firmware_specs.formats.source import Source

__all__ = ["Clock", "Movie", "Track", "movie", "samples"]

_EPOCH: Final = datetime(1904, 1, 1, tzinfo=UTC)
_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FROM_1904_TO_1970: Final = 2_082_844_800
_TRACKS_MAX: Final = 64
_WORDS_MAX: Final = 256
"""Words of the maker, and times, that are kept; the rest is passed over."""
_WORD_LENGTH: Final = 4096
_SAID_MAX: Final = 1024
"""Words of the maker that are read."""
_TABLE_MAX: Final = 100_000
"""Samples of a track of telemetry that are looked up."""
_UNKNOWN: Final = {0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}


@dataclass(frozen=True, slots=True)
class Clock:
    """A time as it stands in a file, and what it may mean."""

    where: str
    raw: int | str
    reading: datetime | None
    """As the standard reads it."""
    doubts: tuple[str, ...]


@dataclass(slots=True)
class Track:
    """One track."""

    number: int = 0
    handler: str = ""
    codec: str = ""
    timescale: int = 0
    units: int | None = None
    """Duration in units of the time scale, where it is told."""
    language: str = ""
    width: float = 0.0
    height: float = 0.0
    samples: int = 0
    tables: dict[bytes, Box] = field(default_factory=dict)
    """`stsz`, `stsc`, `stco` or `co64`: where its samples lie."""

    @property
    def seconds(self) -> float | None:
        """Its duration."""
        return None if self.units is None or not self.timescale else self.units / self.timescale


@dataclass(slots=True)
class Movie:
    """The index of a file."""

    timescale: int = 0
    units: int | None = None
    fragmented: bool = False
    fragments_until: float | None = None
    """Seconds until the end of the last whole fragment."""
    tracks: list[Track] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    raw_times: set[int] = field(default_factory=set)
    """Those of `clocks` that are numbers."""
    words: dict[str, str] = field(default_factory=dict)
    """What the maker wrote beside: location, model, firmware, by the name of the box or key."""
    said: int = 0
    """Words that were read, those that say nothing and those that say a thing again among them."""
    gps_index: Box | None = None
    """Novatek's index of `freeGPS ` blocks."""

    @property
    def seconds(self) -> float | None:
        """The film's duration: that of its index, or the end of its last fragment."""
        told = None if not self.units or not self.timescale else self.units / self.timescale
        return told if self.fragments_until is None else max(told or 0.0, self.fragments_until)


def movie(source: Source, outside: Structure) -> Movie | None:
    """The index, where it is whole. Raises `Malformed` where it contradicts itself."""
    if outside.moov is None:
        return None
    found = Movie()
    for box in children(source, outside.moov.body, outside.moov.end):
        _of_moov(source, box, found)
    if outside.last_moof is not None:
        found.fragments_until = _last_fragment(source, outside.last_moof, found.tracks)
    return found


def _of_moov(source: Source, box: Box, found: Movie) -> None:
    match box.kind:
        case b"mvhd":
            found.timescale, found.units = _header(source, box, found, "mvhd")
        case b"trak":
            if len(found.tracks) >= _TRACKS_MAX:
                raise Malformed(f"more than {_TRACKS_MAX} tracks stand in it")
            found.tracks.append(_track(source, box, found))
        case b"mvex":
            found.fragmented = True
        case b"udta":
            _user_data(source, box, found)
        case b"meta":
            _metadata(source, box, found)
        case b"gps ":
            found.gps_index = box


def _body(source: Source, box: Box, most: int) -> bytes:
    return source.read(box.body, min(most, box.end - box.body))


# -- headers -----------------------------------------------------------------------------------------------------------


def _header(source: Source, box: Box, found: Movie, where: str) -> tuple[int, int | None]:
    """(time scale, duration) of mvhd or mdhd; its creation time is noted."""
    body = _body(source, box, 36)
    (version,) = unpack(">B", body)
    created, _, timescale, units = unpack(">QQIQ" if version == 1 else ">IIII", body, 4)
    if where == "mvhd" or (created and created not in found.raw_times):
        found.raw_times.add(created)
        _note(found, _clock(where, created))
    return timescale, None if units in _UNKNOWN else units


def _note(found: Movie, clock: Clock) -> None:
    if len(found.clocks) < _WORDS_MAX:
        found.clocks.append(clock)


def _clock(where: str, raw: int) -> Clock:
    if raw == 0:
        return Clock(where, raw, None, ("not set",))
    doubts = ["a camera may have written its local time: the field has no zone"]
    if raw < _FROM_1904_TO_1970:
        doubts.append("it lies before 1970: the camera may count from 1970 and not from 1904")
    try:
        return Clock(where, raw, _EPOCH + timedelta(seconds=raw), tuple(doubts))
    except OverflowError:
        return Clock(where, raw, None, ("no calendar has this time",))


def _track(source: Source, trak: Box, found: Movie) -> Track:
    track = Track()
    for box in children(source, trak.body, trak.end):
        if box.kind == b"tkhd":
            body = _body(source, box, 104)
            (version,) = unpack(">B", body)
            (track.number,) = unpack(">I", body, 20 if version == 1 else 12)
            width, height = unpack(">II", body, 88 if version == 1 else 76)
            track.width, track.height = width / 65536, height / 65536
        elif box.kind == b"mdia":
            _media(source, box, track, found)
    return track


def _media(source: Source, mdia: Box, track: Track, found: Movie) -> None:
    for box in children(source, mdia.body, mdia.end):
        if box.kind == b"mdhd":
            track.timescale, track.units = _header(source, box, found, f"mdhd of track {track.number}")
            (version,) = unpack(">B", _body(source, box, 1))
            (language,) = unpack(">H", _body(source, box, 36), 32 if version == 1 else 20)
            letters = [(language >> shift & 31) + 0x60 for shift in (10, 5, 0)]
            track.language = "".join(map(chr, letters)) if all(0x61 <= one <= 0x7A for one in letters) else ""  # noqa: PLR2004
        elif box.kind == b"hdlr":
            track.handler = _text(_body(source, box, 12)[8:12])
        elif box.kind == b"minf":
            for inner in children(source, box.body, box.end):
                if inner.kind == b"stbl":
                    _sample_table(source, inner, track)


def _sample_table(source: Source, stbl: Box, track: Track) -> None:
    for box in children(source, stbl.body, stbl.end):
        if box.kind == b"stsd" and not track.codec:
            body = _body(source, box, 16)
            track.codec = _text(body[12:16])
        elif box.kind == b"stsz":
            _, _, track.samples = unpack(">III", _body(source, box, 12))
            track.tables[b"stsz"] = box
        elif box.kind in (b"stsc", b"stco", b"co64"):
            track.tables[box.kind] = box


# -- fragments ---------------------------------------------------------------------------------------------------------


def _last_fragment(source: Source, moof: Box, tracks: list[Track]) -> float | None:
    """Seconds until the end of the last whole fragment, of the track that reaches farthest."""
    scales = {track.number: track.timescale for track in tracks}
    ends: list[float] = []
    for traf in children(source, moof.body, moof.end):
        if traf.kind != b"traf":
            continue
        number, began, lasts, each = 0, None, 0, 0
        for box in children(source, traf.body, traf.end):
            if box.kind == b"tfhd":
                number, each = _fragment_header(_body(source, box, 40))
            elif box.kind == b"tfdt":
                body = _body(source, box, 12)
                (began,) = unpack(">Q" if body[:1] == b"\1" else ">I", body, 4)
            elif box.kind == b"trun":
                lasts += _run(_body(source, box, 1 << 20), each)
        if began is not None and scales.get(number):
            ends.append((began + lasts) / scales[number])
    return max(ends, default=None)


def _fragment_header(body: bytes) -> tuple[int, int]:
    """(track, duration of a sample where none is told)."""
    flags, number = unpack(">II", body)
    at = 8 + (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
    return number, unpack(">I", body, at)[0] if flags & 0x8 else 0


def _run(body: bytes, each: int) -> int:
    flags, count = unpack(">II", body)
    if not flags & 0x100:
        return int(count) * each
    at = 8 + (4 if flags & 0x1 else 0) + (4 if flags & 0x4 else 0)
    row = struct.Struct(f">I{4 * (flags & 0xF00).bit_count() - 4}x")
    count = min(count, max(0, len(body) - at) // row.size)
    return sum(lasts for (lasts,) in row.iter_unpack(body[at : at + count * row.size]))


# -- words of the maker ------------------------------------------------------------------------------------------------


def _user_data(source: Source, udta: Box, found: Movie) -> None:
    for box in children(source, udta.body, udta.end):
        if found.said >= _SAID_MAX:
            return
        body = _body(source, box, _WORD_LENGTH)
        if box.kind == b"meta":
            _metadata(source, box, found)
        elif box.kind[:1] == b"\xa9" and len(body) >= 4:  # noqa: PLR2004 - length and language
            (length,) = unpack(">H", body)
            _word(found, box.name, body[4 : 4 + length])
            if box.kind == b"\xa9day":
                _note(found, Clock("©day", _text(body[4 : 4 + length]), None, ("as the camera wrote it",)))
        elif box.kind == b"GPMF":
            found.said += _SAID_MAX // 4  # it is a thousand words in one
            for name, said in gpmf.telemetry(_body(source, box, 1 << 16)).words.items():
                found.words[f"GPMF {name}"] = said
        elif box.kind in (b"@mak", b"@mod", b"FIRM", b"LENS", b"CAME"):
            # CAME is 16 raw bytes; the others are text.
            _word(found, box.name, body.hex().encode() if box.kind == b"CAME" else body)


def _metadata(source: Source, meta: Box, found: Movie) -> None:
    """`keys` and `ilst`; in MP4 `meta` has a version before its boxes, in QuickTime it has none."""
    start = meta.body
    found.said += 1
    if meta.end - start >= 12 and source.read(start + 8, 4) == b"hdlr":  # noqa: PLR2004
        start += 4
    inner = {box.kind: box for box in children(source, start, meta.end)}
    if b"keys" not in inner or b"ilst" not in inner:
        return
    body = _body(source, inner[b"keys"], 1 << 16)
    (count,) = unpack(">I", body, 4)
    names: list[str] = []
    at = 8
    while len(names) < min(count, _WORDS_MAX):
        (size,) = unpack(">I", body, at)
        if size < 8:  # noqa: PLR2004 - its own header
            raise Malformed("a metadata key is shorter than its header")
        names.append(_text(body[at + 8 : at + size]))
        at += size
    for item in children(source, inner[b"ilst"].body, inner[b"ilst"].end, numbered=True):
        number = int.from_bytes(item.kind, "big")
        for data in children(source, item.body, item.end):
            if data.kind == b"data" and 0 < number <= len(names):
                value = _body(source, data, _WORD_LENGTH)
                if unpack(">I", value)[0] == 1:
                    _word(found, names[number - 1], value[8:])
                    if names[number - 1].endswith(".creationdate"):
                        said = _text(value[8:])
                        _note(found, Clock("creationdate", said, _moment(said), ()))


def _word(found: Movie, name: str, value: bytes) -> None:
    found.said += 1
    if found.said <= _SAID_MAX and len(found.words) < _WORDS_MAX and (text := _text(value)):
        found.words[name] = text


def _text(raw: bytes) -> str:
    """Bytes of a maker as text that can be shown: what cannot is left out."""
    return "".join(one for one in raw.split(b"\0")[0].decode("utf-8", "replace") if one.isprintable()).strip()


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if found.utcoffset() is None else found


# -- where samples lie -------------------------------------------------------------------------------------------------


def samples(source: Source, track: Track) -> Iterator[tuple[int, int]]:
    """(offset in the file, length) of each sample of a track, `_TABLE_MAX` at most. Raises `Malformed`."""
    if not {b"stsz", b"stsc"} <= track.tables.keys():
        return
    chunks = track.tables.get(b"stco") or track.tables.get(b"co64")
    if chunks is None:
        return
    wide = chunks.kind == b"co64"
    offsets = _table(source, chunks, ">Q" if wide else ">I", 4)
    sizes = iter(_sizes(source, track.tables[b"stsz"]))
    runs = _table(source, track.tables[b"stsc"], ">III", 4)
    run = 0
    for chunk, (offset,) in enumerate(offsets, start=1):
        while run + 1 < len(runs) and runs[run + 1][0] <= chunk:
            run += 1
        if not runs:
            return
        at = offset
        for _ in range(min(runs[run][1], _TABLE_MAX)):
            if (size := next(sizes, None)) is None:
                return
            yield at, size
            at += size


def _sizes(source: Source, stsz: Box) -> list[int]:
    _, fixed, count = unpack(">III", _body(source, stsz, 12))
    if fixed:
        return [fixed] * min(count, _TABLE_MAX)
    return [size for (size,) in _table(source, stsz, ">I", 8)]


def _table(source: Source, box: Box, layout: str, before: int) -> list[tuple[int, ...]]:
    """The rows of a table: as many as it says and has. `before`: bytes between the start of its body and the count."""
    (count,) = unpack(">I", source.read(box.body, before + 4), before)
    size = struct.calcsize(layout)
    count = min(count, _TABLE_MAX, (box.end - box.body - before - 4) // size)
    return list(struct.iter_unpack(layout, source.read(box.body + before + 4, count * size)))
