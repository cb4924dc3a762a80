"""Reads that are no hits, where the law lets a service keep them: sealed by spans of time, and forgotten by their keys.

    sealed/<start>-<run>.reads     records: length (4), number (8), AES-256-GCM of the read as JSON
    sealed/<start>-<run>.key       32 bytes; each run of the program has its own, so no number is used twice with one

A span's key is overwritten and deleted when its last read has become too old; then nobody can open what is left, and
the file goes as well. Pictures are never kept. What was forgotten is told by its number, which is that of its records.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent import durable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

__all__ = ["Sealed", "Span"]

_HEAD: Final = 12
_RECORD_MAX: Final = 4 << 20
"""Bytes of one record."""
_TAG: Final = 16
_PLATE_MAX: Final = 64
"""Characters of a plate that are kept of a read that is longer than any read: more than any plate has."""


@dataclass(frozen=True, slots=True)
class Span:
    """Reads that are forgotten together."""

    name: str
    """Of its files; no other span ever has it."""
    begin: datetime
    end: datetime
    count: int


class Sealed:
    """The reads that are kept for a while."""

    def __init__(self, folder: Path, *, window: timedelta, keep: timedelta) -> None:
        self._folder, self._window, self._keep = folder, int(window.total_seconds()), int(keep.total_seconds())
        self._start = self._fd = -1
        self._cipher: AESGCM | None = None
        self._count = self._length = 0
        """Records of the span that is open, and their bytes."""

    @property
    def on(self) -> bool:
        """Whether any are kept at all."""
        return self._keep > 0

    def add(self, read: dict[str, Any], at: datetime) -> None:
        """Seal one read. It stands in the page cache when this returns, and is no evidence.

        Raises `OSError`: then nothing of it is kept, and what was kept before and comes later can be read. Of a read
        that is longer than any, what it is found by is kept: no camera shall send it again for ever.
        """
        start = int(at.timestamp()) // self._window * self._window
        if start != self._start or self._cipher is None:
            self._cipher = self._begun(start)
        nonce, text = self._count.to_bytes(8, "big"), json.dumps(read).encode()
        if len(text) > _RECORD_MAX - _TAG:
            text = json.dumps(_shortened(read)).encode()
        self._count += 1  # also where it cannot be written: no number is used twice with one key
        sealed = self._cipher.encrypt(bytes(4) + nonce, text, str(start).encode())
        record = len(sealed).to_bytes(4, "big") + nonce + sealed
        try:
            durable.write_all(self._fd, record, self._length)
        except OSError:
            os.ftruncate(self._fd, self._length)  # a part of a record would hide all that come after it
            raise
        self._length += len(record)

    def close(self) -> None:
        """Let go of the span that is open; its key stays until its time."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._start, self._cipher = -1, -1, None

    def due(self, now: datetime) -> list[Span]:
        """Every span whose last read is too old, with the number of its reads."""
        if not self._folder.is_dir():
            return []
        return [
            Span(
                path.stem,
                datetime.fromtimestamp(start, UTC),
                datetime.fromtimestamp(start + self._window, UTC),
                sum(1 for _ in _records(path)),
            )
            for start, path in self._spans()
            if self._is_over(start, path, now.timestamp())
        ]

    def _is_over(self, start: int, path: Path, now: float) -> bool:
        """Whether its last read is too old.

        One that begins later than now was written by a clock that was ahead: it is as old as the time since that was
        seen, which its file bears as its own. Where it is now that the clock is behind, this ends with that.
        """
        if start <= now:
            return start + self._window + self._keep <= now
        with suppress(OSError):
            seen = path.stat().st_mtime
            if seen > now:
                os.utime(path, (now, now))
                seen = now
            return seen + self._window + self._keep <= now
        return False

    def destroy(self, span: Span) -> None:
        """Forget it: the key first, for without it nobody reads what is left."""
        if int(span.begin.timestamp()) == self._start:
            self.close()
        path = self._folder / f"{span.name}.reads"
        _destroy(path.with_suffix(".key"))
        path.unlink(missing_ok=True)
        with durable.folder(self._folder) as fd:
            durable.force_folder(fd)

    def reads(self) -> Iterator[dict[str, Any]]:
        """Everything that can still be opened, the oldest first."""
        for start, path in self._spans():
            try:
                cipher = AESGCM(path.with_suffix(".key").read_bytes())
            except (OSError, ValueError):
                continue
            for nonce, sealed in _records(path):
                with suppress(InvalidTag, ValueError):
                    yield json.loads(cipher.decrypt(bytes(4) + nonce, sealed, str(start).encode()))

    def _spans(self) -> Iterator[tuple[int, Path]]:
        for path in sorted(self._folder.glob("*.reads")):
            if (start := path.stem.partition("-")[0]).isdigit():
                yield int(start), path

    def _begun(self, start: int) -> AESGCM:
        self.close()
        durable.make_folder(self._folder)
        # A clock that was set back begins a span once more: it is another file, with another key.
        name, key = f"{start}-{secrets.token_hex(8)}", secrets.token_bytes(32)
        path = self._folder / f"{name}.reads"
        try:
            durable.replace_file(path.with_suffix(".key"), key)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(path, flags, 0o600)
        except OSError:
            for left in self._folder.glob(f"*{name}*"):  # no room, say: each read tries it anew
                left.unlink(missing_ok=True)
            raise
        self._start, self._count, self._length = start, 0, 0
        return AESGCM(key)


def _shortened(read: dict[str, Any]) -> dict[str, Any]:
    """What a read is found by, and by whom it was read."""
    told = read["read"]
    plate = {"number": told["plate"]["normalized"][:_PLATE_MAX]}
    return {"camera": read["camera"], "read": {"captured_at": told["captured_at"], "plate": plate, "shortened": True}}


def _records(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """(nonce, sealed) of every whole record; a cut one ends the file."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        while len(head := file.read(_HEAD)) == _HEAD:
            length = int.from_bytes(head[:4], "big")
            sealed = file.read(min(length, _RECORD_MAX))
            if len(sealed) != length:
                return
            yield head[4:], sealed


def _destroy(key: Path) -> None:
    """Overwrite, force, unlink. On flash old cells may live on: docs/hotlists.md says where to put the folder."""
    try:
        fd = os.open(key, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        durable.write_all(fd, bytes(32), 0)
        durable.force(fd)
    finally:
        os.close(fd)
    key.unlink(missing_ok=True)
