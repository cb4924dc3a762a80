#!/usr/bin/env python3
"""Checks what Evidock exported, without Evidock: one file that needs python3 (3.9 or later) and PyPI `cryptography`.

    python3 evidock_verify.py BAG           a folder: files, keys, policy, checkpoint, entries, captures, receipts
    python3 evidock_verify.py PROOF         a tlog-proof file, with its entry beside it (NAME.json)
    python3 evidock_verify.py CHECKPOINT    a signed checkpoint

--keys FILE, --root FILE and --receipts FILE name keys that you obtained by another way than the bag (one vkey a line):
all of them, the agency's root, and those of the evidence system that sign receipts. Each line of the answer is OK,
NOTE, MISSING or FAILED. Exit code: 0 proven, 1 something is wrong, 2 cannot be read, 3 nothing is wrong but something
is missing. Formats: RFC 8493, RFC 6962, RFC 3161 and c2sp.org.
"""

# ruff: noqa: PLR2004 - the numbers are those of the formats, each beside its name

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OK, NOTE, MISSING, FAILED = "OK", "NOTE", "MISSING", "FAILED"
SUMS = {"sha256": 64, "sha512": 128}
TAGS = ("tagmanifest-sha256.txt", "tagmanifest-sha512.txt")
SMALL = 64 << 20
DEEP = 16
OURS = {"capture": {"length", "media_type", "priority", "volatile"}, "device": {"driver", "family", "place", "spec"}}
PATH = r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
UTC = timezone.utc  # noqa: UP017 - `datetime.UTC` came with Python 3.11
CLOCKS_DIFFER = timedelta(days=1)
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
RECEIPT = re.compile(
    "evidock-receipt/v1\ncapture (.+)\nsha256 ([0-9a-f]{64})\nlength ([0-9]+)\nlog (.+) ([0-9]+)\n"
    "stored_at ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)\ncopies ([1-9][0-9]*)\n"
)
Check = tuple[str, str, str, str]
"""Outcome, what was checked, of which file or name, and what was found."""


class Wrong(Exception):
    """What does not hold."""


def need(holds: object, why: str) -> None:
    """Raise `Wrong` unless it holds."""
    if not holds:
        raise Wrong(why)


# -- keys and notes ----------------------------------------------------------------------------------------------------


