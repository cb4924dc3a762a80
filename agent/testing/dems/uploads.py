"""The store of an emulated DEMS: one file for each upload, under a name made here, and what the database says of it.

The offset of an upload is what the database says, never the length of its file: bytes of a part that is not verified
yet already lie at their final place beyond it. A file without a row was never answered for.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.testing.dems.fixity import Fixity
from agent.testing.dems.record import Record, Row, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.testing.dems.claims import Claims

__all__ = ["Door", "State", "Store", "Upload", "Violation"]

_UPLOAD: Final = """
SELECT id, capture, sha256, blake3, length, "offset", state, received, created_at, expires_at, stored_at FROM uploads
"""
_DOOR: Final = 'SELECT token, upload, log, "index", metadata, note FROM doors'


class State(StrEnum):
    """Where an upload stands."""

    OPEN = "open"
    STORED = "stored"
    """Complete, and where a SHA-256 was claimed it is the right one."""
    MISMATCH = "mismatch"
    """Complete, and not what was claimed: set aside."""
    EXPIRED = "expired"
    TERMINATED = "terminated"
    DAMAGED = "damaged"
    """Our own disk failed it: set aside."""


_TOGETHER: Final = 4
"""Files from which on the file system is forced as a whole: what others wrote to it has to be waited for then."""
_FILE_KEPT: Final = (State.OPEN, State.STORED, State.MISMATCH, State.DAMAGED)


@dataclass(slots=True)
class Upload:
    """One upload. While requests work on it there is one such object, and `busy` is its lock."""

    id: str
    capture: str | None
    sha256: bytes | None
    blake3: bytes | None
    length: int
    offset: int = 0
    state: State = State.OPEN
    received: int = 0
    created_at: float = 0.0
    expires_at: float = 0.0
    stored_at: float | None = None
    recorded: bool = True
    """It has a row: somebody may have been told of it."""
    busy: bool = False
    """A request writes to it."""
    fixity: Fixity | None = field(default=None, repr=False)


@dataclass(slots=True)
class Door:
    """One URL of an upload, and the log entry of the one who came through it."""

    token: str
    upload: Upload
    log: str | None
    index: int | None
    metadata: str
    note: bytes | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that no uplink may do."""

    at: datetime
    kind: str
    """`committed-bytes-changed`, `finished-upload-written`, `capture-with-other-claims`, `released-without-receipt`."""
    capture: str | None
    sentence: str


