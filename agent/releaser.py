"""The program that deletes on a device, and the only one that may: it reads requests, proves them, deletes, answers.

    python -m agent.releaser TRUST.json             (console script: evidock-release)
    python -m agent.releaser --listen TRUST.json    one connection after another at the socket that systemd hands over

It has no network (nothing here imports one); once it has read what it trusts it gives up, for good, to open sockets,
to write, to make or rename files and to start programs (`agent.confine`). It shares no state with the daemon: of each
line on its standard input it believes only what it can verify by the keys of its own trust file, which a person wrote.
It deletes a file when all of this is true:

1. the entry `held` of the custody log names the file's path, its SHA-256 and its length;
2. that entry lies under a checkpoint that the policy's quorum of witnesses cosigned (where the trust file asks for it);
3. a receipt, signed with a key of the trust file, names the same capture, SHA-256, length and entry;
4. the file, read to its end from the device and not from memory, has this SHA-256 and length, and did not change
   meanwhile.

Then it unlinks it and forces the folder to the device, which is what makes a deletion last on FAT. If power fails in
between, the file is there or it is not; asked again it deletes it, or answers `absent` after it forced the folder. What
is asked together shares the forcing of folders, and none of it is answered before.

Answers, one JSON line each: `released`, `absent`, `differs` (with `sha256`), `gone` (another volume, or none, is there
now), `refused`; all but the first two leave everything as it was, and say `why`. A line `reading` comes every few
seconds while a file does: so a long film is told from a device that hangs.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote_to_bytes

from agent import durable
from agent.confine import confine
from agent.custody.proof import check_proof
from agent.custody.receipt import check_receipt, earliest
from agent.custody.trust import Trust
from agent.descent import FILE, FOLDER, open_at
from agent.errors import BadReceipt
from agent.merkle import BadProof
from agent.note import BadNote, Verifier

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from agent.custody.policy import Policy

__all__ = ["Believed", "Releaser", "main"]

_BLOCK: Final = 1 << 20
_PULSE: Final = 5.0
"""Seconds of reading after which it is told that it goes on."""
_IDLE: Final = 2.0
"""Seconds without a question after which the program that listens ends."""
_LINE_MAX: Final = 1 << 20
_HANDED_OVER: Final = 3
"""The first descriptor that systemd hands over (sd_listen_fds(3))."""
_UNPLUGGED: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.ENOTCONN, errno.ENOMEDIUM, errno.ESTALE}
)


class _No(Exception):
    """It is not deleted: the result, and why."""

    def __init__(self, result: str, why: str, **more: str) -> None:
        super().__init__(why)
        self.answer = {"result": result, "why": why, **more}


@dataclass(frozen=True, slots=True)
class Believed:
    """What the trust file says."""

    log: str
    """Name of the log, which is that of its keys."""
    policy: Policy | None
    receipt_keys: tuple[Verifier, ...]
    witness_required: bool

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file. Raises `ValueError` where it cannot be used; `BadNote` is one."""
        said = json.loads(path.read_bytes())
        logs = [Verifier.parse(vkey) for vkey in said["logs"]]
        (log,) = {key.name for key in logs}
        keys = tuple(Verifier.parse(vkey) for vkey in said["receipt_keys"])
        roots = tuple(Verifier.parse(vkey) for vkey in said["roots"])
        witnesses = tuple(Verifier.parse(vkey) for vkey in said["witnesses"])
        note = None if said["policy"] is None else base64.b64decode(said["policy"], validate=True)
        required = said["witness_required"] is not False
        try:
            policy = Trust(note, roots, witnesses).policy(*logs)
        except BadNote:
            policy = None
        return cls(log, policy, keys, required)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One request, as it was read: nothing of it is proven."""

    capture: str
    index: int
    leaf: bytes
    length: int
    mtime_ns: int
    path: bytes
    plugged: str
    proof: bytes
    receipt: bytes
    root: bytes
    root_id: tuple[int, int]

    @classmethod
    def read(cls, line: bytes) -> Self:
        said = json.loads(line)
        device, inode = said["root_id"]
        raw = {name: base64.b64decode(said[name], validate=True) for name in ("leaf", "proof", "receipt")}
        return cls(
            capture=str(said["capture"]),
            index=int(said["index"]),
            length=int(said["length"]),
            mtime_ns=int(said["mtime_ns"]),
            path=unquote_to_bytes(said["path"]),
            plugged=str(said.get("plugged", "")),
            root=unquote_to_bytes(said["root"]),
            root_id=(int(device), int(inode)),
            **raw,
        )

    @property
    def volume(self) -> tuple[int, int, str]:
        """Which volume, plugged in which time: its numbers alone are given out again as soon as it is gone."""
        return (*self.root_id, self.plugged)


class Releaser:
    """Proves and deletes, one request at a time."""

    def __init__(self, believed: Believed, say: Callable[[bytes], object] = lambda _: None) -> None:
        self._believed, self.say = believed, say
        self._said_at = monotonic()
        self._broken: set[tuple[int, int, str]] = set()
        """Volumes that failed to confirm a deletion: the next one would report success over what was lost."""

    def answer(self, line: bytes) -> dict[str, str]:
        """Do what a line asks for, if it is proven."""
        return self.answers([line])[0]

    def answers(self, lines: Sequence[bytes]) -> list[dict[str, str]]:
        """Do what each line asks for, if it is proven, and return what came of each, once that is durable."""
        with ExitStack() as stack:
            folders = _Folders(stack)
            answers = [self._one(line, folders) for line in lines]
            for folder, unlinked in folders.touched.items():
                try:
                    durable.force_folder(folder)
                except OSError as error:
                    for number in unlinked:
                        answers[number] = _failed(error)
                        self._broken.add(folders.volumes[folder])
        return answers

    def _one(self, line: bytes, folders: _Folders) -> dict[str, str]:
        folders.number += 1
        try:
            wanted = _Wanted.read(line)
        except (ValueError, KeyError, TypeError) as error:
            return {"result": "refused", "why": f"the request cannot be read ({type(error).__name__})"}
        try:
            digest = self._prove(wanted)
            return {"result": self._delete(wanted, digest, folders)}
        except _No as no:
            return no.answer
        except OSError as error:
            return _failed(error)

    # -- what is proven -----------------------------------------------------------------------------------------------

    def _prove(self, wanted: _Wanted) -> bytes:
        """Return the SHA-256 that log and receipt agree upon for this path."""
        try:
            digest, length, held_at = _read_leaf(wanted)
        except (ValueError, KeyError, TypeError):
            raise _No("refused", "the entry is not one that says that this capture is held") from None
        if length != wanted.length:
            raise _No("refused", "the entry names another length than the file has")
        believed = self._believed
        try:
            if believed.witness_required:
                if believed.policy is None:
                    raise _No("refused", "the policy of the witnesses cannot be used")
                check_proof(wanted.proof, wanted.leaf, believed.policy, log=believed.log, index=wanted.index)
            check_receipt(
                wanted.receipt,
                believed.receipt_keys,
                capture=wanted.capture,
                sha256=digest,
                length=length,
                log=believed.log,
                index=wanted.index,
                not_before=earliest(held_at, datetime.now(UTC)),
            )
        except (BadNote, BadProof, BadReceipt) as bad:
            raise _No("refused", f"{bad}") from bad
        return digest

    def _pulse(self) -> None:
        if (now := monotonic()) - self._said_at >= _PULSE:
            self._said_at = now
            with suppress(OSError):  # that nobody hears it is seen when the answer is told
                self.say(told([{"result": "reading"}]))

    # -- what is deleted ----------------------------------------------------------------------------------------------

    def _delete(self, wanted: _Wanted, digest: bytes, folders: _Folders) -> str:
        *parts, name = wanted.path.split(b"/")
        if any(part in {b"", b".", b".."} or b"\0" in part for part in (*parts, name)):
            raise _No("refused", "the path is not one of a file below the volume")
        if wanted.volume in self._broken:
            raise _No("refused", "the device did not confirm a deletion; unplug it and plug it in again")
        folder = folders.of(wanted, parts)
        try:
            self._check_file(wanted, digest, name, folder)
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            folders.touch(folder, wanted)
            return "absent"  # an earlier request came as far as here: what is left to do is to make it last
        folders.touch(folder, wanted)
        return "released"

    def _check_file(self, wanted: _Wanted, digest: bytes, name: bytes, folder: int) -> None:
        """Return only when the file, read from the device, is what was proven."""
        fd = open_at(name, FILE, folder)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode) or before.st_dev != wanted.root_id[0]:
                raise _No("refused", "it is no plain file of this volume")
            if before.st_size != wanted.length or before.st_mtime_ns != wanted.mtime_ns:
                raise _No("refused", "it is not what was offered: its length or its time of change is another")
            durable.drop_cache(fd)
            total, length = sha256(), 0
            while length <= wanted.length and (block := os.read(fd, _BLOCK)):  # a file system that lies has no end
                total.update(block)
                length += len(block)
                self._pulse()
            durable.drop_cache(fd)
            after, named = os.fstat(fd), os.stat(name, dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(fd)
        if total.digest() != digest or length != wanted.length:
            found = total.hexdigest()
            raise _No("differs", f"read again it is SHA-256 {found} of {length} bytes", sha256=found)
        seen = {(one.st_ino, one.st_dev, one.st_size, one.st_mtime_ns) for one in (before, after, named)}
        if len(seen) != 1:
            raise _No("refused", "it changed while it was read again")


def _read_leaf(wanted: _Wanted) -> tuple[bytes, int, datetime]:
    """SHA-256, length and time of an entry `held` about this capture at this path."""
    said = json.loads(wanted.leaf)
    predicate, (subject,) = said["predicate"], said["subject"]
    told = predicate["capture"]
    same = (predicate["event"], predicate["seq"], subject["name"]) == ("held", wanted.index, wanted.capture)
    if not same or unquote_to_bytes(told["key"]) != wanted.path:
        raise ValueError("another entry")
    held_at = datetime.fromisoformat(predicate["recorded_at"])
    return bytes.fromhex(subject["digest"]["sha256"]), int(told["length"]), held_at


def _failed(error: OSError) -> dict[str, str]:
    why = os.strerror(error.errno) if error.errno else "an error of the system"
    return {"result": "gone" if error.errno in _UNPLUGGED else "refused", "why": why}


class _Folders:
    """The folders of one batch, open until it is done, and which requests deleted in them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._open: dict[tuple[bytes, tuple[int, int], tuple[bytes, ...]], int] = {}
        self.number = -1
        """Of the request under way."""
        self.touched: dict[int, list[int]] = {}
        """Numbers of requests by folder."""
        self.volumes: dict[int, tuple[int, int, str]] = {}

    def of(self, wanted: _Wanted, parts: list[bytes]) -> int:
        key = (wanted.root, wanted.root_id, tuple(parts))
        if key not in self._open:
            self._open[key] = self._stack.enter_context(_folder(wanted, parts))
        return self._open[key]

    def touch(self, folder: int, wanted: _Wanted) -> None:
        self.touched.setdefault(folder, []).append(self.number)
        self.volumes[folder] = wanted.volume


