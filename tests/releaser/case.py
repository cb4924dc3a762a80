"""One proven capture on a volume, and everything that is presented for it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agent.capture import canonical, printable
from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.custody.proof import Proof
from agent.custody.receipt import ReceiptNote, write
from agent.custody.trust import Trust
from agent.merkle import Frontier, inclusion_proof, leaf_hash, subtree_root
from agent.note import Signer, sign
from agent.release import trust_file, trusted

if TYPE_CHECKING:
    from pathlib import Path

LOG = Signer.ed25519("edge.example.org/dock-1/log1", b"\x01" * 32)
WITNESS = Signer.cosigner("w.example.org/1", b"\x05" * 32)
RECEIPTS = Signer.ed25519("dems.example.org/receipts", b"\x03" * 32)
STRANGER = Signer.ed25519("dems.example.org/receipts", b"\x04" * 32)
CAPTURE = "0193f0c2-6a1e-8d43-9f0e-0a6c6f2f9b11"
HELD_AT = datetime(2026, 11, 22, 7, 2, 17, tzinfo=UTC)
COSIGNED_AT = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
CONTENT = hashlib.shake_128(b"clip").digest(70_000)
INDEX = 2


@dataclass(frozen=True)
class Case:
    """What the agent would ask; `replace` a field to lie."""

    root: Path
    path: bytes
    leaf: bytes
    proof: bytes
    receipt: bytes
    length: int
    mtime_ns: int
    root_id: tuple[int, int]
    plugged: str = "once"
    index: int = INDEX
    capture: str = CAPTURE

    @property
    def file(self) -> Path:
        return self.root / self.path.decode()

    def line(self) -> bytes:
        return json.dumps(
            {
                "capture": self.capture,
                "index": self.index,
                "leaf": base64.b64encode(self.leaf).decode(),
                "length": self.length,
                "mtime_ns": str(self.mtime_ns),
                "path": printable(self.path),
                "plugged": self.plugged,
                "proof": base64.b64encode(self.proof).decode(),
                "receipt": base64.b64encode(self.receipt).decode(),
                "root": printable(str(self.root)),
                "root_id": [str(number) for number in self.root_id],
            }
        ).encode()


def leaf(path: bytes, digest: bytes, length: int, *, index: int = INDEX, event: str = "held") -> bytes:
    return canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicate": {
                "capture": {"key": printable(path), "length": length},
                "event": event,
                "recorded_at": "2026-11-22T07:02:17.000Z",
                "seq": index,
            },
            "predicateType": "https://evidock.example/custody/v1",
            "subject": [{"digest": {"sha256": digest.hex()}, "name": CAPTURE}],
        }
    )


def proof_of(entry: bytes, *signers: Signer, index: int = INDEX) -> bytes:
    leaves = [leaf_hash(entry if number == index else b"entry %d" % number) for number in range(5)]
    frontier = Frontier()
    frontier.extend(leaves)
    hashes = inclusion_proof(
        index, 5, lambda level, at: subtree_root(b"".join(leaves[at << level : (at + 1) << level]))
    )
    note = sign_checkpoint(Checkpoint(LOG.verifier.name, 5, frontier.root()), *signers)
    return Proof(index, tuple(hashes), note).write()


def receipt(**changes: object) -> ReceiptNote:
    said = ReceiptNote(
        capture=CAPTURE,
        sha256=hashlib.sha256(CONTENT).digest(),
        length=len(CONTENT),
        log=LOG.verifier.name,
        index=INDEX,
        stored_at=HELD_AT + timedelta(minutes=5),
        copies=1,
    )
    return replace(said, **changes)


def signed(said: ReceiptNote, by: Signer = RECEIPTS) -> bytes:
    return sign(write(said), by)


def make_case(volume: Path, path: bytes = b"DCIM/100EVDCK/CLIP0001.MP4", content: bytes = CONTENT) -> Case:
    file = volume / path.decode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    entry = leaf(path, hashlib.sha256(CONTENT).digest(), len(CONTENT))
    there, root = file.stat(), volume.stat()
    return Case(
        root=volume,
        path=path,
        leaf=entry,
        proof=proof_of(entry, LOG, WITNESS.at(COSIGNED_AT)),
        receipt=signed(receipt()),
        length=there.st_size,
        mtime_ns=there.st_mtime_ns,
        root_id=(root.st_dev, root.st_ino),
    )


def make_trust(path: Path, *, asked: bool = True) -> Path:
    trust = Trust(witnesses=(WITNESS.verifier,))
    trust_file(path, trusted(trust=trust, logs=[LOG.verifier], asked=asked, receipt_keys=[RECEIPTS.verifier]))
    return path
