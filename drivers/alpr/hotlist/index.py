"""The index of one list: a file that is mapped, never read in, and answers where a plate stands in it.

    0     8      magic
    8     8      n, plates                               all numbers little endian
    16    8      b, buckets
    24    8      as_of, seconds since 1970
    32    8      length of the texts
    40    32     SHA-256 of everything from byte 128 on
    72    8      length of what is said about the list
    80    48     zero
    128   4(b+1) starts[]   number of the first plate of each bucket, and n
    …     4n     marks[]    32 bits of the mixed key of each plate, ascending in its bucket
    …     18n    rows[]     plate (8), texts (3), reference (7)
    …            texts      each: length (2), UTF-8, padded to a multiple of 4
    …            about      JSON: whose list this is

A plate's key is its folded form as a number (`plates.encoded`), so one look finds it whatever a camera confused. It is
multiplied by an odd constant, which spreads it over 64 bits and loses nothing; times b, its upper 64 bits are the
bucket and the 32 bits below are the mark. Starts and marks are 4.5 bytes a plate, and all that a look touches: rows are
read from the file only where a mark fits, which for a plate that is not listed happens once in hundreds of millions.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import weakref
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.plates import decoded, folded, folded_number

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "HEAD",
    "HEAD_LENGTH",
    "LONG_REFERENCE",
    "MAGIC",
    "PER_BUCKET",
    "PLATES_MAX",
    "ROW",
    "ROW_LENGTH",
    "Entry",
    "Index",
    "mixed",
]

MAGIC: Final = b"EVDKHL\x01\n"
HEAD: Final = struct.Struct("<8sQQqQ32sQ48x")
HEAD_LENGTH: Final = 128
ROW: Final = struct.Struct("<Q10s")
ROW_LENGTH: Final = 18
PER_BUCKET: Final = 8
"""Plates of a bucket, on average: three steps of bisection."""
PLATES_MAX: Final = 1 << 30
LONG_REFERENCE: Final = 1 << 55
"""Set in a reference that is a place among the texts, and not itself a number to the base 37."""

_MIX: Final = 0x9E3779B97F4A7C15
_64: Final = (1 << 64) - 1
_32: Final = (1 << 32) - 1
_ABOUT_MAX: Final = 1 << 20


def mixed(plate: str) -> int:
    """The key of a normalised plate, spread over 64 bits."""
    return folded_number(plate) * _MIX & _64


class Entry(NamedTuple):
    """One line of a list."""

    plate: str
    """Normalised, as the list has it."""
    category: str
    region: str | None
    """ISO 3166-2 where the list's word for it is known, else that word."""
    reference: str | None
    vehicle: str | None


@dataclass(frozen=True, slots=True)
class _Parts:
    """Where the columns lie."""

    starts: memoryview
    marks: memoryview
    rows_at: int
    texts_at: int
    texts_length: int


class Index:
    """One index, open. Whoever holds it may look on after another one took its name."""

    def __init__(self, fd: int, mapped: mmap.mmap, parts: _Parts, about: dict[str, Any], *, n: int, b: int) -> None:
        self._fd, self._mapped, self._parts = fd, mapped, parts
        self._closed = weakref.finalize(self, os.close, fd)  # a driver that is made anew leaves the old one to itself
        self._starts, self._marks, self._b = parts.starts, parts.marks, b
        self._facts = lru_cache(4096)(lambda place: tuple(json.loads(self._text(place))))
        self.about = about
        """What its builder was told: list, layout, as_of, digests, counts."""
        self.plates = n

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Self:
        """Map a file. Raises `BadList` where it is no whole index; `verify`: read it once and compare its digest."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise BadList(f"the index cannot be opened: {error.strerror}") from error
        try:
            return cls._opened(fd, verify=verify)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def _opened(cls, fd: int, *, verify: bool) -> Self:
        length, head = os.fstat(fd).st_size, os.pread(fd, HEAD_LENGTH, 0)
        if len(head) < HEAD_LENGTH or not head.startswith(MAGIC):
            raise BadList("this is no index of a hotlist")
        _, n, b, _, texts_length, digest, about_length = HEAD.unpack(head)
        marks_at = HEAD_LENGTH + 4 * (b + 1)
        rows_at = marks_at + 4 * n
        texts_at = rows_at + ROW_LENGTH * n
        sane = n <= PLATES_MAX and 0 < b <= PLATES_MAX and about_length <= _ABOUT_MAX
        if not sane or length != texts_at + texts_length + about_length:
            raise BadList(f"the index has {length} bytes, and its head says otherwise")
        if verify and _digest(fd, length) != digest:
            raise BadList("the index is damaged: its digest is another one")
        try:
            about = json.loads(os.pread(fd, about_length, texts_at + texts_length))
        except ValueError as error:
            raise BadList("the index does not say whose list it is") from error
        if not isinstance(about, dict):
            raise BadList("the index does not say whose list it is")
        # Only what a look touches is mapped: the rest could take four times as much of memory.
        mapped = mmap.mmap(fd, rows_at, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        view = memoryview(mapped)
        parts = _Parts(
            view[HEAD_LENGTH:marks_at].cast("I"), view[marks_at:rows_at].cast("I"), rows_at, texts_at, texts_length
        )
        return cls(fd, mapped, parts, about, n=n, b=b)

    def close(self) -> None:
        """Let go of the file. Nobody may look any more."""
        self._starts.release()
        self._marks.release()
        # The map itself goes with the last view; a view that somebody still holds keeps it, and nothing breaks.
        self._closed()

    def find(self, plate: str) -> tuple[Entry, ...] | list[Entry]:
        """Every entry whose folded plate is that of this normalised one."""
        product = (folded_number(plate) * _MIX & _64) * self._b
        bucket = product >> 64
        mark = product >> 32 & _32
        marks, end = self._marks, self._starts[bucket + 1]
        at = bisect_left(marks, mark, self._starts[bucket], end)
        if at == end or marks[at] != mark:
            return ()
        return self._entries(plate, at, mark, end)

    def _entries(self, plate: str, at: int, mark: int, end: int) -> list[Entry]:
        fold, found = folded(plate), list[Entry]()
        while at < end and self._marks[at] == mark:
            entry = self.entry(at)
            if folded(entry.plate) == fold:
                found.append(entry)
            at += 1
        return found

    def entry(self, number: int) -> Entry:
        """The plate of this number, in the order of the index."""
        raw = os.pread(self._fd, ROW_LENGTH, self._parts.rows_at + ROW_LENGTH * number)
        code, rest = ROW.unpack(raw)
        packed = int.from_bytes(rest, "little")
        category, region, vehicle = self._facts(packed & 0xFFFFFF)
        reference = packed >> 24
        if reference & LONG_REFERENCE:
            named: str | None = self._text(reference ^ LONG_REFERENCE)
        else:
            named = decoded(reference) or None
        return Entry(decoded(code), category, region, named, vehicle)

    def _text(self, place: int) -> str:
        parts = self._parts
        at = place * 4
        if at + 2 > parts.texts_length:
            raise BadList("the index names a text that it does not have")
        length = int.from_bytes(os.pread(self._fd, 2, parts.texts_at + at), "little")
        return os.pread(self._fd, length, parts.texts_at + at + 2).decode()


def _digest(fd: int, length: int) -> bytes:
    """SHA-256 of what follows the head; what was read is not kept in memory for it."""
    total, at = hashlib.sha256(), HEAD_LENGTH
    while at < length:
        block = os.pread(fd, 1 << 20, at)
        if not block:
            break
        total.update(block)
        at += len(block)
    return total.digest()