class Store:
    """The uploads below one folder. Nothing else may work in that folder at the same time."""

    def __init__(self, folder: Path, *, expires_after: float, clock: Callable[[], float] = time.time) -> None:
        durable.make_folder(folder / "files")
        self.folder = folder
        self.clock = clock
        self._expires_after = expires_after
        self._files_fd = os.open(folder / "files", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._forces_all = durable.forces_all(self._files_fd)
        self.record = Record(folder / "dems.sqlite", self._files_fd)
        self._live: dict[str, Upload] = {}
        self._sweep()

    def close(self) -> None:
        """Write what is asked for, and close."""
        self.record.close()
        os.close(self._files_fd)

    def _sweep(self) -> None:
        """Remove the files that nobody was told of: a crash left them before their row was committed."""
        states = ", ".join(f"'{state}'" for state in _FILE_KEPT)
        known = {row[0] for row in self.record.rows(f"SELECT id FROM uploads WHERE state IN ({states})")}  # noqa: S608
        for path in (self.folder / "files").iterdir():
            if path.name not in known:
                path.unlink()

    # --- finding ---------------------------------------------------------------------------------------------------

    def door(self, token: str) -> Door | None:
        """Return the door with this token, its upload in whatever state."""
        found = self.record.rows(f"{_DOOR} WHERE token = ?", token)
        return self._door(found[0]) if found else None

    def door_for(self, upload: Upload, claims: Claims) -> Door | None:
        """Return the door that a log entry has to an upload."""
        sql = f'{_DOOR} WHERE upload = ? AND log = ? AND "index" = ?'
        found = self.record.rows(sql, upload.id, claims.log, claims.index)
        return self._door(found[0]) if found else None

    def known(self, capture: str) -> Upload | None:
        """Return the one upload of a capture that is open or stored."""
        found = self.record.rows(f"{_UPLOAD} WHERE capture = ? AND state IN ('open', 'stored')", capture)
        return self._upload(found[0]) if found else None

    def late(self) -> list[Upload]:
        """Return the open uploads whose time is over."""
        found = self.record.rows(f"{_UPLOAD} WHERE state = 'open' AND expires_at < ?", self.clock())
        return [self._upload(row) for row in found]

    def _door(self, row: Row) -> Door:
        token, upload, log, index, metadata, note = row
        found = self.record.rows(f"{_UPLOAD} WHERE id = ?", upload)
        return Door(str(token), self._upload(found[0]), log, index, str(metadata), note)  # type: ignore[arg-type]

    def _upload(self, row: Row) -> Upload:
        made = Upload(*row)  # type: ignore[arg-type]
        made.state = State(made.state)
        return self._live.setdefault(made.id, made) if made.state is State.OPEN else made

    # --- making ----------------------------------------------------------------------------------------------------

    def new(self, length: int, claims: Claims | None, metadata: str) -> Door:
        """Make a file for a new upload. It is nobody's until `commit`."""
        door = self.named(length, claims, metadata)
        os.close(self.create(door.upload))
        return door

    def create(self, upload: Upload) -> int:
        """Make the file of an upload that is new, open for writing and reading."""
        return durable.create(upload.id, self._files_fd)

    def force(self, fds: Sequence[int]) -> None:
        """Bring several new files to the disk: together, where the file system can be forced as a whole.

        Raises `ForceFailed`; then it may be any of them.
        """
        if self._forces_all and len(fds) >= _TOGETHER:
            durable.force_all(self._files_fd)
            return
        for fd in fds:
            durable.force(fd)

    def named(self, length: int, claims: Claims | None, metadata: str) -> Door:
        """Return a new upload that has no file yet."""
        now = self.clock()
        name = secrets.token_hex(16)
        upload = Upload(
            id=name,
            capture=None if claims is None else claims.capture,
            sha256=None if claims is None else claims.sha256,
            blake3=None if claims is None else claims.blake3,
            length=length,
            created_at=now,
            expires_at=now + self._expires_after,
            recorded=False,
        )
        log, index = (None, None) if claims is None else (claims.log, claims.index)
        return Door(name, upload, log, index, metadata)

    def forget(self, upload: Upload) -> None:
        """Remove the file of an upload that nobody was told of."""
        with suppress(FileNotFoundError):
            os.unlink(upload.id, dir_fd=self._files_fd)

    async def add_door(self, upload: Upload, claims: Claims, metadata: str) -> Door:
        """Give a second dock that holds the same capture its own door to the upload of the first."""
        made = Door(secrets.token_hex(16), upload, claims.log, claims.index, metadata)
        await self.record.commit(_door_row(made, self.clock()))
        return made

    # --- writing ---------------------------------------------------------------------------------------------------

    def open(self, upload: Upload) -> int:
        """Open the file of an upload for writing and reading."""
        return os.open(upload.id, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._files_fd)

    def fixity(self, upload: Upload) -> Fixity:
        """Return the digests of the upload's file, as far as they were read."""
        if upload.fixity is None:
            upload.fixity = self.fresh_fixity(upload)
        return upload.fixity

    def fresh_fixity(self, upload: Upload) -> Fixity:
        """Return digests of the upload's file of which nothing was read yet."""
        return Fixity(upload.id, self._files_fd, with_blake3=upload.blake3 is not None)

    async def commit(self, door: Door, offset: int, state: State = State.OPEN) -> None:
        """Make an upload's new offset, its state and the receipt of its door durable; only then are they answered.

        The bytes must have been forced before.
        """
        upload = door.upload
        statements = self._statements(door, offset, state, self.clock())
        await self.record.commit(*statements, names=not upload.recorded)
        self._committed(upload, offset, state)

    async def commit_stored(self, doors: Sequence[Door]) -> None:
        """The same for new uploads that are complete, all of them at once."""
        now = self.clock()
        statements = [one for door in doors for one in self._statements(door, door.upload.length, State.STORED, now)]
        await self.record.commit(*statements, names=True)
        for door in doors:
            self._committed(door.upload, door.upload.length, State.STORED)

    def _statements(self, door: Door, offset: int, state: State, now: float) -> list[Statement]:
        upload, statements = door.upload, list[Statement]()
        upload.expires_at = now + self._expires_after
        upload.stored_at = now if state is State.STORED else None
        expires_at, stored_at = upload.expires_at, upload.stored_at
        if upload.recorded:
            sql = 'UPDATE uploads SET "offset" = ?, state = ?, received = ?, expires_at = ?, stored_at = ? WHERE id = ?'
            statements.append((sql, (offset, state, upload.received, expires_at, stored_at, upload.id)))
            if door.note is not None:
                statements.append(_note_row(door, now))
        else:
            claimed = (upload.id, upload.capture, upload.sha256, upload.blake3, upload.length)
            row = (*claimed, offset, state, upload.received, upload.created_at, expires_at, stored_at)
            statements += [
                ("INSERT INTO uploads VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row),
                _door_row(door, now),
            ]
        return statements

    def _committed(self, upload: Upload, offset: int, state: State) -> None:
        upload.offset, upload.state, upload.recorded = offset, state, True
        if state is State.OPEN:
            self._live.setdefault(upload.id, upload)
        else:
            self._live.pop(upload.id, None)
            upload.fixity = None

    async def keep_note(self, door: Door) -> None:
        """Make the receipt of a door to a stored upload durable."""
        await self.record.commit(_note_row(door, self.clock()))

    async def end(self, upload: Upload, state: State) -> None:
        """Give an open upload up. The file of one that expired or was terminated goes; others are kept as they are."""
        await self.record.commit(("UPDATE uploads SET state = ? WHERE id = ?", (state, upload.id)))
        upload.state = state
        self._live.pop(upload.id, None)
        if state not in _FILE_KEPT:
            with suppress(FileNotFoundError):
                os.unlink(upload.id, dir_fd=self._files_fd)

    def corrupt(self, upload: Upload, at: int) -> None:
        """Turn one bit of a stored byte over, as a bad disk would, and forget what was read before."""
        fd = self.open(upload)
        try:
            if byte := os.pread(fd, 1, at):
                os.pwrite(fd, bytes([byte[0] ^ 0x01]), at)
        finally:
            os.close(fd)
        upload.fixity = None

    async def complain(self, kind: str, capture: str | None, sentence: str) -> None:
        """Write down what no uplink may do."""
        sql = "INSERT INTO violations (at, kind, capture, sentence) VALUES (?, ?, ?, ?)"
        await self.record.commit((sql, (self.clock(), kind, capture, sentence)))

    def violations(self) -> list[Violation]:
        """Return every complaint, the oldest first."""
        found = self.record.rows("SELECT at, kind, capture, sentence FROM violations ORDER BY id")
        return [Violation(datetime.fromtimestamp(at, UTC), *rest) for at, *rest in found]  # type: ignore[arg-type]


def _door_row(door: Door, now: float) -> Statement:
    row = (door.token, door.upload.id, door.log, door.index, door.metadata, door.note)
    return "INSERT INTO doors VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, None if door.note is None else now)


def _note_row(door: Door, now: float) -> Statement:
    return "UPDATE doors SET note = ?, noted_at = ? WHERE token = ?", (door.note, now, door.token)
