"""What is known of each capture that is exported: plain values, from whoever keeps journal and keys."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from agent.capture import printable
from agent.custody.checkpoint import cosigned_at, open_checkpoint
from agent.custody.policy import NO_QUORUM, open_policy
from agent.custody.proof import Proof
from agent.custody.receipt import check_receipt, earliest
from agent.errors import JournalError
from agent.merkle import BadProof, check_inclusion, leaf_hash
from agent.note import BadNote

if TYPE_CHECKING:
    from agent.custody.checkpoint import Opened
    from agent.custody.policy import Policy
    from agent.custody.receipt import ReceiptNote
    from agent.note import Verifier

__all__ = ["Dossier", "Facts", "Keys", "Leaf", "Quoted", "Seal", "Sealed", "facts_of", "sealed"]

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_ENDINGS: Final = {
    "application/json": "json",
    "application/pdf": "pdf",
    "application/xml": "xml",
    "application/zip": "zip",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "image/jpeg": "jpg",
    "image/png": "png",
    "text/csv": "csv",
    "text/plain": "txt",
    "text/xml": "xml",
    "video/mp2t": "ts",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
}
"""The only endings that a file of a bag may have: nothing that a device said becomes part of a name."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the log, byte for byte."""

    index: int
    entry: bytes
    proof: bytes | None = None
    """The tlog-proof file that leads to the seal's checkpoint; None where the station signs none."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """An entry that quotes a cosigned checkpoint by its SHA-256: whatever follows it came after the witnesses' time."""

    leaf: Leaf
    checkpoint: bytes
    """The note that is quoted."""


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is exported of one capture."""

    capture: str
    """Its id."""
    story: tuple[Leaf, ...]
    """Every entry about it, in the log's order; one of them says that it is held."""
    receipt: bytes | None = None
    """The DEMS's signed note."""
    spooled: bool = True
    """Its bytes lie in the spool; otherwise the bag holds only what is known of them."""
    quoted: Quoted | None = None
    """What was quoted last before the entry that says held; None where no witness had cosigned anything yet."""
    sources: tuple[Leaf, ...] = ()
    """Entries on which its context rests: who had the device, which incident, what was switched on, the clocks."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Whose signatures a reader of the bag will find, by what they sign."""

    logs: tuple[Verifier, ...] = ()
    witnesses: tuple[Verifier, ...] = ()
    receipts: tuple[Verifier, ...] = ()
    root: Verifier | None = None
    """The agency's, under the policy."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What all captures of one bag rest on."""

    log: str
    """Origin of the custody log."""
    checkpoint: bytes | None = None
    """The signed note under which every proof of the bag stands."""
    keys: Keys = field(default_factory=Keys)
    policy: bytes | None = None
    """The agency's signed policy."""
    tokens: tuple[bytes, ...] = ()
    """RFC 3161 responses over the bytes of the checkpoint."""
    tsa: bytes = b""
    """The certificates, PEM, that the authorities of the tokens descend from."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal whose signatures were verified."""

    seal: Seal
    opened: Opened | None
    cosigned: bool
    """By the policy's quorum, or by any witness where there is no policy."""
    cosigned_at: datetime | None = None
    """Since when, by the witnesses' clocks."""
    policy: Policy | None = None


@dataclass(frozen=True)
class Facts:
    """One capture as the other files of the bag tell of it: every value is from its entries or verified."""

    dossier: Dossier
    held: Leaf
    entries: tuple[dict[str, Any], ...]
    """The story, parsed."""
    statement: dict[str, Any]
    """The entry that says held, parsed."""
    receipt: ReceiptNote | None
    after: datetime | None = None
    """The entry was written after this time, as witnesses state it."""
    before: datetime | None = None
    """And before this one."""

    @property
    def id(self) -> str:
        """The capture's id."""
        return self.dossier.capture

    @property
    def predicate(self) -> dict[str, Any]:
        """What the entry `held` says."""
        said: dict[str, Any] = self.statement["predicate"]
        return said

    @property
    def capture(self) -> dict[str, Any]:
        """The part about the capture."""
        said: dict[str, Any] = self.predicate["capture"]
        return said

    @property
    def device(self) -> dict[str, Any]:
        """The part about its device."""
        said: dict[str, Any] = self.predicate["device"]
        return said

    @property
    def digest(self) -> dict[str, str]:
        """Names of algorithms and digests, hexadecimal."""
        found: dict[str, str] = self.statement["subject"][0]["digest"]
        return found

    @property
    def length(self) -> int:
        """Bytes."""
        count: int = self.capture["length"]
        return count

    @cached_property
    def file(self) -> str | None:
        """Where its bytes lie in the bag; None where they do not."""
        if not self.dossier.spooled:
            return None
        return f"data/{self.id}.{_ENDINGS.get(str(self.capture.get('media_type')), 'bin')}"

    @property
    def place(self) -> str:
        """The index of its entry as file names have it."""
        return f"{self.held.index:06d}"

    @property
    def leaf_hash(self) -> str:
        """Of the entry, as the tree has it."""
        return leaf_hash(self.held.entry).hex()

    @property
    def recording(self) -> tuple[str, str] | None:
        """What the clips of one recording have in common; None for a capture of its own."""
        group = self.capture.get("group")
        return (str(self.device.get("id")), str(group)) if group else None