@contextmanager
def _folder(wanted: _Wanted, parts: list[bytes]) -> Iterator[int]:
    """The file's folder, opened step by step from the volume's root, so that no link can lead out of it."""
    here = os.open(wanted.root, FOLDER)
    try:
        there = os.fstat(here)
        if (there.st_dev, there.st_ino) != wanted.root_id:
            raise _No("gone", "another volume took this one's place")
        for part in parts:
            try:
                inner = open_at(part, FOLDER, here)
            except OSError as error:
                raise _No("refused", f"its folder cannot be opened ({os.strerror(error.errno or 0)})") from error
            os.close(here)
            here = inner
            if os.fstat(here).st_dev != wanted.root_id[0]:
                raise _No("refused", "another file system is mounted inside the volume")
        yield here
    finally:
        os.close(here)


def batches(read: Callable[[], bytes]) -> Iterator[list[bytes]]:
    """The lines that came together, again and again until the end; what is no line in the end is none."""
    waiting = b""
    while came := read():
        *lines, waiting = (waiting + came).split(b"\n")
        if lines:
            yield lines
        if len(waiting) > _LINE_MAX:
            return


def told(answers: list[dict[str, str]]) -> bytes:
    """Answers as lines."""
    return b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)


def serve(releaser: Releaser, listening: socket.socket) -> None:
    """Answer one connection after another until nobody came for a while: so long is the volume writable."""
    listening.settimeout(_IDLE)
    while True:
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            return
        with connection, suppress(OSError):  # who went away without waiting for the answer asks again
            connection.settimeout(_IDLE)
            releaser.say = connection.sendall
            for lines in batches(partial(connection.recv, _BLOCK)):
                connection.sendall(told(releaser.answers(lines)))


def main() -> None:
    """Answer each line of standard input until it ends; with `--listen`, of each connection."""
    listening: socket.socket | None = None
    match sys.argv[1:]:
        case ["--listen", trust] if os.environ.get("LISTEN_FDS") == "1":
            import socket  # noqa: PLC0415 - for what systemd opened; who is asked by a pipe has none

            listening = socket.socket(fileno=_HANDED_OVER)
        case [trust] if trust != "--listen":
            pass
        case _:
            sys.exit("usage: python -m agent.releaser [--listen] TRUST.json (--listen: with a socket of systemd)")
    try:
        believed = Believed.read(Path(trust))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"the trust file cannot be used ({type(error).__name__})")
    releaser = Releaser(believed, _write)
    try:
        confine()
    except OSError as error:  # the unit around it, where there is one, does the same and more
        sys.stderr.write(f"not confined by itself: {error}\n")
    if listening is not None:
        serve(releaser, listening)
        return
    for lines in batches(partial(os.read, sys.stdin.fileno(), _BLOCK)):
        releaser.say(told(releaser.answers(lines)))


def _write(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
