"""What must be true of a station at any moment, read from what lies on its disk and nothing else.

Each function answers with sentences about what is wrong; none is a good sign. The journal is replayed here with a table
of its own, beside `agent.journal.verify`, so that an error in the agent's own is seen.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from blake3 import blake3

from agent.capture import STEPS, Holding, Origin, Standing, canonical, capture_id
from agent.journal import Event, queries
from agent.journal.verify import Verification
from agent.merkle import HASH_LENGTH, TILE_WIDTH, Frontier, leaf_hash, subtree_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from agent.journal import Journal

__all__ = [
    "Book",
    "Exhibit",
    "Story",
    "Witness",
    "audit_arrivals",
    "audit_devices",
    "audit_spool",
    "digested",
    "read_journal",
]

_LOST: Final = "its file is missing from the spool"
_FORGETS: Final = frozenset({Standing.RELEASED, Standing.PURGED})
_ALWAYS: Final[dict[str, Standing]] = {
    Event.HELD: Standing.HELD,
    Event.RECEIPTED: Standing.RECEIPTED,
    Event.REFUSED: Standing.REFUSED,
    Event.RELEASED: Standing.RELEASED,
    Event.CHANGED_AFTER_SEEN: Standing.QUARANTINED,
}
_AGAIN: Final = {
    Standing.QUARANTINED: Standing.HELD,
    Standing.RELEASED: Standing.RECEIPTED,
    Standing.PURGED: Standing.RECEIPTED,
}


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Bytes that a device has, or had."""

    device: str
    key: str
    sha256: bytes


class Witness(Protocol):
    """A device that can say what it ever held and what it still holds."""

    def ever(self) -> Iterable[Exhibit]:
        """Everything that was ever recorded on it."""

    def still(self) -> Iterable[Exhibit]:
        """What is on it now."""


@dataclass(slots=True)
class Story:
    """What the entries tell of one capture."""

    id: str
    sha256: bytes
    standing: Standing = Standing.UNKNOWN
    events: list[str] = field(default_factory=list)
    volatile: bool = False
    forgets: bool = False
    """Its device cannot be asked to forget it."""


@dataclass(slots=True)
class Book:
    """A journal, read from its first leaf to its last."""

    stories: dict[str, Story] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    """SHA-256 in hexadecimal and length of what was set aside."""
    purged: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def wrong(self, sentence: str) -> None:
        """Note that something is wrong."""
        self.problems.append(sentence)


# --- the journal ------------------------------------------------------------------------------------------------------


def read_journal(journal: Journal) -> Book:
    """Replay every leaf, and compare the tree, the tiles, the standings and the sums with what the journal shows."""
    book = Book()
    _replay(journal, book)
    ids: list[tuple[Any, ...]] = journal.connection.execute("SELECT id FROM capture").fetchall()
    for (raw_id,) in ids:
        holding = journal.get(str(UUID(bytes=raw_id)))
        book.holdings[holding.id] = holding
    for capture in book.stories.keys() ^ book.holdings.keys():
        book.wrong(f"capture {capture} stands in the entries or in the table, and not in both")
    for capture, holding in book.holdings.items():
        _compare(book, book.stories.get(capture), holding)
    verification = Verification(journal)
    while not verification.done:
        verification.step(journal)
    book.problems += verification.report().problems
    book.parts = {name: length for name, length, _ in queries.parts(journal)}
    _sums(journal, book)
    return book


def _replay(journal: Journal, book: Book) -> None:
    frontier, hashes = Frontier(), bytearray()
    found: list[tuple[Any, ...]] = journal.connection.execute("SELECT row, id FROM capture").fetchall()
    rows = {row: raw_id for row, raw_id in found}  # noqa: C416 - a list of rows is no list of pairs to a type checker
    for seq, row, leaf in journal.connection.execute("SELECT seq, capture, leaf FROM entry ORDER BY seq"):
        said = json.loads(leaf)
        predicate, subject = said["predicate"], said["subject"][0]
        if canonical(said) != leaf:
            book.wrong(f"leaf {seq} is not canonical JSON")
        if not seq == frontier.size == predicate["seq"]:
            book.wrong(f"leaf {seq} stands where {frontier.size} belongs and says {predicate['seq']}")
        if row is not None:
            _one_entry(book, rows.get(row), subject, predicate)
        elif subject["name"] == journal.log and subject["digest"]["sha256"] != frontier.root().hex():
            book.wrong(f"leaf {seq} names a root that the tree before it does not have")
        hashed = leaf_hash(leaf)
        frontier.append(hashed)
        hashes += hashed
    if frontier.size != journal.leaves.size or frontier.root() != journal.leaves.root():
        book.wrong("the tree in memory is not the tree of the leaves")
    _tiles(journal, book, bytes(hashes))


