"""The keys that sign for the log: one, and two while it is being changed.

    keys/log.key         the log's key
    keys/log.key.next    the next one: made when the change begins, put in the place of the other when it ends

Which of them is the log's key stands in the journal, so that a crash at any point leaves what can be gone on with: a
key that was made and not yet named in an entry is used for the next attempt; one that was named last, with the file not
yet renamed, is found under the other name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.anchor import keys
from agent.errors import JournalError, Refusal
from agent.note import ECDSA_P256, ED25519

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config import Custody
    from agent.journal.anchors import LogKeys
    from agent.note import Signer, Verifier

__all__ = ["KINDS", "Place", "Ring"]

_NEXT: Final = ".next"
KINDS: Final = {"ed25519": ED25519, "p256": ECDSA_P256}
"""Of keys, by their names in agent.toml."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the private key of one log lies, and of what kind a new one is."""

    path: Path
    name: str
    """Of the log, which is that of the key too."""
    kind: int = ED25519
    given: bool = False
    """systemd put it there: it guards it, and nobody writes there."""
    ours: bool = False
    """It lies in the state folder, where the first start makes it."""

    @classmethod
    def of(cls, custody: Custody, state: Path, name: str) -> Place:
        """As agent.toml has it; else the systemd credential, else a file in the state folder."""
        kind = KINDS[custody.log_key_kind]
        if custody.log_key is None and (given := keys.credential()) is not None:
            return cls(given, name, kind, given=True)
        return cls(custody.log_key or state / "keys" / "log.key", name, kind, ours=custody.log_key is None)

    @property
    def next(self) -> Path:
        """Where the next key lies."""
        return self.path.with_name(self.path.name + _NEXT)

    def load(self, path: Path) -> Signer:
        """One of the two. `ConfigError` where it cannot be used."""
        return keys.load_key(path, self.name, private=not self.given)

    def known(self) -> list[Signer]:
        """Every key that lies there."""
        found = [path for path in (self.path, self.next) if path.exists()]
        return [self.load(path) for path in found or [self.path]]

    def make(self, path: Path) -> Signer:
        """The key at `path`, made where there is none. `ConfigError` or `Refusal` where it cannot be."""
        if not path.exists():
            if self.given:
                raise Refusal(
                    f"the key of the log comes from systemd, and {path.name} is not among the credentials",
                    hint=f"Give the unit a credential {path.name} with the next key, and start it anew.",
                )
            keys.make_key(path, self.name, kind=self.kind)
        return self.load(path)


@dataclass(frozen=True, slots=True)
class Ring:
    """The log's key, and beside it the one before, as long as both sign."""

    key: Signer
    former: Signer | None = None

    @property
    def signers(self) -> tuple[Signer, ...]:
        """Whose lines a checkpoint carries, the older first: readers who know only that one look there."""
        return (self.key,) if self.former is None else (self.former, self.key)

    @property
    def verifiers(self) -> tuple[Verifier, ...]:
        """Their public halves."""
        return tuple(signer.verifier for signer in self.signers)

    @classmethod
    def load(cls, place: Place, told: LogKeys, *, signed: bool) -> Ring:
        """The keys that the journal names. `signed`: the log has signed already, so that its key must be there.

        Raises `ConfigError`, and `JournalError` where the key that has signed is missing.
        """
        if place.ours and not place.path.exists() and not place.next.exists():
            if signed:
                raise JournalError(
                    f"the private key of the log {place.name} is missing, and it has signed already",
                    hint="Put keys/log.key back. If it is lost for good, begin a new epoch: evidock custody new-epoch.",
                )
            return cls(place.make(place.path))
        found = {signer.vkey: signer for signer in place.known()}
        key = found.get(told.key or "")
        if key is None:
            return cls(next(iter(found.values())))  # of an earlier start, or not ours: the last checkpoint tells
        former = None if told.former is None else found.get(told.former)
        ring = cls(key, former)
        return ring.finish(place) if told.former is None else ring

    def finish(self, place: Place) -> Ring:
        """Only the newer key from now on; the other is overwritten where it lies."""
        if not place.given and place.next.exists() and place.load(place.next).vkey == self.key.vkey:
            _take_over(place)
        return Ring(self.key)


def _take_over(place: Place) -> None:
    with durable.folder(place.path.parent) as folder:
        durable.move(place.next.name, folder, place.path.name, folder)
        durable.force_folder(folder)
