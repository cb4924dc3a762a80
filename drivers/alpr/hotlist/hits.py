"""A hit: a capture of its own, which holds the read, its pictures, what matched and by which list.

What stands in the journal for ever is the rule, the list and its age; plate, reference and pictures are in the
capture's bytes alone, and go with them. `hit.json` lies beside the read in the archive that the receivers make of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from agent import durable
from agent.capture import Priority, capture_id, rfc3339
from agent.errors import CannotResume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
    from pathlib import Path

    from agent.capture import Capture, Device, Json, Stamp
    from drivers.alpr.container import Container
    from drivers.alpr.hotlist.matching import Match
    from drivers.alpr.hotlist.shelf import Age, Shelf
    from drivers.alpr.read import Fact, Read

__all__ = ["DOCUMENT", "FORMAT", "OUTCOMES", "Hit", "HitOffer", "Hits", "ReadOffer", "claims_of", "document_of"]

FORMAT: Final = "alpr-hit/1"
DOCUMENT: Final = "hit.json"
OUTCOMES: Final = ("confirmed", "misread", "stale_list", "no_action")

_KEPT: Final = 1000
"""Hits that are remembered, to be shown and answered."""


class ReadOffer(Protocol):
    """What the receivers offer."""

    device: Device
    read: Read

    @property
    def screened_by(self) -> str:
        """See `agent.driver.Screened`."""

    @property
    def capture(self) -> Capture:
        """Without a plate in it."""

    @property
    def container(self) -> Container:
        """What would be kept."""

    def adding(self, name: str, document: Fact) -> ReadOffer:
        """The same with a document of ours."""


class HitOffer:
    """What `take` is given in place of a read that is a hit."""

    def __init__(self, inner: ReadOffer, claims: Mapping[str, Json]) -> None:
        self._inner = inner
        self.read = inner.read
        offered = inner.capture
        self.capture = offered.told(priority=Priority.HIT, claims={**offered.claims, "hit": dict(claims)})

    @cached_property
    def data(self) -> bytes:
        """The archive."""
        return self._inner.container.build()

    @cached_property
    def id(self) -> str:
        """The id that the capture will have."""
        return capture_id(self.capture.origin, hashlib.sha256(self.data).digest())

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The archive, in one piece."""
        if offset:
            raise CannotResume("a read is made in one piece")
        yield self.data

    async def release(self) -> None:
        """Nothing to do: the camera forgot it when it was answered."""


@dataclass(slots=True)
class Hit:
    """One hit as it is shown to whoever answers it."""

    capture: str
    camera: str
    """Id of the device."""
    at: datetime
    plate: str
    """As it was read; in memory alone."""
    listed: str
    rule: str
    list: str
    category: str
    reference: str | None
    vehicle: str | None
    sureness: str | None
    age: str
    """The list's freshness in a word."""
    degraded: bool
    urgent: bool
    state: str = "pending"

    def told(self, *, plate: bool = True) -> dict[str, Json]:
        """As JSON; without `plate` there is nothing in it that leads to one."""
        shown: dict[str, Json] = {
            "capture": self.capture,
            "camera": self.camera,
            "at": rfc3339(self.at),
            "rule": self.rule,
            "list": self.list,
            "category": self.category,
            "sureness": self.sureness,
            "list_state": self.age,
            "degraded": self.degraded,
            "urgent": self.urgent,
            "state": self.state,
        }
        if plate:
            shown |= {
                "plate": self.plate,
                "listed": self.listed,
                "reference": self.reference,
                "vehicle": self.vehicle,
            }
        return shown