def _tiles(journal: Journal, book: Book, hashes: bytes) -> None:
    expected: dict[tuple[int, int], bytes] = {}
    level, width = 0, TILE_WIDTH * HASH_LENGTH
    while len(hashes) >= width:
        full = [hashes[at : at + width] for at in range(0, len(hashes) - width + 1, width)]
        expected |= {(level, index): tile for index, tile in enumerate(full)}
        hashes, level = b"".join(map(subtree_root, full)), level + 1
    found = {
        (level, index): bytes(tile)
        for level, index, tile in journal.connection.execute("SELECT level, idx, hashes FROM tile")
    }
    if found != expected:
        book.wrong(f"{len(found)} tiles are stored, and not the {len(expected)} that follow from the leaves")


def _one_entry(book: Book, raw_id: bytes | None, subject: dict[str, Any], predicate: dict[str, Any]) -> None:
    name, event = subject["name"], predicate["event"]
    if raw_id is None or raw_id.hex() != name.replace("-", ""):
        book.wrong(f"leaf {predicate['seq']} speaks of {name} and is filed under another capture")
        return
    if event == Event.HELD:
        if name in book.stories:
            book.wrong(f"capture {name} was held as new twice")
        told, digest = predicate["capture"], bytes.fromhex(subject["digest"]["sha256"])
        book.stories[name] = Story(name, digest, volatile=told["volatile"], forgets="forgets" in told)
    story = book.stories.get(name)
    if story is None:
        book.wrong(f"capture {name}: {event} before it was held")
        return
    after = _moved(story, event, predicate)
    if after is not story.standing and after not in STEPS[story.standing]:
        book.wrong(f"capture {name} went from {story.standing} to {after}")
    _in_order(book, story, event, predicate)
    story.standing = after
    story.events.append(event)


def _moved(story: Story, event: str, predicate: dict[str, Any]) -> Standing:
    """Where a capture stands after an event: this project's second opinion on `agent.journal.book`."""
    now = story.standing
    if event in _ALWAYS:
        return _ALWAYS[event]
    if event == Event.PURGED and now is Standing.RELEASED:
        return Standing.PURGED
    if event == Event.OFFERED_AGAIN:
        return _AGAIN.get(now, now)
    if event == Event.QUARANTINED:
        stays = predicate["reason"] == _LOST and now in (Standing.RECEIPTED, Standing.RELEASED)
        return now if stays else Standing.QUARANTINED
    found = event == Event.FOUND and now is Standing.QUARANTINED and predicate["reason"] is None
    if found or (event == Event.OPERATOR_COMMAND and predicate["command"] == "retry"):
        return Standing.HELD
    return now


def _in_order(book: Book, story: Story, event: str, predicate: dict[str, Any]) -> None:
    if story.forgets and event in (Event.RELEASE_INTENDED, Event.RELEASED):
        book.wrong(f"capture {story.id}: {event}, and its device cannot be asked to forget it")
    if event in (Event.RELEASE_INTENDED, Event.RELEASED) and Event.RECEIPTED not in story.events:
        book.wrong(f"capture {story.id}: {event} without a receipt")
    if event == Event.RELEASED and not story.volatile and predicate.get("device") != "kept no copy":
        # After a receipt, which is seen above; whether a person had it sent once more since then does not matter.
        since = max((i for i, e in enumerate(story.events) if e == Event.OFFERED_AGAIN), default=0)
        if Event.RELEASE_INTENDED not in story.events[since:]:
            book.wrong(f"capture {story.id} was released without having been read a second time")


def _compare(book: Book, story: Story | None, holding: Holding) -> None:
    if story is None:
        return
    if story.standing is not holding.standing:
        book.wrong(f"capture {holding.id} stands {holding.standing}, and its entries say {story.standing}")
    if story.sha256 != holding.digest.sha256:
        book.wrong(f"capture {holding.id} has another SHA-256 than its entry")
    origin = Origin(holding.origin.device, holding.origin.key, holding.origin.began_at)
    if capture_id(origin, holding.digest.sha256) != holding.id:
        book.wrong(f"capture {holding.id} is not the id of its origin and digest")
    if holding.standing in (Standing.RECEIPTED, *_FORGETS) and holding.receipt is None:
        book.wrong(f"capture {holding.id} stands {holding.standing} without a receipt")
    if holding.receipt is not None and Event.PURGED in story.events and not holding.spooled:
        book.purged.add(holding.digest.sha256.hex())