def sealed(seal: Seal) -> Sealed:
    """Verify what the seal is signed with. Raises `JournalError` where a signature is wrong."""
    try:
        policy = None
        if seal.policy is not None:
            policy = open_policy(seal.policy, [seal.keys.root] if seal.keys.root else [])
        if seal.checkpoint is None:
            return Sealed(seal, None, cosigned=False)
        # Only keys of this very log: the checkpoint of another one finds no key here.
        logs = [key for key in seal.keys.logs if key.name == seal.log]
        opened = open_checkpoint(seal.checkpoint, logs, seal.keys.witnesses)
        if policy is not None:
            policy.check_marks(opened.checkpoint.size, opened.signatures)
        at = cosigned_at(opened, policy)
        nobody_asked = policy is not None and policy.quorum == NO_QUORUM
        return Sealed(seal, opened, nobody_asked or at is not None, at, policy)
    except BadNote as bad:
        raise JournalError(f"what the log {printable(seal.log)} is signed with cannot be trusted: {bad}") from bad


def facts_of(dossier: Dossier, under: Sealed) -> Facts:
    """Verify one dossier against the seal. Raises `JournalError` or `BadReceipt` where it does not hold."""
    if not _ID.fullmatch(dossier.capture):
        raise JournalError(f"{printable(dossier.capture)} is not the id of a capture")
    entries = tuple(_entry(leaf, dossier, under) for leaf in dossier.story)
    held = [(leaf, entry) for leaf, entry in zip(dossier.story, entries, strict=True) if _event(entry) == "held"]
    if len(held) != 1 or [leaf.index for leaf in dossier.story] != sorted({leaf.index for leaf in dossier.story}):
        raise JournalError(f"the entries of capture {dossier.capture} are not its whole story, in order")
    leaf, statement = held[0]
    receipt = None
    if dossier.receipt is not None:
        receipt = check_receipt(
            dossier.receipt,
            under.seal.keys.receipts,
            capture=dossier.capture,
            sha256=bytes.fromhex(statement["subject"][0]["digest"]["sha256"]),
            length=statement["predicate"]["capture"]["length"],
            log=under.seal.log,
            index=leaf.index,
            not_before=earliest(datetime.fromisoformat(statement["predicate"]["recorded_at"]), datetime.now(UTC)),
        )
    before = under.cosigned_at if leaf.proof is not None else None
    opened = None if dossier.quoted is None else _quoted(dossier.quoted, leaf, under)
    if opened is not None and under.policy is not None:
        try:
            under.policy.check_marks(opened.checkpoint.size, opened.signatures)
        except BadNote:  # whoever had the key may have made it: it bounds nothing, and the evidence stands without it
            opened, dossier = None, replace(dossier, quoted=None)
    after = None if opened is None else cosigned_at(opened, under.policy)
    return Facts(dossier, leaf, entries, statement, receipt, after, before)


def _quoted(quoted: Quoted, held: Leaf, under: Sealed) -> Opened:
    """The checkpoint that was quoted before this entry. Raises `JournalError` where it does not hold."""
    entry = _proven(quoted.leaf, under)
    told = entry["predicate"].get("checkpoint", {})
    if (
        _event(entry) != "anchor.cosigned"
        or quoted.leaf.index >= held.index
        or told.get("sha256") != sha256(quoted.checkpoint).hexdigest()
    ):
        raise JournalError(f"entry {quoted.leaf.index} does not quote the checkpoint that is given with it")
    logs = [key for key in under.seal.keys.logs if key.name == under.seal.log]
    try:
        return open_checkpoint(quoted.checkpoint, logs, under.seal.keys.witnesses)
    except BadNote as bad:
        raise JournalError(f"the checkpoint that entry {quoted.leaf.index} quotes cannot be trusted: {bad}") from bad


def _entry(leaf: Leaf, dossier: Dossier, under: Sealed) -> dict[str, Any]:
    entry = _proven(leaf, under)
    if entry["subject"][0]["name"] != dossier.capture:
        raise JournalError(f"entry {leaf.index} is not one of capture {dossier.capture}")
    return entry


def _proven(leaf: Leaf, under: Sealed) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(leaf.entry)
    if entry["predicate"]["seq"] != leaf.index:
        raise JournalError(f"entry {leaf.index} has another place in the log")
    if leaf.proof is None:
        return entry
    try:
        proof = Proof.parse(leaf.proof)
        head = None if under.opened is None or proof.checkpoint != under.seal.checkpoint else under.opened.checkpoint
        if head is None or proof.index != leaf.index:
            raise JournalError(f"the proof of entry {leaf.index} leads elsewhere")
        check_inclusion(leaf.index, head.size, leaf_hash(leaf.entry), proof.hashes, head.root)
    except (BadNote, BadProof) as bad:
        raise JournalError(f"the proof of entry {leaf.index} does not hold: {bad}") from bad
    return entry


def _event(entry: dict[str, Any]) -> str:
    return str(entry["predicate"]["event"])
