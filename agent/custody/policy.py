"""The policy: whose signatures make a checkpoint one to act upon, as the agency's root key signed it.

c2sp.org/tlog-policy, carried as the text of a signed note:

    log <vkey> [<url>]                       a station's log; its key's name is the log's origin
    witness <name> <vkey> [<url>]            someone who remembers how large each log was
    group <name> all|any|<k> <member>...     members are witnesses and groups of earlier lines, each named once
    quorum <name>|none                       what must have cosigned
    compromised <vkey> <time> [<size>]       a log's key, from an earlier line, that somebody else had at that time

The last line is ours: a reader of the standard refuses such a policy, which is right. Of a log whose key it names, a
checkpoint counts only where the quorum had cosigned it by that time (RFC 3339, UTC), and, where a size is given, only
up to that size. A witness's key that was lost is not marked but left out: its cosignatures state their own time.

One line that is not understood spoils the policy: a rule that is skipped would be a rule that is not kept. Where the
standard leaves the choice, one thing is stricter here: no key may serve as a log and as a witness.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.note import COSIGNATURE, BadNote, Note, Verifier, parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.note import Signature

__all__ = ["NO_QUORUM", "BadPolicy", "Group", "Log", "Mark", "Policy", "Witness", "open_policy", "parse"]

NO_QUORUM: Final = "none"
"""The predefined name of the quorum that needs nobody."""

_LINES_MAX: Final = 4096
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_BLANK: Final = re.compile(r"[ \t]+")  # the only white space of the format: str.split would take that of Unicode


class BadPolicy(BadNote):
    """A policy that cannot be used, with the line where that was found; nothing may be trusted by it."""


@dataclass(frozen=True, slots=True)
class Log:
    """A log whose checkpoints are taken; two of one origin stand there while its key is being changed."""

    verifier: Verifier
    url: str | None = None

    @property
    def origin(self) -> str:
        """The first line of this log's checkpoints."""
        return self.verifier.name


@dataclass(frozen=True, slots=True)
class Witness:
    """A cosigner, by the name that this policy gives it."""

    name: str
    verifier: Verifier
    url: str | None = None
    """Where it takes checkpoints: its submission prefix."""


@dataclass(frozen=True, slots=True)
class Group:
    """Members of whom at least `threshold` must have cosigned."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A log's key that is not to be believed for what came later."""

    verifier: Verifier
    since: datetime
    size: int | None = None
    """The largest size that is still believed; None: whatever the quorum had cosigned by then."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose signatures count."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    """Each after its members."""
    quorum: str
    """The name of a witness or a group, or `NO_QUORUM`."""
    marks: tuple[Mark, ...] = ()
    """Keys of logs that are compromised."""

    def check_marks(self, size: int, signatures: Iterable[Signature]) -> None:
        """Raise `BadNote` for a checkpoint of this size whose log's signatures all stand under a mark that excludes it.

        Where a key that is not marked signed as well, its word suffices.
        """
        signed = tuple(signatures)
        keys = {one.by for one in signed if one.by.kind != COSIGNATURE}
        marks = [mark for mark in self.marks if mark.verifier in keys]
        if len({mark.verifier for mark in marks}) < len(keys) or not keys:
            return
        at = self.cosigned_at(signed)
        for mark in marks:
            if at is None or at > mark.since or (mark.size is not None and size > mark.size):
                raise BadNote(
                    f"the key of {mark.verifier.name} is marked as compromised since"
                    f" {mark.since:%Y-%m-%dT%H:%M:%SZ}, and this is not of before"
                )

    def log_keys(self, origin: str) -> list[Verifier]:
        """Return the keys that sign for one origin; none when the log is unknown."""
        return [log.verifier for log in self.logs if log.origin == origin]

    @property
    def witness_keys(self) -> list[Verifier]:
        """The keys of all witnesses."""
        return [witness.verifier for witness in self.witnesses]

    def satisfied(self, signatures: Iterable[Signature]) -> bool:
        """Tell whether the witnesses among verified `signatures` make up the quorum."""
        if self.quorum == NO_QUORUM:
            return True
        signed = {signature.by for signature in signatures}
        said = {witness.name for witness in self.witnesses if witness.verifier in signed}
        for group in self.groups:  # each stands after its members, so one pass decides them all
            if len(said.intersection(group.members)) >= group.threshold:
                said.add(group.name)
        return self.quorum in said

    def cosigned_at(self, signatures: Iterable[Signature]) -> datetime | None:
        """Return the earliest time at which the quorum had cosigned, by the witnesses' clocks.

        None when the quorum is not made up, or asks for nobody.
        """
        if self.quorum == NO_QUORUM:
            return None
        timed = [(one.cosigned_at, one) for one in signatures if one.cosigned_at is not None]
        for at, _ in sorted(timed, key=lambda pair: pair[0]):
            if self.satisfied(one for when, one in timed if when <= at):
                return at
        return None


def open_policy(raw: bytes, roots: Iterable[Verifier]) -> Policy:
    """Return the policy of a note that one of the agency's root keys signed; raise `BadNote` otherwise."""
    note = Note.parse(raw)
    note.verified_by(root for root in roots if root.kind != COSIGNATURE)
    return parse(note.text)