def _sums(journal: Journal, book: Book) -> None:
    captures = Counter(holding.standing for holding in book.holdings.values())
    told = {standing: tally.captures for standing, tally in queries.tally(journal).items() if tally.captures}
    lengths = {standing: tally.bytes for standing, tally in queries.tally(journal).items() if tally.captures}
    summed: Counter[Standing] = Counter()
    for holding in book.holdings.values():
        summed[holding.standing] += holding.digest.length
    if told != dict(captures) or lengths != {standing: summed[standing] for standing in captures}:
        book.wrong(f"the sums say {told}, and there are {dict(captures)}")


# --- what the entries speak of ----------------------------------------------------------------------------------------


def digested(path: Path) -> tuple[str, bytes, int]:
    """(SHA-256 in hexadecimal, BLAKE3, length) of a file, which is read to its end."""
    whole, fast, length = sha256(), blake3(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
            fast.update(block)
            length += len(block)
    return whole.hexdigest(), fast.digest(), length


def audit_spool(
    book: Book, root: Path, *, at_rest: bool, digested: Callable[[Path], tuple[str, bytes, int]] = digested
) -> list[str]:
    """Each capture in the spool has its file with both digests, and each file belongs to one.

    `at_rest`: recovery has run since the last crash; else a file may be there that was not promised yet. One whose
    purge is written, and which the next start lets go, may be there at any time. `digested`: how files are read.
    """
    wrong: list[str] = []
    kept = {path.name: path for path in (root / "kept").iterdir()}
    needed = {h.digest.sha256.hex(): h for h in book.holdings.values() if h.spooled}
    for name, holding in needed.items():
        if name not in kept:
            wrong.append(f"capture {holding.id} stands {holding.standing}, and {name} is not in the spool")
            continue
        if digested(kept[name]) != (name, holding.digest.blake3, holding.digest.length):
            wrong.append(f"{name} in the spool is not what capture {holding.id} says")
    for name in kept.keys() - needed.keys():
        if at_rest and name not in book.purged:
            wrong.append(f"{name} lies in the spool and belongs to no capture")
        elif digested(kept[name])[0] != name:
            wrong.append(f"{name} lies in the spool and is not what its name says")
    parts = {path.name: path for path in (root / "parts").iterdir()}
    wrong += [f"part {name} is in the journal and not in the spool" for name in book.parts.keys() - parts.keys()]
    for name, path in parts.items():
        if digested(path)[0] != name:
            wrong.append(f"part {name} is not what its name says")
        if at_rest and name not in book.parts:
            wrong.append(f"part {name} lies in the spool and no entry says why")
    return wrong


def audit_devices(book: Book, devices: Iterable[Witness]) -> list[str]:
    """A device still has everything whose release was not intended after a receipt."""
    may_be_gone = {
        (holding.origin.device, holding.origin.key, holding.digest.sha256)
        for capture, holding in book.holdings.items()
        if Event.RELEASE_INTENDED in book.stories[capture].events
    }
    return [
        f"{one.key} is gone from {one.device}, and nothing permitted it"
        for device in devices
        for one in set(device.ever()) - set(device.still())
        if (one.device, one.key, one.sha256) not in may_be_gone
    ]


def audit_arrivals(book: Book, arrived: Mapping[str, list[bytes]]) -> list[str]:
    """What the DEMS stored under each capture's id: once, the same bytes, and all that is receipted."""
    wrong = [f"the DEMS stored capture {name} {len(found)} times" for name, found in arrived.items() if len(found) > 1]
    for name, found in arrived.items():
        holding = book.holdings.get(name)
        if holding is None:
            wrong.append(f"the DEMS stored capture {name}, which this station never held")
        elif any(digest != holding.digest.sha256 for digest in found):
            wrong.append(f"the DEMS stored other bytes under capture {name}")
    for name, holding in book.holdings.items():
        if holding.standing in (Standing.RECEIPTED, *_FORGETS) and not arrived.get(name):
            wrong.append(f"capture {name} stands {holding.standing}, and the DEMS does not have it")
    return wrong