class Hits:
    """The last hits, and what was made of each: offered again it becomes the same bytes."""

    def __init__(self, path: Path) -> None:
        """`path`: where hits lie, without any plate, so that they can be answered after a restart."""
        self._path = path
        self._hits: OrderedDict[str, Hit] = OrderedDict()
        self.changed = False
        """There are hits that were not written down."""
        self._made: OrderedDict[Hashable, tuple[dict[str, Any], dict[str, Json]]] = OrderedDict()

    def made(self, telling: Hashable) -> tuple[dict[str, Any], dict[str, Json]] | None:
        """Document and claims that were made of it."""
        return self._made.get(telling)

    def remember(self, telling: Hashable, document: dict[str, Any], claims: dict[str, Json]) -> None:
        """They were made now."""
        self._made[telling] = document, claims
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)

    def add(self, hit: Hit) -> None:
        """There is a new one."""
        self._hits[hit.capture] = hit
        while len(self._hits) > _KEPT:
            self._hits.popitem(last=False)
        self.changed = True

    def load(self) -> None:
        """Take up the hits of the run before; their plates are in their captures alone."""
        with suppress(OSError, ValueError, TypeError):
            for told in json.loads(self._path.read_bytes()):
                hit = Hit(**{**told, "at": datetime.fromisoformat(told["at"])})
                self._hits[hit.capture] = hit

    async def save(self) -> None:
        """Write them down, without any plate."""
        told = []
        for hit in self._hits.values():
            facts = asdict(replace(hit, plate="", listed="", reference=None, vehicle=None))
            told.append({**facts, "at": hit.at.isoformat()})
        self.changed = False
        try:
            await asyncio.to_thread(durable.replace_file, self._path, json.dumps(told).encode())
        except OSError:  # no room, say: hits are kept all the same, and it is tried again
            self.changed = True

    def newest(self) -> list[Hit]:
        """The last ones, the newest first."""
        return list(reversed(self._hits.values()))

    def pending(self) -> list[Hit]:
        """Those that nobody answered."""
        return [hit for hit in self._hits.values() if hit.state == "pending"]

    def chosen(self, beginning: str) -> list[Hit]:
        """Those whose capture's id begins so."""
        return [hit for name, hit in self._hits.items() if name.startswith(beginning)]


def document_of(
    matches: Sequence[Match], shelves: Mapping[str, tuple[Shelf, Age]], stamp: Stamp, policy: str
) -> dict[str, Any]:
    """`hit.json`: what matched, by which rule, by which list of which age, and by which clock."""
    return {
        "format": FORMAT,
        "state": "pending",
        "note": "An unverified lead: compare the pictures with the listed plate, and ask the live database.",
        "received_at": rfc3339(stamp.at),
        "clock": stamp.claims,
        "boot_id": stamp.boot_id,
        "mono_ns": str(stamp.mono_ns),
        "policy": policy,
        "matches": [_match(match) for match in matches],
        "lists": {name: _list(*shelves[name]) for name in sorted({match.list for match in matches})},
    }


def claims_of(matches: Sequence[Match], shelves: Mapping[str, tuple[Shelf, Age]], *, urgent: bool) -> dict[str, Json]:
    """What of it stands in the journal."""
    best = matches[0]
    shelf, age = shelves[best.list]
    as_of = shelf.as_of
    return {
        "category": best.entry.category,
        "degraded": age.degraded,
        "differences": best.differences,
        "list": best.list,
        "list_age_s": age.seconds,
        "list_as_of": None if as_of is None else rfc3339(as_of),
        "list_sha256": shelf.about.get("source_sha256"),
        "list_state": age.state.value,
        "matches": len(matches),
        "region_mismatch": best.region_mismatch,
        "rule": best.rule,
        "sureness": sureness(best),
        "urgent": urgent,
    }


def sureness(match: Match) -> str | None:
    """Two digits, as text: a journal knows no fractions."""
    return None if match.sureness is None else f"{match.sureness:.2f}"


def _match(match: Match) -> dict[str, Any]:
    entry = match.entry
    return {
        "list": match.list,
        "plate": entry.plate,
        "category": entry.category,
        "region": entry.region,
        "reference": entry.reference,
        "vehicle": entry.vehicle,
        "rule": match.rule,
        "differences": match.differences,
        "reading": match.reading.plate,
        "reading_rank": match.reading.rank,
        "sureness": sureness(match),
        "region_mismatch": match.region_mismatch,
    }


def _list(shelf: Shelf, age: Age) -> dict[str, Any]:
    about, as_of = shelf.about, shelf.as_of
    return {
        "as_of": None if as_of is None else rfc3339(as_of),
        "age_s": age.seconds,
        "state": age.state.value,
        "degraded": age.degraded,
        "plates": about.get("plates"),
        "sha256": about.get("source_sha256"),
        "source": about.get("source"),
        "signer": about.get("signer"),
        "proof": about.get("proof"),
    }