def unbase64(text: str) -> bytes:
    """The bytes of base64 in its one spelling."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    need(base64.b64encode(raw).decode() == text, "base64 is not written in its one spelling")
    return raw


def number(text: str) -> int:
    """A decimal number as these formats write it."""
    need(re.fullmatch("0|[1-9][0-9]{0,18}", text) and int(text) < 2**63, f"{text[:30]!r} is not a number")
    return int(text)


@dataclass(frozen=True)
class Key:
    """A public key, as its vkey states it: kind 1 Ed25519, 2 ECDSA P-256, 4 Ed25519 of a witness."""

    name: str
    id: bytes
    kind: int
    public: bytes
    vkey: str

    @staticmethod
    def parse(vkey: str) -> Key:
        """Read `name+id+key`."""
        name, _, rest = vkey.partition("+")
        id_, _, value = rest.partition("+")
        raw = unbase64(value)
        need(name and raw and not re.search(r"\s", vkey), "a key is not written as name+id+key")
        made = raw[1:] if raw[0] == 2 else name.encode() + b"\n" + raw
        need(id_ == hashlib.sha256(made).hexdigest()[:8], f"the key id of {name} is not that of its key")
        return Key(name, bytes.fromhex(id_), raw[0], raw[1:], vkey)

    def verify(self, text: bytes, value: bytes) -> int | None:
        """Check a signature; the time that a witness states."""
        time, message = None, text
        if self.kind == 4:
            time, value = int.from_bytes(value[:8], "big"), value[8:]
            need(time < 253402300800, f"the cosignature of {self.name} states an impossible time")
            message = b"cosignature/v1\ntime %d\n%s" % (time, text)
        try:
            if self.kind == 2:
                key = serialization.load_der_public_key(self.public)
                need(isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1", "no P-256 key")
                key.verify(value, message, ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr,call-arg,arg-type]
            else:
                need(self.kind in (1, 4), f"the key of {self.name} is of an unknown kind")
                ed25519.Ed25519PublicKey.from_public_bytes(self.public).verify(value, message)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            raise Wrong(f"the signature of {self.name} does not fit") from None
        return time

    def der(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self.public if self.kind == 2 else bytes.fromhex("302a300506032b6570032100") + self.public


def open_note(raw: bytes, keys: Iterable[Key]) -> tuple[str, list[tuple[Key, int | None]]]:
    """The text of a signed note, and who of `keys` signed it: at least one, and none wrongly."""
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise Wrong("a note is not UTF-8") from None
    text, parted, below = whole.rpartition("\n\n")
    need(parted and below.endswith("\n") and not re.search("[\x00-\x09\x0b-\x1f]", whole), "this is not a signed note")
    known, signed = {(key.name, key.id): key for key in keys}, []
    for line in dict.fromkeys(below[:-1].split("\n")):
        found = re.fullmatch(r"\u2014 ([^\s+]+) (\S+)", line)
        if not found:
            raise Wrong("a signature line is not one")
        value = unbase64(found[2])
        need(len(value) > 4, "a signature line holds no signature")
        if key := known.get((found[1], value[:4])):
            signed.append((key, key.verify((text + "\n").encode(), value[4:])))
    need(signed, "no known key signed this")
    return text + "\n", signed


@dataclass
class Trust:
    """Whose signatures count."""

    keys: list[Key]
    policy: list[list[str]]
    """Lines of the policy, by their words; empty where there is none."""
    desks: list[Key]
    """Keys of which the reader says that they sign receipts; empty: he does not say."""

    @staticmethod
    def of(keys: list[Key], policy: str = "", only: list[Key] | None = None) -> Trust:
        """Read a policy's text, and keep only those keys of logs and witnesses that it names.

        `only`: of the keys that it brings itself those count that are among these; None: all.
        """
        lines = [re.split("[ \t]+", row.strip(" \t")) for row in policy.split("\n")]
        lines = [words for words in lines if words[0] and not words[0].startswith("#")]
        known = ("log", "witness", "group", "quorum", "compromised")
        need(all(words[0] in known and words[1:] for words in lines), "unknown policy")
        need(not lines or sum(words[0] == "quorum" for words in lines) == 1, "the policy has not one quorum line")
        named = [Key.parse(words[1 if words[0] == "log" else 2]) for words in lines if words[0] in ("log", "witness")]
        logs = {key.name for key in named}
        strange = [key.name for key in keys if lines and key not in named and (key.kind == 4 or key.name in logs)]
        need(not strange, f"a key of {', '.join(strange)} is not in the policy")
        return Trust(keys + [key for key in named if key not in keys and (only is None or key in only)], lines, [])

    def receipts(self, log: str) -> list[Key]:
        """Keys that may sign receipts: those of which the reader says so, else whatever is not known for another use.

        A vkey does not say what it is for: the key of a log that nothing here names cannot be told from a receipt key.
        """
        named = {word for words in self.policy if words[0] in ("log", "witness") for word in words[1:3]}
        other_use = {key.public for key in self.keys if key.kind == 4 or key.name == log or key.vkey in named}
        other_use |= {Key.parse(vkey).public for vkey in named if vkey.count("+") >= 2}
        may = self.desks or self.keys
        return [key for key in may if key.kind != 4 and key.name != log and key.public not in other_use]

    def quorum(self, signed: list[tuple[Key, int | None]]) -> tuple[str, bool]:
        """The quorum's name and whether it has cosigned; without a policy any witness suffices."""
        by = {key.vkey for key, time in signed if time is not None}
        if not self.policy:
            return "any witness", bool(by)
        said, name = {"none"}, ""
        for words in self.policy:
            if words[0] == "witness" and words[2] in by:
                said.add(words[1])
            elif words[0] == "group":
                least = {"all": len(words) - 3, "any": 1}.get(words[2]) or number(words[2])
                said |= {words[1]} if len(said & set(words[3:])) >= least else set()
            elif words[0] == "quorum":
                name = words[1]
        return name, name in said

    def check_marks(self, size: int, signed: list[tuple[Key, int | None]]) -> None:
        """Raise `Wrong` where every key of the log that signed is marked as compromised before this checkpoint."""
        marks = {words[1]: words[2:] for words in self.policy if words[0] == "compromised"}
        keys = {key.vkey for key, time in signed if time is None}
        if not keys or keys - set(marks):
            return
        at = self.since(signed)
        for vkey in keys:
            until, *most = marks[vkey]
            need(re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z", until), "a mark states no time")
            before = at is not None and at <= until and (not most or size <= number(most[0]))
            need(before, f"the key of {vkey.split('+')[0]} is marked as compromised since {until}")

    def since(self, signed: list[tuple[Key, int | None]]) -> str | None:
        """The earliest time at which the quorum had cosigned, by the witnesses' clocks."""
        timed = sorted(((time, key) for key, time in signed if time is not None), key=lambda one: one[0])
        for last, _ in timed:
            name, made = self.quorum([(key, time) for time, key in timed if time <= last])
            if made and name != "none":
                return second(last)
        return None


@dataclass
class Head:
    """A checkpoint that its log signed."""

    origin: str
    size: int
    root: bytes
    since: str | None = None
    """When the quorum had cosigned it."""


def second(time: int) -> str:
    """POSIX seconds as RFC 3339."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def earliest(recorded_at: str) -> str:
    """When a receipt for what was recorded then can have been given.

    Nobody compared the two clocks: they may differ by a day, and an entry that is of the future bounds nothing.
    """
    held, now = datetime.strptime(recorded_at[:19] + "Z", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC), datetime.now(UTC)
    return f"{held - CLOCKS_DIFFER:%Y-%m-%dT%H:%M:%SZ}" if held <= now + CLOCKS_DIFFER else ""


def check_head(raw: bytes, trust: Trust, into: list[Check]) -> Head | None:
    """Check a checkpoint; what was found goes `into` the list."""
    try:
        origin, size, root = (*raw.decode(errors="replace").split("\n\n")[0].split("\n"), "", "")[:3]
        head = Head(origin, number(size), unbase64(root))
        keys = [key for key in trust.keys if key.kind == 4 or key.name == origin]
        _, signed = open_note(raw, keys)
        need(any(key.kind != 4 for key, _ in signed), f"the log {origin} itself did not sign")
        need(len(head.root) == 32, "the root is not 32 bytes long")
        trust.check_marks(head.size, signed)
    except Wrong as wrong:
        into.append((FAILED, "checkpoint", "checkpoint", str(wrong)))
        return None
    into.append((OK, "checkpoint", origin, f"signed by the log, {head.size} entries"))
    for key, time in signed:
        if time is not None:
            into.append((OK, "witness", key.name, f"cosigned at {second(time)}"))
    name, made = trust.quorum(signed)
    head.since = trust.since(signed)
    into.append((OK if made else MISSING, "quorum", name, "has cosigned" if made else "has not cosigned"))
    return head


def check_proof(raw: bytes, entry: bytes, head: Head, checkpoint: bytes, index: int | None = None) -> int:
    """Check that `entry` stands below this head; its index."""
    above, parted, below = raw.partition(b"\n\n")
    lines = above.decode("ascii", "replace").split("\n")
    need(parted and lines[0] == "c2sp.org/tlog-proof@v1", "this is not a proof")
    del lines[0]
    if lines and lines[0].startswith("extra "):
        unbase64(lines.pop(0)[6:])
    need(lines and lines[0].startswith("index "), "the proof states no index")
    found, path = number(lines[0][6:]), [unbase64(line) for line in lines[1:]]
    need(index is None or found == index, f"this is a proof of entry {found}")
    need(below == checkpoint, "the proof is for another checkpoint")
    need(found < head.size and all(len(one) == 32 for one in path), "the proof is not one for this log")
    fn, sn, node = found, head.size - 1, hashlib.sha256(b"\x00" + entry).digest()
    for one in path:  # RFC 9162 section 2.1.3.2
        need(sn > 0, "the proof is too long")
        if fn & 1 or fn == sn:
            node = hashlib.sha256(b"\x01" + one + node).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + one).digest()
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and node == head.root, "the proof leads to another root: this entry is not in that log")
    return found


# -- a bag -------------------------------------------------------------------------------------------------------------


class Bag:
    """A folder, looked at file by file; what was found stands in `checks`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checks, self.odd = folder, list[Check](), list[str]()
        self.names = sorted(self._walk(folder, ""))
        self.sums: dict[str, dict[str, str]] = {}
        """For each file its digests, computed now, and its length."""
        self.leaves: dict[int, dict[str, Any]] = {}
        self.quoted: set[int] = set()
        """Entries that quote a cosigned checkpoint."""

    # A bag may have hundreds of thousands of files: what is asked for each is looked up, and worked out once.

    @cached_property
    def here(self) -> frozenset[str]:
        """The names, to look one up."""
        return frozenset(self.names)

    @cached_property
    def about(self) -> dict[str, list[int]]:
        """Indexes of the entries about each capture, in order."""
        found: dict[str, list[int]] = {}
        for index, leaf in sorted(self.leaves.items()):
            found.setdefault(leaf["subject"][0]["name"], []).append(index)
        return found

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """Captures by their recording: group and device."""
        found: dict[str, list[str]] = {}
        for leaf in self.leaves.values():
            if (said := leaf["predicate"])["event"] == "held":
                named = json.dumps([said["capture"].get("group"), said["device"]["id"]])
                found.setdefault(named, []).append(leaf["subject"][0]["name"])
        return {named: sorted(every) for named, every in found.items()}

    @cached_property
    def bounds(self) -> list[int]:
        """The quoted ones, in order."""
        return sorted(self.quoted)

    def _walk(self, folder: Path, above: str) -> Iterator[str]:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False) and above.count("/") < DEEP:
                yield from self._walk(Path(entry.path), f"{above}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield above + entry.name
            else:
                self.odd.append(above + entry.name)

    def open(self, name: str) -> Any:  # noqa: ANN401 - a binary file, or what a test puts in its place
        """A file of the bag."""
        return (self.folder / name).open("rb")

    def read(self, name: str) -> bytes:
        """A small file, whole; empty where there is none."""
        if name not in self.here:
            return b""
        with self.open(name) as file:
            raw: bytes = file.read(SMALL + 1)
        need(len(raw) <= SMALL, "is too large to be read")
        return raw

    def matching(self, pattern: str) -> list[str]:
        """Names of files."""
        return [name for name in self.names if re.fullmatch(pattern, name)]

    def check(self, what: str, subject: str, act: Any, *arguments: Any) -> Any:  # noqa: ANN401 - hands through
        """Do one check; a sentence that it returns is told as its finding."""
        try:
            found = act(*arguments)
        except (
            Wrong,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
            UnsupportedAlgorithm,
        ) as wrong:
            self.checks.append((FAILED, what, subject, str(wrong) or type(wrong).__name__))
            return None
        if isinstance(found, str):
            self.checks.append((OK, what, subject, found))
        return found

    def run(self, given: list[Key], roots: list[Key], desks: list[Key] | None = None) -> list[Check]:
        """Everything."""
        self._files()
        trust = self.check("policy", "policy.note", self._trust, given + (desks or []) if given else [], roots)
        if trust is not None:
            trust.desks = desks or []
        raw = self.check("checkpoint", "checkpoint", self.read, "custody/checkpoint")
        head = None
        if not raw:
            self.checks.append((MISSING, "checkpoint", "checkpoint", "no checkpoint is in this bag"))
        elif trust is not None:
            head = check_head(raw, trust, self.checks)
        for name in self.matching(r"custody/[0-9]{6,19}\.json"):
            self.check("entry", name[8:-5], self._entry, name, head, raw)
        for name in self.matching(r"custody/[0-9]{6,19}\.tlog-proof"):
            if name[:-10] + "json" not in self.here:
                self.checks.append((FAILED, "entry", name[8:-11], "is a proof without its entry"))
        for name in self.matching(r"custody/[0-9]{6,19}\.checkpoint"):
            self.check("bound", name[8:-11], self._bound, name, trust)
        self._captures(trust)
        if given and not desks and self.matching(r"custody/receipts/.*"):
            why = "that they are the DEMS's, and not those of another log, no key says: name them by --receipts"
            self.checks.append((MISSING, "key", "receipts", why))
        self.check("recording", "recordings", self._recordings)
        self._tokens()
        return self.checks

    def _tokens(self) -> None:
        tokens, authority = self.matching(r"custody/[^/]*\.tsr"), self.matching(r"keys/tsa[^/]*\.pem")
        if tokens and authority:
            why = "the time stamping authority is taken from the bag: compare it with what that authority publishes"
            self.checks.append((NOTE, "key", authority[0][5:], why))
        for name in tokens:
            self.check("timestamp", name[8:], self._token, name)

    def _files(self) -> None:
        for name in self.odd:
            self.checks.append((FAILED, "files", name, "is not a plain file"))
        for name in self.names:
            self.check("files", name, self._digest, name)
        for manifest in (f"{tag}manifest-{kind}.txt" for tag in ("", "tag") for kind in SUMS):
            sums = self.check("files", manifest, self._listing, manifest) or {}
            data, kind = manifest.startswith("manifest"), manifest[-10:-4]
            here = {name for name in self.names if name.startswith("data/") is data and name not in TAGS}
            for name in sorted(here | set(sums)):
                if name not in sums or name not in here:
                    why = f"is only listed in {manifest}" if name in sums else f"is not listed in {manifest}"
                    self.checks.append((FAILED, "files", name, why))
                elif self.sums.get(name, {}).get(kind) != sums[name]:
                    self.checks.append((FAILED, "files", name, f"is not what {manifest} says"))
        self.check("files", "bag-info.txt", self._info)
        if not any(check[0] == FAILED for check in self.checks):
            self.checks.append((OK, "files", str(len(self.names)), "files, each as it was bagged"))

    def _captures(self, trust: Trust | None) -> None:
        b3sums, held = self.check("files", "b3sums.txt", self._b3sums) or {}, self._holdings()
        files = {name[5:41]: name for name in self.matching(rf"data/{ID}(\.[a-z0-9]+)?")}
        for name in self.names:
            if name.startswith("data/") and files.get(name[5:41]) != name:
                self.checks.append((FAILED, "capture", name, "no entry speaks of this file"))
        for id_ in sorted({*held, *files}):
            index, file = held.get(id_), files.get(id_)
            self.check("capture", id_, self._capture, index, file, b3sums)
            self.check("receipt", id_, self._receipt, index, trust)
            if f"manifests/{id_}.json" in self.here:
                self.check("manifest", id_, self._manifest, id_, index, file)
            if f"custody/story-{id_}.jsonl" in self.here:
                self.check("story", id_, self._story, id_)
        places = {f"{index:06d}" for index in held.values()}
        for name in self.matching(r"custody/receipts/.*|manifests/(?!recording-).*|custody/story-.*"):
            if name.rpartition("/")[2][:-5] not in places and held.keys().isdisjoint(re.findall(ID, name)):
                self.checks.append((FAILED, "files", name, "belongs to no capture of this bag"))

    def _holdings(self) -> dict[str, int]:
        held: dict[str, int] = {}
        for index, leaf in sorted(self.leaves.items()):
            name = leaf["subject"][0]["name"]
            if leaf["predicate"].get("event") == "held" and held.setdefault(name, index) != index:
                why = f"entries {held[name]} and {index} say that it is held"
                self.checks.append((FAILED, "capture", name, why))
        return held

    def _digest(self, name: str) -> None:
        made, length = {kind: hashlib.new(kind) for kind in SUMS}, 0
        with self.open(name) as file:
            while block := file.read(1 << 20):
                length += len(block)
                for one in made.values():
                    one.update(block)
        self.sums[name] = {kind: one.hexdigest() for kind, one in made.items()} | {"length": str(length)}

    def _lines(self, name: str, digits: int) -> dict[str, str]:
        text = self.read(name).decode("ascii")
        rows = [re.fullmatch(rf"([0-9a-f]{{{digits}}})  ({PATH})", row) for row in text.split("\n")[:-1]]
        need(all(rows) and text[-1:] in ("", "\n"), "has a line that is not a digest, two spaces and a name")
        found = {row[2]: row[1] for row in rows if row}
        need(len(found) == len(rows), "lists a file twice")
        return found

    def _b3sums(self) -> dict[str, str]:
        found = self._lines("b3sums.txt", 64)
        data = {name for name in self.names if name.startswith("data/")}
        need("b3sums.txt" not in self.here or set(found) == data, "does not list each capture")
        return found

    def _listing(self, name: str) -> dict[str, str]:
        need(name in self.here, "is not here")
        return self._lines(name, SUMS[name[-10:-4]])

    def _info(self) -> None:
        need(self.read("bagit.txt") == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", "not BagIt 1.0")
        data = [int(sums["length"]) for name, sums in self.sums.items() if name.startswith("data/")]
        oxum = f"\nPayload-Oxum: {sum(data)}.{len(data)}\n"
        need(oxum in "\n" + self.read("bag-info.txt").decode(), "Payload-Oxum is not the length of what is here")

    def _trust(self, given: list[Key], roots: list[Key]) -> Trust:
        keys = [Key.parse(line) for line in self.read("keys/vkeys").decode().split("\n") if line]
        for key in keys:
            if given and key not in given:
                self.checks.append((FAILED, "key", key.name, "is not among the keys that you gave"))
        inside = [Key.parse(line) for line in self.read("keys/root.vkey").decode().split("\n") if line]
        ders = {key.der() for key in keys + inside}
        for name in self.matching(r"keys/.*\.pem"):
            if not name.startswith("keys/tsa"):
                self.check("key", name[5:], self._pem, name, ders)
        if not given:
            self.checks.append((NOTE, "key", "keys", "taken from the bag: compare them with what the agency publishes"))
        elif not roots and "policy.note" in self.here:
            why = "taken from the bag: the policy is the agency's only if this key is the one that it publishes"
            self.checks.append((NOTE, "key", "root.vkey", why))
        if "policy.note" not in self.here:
            why = "there is none: the signature of any one witness counts"
            # Whoever names the agency's root key expects its policy: without it a lesser one would be kept to.
            self.checks.append((MISSING if roots else NOTE, "policy", "policy.note", why))
            return Trust.of(keys)
        text, signed = open_note(self.read("policy.note"), [key for key in roots or inside if key.kind != 4])
        # Whoever makes a policy of his own names keys of his own in it: without the root they are nobody's word.
        trust = Trust.of(keys, text, given if given and not roots else None)
        self.checks.append((OK, "policy", "policy.note", f"signed by {signed[0][0].name}"))
        return trust

    def _pem(self, name: str, ders: set[bytes]) -> None:
        key = serialization.load_pem_public_key(self.read(name))
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        need(key.public_bytes(serialization.Encoding.DER, spki) in ders, "is not a key of keys/vkeys")

    def _entry(self, name: str, head: Head | None, checkpoint: bytes) -> str | None:
        raw, index = self.read(name), int(name[8:-5])
        leaf = json.loads(raw)
        need(name == f"custody/{index:06d}.json" and leaf["predicate"]["seq"] == index, "has another place in the log")
        need(isinstance(leaf["subject"][0]["name"], str), "speaks of nothing")
        if proof := self.read(name[:-4] + "tlog-proof"):
            if head is None:
                raise Wrong("cannot be proven without a checkpoint")
            check_proof(proof, raw, head, checkpoint, index)
        else:
            need(head is None or index >= head.size, "stands below the checkpoint, and its proof is not here")
        self.leaves[index] = leaf
        if proof:
            return f"{leaf['predicate']['event']}: stands in the log"
        self.checks.append((MISSING, "entry", name[8:-5], "has no proof"))
        return None

    def _held(self, index: int | None) -> tuple[int, dict[str, Any]]:
        if index is None:
            raise Wrong("no entry says that it is held")
        return index, self.leaves[index]

    def _capture(self, index: int | None, file: str | None, b3sums: dict[str, str]) -> str | None:
        index, leaf = self._held(index)
        digest, length = leaf["subject"][0]["digest"], leaf["predicate"]["capture"]["length"]
        if file is None:
            self.checks.append((MISSING, "capture", leaf["subject"][0]["name"], "its bytes are not in this bag"))
            return None
        sums = self.sums[file]
        same = sums["sha256"] == digest["sha256"] and sums["length"] == str(length)
        need(same and b3sums.get(file, digest["blake3"]) == digest["blake3"], "is not what its entry says")
        return f"{length} bytes, as entry {index} says"

    def _receipt(self, index: int | None, trust: Trust | None) -> str | None:
        index, leaf = self._held(index)
        name, subject = f"custody/receipts/{index:06d}.note", leaf["subject"][0]
        if name not in self.here:
            self.checks.append((MISSING, "receipt", subject["name"], "no receipt is in this bag"))
            return None
        if trust is None:
            raise Wrong("no keys are known")
        head = self.read("custody/checkpoint").split(b"\n")[0].decode()
        text, signed = open_note(self.read(name), trust.receipts(head))
        said = RECEIPT.fullmatch(text)
        if said is None:
            raise Wrong("is not a receipt")
        need(all(key.name != said[4] for key, _ in signed), "the log itself signed it")
        length, sha256 = leaf["predicate"]["capture"]["length"], subject["digest"]["sha256"]
        ours = (subject["name"], sha256, str(length), head or said[4], str(index))
        need(said.groups()[:5] == ours, "is not for this capture")
        need(said[6] >= earliest(leaf["predicate"]["recorded_at"]), "is older than the capture")
        return f"{signed[0][0].name} stored it at {said[6]}"

    def _manifest(self, id_: str, index: int | None, file: str | None) -> str:
        index, leaf = self._held(index)
        raw = self.read(f"custody/{index:06d}.json")
        rest = dict(leaf["predicate"])
        parts = {part: rest.pop(part) for part in OURS}
        said, found = ({part: {k: v for k, v in values.items() if (k in OURS[part]) is ours}
                        for part, values in parts.items()} for ours in (False, True))  # fmt: skip
        told = self.read(f"manifests/{id_}.json")
        note = f"custody/receipts/{index:06d}.note"
        origin = self.read("custody/checkpoint").split(b"\n")[0].decode() or json.loads(told)["entry"]["log"]
        one = [parts["capture"].get("group"), parts["device"]["id"]]
        same = self.members.get(json.dumps(one), []) if one[0] else []
        below = bisect_left(self.bounds, index)
        later = [self.leaves[entry]["predicate"] for entry in self.about.get(id_, [])]
        context = [{"context": one["context"], "entry": one["seq"], "instead_of": one["instead_of"]}
                   for one in later if one["event"] == "capture.context"]  # fmt: skip
        sent = [{"destination": one["receipt"]["destination"], "entry": one["seq"], "sent": one["receipt"]["sent"]}
                for one in later if one["event"] in ("receipted", "copied") and "sent" in one["receipt"]]  # fmt: skip
        should = {
            "type": "https://evidock.example/manifest/v1", "capture": id_, "file": file,
            "entry": {"log": origin, "index": index, "leaf_hash": hashlib.sha256(b"\x00" + raw).hexdigest()},
            "device_said": said,
            "station_found": {**rest, **found, "digest": leaf["subject"][0]["digest"]},
            "receipt": note if note in self.here else None,
            "recording": same,
            "written": {
                "after": f"custody/{self.bounds[below - 1]:06d}.checkpoint" if below else None,
                "before": "custody/checkpoint" if f"custody/{index:06d}.tlog-proof" in self.here else None,
            },
            **({"context": context} if context else {}), **({"sent": sent} if sent else {}),
        }  # fmt: skip
        # Byte for byte: of two equal names in one object, readers take different ones.
        same_bytes = told == (json.dumps(should, indent=2, sort_keys=True) + "\n").encode()
        need(same_bytes, "does not say what its entry says")
        return f"says what entry {index} says"

    def _bound(self, name: str, trust: Trust | None) -> str | None:
        index, raw = int(name[8:-11]), self.read(name)
        said = self.leaves[index]["predicate"] if index in self.leaves else {}
        told = said["checkpoint"]["sha256"] if said.get("event") == "anchor.cosigned" else None
        if trust is None or told != hashlib.sha256(raw).hexdigest():
            raise Wrong("is not the checkpoint that this entry quotes")
        found: list[Check] = []
        head = check_head(raw, trust, found)
        if head is None or head.origin.encode() != self.read("custody/checkpoint").split(b"\n")[0]:
            raise Wrong(found[0][3] if head is None else "is of another log")
        self.quoted.add(index)
        if head.since is None:
            self.checks.append((MISSING, "bound", name[8:-11], "the quorum has not cosigned what it quotes"))
            return None
        return f"what follows this entry was written after {head.since}"

    def _recordings(self) -> None:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        files = {name[5:41]: name for name in self.matching(rf"data/{ID}(\.[a-z0-9]+)?")}
        for index, leaf in sorted(self.leaves.items()):
            said, subject = leaf["predicate"].get("capture", {}), leaf["subject"][0]
            if leaf["predicate"].get("event") != "held" or not said.get("group"):
                continue
            hashed = hashlib.sha256(b"\x00" + self.read(f"custody/{index:06d}.json")).hexdigest()
            groups.setdefault((str(leaf["predicate"]["device"]["id"]), str(said["group"])), []).append({
                "capture": subject["name"], "clip": said.get("clip"), "began_at": said["began_at"],
                "length": said["length"], "sha256": subject["digest"]["sha256"], "file": files.get(subject["name"]),
                "entry": {"index": index, "leaf_hash": hashed},
            })  # fmt: skip
        origin, expected = self.read("custody/checkpoint").split(b"\n")[0].decode(), set()
        for (device, group), clips in groups.items():
            clips.sort(key=lambda one: (one["clip"] is not None, one["clip"] or 0, one["entry"]["index"]))
            about = json.dumps({"device": device, "group": group}, ensure_ascii=False, separators=(",", ":")).encode()
            raw = bytearray(hashlib.sha256(about).digest()[:16])
            raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80
            name = f"manifests/recording-{uuid.UUID(bytes=bytes(raw))}.json"
            should = {"type": "https://evidock.example/recording/v1", "log": origin, "device": device, "group": group,
                      "clips": clips}  # fmt: skip
            if len(clips) > 1:
                expected.add(name)
                self.check("recording", name[10:], self._recording, name, should)
        for name in sorted(set(self.matching("manifests/recording-.*")) - expected):
            self.checks.append((FAILED, "recording", name[10:], "is of no recording of this bag"))

    def _recording(self, name: str, should: dict[str, Any]) -> str | None:
        if name not in self.here:
            self.checks.append((MISSING, "recording", name[10:], "is not in this bag"))
            return None
        same = self.read(name) == (json.dumps(should, indent=2, sort_keys=True) + "\n").encode()
        need(same and should["log"], "does not say what the entries say")
        return f"names {len(should['clips'])} captures, as their entries do"

    def _story(self, id_: str) -> str:
        about = self.about.get(id_, [])
        told = b"".join(self.read(f"custody/{index:06d}.json") + b"\n" for index in about)
        need(about and self.read(f"custody/story-{id_}.jsonl") == told, "does not tell what the entries tell")
        return f"tells {len(about)} entries"

    def _token(self, name: str) -> str | None:
        roots, openssl = self.matching(r"keys/tsa[^/]*\.pem"), shutil.which("openssl")
        over = name[:-4] if name[:-4] in self.here else "custody/checkpoint"
        if not roots or openssl is None:
            why = "openssl is not installed" if roots else "no certificate is in this bag"
            self.checks.append((NOTE, "timestamp", name[8:], f"not checked: {why}"))
            return None
        told = self._run(openssl, "ts", "-reply", "-in", name, "-text").stdout
        found = re.search(rb"^Time stamp: (\w{3} [ 0-9]\d \d\d:\d\d:\d\d)(?:\.\d+)? (\d{4}) GMT$", told, re.MULTILINE)
        if found is None:
            raise Wrong("openssl reads no time in it")
        at = datetime.strptime(b" ".join(found.groups()).decode(), "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
        # Its certificates were good when it was made; that they run out later takes nothing from it.
        when = ("-attime", str(int(at.timestamp())))
        done = self._run(openssl, "ts", "-verify", "-data", over, "-in", name, "-CAfile", roots[0], *when)
        need(done.returncode == 0, "openssl does not accept the time stamp")
        return f"openssl accepts the time stamp of {at:%Y-%m-%dT%H:%M:%SZ}"

    def _run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, cwd=self.folder, capture_output=True, check=False)  # noqa: S603


# -- the program -------------------------------------------------------------------------------------------------------


def read_plain(path: Path) -> bytes:
    """A small file, whole."""
    need(path.is_file() or not path.exists(), f"{path.name} is no plain file")
    with path.open("rb") as file:
        raw = file.read(SMALL + 1)
    need(len(raw) <= SMALL, f"{path.name} is too large to be read")
    return raw


def keys_of(path: Path) -> list[Key]:
    """The keys that a reader names: one at least."""
    try:
        found = [Key.parse(line) for line in read_plain(path).decode().split("\n") if line]
        need(found, "there is no key in it")
    except (OSError, ValueError, Wrong) as error:
        raise Wrong(f"the keys in {path}: {error}") from None
    return found


def check_file(path: Path, keys: list[Key], roots: list[Key]) -> list[Check]:
    """Check a proof or a checkpoint by itself."""
    raw, checks = read_plain(path), list[Check]()
    for name in ("keys/vkeys", "vkeys", "../keys/vkeys"):
        if not keys and (beside := path.parent / name).is_file():
            keys = [Key.parse(line) for line in read_plain(beside).decode().split("\n") if line]
            checks.append((NOTE, "key", "keys", f"taken from {name}: compare them with what the agency publishes"))
    need(keys, "no keys are known: name them by --keys")
    policy = path.parent.parent / "policy.note"
    trust = Trust.of(keys, open_note(read_plain(policy), roots)[0] if roots and policy.is_file() else "")
    if roots and not policy.is_file():
        why = "there is none: the signature of any one witness counts"
        checks.append((MISSING, "policy", "policy.note", why))
    proof = raw.startswith(b"c2sp.org/tlog-proof@v1\n")
    checkpoint = raw.partition(b"\n\n")[2] if proof else raw
    head = check_head(checkpoint, trust, checks)
    if proof and head:
        entry = path.with_suffix(".json")
        need(entry.is_file(), f"the entry {entry.name} must lie beside its proof")
        leaf = read_plain(entry)
        try:
            index = check_proof(raw, leaf, head, checkpoint)
            checks.append((OK, "entry", path.stem, f"entry {index} stands in the log"))
        except Wrong as wrong:
            checks.append((FAILED, "entry", path.stem, str(wrong)))
    return checks


def exit_code(checks: list[Check]) -> int:
    """What the shell is told."""
    outcomes = {check[0] for check in checks}
    return 1 if FAILED in outcomes else 3 if MISSING in outcomes else 0


def bag_at(folder: Path) -> Bag:
    """The bag in this folder. Raises `Wrong` where nothing of one is there."""
    if not any((folder / name).exists() for name in ("bagit.txt", "manifest-sha256.txt", "custody")):
        raise Wrong("it is no folder that evidock capture export made")
    return Bag(folder)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Checks what Evidock exported: a bag, a proof or a checkpoint.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--keys", type=Path, help="vkeys of log, witnesses and receipts, obtained from the agency")
    parser.add_argument("--root", type=Path, help="vkey of the agency's root key, which signs the policy")
    parser.add_argument("--receipts", type=Path, help="vkeys of the evidence system: then no others sign receipts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(arguments)
    try:
        keys, roots, desks = (keys_of(file) if file else [] for file in (asked.keys, asked.root, asked.receipts))
        bag = bag_at(asked.path) if asked.path.is_dir() else None
        checks = check_file(asked.path, keys, roots) if bag is None else bag.run(keys, roots, desks)
    except (OSError, ValueError, Wrong) as error:
        sys.stderr.write(f"cannot be read: {error}\n")
        return 2
    code = exit_code(checks)
    if asked.json:
        names = ("outcome", "what", "subject", "found")
        told = {"exit_code": code, "checks": [{name: check[n] for n, name in enumerate(names)} for check in checks]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return code
    encoding = sys.stdout.encoding or "ascii"
    for check in checks:
        line = f"{check[0]:8}{check[1]:11}{check[2]}: {check[3]}"
        shown = "".join(c if c.isprintable() else "?" for c in line)
        sys.stdout.write(shown.encode(encoding, "replace").decode(encoding) + "\n")
    verdict = {
        0: "PROVEN",
        1: "NOT PROVEN: something is wrong",
        3: "INCOMPLETE: nothing is wrong, something is missing",
    }
    sys.stdout.write(verdict[code] + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