def parse(text: str) -> Policy:
    """Return the policy of a text, or raise `BadPolicy`: by itself it is nobody's word (see `open_policy`)."""
    lines = text.removesuffix("\n").split("\n")
    if not text.endswith("\n") or len(lines) > _LINES_MAX:
        raise BadPolicy(f"a policy has at most {_LINES_MAX} lines, and each ends in a newline")
    draft = _Draft()
    for number, line in enumerate(lines, 1):
        words = _BLANK.split(line.strip(" \t"))
        if not words[0] or words[0].startswith("#"):
            continue
        try:
            draft.add(*words)
        except BadNote as bad:
            raise BadPolicy(f"line {number}: {bad}") from bad
    return draft.done()


@dataclass(slots=True)
class _Draft:
    """A policy as far as it is read."""

    logs: list[Log] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    marks: list[Mark] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)

    def add(self, word: str, *rest: str) -> None:
        """Take one line, given by its words, or raise `BadNote`."""
        readers: dict[str, tuple[Callable[..., None], int, int]] = {
            "log": (self._log, 1, 2),
            "witness": (self._witness, 2, 3),
            "group": (self._group, 3, _LINES_MAX),
            "quorum": (self._quorum, 1, 1),
            "compromised": (self._compromised, 2, 3),
        }
        if word not in readers:
            raise BadPolicy(f"{word!r} is not a word that begins a line")
        read, least, most = readers[word]
        if not least <= len(rest) <= most:
            raise BadPolicy(f"a {word} line does not have {len(rest) + 1} words")
        read(*rest)

    def done(self) -> Policy:
        """Return the policy, which must have said what the quorum is."""
        if self.quorum is None:
            raise BadPolicy("the policy has no quorum line")
        return Policy(tuple(self.logs), tuple(self.witnesses), tuple(self.groups), self.quorum, tuple(self.marks))

    def _log(self, vkey: str, url: str | None = None) -> None:
        self.logs.append(Log(self._key(vkey, "log"), url))

    def _witness(self, name: str, vkey: str, url: str | None = None) -> None:
        self._name(name)
        self.witnesses.append(Witness(name, self._key(vkey, "witness"), url))

    def _group(self, name: str, threshold: str, *members: str) -> None:
        # The members first: a group that could name itself would be a circle.
        for member in members:
            if member not in self.names:
                raise BadPolicy(f"{member!r} is not defined on an earlier line")
            if member in self.members:
                raise BadPolicy(f"{member!r} is a member already; it may count in one way only")
            self.members.add(member)
        self._name(name)
        least = {"all": len(members), "any": 1}.get(threshold) or parse_number(threshold)
        if not 1 <= least <= len(members):
            raise BadPolicy(f"{least} of {len(members)} members cannot be asked for")
        self.groups.append(Group(name, least, members))

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise BadPolicy("there is a second quorum line")
        if name != NO_QUORUM and name not in self.names:
            raise BadPolicy(f"{name!r} is not defined on an earlier line")
        self.quorum = name

    def _compromised(self, vkey: str, since: str, size: str | None = None) -> None:
        key = Verifier.parse(vkey)
        if all(log.verifier != key for log in self.logs):
            raise BadPolicy(f"the key of {key.name} is that of no log of an earlier line")
        if any(mark.verifier == key for mark in self.marks):
            raise BadPolicy(f"the key of {key.name} is marked already")
        try:
            at = datetime.fromisoformat(since) if _TIME.fullmatch(since) else None
        except ValueError:  # the 30th of February
            at = None
        if at is None:
            raise BadPolicy(f"{since!r} is not a time such as 2026-11-22T07:48:12Z")
        self.marks.append(Mark(key, at, None if size is None else parse_number(size)))

    def _name(self, name: str) -> None:
        if name in self.names or name == NO_QUORUM:
            raise BadPolicy(f"the name {name!r} is taken")
        self.names.add(name)

    def _key(self, vkey: str, role: str) -> Verifier:
        verifier = Verifier.parse(vkey)
        if (verifier.kind == COSIGNATURE) != (role == "witness"):
            raise BadPolicy(f"the key of {verifier.name} is not of a kind for a {role}")
        if verifier.public in self.keys:
            raise BadPolicy(f"the key of {verifier.name} stands there already")
        self.keys.add(verifier.public)
        return verifier
