"""A bag's files against its manifests (RFC 8493): nothing changed, nothing lost, nothing added."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from blake3 import blake3
from cryptography.exceptions import UnsupportedAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = [
    "Check",
    "Files",
    "Folder",
    "Outcome",
    "Report",
    "Sums",
    "check_files",
    "exit_code",
    "lines_of",
    "read_plain",
    "read_small",
    "read_whole",
]

_TAGS: Final = frozenset({"tagmanifest-sha256.txt", "tagmanifest-sha512.txt"})
_ALGORITHMS: Final = {"sha256": 64, "sha512": 128}
_SMALL: Final = 64 << 20
_DEEP: Final = 16
"""Folders in one another: an export has two."""
_BLOCK: Final = 1 << 20
_DECLARATION: Final = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_PATH: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
"""What a listed file may be called: no hidden one, none outside the bag, none that a shell would read differently."""


class Outcome(StrEnum):
    """What came of one check."""

    OK = "OK"
    NOTE = "NOTE"
    """Nothing is wrong, and the reader should know it."""
    MISSING = "MISSING"
    """Nothing is wrong, but something that would prove more is not there."""
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    outcome: Outcome
    what: str
    subject: str
    """The file or the name that it was about."""
    found: str


class Report(list[Check]):
    """Checks in their order."""

    def add(self, outcome: Outcome, what: str, subject: str, found: str) -> None:
        """Tell of one."""
        self.append(Check(outcome, what, subject, found))

    def attempt(self, what: str, subject: str, act: Callable[[], str | None]) -> bool:
        """Do one check: what it returns is told as OK, what it raises as FAILED. Whether it held."""
        try:
            found = act()
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, UnsupportedAlgorithm) as error:
            # A BadNote and a BadProof are ValueErrors; the others are entries of another shape than ours.
            self.add(Outcome.FAILED, what, subject, str(error) or type(error).__name__)
            return False
        if found is not None:
            self.add(Outcome.OK, what, subject, found)
        return True


def exit_code(checks: Iterable[Check]) -> int:
    """0 proven, 1 something is wrong, 3 nothing is wrong but something is missing."""
    outcomes = {check.outcome for check in checks}
    return 1 if Outcome.FAILED in outcomes else 3 if Outcome.MISSING in outcomes else 0


class Files(Protocol):
    """Where a bag lies."""

    names: list[str]
    """Every plain file, sorted."""
    odd: list[str]
    """What is neither a plain file nor a folder, or lies too deep."""

    def open(self, name: str, /) -> BinaryIO:
        """A file of the bag."""


class Folder:
    """A bag in a folder; no link is followed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.odd: list[str] = []
        self.names = sorted(self._walk(root, ""))

    def open(self, name: str, /) -> BinaryIO:
        """See `Files`."""
        return (self._root / name).open("rb")

    def _walk(self, folder: Path, above: str) -> Iterator[str]:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = above + entry.name
                if entry.is_dir(follow_symlinks=False) and above.count("/") < _DEEP:
                    yield from self._walk(folder / entry.name, f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield name
                else:
                    self.odd.append(name)


@dataclass(frozen=True, slots=True)
class Sums:
    """What a file is now."""

    length: int
    digests: dict[str, str]
    """By algorithm, hexadecimal; BLAKE3 for captures only."""


def read_plain(path: Path) -> bytes:
    """A small file by itself. `ValueError` where it is too large to be one, or no plain file."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is no plain file")
    with path.open("rb") as file:
        raw = file.read(_SMALL + 1)
    if len(raw) > _SMALL:
        raise ValueError(f"{path.name} is too large to be read")
    return raw


def read_small(files: Files, name: str) -> bytes:
    """A file, whole; empty where there is none. `ValueError` for one that is too large to be what its name says."""
    return read_whole(files, name) if name in files.names else b""


def read_whole(files: Files, name: str) -> bytes:
    """A file that is there. `ValueError` for one that is too large to be what its name says."""
    with files.open(name) as file:
        raw = file.read(_SMALL + 1)
    if len(raw) > _SMALL:
        raise ValueError("is too large to be read")
    return raw


def lines_of(files: Files, name: str, digits: int) -> dict[str, str]:
    """The digest of each file that a list such as sha256sum's names. `ValueError` for any other spelling."""
    *rows, last = read_small(files, name).decode("ascii").split("\n")
    found: dict[str, str] = {}
    for row in rows:
        line = re.fullmatch(rf"([0-9a-f]{{{digits}}})  ({_PATH})", row)
        if line is None:
            raise ValueError("has a line that is not a digest, two spaces and a name")
        found[line[2]] = line[1]
    if last or len(found) != len(rows):
        raise ValueError("lists a file twice, or does not end in a newline")
    return found


def check_files(files: Files, report: Report) -> dict[str, Sums]:
    """Look at every file once, and at every list of files. What each file is now."""
    for name in files.odd:
        report.add(Outcome.FAILED, "files", name, "is not a plain file")
    sums: dict[str, Sums] = {}
    for name in files.names:
        sums[name] = _sums(files, name)
    for tag in ("", "tag"):
        for algorithm in _ALGORITHMS:
            _check_manifest(files, f"{tag}manifest-{algorithm}.txt", algorithm, sums, report)
    report.attempt("files", "bag-info.txt", lambda: _check_info(files, sums))
    if not any(check.outcome is Outcome.FAILED for check in report):
        report.add(Outcome.OK, "files", str(len(files.names)), "files, each as it was bagged")
    return sums


def _sums(files: Files, name: str) -> Sums:
    hashers = {algorithm: hashlib.new(algorithm) for algorithm in _ALGORITHMS}
    fast = blake3() if name.startswith("data/") else None
    length = 0
    with files.open(name) as file:
        while block := file.read(_BLOCK):
            length += len(block)
            for hasher in hashers.values():
                hasher.update(block)
            if fast is not None:
                fast.update(block)
    digests = {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}
    return Sums(length, digests if fast is None else digests | {"blake3": fast.hexdigest()})


def _check_manifest(files: Files, manifest: str, algorithm: str, sums: dict[str, Sums], report: Report) -> None:
    listed: dict[str, str] = {}

    def read() -> None:
        if manifest not in files.names:
            raise ValueError("is not here")
        listed.update(lines_of(files, manifest, _ALGORITHMS[algorithm]))

    report.attempt("files", manifest, read)
    payload = manifest.startswith("manifest")
    here = {name for name in files.names if name.startswith("data/") is payload and name not in _TAGS}
    for name in sorted(here | set(listed)):
        if name not in listed:
            report.add(Outcome.FAILED, "files", name, f"is not listed in {manifest}")
        elif name not in here:
            report.add(Outcome.FAILED, "files", name, f"is only listed in {manifest}")
        elif sums[name].digests[algorithm] != listed[name]:
            report.add(Outcome.FAILED, "files", name, f"is not what {manifest} says")


def _check_info(files: Files, sums: dict[str, Sums]) -> None:
    if read_small(files, "bagit.txt") != _DECLARATION:
        raise ValueError("not BagIt 1.0")
    lengths = [one.length for name, one in sums.items() if name.startswith("data/")]
    oxum = f"\nPayload-Oxum: {sum(lengths)}.{len(lengths)}\n"
    if oxum not in "\n" + read_small(files, "bag-info.txt").decode():
        raise ValueError("Payload-Oxum is not the length of what is here")
