"""The bag: captures, entries, proofs, receipts, keys and words, and the sums over all of them (RFC 8493).

The same inputs give the same bytes. The folder appears under its name only once everything in it is on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from agent import durable
from agent.capture import printable
from agent.custody.export.case import describe
from agent.custody.export.certificate import certificate
from agent.custody.export.dossier import facts_of, sealed
from agent.custody.export.manifest import manifest, recordings
from agent.errors import AgentError, Refusal, SpoolDamaged, SpoolError, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from agent.custody.export.dossier import Dossier, Facts, Seal, Sealed
    from agent.note import Verifier

__all__ = ["Labels", "export"]

_ALGORITHMS: Final = ("sha256", "sha512")
_EXECUTABLE: Final = "verify.sh"


@dataclass(frozen=True, slots=True)
class Labels:
    """What stands on the bag."""

    bagged_at: datetime
    organisation: str
    version: str
    """Of Evidock."""


@dataclass(frozen=True, slots=True)
class _Sums:
    length: int
    sha256: str
    sha512: str
    blake3: str


def export(
    dossiers: Iterable[Dossier], read: Callable[[bytes], Iterator[bytes]], folder: Path, *, seal: Seal, labels: Labels
) -> Sequence[Facts]:
    """Write a bag to `folder`, which must not exist; `read` gives a kept file's bytes by its SHA-256.

    Everything is verified on the way: `SpoolDamaged`, `JournalError` or `BadReceipt` where something does not hold, and
    then no folder is there, nor where there is no room for it (`SpoolFull`). What is merely absent (a proof, a receipt,
    the bytes) is left out, and the bag says so.
    """
    under = sealed(seal)
    captures = _bounded(sorted((facts_of(one, under) for one in dossiers), key=lambda one: one.held.index))
    if not captures or len({one.id for one in captures}) != len(captures):
        raise Refusal("a bag holds at least one capture, and each once", hint="Nothing was written.")
    draft = folder.with_name(f".{folder.name}.unfinished")
    try:
        if folder.exists() or folder.is_symlink():
            raise Refusal(f"{folder} is there already", hint="Nothing was written. Name a folder that does not exist.")
        durable.make_folder(folder.absolute().parent, 0o777)
        draft.mkdir()
    except FileExistsError:
        raise Refusal(
            f"{draft} is there already", hint="Another export runs, or one was cut off: then delete that folder."
        ) from None
    except OSError as error:
        raise _unwritten(folder, error) from error
    try:
        _fill(draft, captures, read, under, labels)
        draft.rename(folder)
        with durable.folder(folder.absolute().parent) as parent_fd:
            durable.force_folder(parent_fd)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise _unwritten(folder, error) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return captures


def _unwritten(folder: Path, error: OSError) -> AgentError:
    """Whose side it was: a disk that is full, one that fails, or a place that is none for this."""
    said = f"{folder} cannot be written: {error.strerror}"
    if error.errno in durable.NO_ROOM:
        return SpoolFull(said, hint="Nothing was left there. Make room on that disk, or name a folder on another one.")
    if error.errno == errno.EIO:
        return SpoolError(said, hint="That disk fails. Name a folder on another one.")
    return Refusal(said, hint="Nothing was left there. Name another folder.")


def _bounded(captures: Sequence[Facts]) -> list[Facts]:
    """Each with the last quoted checkpoint of the bag that stands before it: a reader takes it as the bound."""
    last: Facts | None = None
    made: list[Facts] = []
    for one in captures:
        if one.dossier.quoted is not None:
            last = one
        elif last is not None:
            dossier = replace(one.dossier, quoted=last.dossier.quoted)
            one = replace(one, dossier=dossier, after=last.after)  # noqa: PLW2901 - the same, with its bound
        made.append(one)
    return made


def _fill(
    draft: Path, captures: Sequence[Facts], read: Callable[[bytes], Iterator[bytes]], under: Sealed, labels: Labels
) -> None:
    payload = {one.file: _copy(draft, one, read) for one in captures if one.file is not None}
    tags = {**_evidence(captures, under.seal), **_about(captures, under, labels)}
    total = sum(sums.length for sums in payload.values())
    tags["bagit.txt"] = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    tags["bag-info.txt"] = _info(labels, under.seal.log, f"{total}.{len(payload)}")
    tags["b3sums.txt"] = _listed({name: sums.blake3 for name, sums in payload.items()})
    for algorithm in _ALGORITHMS:
        tags[f"manifest-{algorithm}.txt"] = _listed({name: getattr(sums, algorithm) for name, sums in payload.items()})
    sums = {
        f"tagmanifest-{algorithm}.txt": _listed(
            {name: hashlib.new(algorithm, content).hexdigest() for name, content in tags.items()}
        )
        for algorithm in _ALGORITHMS
    }
    (draft / "data").mkdir(exist_ok=True)
    for name, content in (tags | sums).items():
        _write(draft / name, iter((content,)), 0o777 if name == _EXECUTABLE else 0o666)
    for inside in sorted(one for one in draft.rglob("*") if one.is_dir()):
        with durable.folder(inside) as fd:
            durable.force_folder(fd)
    with durable.folder(draft) as fd:
        durable.force_folder(fd)


def _copy(draft: Path, one: Facts, read: Callable[[bytes], Iterator[bytes]]) -> _Sums:
    """Copy the bytes of a capture out of the spool, and compare them with its entry."""
    sha256, sha512, b3 = hashlib.sha256(), hashlib.sha512(), blake3()
    length = 0

    def passing() -> Iterator[bytes]:
        nonlocal length
        for block in read(bytes.fromhex(one.digest["sha256"])):
            for hasher in (sha256, sha512, b3):
                hasher.update(block)
            length += len(block)
            yield block

    _write(draft / str(one.file), passing(), 0o666)
    made = _Sums(length, sha256.hexdigest(), sha512.hexdigest(), b3.hexdigest())
    if (made.length, made.sha256, made.blake3) != (one.length, one.digest["sha256"], one.digest["blake3"]):
        raise SpoolDamaged(f"the bytes of capture {one.id} in the spool are not those of its entry")
    return made


def _evidence(captures: Sequence[Facts], seal: Seal) -> dict[str, bytes]:
    """Entries, proofs, receipts, the checkpoint and its tokens, the policy, and the keys."""
    made: dict[str, bytes] = {}
    for one in captures:
        for leaf in (*one.dossier.story, *one.dossier.sources):
            made[f"custody/{leaf.index:06d}.json"] = leaf.entry
            if leaf.proof is not None:
                made[f"custody/{leaf.index:06d}.tlog-proof"] = leaf.proof
        if (quoted := one.dossier.quoted) is not None:
            place = f"custody/{quoted.leaf.index:06d}"
            made |= {f"{place}.json": quoted.leaf.entry, f"{place}.checkpoint": quoted.checkpoint}
            if quoted.leaf.proof is not None:
                made[f"{place}.tlog-proof"] = quoted.leaf.proof
        made[f"custody/story-{one.id}.jsonl"] = b"".join(leaf.entry + b"\n" for leaf in one.dossier.story)
        if one.dossier.receipt is not None:
            made[f"custody/receipts/{one.place}.note"] = one.dossier.receipt
    return made | _trust(seal)


def _trust(seal: Seal) -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    if seal.checkpoint is not None:
        made["custody/checkpoint"] = seal.checkpoint
        for number, token in enumerate(seal.tokens, 1):
            made["custody/checkpoint.tsr" if number == 1 else f"custody/checkpoint.{number}.tsr"] = token
    if seal.tsa:
        made["keys/tsa.pem"] = seal.tsa
    if seal.policy is not None:
        made["policy.note"] = seal.policy
    roles = {"log": seal.keys.logs, "witness": seal.keys.witnesses, "receipts": seal.keys.receipts}
    made["keys/vkeys"] = _vkeys(key for keys in roles.values() for key in keys)
    if seal.keys.root is not None:
        roles["root"] = (seal.keys.root,)
        made["keys/root.vkey"] = _vkeys(roles["root"])
    for role, keys in roles.items():
        for key in keys:  # verify.sh finds the key of a signature line by this name
            made[f"keys/{role}-{key.key_id.hex()}.pem"] = key.pem()
    return made


def _about(captures: Sequence[Facts], under: Sealed, labels: Labels) -> dict[str, bytes]:
    """What people and other tools read."""
    made = {f"manifests/{one.id}.json": manifest(one, under.seal.log, captures) for one in captures}
    made |= recordings(captures, under.seal.log)
    for one in captures:
        made[f"certificates/{one.id}.html"] = certificate(one, under, labels.version, labels.bagged_at)
    made["case.jsonld"] = describe(captures, under, labels.version)
    for name in (_EXECUTABLE, "VERIFY.txt"):
        made[name] = files("agent.custody.export").joinpath(name).read_bytes()
    return made


def _vkeys(keys: Iterable[Verifier]) -> bytes:
    return "".join(f"{key.vkey}\n" for key in keys).encode()


def _info(labels: Labels, log: str, oxum: str) -> bytes:
    told = {
        "Source-Organization": labels.organisation,
        "Bagging-Date": f"{labels.bagged_at:%Y-%m-%d}",
        "Bag-Software-Agent": f"Evidock {labels.version}",
        "Internal-Sender-Identifier": log,
        "Payload-Oxum": oxum,
    }
    return "".join(f"{name}: {printable(value)}\n" for name, value in told.items()).encode()


def _listed(sums: Mapping[str, str]) -> bytes:
    """Lines of sha256sum(1), in the order of the names."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def _write(path: Path, blocks: Iterator[bytes], mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        offset = 0
        for block in blocks:
            durable.write_all(fd, block, offset)
            offset += len(block)
        durable.force(fd)
    finally:
        os.close(fd)
