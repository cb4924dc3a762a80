"""A list's file becomes an index, in a process of its own: read once, sorted on disk, in bounded memory.

    python -m drivers.alpr.hotlist.building < order.json > report.json

It writes a new file and nothing else; whoever started it looks at the report and gives the file its name. What the
lines hold is told nowhere: neither in the report nor in an error.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
import tempfile
from array import array
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.descent import open_plain
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.index import HEAD, HEAD_LENGTH, LONG_REFERENCE, MAGIC, PER_BUCKET, PLATES_MAX, ROW, mixed
from drivers.alpr.hotlist.layouts import BadLine, Layout, Skipped, reader_of
from drivers.alpr.hotlist.plates import encoded, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import IO

    from drivers.alpr.hotlist.index import Entry

__all__ = ["LINE_MAX", "build"]

LINE_MAX: Final = 8192
"""Bytes of a line; a longer one fails and is passed over."""
BAD_MOST: Final = 0.01
"""Part of the lines that may fail; beyond it this is not the layout."""
TOLD: Final = 100
"""Lines of which the number is told."""

_SPILL: Final = 16 << 20
"""Bytes of records that are held before they go to the disk."""
_PILES: Final = 256
_RECORD: Final = 26
_TEXTS_MAX: Final = 64 << 20
_KNOWN_MAX: Final = 200_000
"""Different texts that are remembered, so that each is written once; of those beyond some are written again."""
_REFERENCE_PACKED: Final = 10
_BLOCK: Final = 1 << 20


class _Texts:
    """Category, region and vehicle of the entries, each combination once."""

    def __init__(self, room: IO[bytes]) -> None:
        self._room, self._known = room, dict[object, int]()
        self.length = 0

    def of(self, entry: Entry) -> int:
        key = entry[1], entry[2], entry[4]
        place = self._known.get(key)
        return self._add(key, json.dumps(key, separators=(",", ":"))) if place is None else place

    def reference(self, reference: str | None) -> int:
        """Ten letters and digits as a number; any other as a place among the texts."""
        if reference is None:
            return 0
        if len(reference) <= _REFERENCE_PACKED and normalised(reference) == reference:
            return encoded(reference)
        place = self._known.get(reference)
        return LONG_REFERENCE | (self._add(reference, reference) if place is None else place)

    def _add(self, key: object, text: str) -> int:
        raw = text.encode("utf-8", "replace")
        place = self.length // 4
        if self.length + len(raw) + 8 > _TEXTS_MAX:
            raise BadList("the list has too many different texts for an index")
        padded = -(2 + len(raw)) % 4
        self._room.write(len(raw).to_bytes(2, "little") + raw + bytes(padded))
        self.length += 2 + len(raw) + padded
        if len(self._known) < _KNOWN_MAX:
            self._known[key] = place
        return place


class _Piles:
    """Records in piles by the first byte of their mixed key, on the disk as soon as they are many."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._held = folder, [bytearray() for _ in range(_PILES)]
        self._bytes = self.count = 0

    def add(self, record: bytes) -> None:
        self._held[record[0]] += record
        self._bytes += _RECORD
        self.count += 1
        if self._bytes >= _SPILL:
            self._spill()

    def _spill(self) -> None:
        for number, held in enumerate(self._held):
            if held:
                with (self._folder / f"pile-{number}").open("ab") as file:
                    file.write(held)
                held.clear()
        self._bytes = 0

    def ordered(self) -> Iterator[bytes]:
        """Every record in the order of its mixed key; the same one twice comes once."""
        for number, held in enumerate(self._held):
            path = self._folder / f"pile-{number}"
            whole = (path.read_bytes() if path.exists() else b"") + bytes(held)
            with suppress(FileNotFoundError):
                path.unlink()
            held.clear()
            last = b""
            for record in sorted(whole[at : at + _RECORD] for at in range(0, len(whole), _RECORD)):
                if record != last:
                    yield record
                last = record


