"""A station's journal and spool with two captures of one recording, everything signed by test keys, and its bag."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from blake3 import blake3

from agent.capture import Capture, Device, Digest, Parts, Receipt, Stamp, Strength
from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.custody.export import Dossier, Keys, Labels, Leaf, Quoted, Seal, export
from agent.custody.proof import Proof
from agent.custody.receipt import ReceiptNote, write
from agent.journal import Journal, anchors
from agent.journal.anchors import Signed
from agent.merkle import inclusion_proof
from agent.note import Signer, sign
from agent.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = "edge.example.org/dock-0042/log1"
AT = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
LABELS = Labels(datetime(2026, 11, 22, 9, tzinfo=UTC), "Example Police", "0.1.0")


def seed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


log = Signer.ed25519(LOG, seed("test device key"))
witness = Signer.cosigner("dems.example.org/witness1", seed("test dems witness key"))
receipts = Signer.ed25519("dems.example.org/receipts", seed("test dems receipt key"))
root = Signer.ed25519("agency.example.org/root", seed("test agency root key"))
KEYS = Keys((log.verifier,), (witness.verifier,), (receipts.verifier,), root.verifier)
POLICY = sign(f"# test\nlog {log.vkey}\nwitness dems {witness.vkey}\nquorum dems\n", root)

CAMERA = Device(
    id="usb:0951:1666:SN-BWC-0002", family="body_worn", driver="bay1", maker="Acme", model="BWC 2",
    serial="SN-BWC-0002", firmware="2.1.7", place="bay 1",
)  # fmt: skip


@dataclass
class Station:
    """A journal and a spool that outlive the test."""

    journal: Journal
    spool: Spool
    notes: dict[str, bytes] = field(default_factory=dict)
    quotes: dict[int, bytes] = field(default_factory=dict)

    async def take(
        self,
        key: str,
        data: bytes,
        *,
        device: Device = CAMERA,
        group: str | None = "REC-7",
        clip: int | None = None,
        **claims: object,
    ) -> str:
        digest, parts = await self.spool.press(hashlib.sha256(key.encode()).digest()[:16], [data])
        assert digest == Digest(hashlib.sha256(data).digest(), blake3(data).digest(), len(data))
        capture = Capture(device, key, AT.replace(hour=5), len(data), "video/mp4", group, clip, claims=claims)
        with self.journal.transaction():
            return self.journal.hold(capture, digest, parts or Parts()).id

    def quote(self, at: datetime) -> int:
        """The witness cosigns what there is, and an entry quotes that; its index."""
        index, note = self.journal.leaves.size, self.seal(log, witness.at(at)).checkpoint or b""
        signed = Signed(index, self.journal.leaves.root(), note, at)
        with self.journal.transaction():
            anchors.keep_signed(self.journal, signed)
            anchors.keep_cosigned(self.journal, signed, note, at)
            assert anchors.anchor_cosigned(self.journal, [witness.verifier.name])
        self.quotes[index] = note
        return index

    def quoted(self, capture: str, seal: Seal) -> Quoted | None:
        below = [index for index in self.quotes if index < self.journal.get(capture).index]
        return Quoted(self.leaf(max(below), seal), self.quotes[max(below)]) if below else None

    def receipt(self, capture: str, *, signer: Signer = receipts, **changed: object) -> bytes:
        one = self.journal.get(capture)
        told = ReceiptNote(capture, one.digest.sha256, one.digest.length, LOG, one.index, AT.replace(minute=5), 2)
        note = sign(write(replace(told, **changed)), signer)
        with self.journal.transaction():
            self.journal.receipt(capture, Receipt(Strength.SIGNED, "dems", one.digest.length, one.digest.sha256, note))
        self.notes[capture] = note
        return note

    def seal(self, *signers: Signer, policy: bytes | None = POLICY, keys: Keys = KEYS, **changed: object) -> Seal:
        leaves = self.journal.leaves
        head = Checkpoint(LOG, leaves.size, leaves.root())
        return Seal(LOG, sign_checkpoint(head, *(signers or (log, witness.at(AT)))), keys, policy, **changed)

    def leaf(self, index: int, seal: Seal) -> Leaf:
        leaves = self.journal.leaves
        if seal.checkpoint is None:
            return Leaf(index, leaves.leaf(index))
        hashes = tuple(inclusion_proof(index, leaves.size, leaves.reader()))
        return Leaf(index, leaves.leaf(index), Proof(index, hashes, seal.checkpoint).write())

    def dossier(self, capture: str, seal: Seal) -> Dossier:
        name = f'"name":"{capture}"'.encode()
        about = [index for index, raw in self.journal.leaves.between(0, self.journal.leaves.size) if name in raw]
        story = tuple(self.leaf(index, seal) for index in about)
        return Dossier(capture, story, self.notes.get(capture), quoted=self.quoted(capture, seal))

    def export(self, folder: Path, captures: list[str], seal: Seal | None = None) -> Path:
        seal = seal or self.seal()
        export([self.dossier(one, seal) for one in captures], self.spool.read, folder, seal=seal, labels=LABELS)
        return folder


@contextmanager
def station(folder: Path) -> Iterator[Station]:
    def stamp() -> Stamp:
        return Stamp(AT.replace(minute=2), "boot-1", 1_000_000_000, "ntp", synchronised=True, uncertainty_us=1200)

    journal = Journal.open(folder / "journal.db", log=LOG, stamp=stamp)
    spool = Spool(folder / "spool", watermark=0, read_back=False, boot_id="boot-1")
    try:
        yield Station(journal, spool)
    finally:
        spool.close()
        journal.close()
