"""What a bag proves: its files, then the signatures, then every entry, capture, receipt and manifest against them.

The single file `export/evidock_verify.py` does the same for people without Evidock; the two share no code, so that a
mistake in one is found by the other.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import serialization

from agent.custody.bag_files import Outcome, Report, check_files, lines_of, read_whole
from agent.custody.bag_signatures import Trust, check_head, check_proof_file, keys_of
from agent.custody.checkpoint import cosigned_at, open_checkpoint
from agent.custody.export.manifest import MANIFEST_TYPE, context, halves, recording, second, sent, write_json, written
from agent.custody.policy import open_policy
from agent.custody.receipt import check_receipt, earliest, open_receipt
from agent.errors import BadReceipt
from agent.merkle import leaf_hash
from agent.note import COSIGNATURE, BadNote

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.custody.bag_files import Files, Sums
    from agent.custody.checkpoint import Checkpoint
    from agent.custody.export.manifest import Clip
    from agent.note import Verifier

__all__ = ["Bag"]

_ID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BLAKE3_DIGITS: Final = 64


class Bag:
    """One bag, looked at from its files alone. `check` once; `report` tells what was found.

    `given`, `roots` and `desks` (which sign receipts) are keys that came by another way than the bag.
    `stamped(token, data, roots)` verifies an RFC 3161 token over `data` by certificates in PEM and returns its time, or
    raises `ValueError`.
    """

    def __init__(
        self,
        files: Files,
        *,
        given: tuple[Verifier, ...] = (),
        roots: tuple[Verifier, ...] = (),
        desks: tuple[Verifier, ...] = (),
        stamped: Callable[[bytes, bytes, bytes], datetime] | None = None,
    ) -> None:
        self._files, self._given, self._roots, self._stamped = files, given, roots, stamped
        self._desks = desks
        self.report = Report()
        self._sums: dict[str, Sums] = {}
        self._leaves: dict[int, dict[str, Any]] = {}
        self._trust: Trust | None = None
        self._head: Checkpoint | None = None
        self._checkpoint = b""
        self._quoted: set[int] = set()
        self._here = frozenset(files.names)
        # A bag may have hundreds of thousands of files: what is asked for each is looked up, and worked out once.
        self._about: dict[str, list[int]] | None = None
        self._members: dict[str, list[str]] | None = None
        self._bounds: list[int] | None = None

    def check(self) -> Report:
        """Everything."""
        report = self.report
        self._sums = check_files(self._files, report)
        report.attempt("policy", "policy.note", self._find_trust)
        report.attempt("checkpoint", "checkpoint", self._find_checkpoint)
        if not self._checkpoint:
            report.add(Outcome.MISSING, "checkpoint", "checkpoint", "no checkpoint is in this bag")
        elif self._trust is not None:
            self._head = check_head(self._checkpoint, self._trust, report)
        for name in self._matching(r"custody/[0-9]{6,19}\.json"):
            report.attempt("entry", name[8:-5], lambda name=name: self._entry(name))  # type: ignore[misc]
        for name in self._matching(r"custody/[0-9]{6,19}\.tlog-proof"):
            if f"{name.removesuffix('tlog-proof')}json" not in self._here:
                report.add(Outcome.FAILED, "entry", name[8:-11], "is a proof without its entry")
        for name in self._matching(r"custody/[0-9]{6,19}\.checkpoint"):
            report.attempt("bound", name[8:-11], lambda name=name: self._bound(name))  # type: ignore[misc]
        self._captures()
        if self._given and not self._desks and self._matching(r"custody/receipts/.*"):
            told = "that they are the DEMS's, and not those of another log, no key says: name them by --receipts"
            report.add(Outcome.MISSING, "key", "receipts", told)
        report.attempt("recording", "recordings", self._recordings)
        tokens, authority = self._matching(r"custody/[^/]*\.tsr"), self._matching(r"keys/tsa[^/]*\.pem")
        if tokens and authority:
            told = "the time stamping authority is taken from the bag: compare it with what that authority publishes"
            report.add(Outcome.NOTE, "key", authority[0][5:], told)
        for name in tokens:
            report.attempt("timestamp", name[8:], lambda name=name: self._token(name))  # type: ignore[misc]
        return report

    def _matching(self, pattern: str) -> list[str]:
        return [name for name in self._files.names if re.fullmatch(pattern, name)]

    def _read(self, name: str) -> bytes:
        return read_whole(self._files, name) if name in self._here else b""

    # -- whose signatures count ---------------------------------------------------------------------------------------

    def _find_trust(self) -> str | None:
        report, keys = self.report, keys_of(self._read("keys/vkeys").decode())
        for key in keys:
            if self._given and key not in (*self._given, *self._desks):
                report.add(Outcome.FAILED, "key", key.name, "is not among the keys that you gave")
        inside = keys_of(self._read("keys/root.vkey").decode())
        known = {key.pem() for key in (*keys, *inside)}
        for name in self._matching(r"keys/.*\.pem"):
            if not name.startswith("keys/tsa"):
                report.attempt("key", name[5:], lambda name=name: self._pem(name, known))  # type: ignore[misc]
        if not self._given:
            told = "taken from the bag: compare them with what the agency publishes"
            report.add(Outcome.NOTE, "key", "keys", told)
        elif not self._roots and "policy.note" in self._here:
            told = "taken from the bag: the policy is the agency's only if this key is the one that it publishes"
            report.add(Outcome.NOTE, "key", "root.vkey", told)
        if "policy.note" not in self._here:
            told = "there is none: the signature of any one witness counts"
            # Whoever names the agency's root key expects its policy: without it a lesser one would be kept to.
            report.add(Outcome.MISSING if self._roots else Outcome.NOTE, "policy", "policy.note", told)
            self._trust = Trust(keys, desks=self._desks)
            return None
        policy = open_policy(self._read("policy.note"), self._roots or inside)
        logs = {log.origin for log in policy.logs}
        named = {log.verifier for log in policy.logs} | set(policy.witness_keys)
        strange = [key.name for key in keys if key not in named and (key.kind == COSIGNATURE or key.name in logs)]
        if strange:
            raise BadNote(f"a key of {', '.join(strange)} is not in the policy")
        # Whoever makes a policy of his own names keys of his own in it: without the root they are nobody's word.
        self._trust = Trust(keys, policy, () if self._roots else self._given, self._desks)
        return "signed by the agency's root key" if self._roots else "signed by the root key that is in the bag"

    def _pem(self, name: str, known: set[bytes]) -> None:
        key = serialization.load_pem_public_key(self._read(name))
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        if key.public_bytes(serialization.Encoding.PEM, spki) not in known:
            raise BadNote("is not a key of keys/vkeys")

    def _find_checkpoint(self) -> None:
        self._checkpoint = self._read("custody/checkpoint")

    # -- entries ------------------------------------------------------------------------------------------------------

    def _entry(self, name: str) -> str | None:
        raw, index = self._read(name), int(name[8:-5])
        leaf = json.loads(raw)
        if name != f"custody/{index:06d}.json" or leaf["predicate"]["seq"] != index:
            raise BadNote("has another place in the log")
        if not isinstance(leaf["subject"][0]["name"], str):
            raise BadNote("speaks of nothing")
        if proof := self._read(f"{name.removesuffix('json')}tlog-proof"):
            if self._head is None:
                raise BadNote("cannot be proven without a checkpoint")
            check_proof_file(proof, raw, self._head, self._checkpoint, index)
        elif self._head is not None and index < self._head.size:
            raise BadNote("stands below the checkpoint, and its proof is not here")  # no export leaves it out
        self._leaves[index] = leaf
        if proof:
            return f"{leaf['predicate']['event']}: stands in the log"
        self.report.add(Outcome.MISSING, "entry", name[8:-5], "has no proof")
        return None

    def _bound(self, name: str) -> str | None:
        """An entry that quotes a cosigned checkpoint: what is written later came after its witnesses' time."""
        index, raw = int(name[8:-11]), self._read(name)
        said = self._leaves[index]["predicate"] if index in self._leaves else {}
        told = said["checkpoint"]["sha256"] if said.get("event") == "anchor.cosigned" else None
        if self._trust is None or told != sha256(raw).hexdigest():
            raise BadNote("is not the checkpoint that this entry quotes")
        opened = open_checkpoint(raw, [key for key in self._trust.logs if key.name == self._log], self._trust.witnesses)
        if self._trust.policy is not None:
            self._trust.policy.check_marks(opened.checkpoint.size, opened.signatures)
        self._quoted.add(index)
        if (at := cosigned_at(opened, self._trust.policy)) is None:
            self.report.add(Outcome.MISSING, "bound", name[8:-11], "the quorum has not cosigned what it quotes")
            return None
        return f"what follows this entry was written after {second(at)}"

    # -- captures -----------------------------------------------------------------------------------------------------

    def _captures(self) -> None:
        report, names = self.report, self._files.names
        b3sums: dict[str, str] = {}
        report.attempt("files", "b3sums.txt", lambda: b3sums.update(self._b3sums()))
        held: dict[str, int] = {}
        for index, leaf in sorted(self._leaves.items()):
            if leaf["predicate"].get("event") == "held":
                name = leaf["subject"][0]["name"]
                if held.setdefault(name, index) != index:
                    told = f"entries {held[name]} and {index} say that it is held"
                    report.add(Outcome.FAILED, "capture", name, told)
        files = {name[5:41]: name for name in self._matching(rf"data/{_ID}(\.[a-z0-9]+)?")}
        for name in names:
            if name.startswith("data/") and files.get(name[5:41]) != name:
                report.add(Outcome.FAILED, "capture", name, "no entry speaks of this file")
        for id_ in sorted({*held, *files}):
            self._capture_of(id_, held.get(id_), files.get(id_), b3sums)
        places = {f"{index:06d}" for index in held.values()}
        for name in self._matching(r"custody/receipts/.*|manifests/(?!recording-).*|custody/story-.*"):
            if name.rpartition("/")[2][:-5] not in places and held.keys().isdisjoint(re.findall(_ID, name)):
                report.add(Outcome.FAILED, "files", name, "belongs to no capture of this bag")

    def _b3sums(self) -> dict[str, str]:
        found = lines_of(self._files, "b3sums.txt", _BLAKE3_DIGITS)
        data = {name for name in self._files.names if name.startswith("data/")}
        if "b3sums.txt" in self._here and set(found) != data:
            raise BadNote("does not list each capture")
        return found

    def _capture_of(self, id_: str, index: int | None, file: str | None, b3sums: dict[str, str]) -> None:
        report = self.report
        report.attempt("capture", id_, lambda: self._bytes(index, file, b3sums))
        report.attempt("receipt", id_, lambda: self._receipt(index))
        if f"manifests/{id_}.json" in self._here:
            report.attempt("manifest", id_, lambda: self._manifest(id_, index, file))
        if f"custody/story-{id_}.jsonl" in self._here:
            report.attempt("story", id_, lambda: self._story(id_))

    def _held(self, index: int | None) -> tuple[int, dict[str, Any]]:
        if index is None:
            raise BadNote("no entry says that it is held")
        return index, self._leaves[index]

    def _bytes(self, index: int | None, file: str | None, b3sums: dict[str, str]) -> str | None:
        index, leaf = self._held(index)
        subject, length = leaf["subject"][0], leaf["predicate"]["capture"]["length"]
        if file is None:
            self.report.add(Outcome.MISSING, "capture", subject["name"], "its bytes are not in this bag")
            return None
        sums, said = self._sums[file], subject["digest"]
        found = (sums.length, sums.digests["sha256"], sums.digests["blake3"], b3sums.get(file, said["blake3"]))
        if found != (length, said["sha256"], said["blake3"], said["blake3"]):
            raise BadNote("is not what its entry says")
        return f"{length} bytes, as entry {index} says"

    def _receipt(self, index: int | None) -> str | None:
        index, leaf = self._held(index)
        name, subject = f"custody/receipts/{index:06d}.note", leaf["subject"][0]
        if name not in self._here:
            self.report.add(Outcome.MISSING, "receipt", subject["name"], "no receipt is in this bag")
            return None
        if self._trust is None:
            raise BadNote("no keys are known")
        note = self._read(name)
        try:
            log = self._log or open_receipt(note, self._trust.receipts("")).log
            receipt = check_receipt(
                note,
                self._trust.receipts(log),
                capture=subject["name"],
                sha256=bytes.fromhex(subject["digest"]["sha256"]),
                length=leaf["predicate"]["capture"]["length"],
                log=log,
                index=index,
                not_before=earliest(datetime.fromisoformat(leaf["predicate"]["recorded_at"]), datetime.now(UTC)),
            )
        except BadReceipt as bad:
            raise BadNote(str(bad)) from bad
        return f"stored at {receipt.stored_at:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def _log(self) -> str:
        """The log that the bag says it is of; empty where no checkpoint says so."""
        return self._checkpoint.split(b"\n")[0].decode()

    def _manifest(self, id_: str, index: int | None, file: str | None) -> str:
        index, leaf = self._held(index)
        said, found = halves(leaf)
        story = [self._leaves[one] for one in self._entries_of(id_)]
        told, went = context(story), sent(story)
        raw = self._read(f"manifests/{id_}.json")
        note = f"custody/receipts/{index:06d}.note"
        should = {
            "type": MANIFEST_TYPE,
            "capture": id_,
            "file": file,
            "entry": {
                "log": self._log or json.loads(raw)["entry"]["log"],
                "index": index,
                "leaf_hash": leaf_hash(self._read(f"custody/{index:06d}.json")).hex(),
            },
            "device_said": said,
            "station_found": found,
            "receipt": note if note in self._here else None,
            "recording": self._recording(leaf),
            "written": written(
                self._bound_of(index),
                proven=f"custody/{index:06d}.tlog-proof" in self._here,
            ),
            **({"context": told} if told else {}),
            **({"sent": went} if went else {}),
        }
        if raw != write_json(should):  # of two equal names in one object, readers take different ones
            raise BadNote("does not say what its entry says")
        return f"says what entry {index} says"

    def _recording(self, leaf: dict[str, Any]) -> list[str]:
        """Captures of the bag that are of one recording with this one."""
        group, device = leaf["predicate"]["capture"].get("group"), leaf["predicate"]["device"]["id"]
        if not group:
            return []
        if self._members is None:
            members: dict[str, list[str]] = {}
            for one in self._leaves.values():
                if (said := one["predicate"])["event"] == "held":
                    named = json.dumps([said["capture"].get("group"), said["device"]["id"]])
                    members.setdefault(named, []).append(one["subject"][0]["name"])
            self._members = {named: sorted(every) for named, every in members.items()}
        return self._members.get(json.dumps([group, device]), [])

    def _entries_of(self, id_: str) -> list[int]:
        """Indexes of the entries about a capture, in order."""
        if self._about is None:
            self._about = {}
            for index, leaf in sorted(self._leaves.items()):
                self._about.setdefault(leaf["subject"][0]["name"], []).append(index)
        return self._about.get(id_, [])

    def _bound_of(self, index: int) -> int | None:
        """The last entry before this one that quotes a cosigned checkpoint."""
        if self._bounds is None:
            self._bounds = sorted(self._quoted)
        before = bisect_left(self._bounds, index)
        return self._bounds[before - 1] if before else None

    def _recordings(self) -> None:
        """The manifest of each recording of several captures is, byte for byte, what would be written now."""
        groups: dict[tuple[str, str], list[Clip]] = {}
        names = {name[5:41]: name for name in self._matching(rf"data/{_ID}(\.[a-z0-9]+)?")}
        for index, leaf in sorted(self._leaves.items()):
            said = leaf["predicate"]
            if said.get("event") == "held" and said["capture"].get("group"):
                hashed = leaf_hash(self._read(f"custody/{index:06d}.json")).hex()
                clip = (index, leaf, hashed, names.get(leaf["subject"][0]["name"]))
                groups.setdefault((str(said["device"]["id"]), str(said["capture"]["group"])), []).append(clip)
        made = [recording(*group, self._log, clips) for group, clips in groups.items() if len(clips) > 1]
        for name, should in made:
            self.report.attempt("recording", name[10:], lambda name=name, should=should: self._told(name, should))  # type: ignore[misc]
        for name in sorted(set(self._matching("manifests/recording-.*")) - {name for name, _ in made}):
            self.report.add(Outcome.FAILED, "recording", name[10:], "is of no recording of this bag")

    def _told(self, name: str, should: bytes) -> str | None:
        if name not in self._here:
            self.report.add(Outcome.MISSING, "recording", name[10:], "is not in this bag")
            return None
        if not self._log or self._read(name) != should:
            raise BadNote("does not say what the entries say")
        return f"names {len(json.loads(should)['clips'])} captures, as their entries do"

    def _story(self, id_: str) -> str:
        about = self._entries_of(id_)
        told = b"".join(self._read(f"custody/{index:06d}.json") + b"\n" for index in about)
        if not about or self._read(f"custody/story-{id_}.jsonl") != told:
            raise BadNote("does not tell what the entries tell")
        return f"tells {len(about)} entries"

    def _token(self, name: str) -> str | None:
        roots, over = self._matching(r"keys/tsa[^/]*\.pem"), name.removesuffix(".tsr")
        if over not in self._here:
            over = "custody/checkpoint"
        if not roots or self._stamped is None:
            why = "no certificate is in this bag" if self._stamped else "no program for it is here"
            self.report.add(Outcome.NOTE, "timestamp", name[8:], f"not checked: {why}")
            return None
        at = self._stamped(self._read(name), self._read(over), self._read(roots[0]))
        return f"stamped at {at:%Y-%m-%dT%H:%M:%SZ}"