class _Reading:
    """One file, line by line, and what is told of it: numbers, and reasons that quote nothing."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._reader: Callable[[str], Entry] | None = None if layout.named_columns else reader_of(layout)
        self.lines = 0
        self.bad, self.skipped = Counter[str](), Counter[str]()
        self.bad_lines: list[int] = []
        self.as_of: datetime | None = None
        self.count: int | None = None
        """What the trailer says."""

    def entry(self, raw: bytes | None) -> Entry | None:
        """What stands in the next line; None where it is no entry, which is counted."""
        self.lines += 1
        try:
            if raw is None:
                raise BadLine("it is too short or too long")  # noqa: TRY301 - counted like the others
            line = raw.decode(self._layout.encoding)
            return None if self._is_ending(line) or self._reader is None else self._reader(line)
        except UnicodeDecodeError:
            why = f"it is not {self._layout.encoding}"
        except BadLine as error:
            why = str(error)
        except Skipped as error:
            self.skipped[str(error)] += 1
            return None
        self.bad[why] += 1
        if len(self.bad_lines) < TOLD:
            self.bad_lines.append(self.lines)
        return None

    def _is_ending(self, line: str) -> bool:
        try:
            return self._is_header(line) or self._is_trailer(line)
        except BadLine as error:
            raise BadList(f"the list does not begin or end as its layout says: {error}") from error

    def _is_header(self, line: str) -> bool:
        header = self._layout.header
        if self._reader is None:
            names = next(csv.reader((line.removeprefix("\ufeff"),), delimiter=self._layout.delimiter))
            self._reader = reader_of(self._layout, names)
            return True
        if header is not None and self.lines <= header.lines:
            if (found := header.found(line)) is None:
                raise BadList("the list does not begin with the header of its layout")
            self.as_of = found[0] or self.as_of
            return True
        return False

    def _is_trailer(self, line: str) -> bool:
        trailer = self._layout.trailer
        if trailer is not None and (found := trailer.found(line)) is not None:
            self.count = found[1]
            return True
        return False

    def judge(self, entries: int, wanted: int | None) -> None:
        """Raise `BadList` where this is not a whole list of this layout. `entries`: lines that are indexed."""
        bad, lines = self.bad.total(), max(1, self.lines)
        if not entries and not bad:
            raise BadList("no line of the list holds a plate to look for")
        if bad > max(1, lines * BAD_MOST) or not entries:
            raise BadList(f"{bad} of {self.lines} lines cannot be read: this is not a list of this layout")
        whole = entries + self.skipped.total() - self.skipped["empty"] + bad
        if self._layout.trailer is not None and self.count is None:
            raise BadList("the list was cut off: its last line is missing")
        for who, count in (("its trailer", self.count), ("its manifest", wanted)):
            if count is not None and count not in (whole, entries):
                raise BadList(f"the list has {whole} entries, and {who} says {count}")

    def told(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "bad": dict(self.bad),
            "bad_lines": self.bad_lines,
            "skipped": dict(self.skipped),
        }


def build(
    source: Path, layout: Layout, target: Path, about: dict[str, Any], *, entries: int | None = None
) -> dict[str, Any]:
    """Make the index of a list at `target`; return what is told of it. Raises `BadList`, and leaves nothing then.

    `about` is kept in the index; `as_of` and `expires_at` in it are seconds, or None. `entries`: its number.
    """
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as work:
        folder, reading, digest = Path(work), _Reading(layout), hashlib.sha256()
        with (folder / "texts").open("w+b") as room:
            texts, piles = _Texts(room), _Piles(folder)
            for line in _lines(source, digest):
                if (entry := reading.entry(line)) is not None:
                    packed = texts.of(entry) | texts.reference(entry.reference) << 24
                    piles.add(
                        mixed(entry.plate).to_bytes(8, "big")
                        + ROW.pack(encoded(entry.plate), packed.to_bytes(10, "little"))
                    )
            reading.judge(piles.count, entries)
            if about.get("source_sha256") not in (None, digest.hexdigest()):
                raise BadList("the list is not the one that its manifest describes: its digest is another one")
            dated = None if reading.as_of is None else int(reading.as_of.timestamp())
            as_of = about.get("as_of") or dated or about.get("modified_at")
            told = {**reading.told(), "as_of": as_of, "source_sha256": digest.hexdigest()}
            try:
                told["plates"] = _write(target, piles, texts, room, folder, {**about, **told})
            except BaseException:
                target.unlink(missing_ok=True)
                raise
    return told


def _lines(source: Path, digest: Any) -> Iterator[bytes | None]:  # noqa: ANN401 - hashlib keeps its type to itself
    """Every line without its end; None for one that is too long."""
    try:
        with os.fdopen(open_plain(source), "rb") as file:
            while line := file.readline(LINE_MAX):
                digest.update(line)
                if line.endswith(b"\n") or len(line) < LINE_MAX:
                    yield line.rstrip(b"\r\n\x1a")
                    continue
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE_MAX)
                    digest.update(line)
                yield None
    except OSError as error:
        raise BadList(f"the list cannot be read: {error.strerror}") from error


def _write(target: Path, piles: _Piles, texts: _Texts, room: IO[bytes], folder: Path, about: dict[str, Any]) -> int:
    """Write the file, force it to the disk, and return how many plates it has."""
    buckets = max(1, piles.count // PER_BUCKET)
    starts, marks, n = array("I", bytes(4 * (buckets + 1))), bytearray(), 0
    if piles.count > PLATES_MAX:
        raise BadList(f"a list of {piles.count} plates is larger than an index can be")
    with (folder / "rows").open("w+b") as rows, (folder / "marks").open("w+b") as marked:
        for record in piles.ordered():
            product = int.from_bytes(record[:8], "big") * buckets
            starts[(product >> 64) + 1] += 1
            marks += (product >> 32 & 0xFFFFFFFF).to_bytes(4, "little")
            rows.write(record[8:])
            n += 1
            if len(marks) >= _BLOCK:
                marked.write(marks)
                marks.clear()
        marked.write(marks)
        for bucket in range(buckets):
            starts[bucket + 1] += starts[bucket]
        if sys.byteorder == "big":
            starts.byteswap()
        said = json.dumps({**about, "plates": n}, sort_keys=True).encode()
        with target.open("xb") as file:
            digest = hashlib.sha256(memoryview(starts).cast("B"))
            file.write(bytes(HEAD_LENGTH))
            file.write(starts)
            for column in (marked, rows, room):
                column.seek(0)
                while block := column.read(_BLOCK):
                    digest.update(block)
                    file.write(block)
            digest.update(said)
            file.write(said)
            file.seek(0)
            as_of = about.get("as_of") or 0
            file.write(HEAD.pack(MAGIC, n, buckets, as_of, texts.length, digest.digest(), len(said)))
            file.flush()
            os.fsync(file.fileno())
    return n


def main() -> int:
    """Do what standard input asks for; say on standard output how it went."""
    with suppress(OSError):  # a unit may forbid it
        os.nice(10)
    asked = json.load(sys.stdin)
    try:
        told = build(
            Path(asked["source"]),
            Layout.model_validate(asked["layout"]),
            Path(asked["target"]),
            asked["about"],
            entries=asked["entries"],
        )
    except BadList as error:
        told = {"error": str(error)}
    except OSError as error:
        told = {"error": f"the index cannot be written: {error.strerror}"}
    json.dump(told, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
