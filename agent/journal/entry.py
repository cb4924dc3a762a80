"""One entry: an in-toto Statement in canonical JSON that says what happened, to which bytes, and by which clocks."""

from __future__ import annotations

import hashlib
import os
from enum import StrEnum
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agent import selftest
from agent.capture import Digest, Json, Stamp, canonical, rfc3339
from agent.written import checked, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Capture, Parts
    from agent.selftest import SelfTest

__all__ = [
    "CLAIMS_MAX",
    "LEAF_MAX",
    "PREDICATE_TYPE",
    "PREMIS",
    "REASON_MAX",
    "STATEMENT_TYPE",
    "Event",
    "agent_version",
    "build_digest",
    "held_detail",
    "statement",
    "told_claims",
    "told_reason",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://evidock.example/custody/v1"
LEAF_MAX: Final = 65_535
"""Most bytes of one leaf: entry bundles carry its length in 16 bits (c2sp.org/tlog-tiles)."""


_TOLD: Final = (".py", ".sql", ".toml", ".html", ".css", ".js", ".json", ".svg")
"""Endings of the files that make the product."""

CLAIMS_MAX: Final = 32 * 1024
"""Bytes of canonical JSON that a device's claims may take in an entry."""

REASON_MAX: Final = 1000
"""Characters of a reason that are kept: a reason may quote what a device or a DEMS said."""


class Event(StrEnum):
    """What an entry tells."""

    LOG_OPENED = "log.opened"
    KEY_ROTATED = "key.rotated"
    KEY_RETIRED = "key.retired"
    AGENT_STARTED = "agent.started"
    AGENT_STOPPED = "agent.stopped"
    CONFIG_CHANGED = "config.changed"
    OPERATOR_COMMAND = "operator.command"
    MESSAGE_REFUSED = "message.refused"
    DRIVER_ORDERED = "driver.ordered"
    CLOCK_STEPPED = "clock.stepped"
    DEVICE_ATTACHED = "device.attached"
    DEVICE_DETACHED = "device.detached"
    POWER_HOLDING = "power.holding"
    POWER_SAFE = "power.safe"
    POWER_RESUMED = "power.resumed"
    OBSERVED = "observed"
    OBSERVED_MANY = "observed.batch"
    HELD = "held"
    OFFERED_AGAIN = "capture.offered_again"
    CHANGED_AFTER_SEEN = "capture.changed_after_seen"
    QUARANTINED = "quarantined"
    RECEIPTED = "receipted"
    COPIED = "copied"
    REFUSED = "refused"
    RELEASE_INTENDED = "release.intended"
    RELEASED = "released"
    RELEASE_REFUSED = "release.refused"
    PURGED = "purged"
    FIXITY_CHECKED = "fixity.checked"
    RECEIPT_DATED = "receipt.dated"
    FOUND = "capture.found"
    PART_EXPLAINED = "part.explained"
    CONTEXT = "capture.context"
    DRILLED = "drill.finished"
    ANCHOR_COSIGNED = "anchor.cosigned"
    ANCHOR_TSA = "anchor.tsa"
    ANCHOR_CONTRADICTED = "anchor.contradicted"


PREMIS: Final[Mapping[Event, str]] = MappingProxyType(
    {
        Event.HELD: "ingestion",
        Event.OFFERED_AGAIN: "fixity check",
        Event.FOUND: "fixity check",
        Event.QUARANTINED: "quarantine",
        Event.RECEIPTED: "replication",
        Event.COPIED: "replication",
        Event.RELEASE_INTENDED: "fixity check",
        Event.RELEASED: "deletion",
        Event.PURGED: "deletion",
        Event.FIXITY_CHECKED: "fixity check",
        Event.DRILLED: "validation",
        Event.ANCHOR_COSIGNED: "validation",
        Event.ANCHOR_TSA: "validation",
    },
)
"""Names of the PREMIS event type vocabulary (id.loc.gov/vocabulary/preservation/eventType)."""


def statement(
    event: Event,
    *,
    seq: int,
    stamp: Stamp,
    actor: str,
    subject: str,
    digest: Digest | bytes,
    detail: Mapping[str, Json],
) -> bytes:
    """The leaf: what happened (`event`, `detail`), to what (`subject`, its digests), by whom, and when.

    A capture's subject is its id; every other entry's subject is the log, with the root of the tree before the entry.
    `ValueError` when it is too large for the log: what it tells of is refused, and the journal goes on.
    """
    digests: dict[str, Json] = (
        {"blake3": digest.blake3.hex(), "sha256": digest.sha256.hex()}
        if isinstance(digest, Digest)
        else {"sha256": digest.hex()}
    )
    predicate: dict[str, Json] = {
        **detail,
        "actor": actor,
        "agent": _agent(selftest.last()),
        "boot_id": stamp.boot_id,
        "clock": stamp.claims,
        "event": event.value,
        "mono_ns": str(stamp.mono_ns),
        "recorded_at": rfc3339(stamp.at),
        "seq": seq,
        "v": 1,
    }
    if (premis := PREMIS.get(event)) is not None:
        predicate["premis"] = premis
    checked(dict(detail))  # what may come from a device, a DEMS or a person; all else is of our own making
    leaf = encoded(
        {
            "_type": STATEMENT_TYPE,
            "predicate": predicate,
            "predicateType": PREDICATE_TYPE,
            "subject": [{"digest": digests, "name": subject}],
        },
    )
    if len(leaf) > LEAF_MAX:
        raise ValueError(f"an entry of {len(leaf)} bytes is larger than the log can hold ({LEAF_MAX})")
    return leaf


@lru_cache(maxsize=1)
def _agent(tested: SelfTest) -> dict[str, Json]:
    """Which program wrote the entry, and that it passed its self-test."""
    return {
        "build_sha256": build_digest(),
        "self_test": {"at": rfc3339(tested.at), "result": "passed"},
        "version": agent_version(),
    }


@cache
def agent_version() -> str:
    """Version of the installed product."""
    try:
        return version("evidock")
    except PackageNotFoundError:
        return "unknown"


@cache
def build_digest() -> str:
    """SHA-256 over names and contents of every file of the product that runs: which code wrote the entry."""
    root, total = Path(__file__).resolve().parents[2], hashlib.sha256()
    for package in ("agent", "drivers", "firmware_specs"):
        found: list[tuple[str, ...]] = []
        for folder, _, names in os.walk(
            root / package
        ):  # each start waits for it, and `rglob` takes three times as long
            inside = Path(folder).relative_to(root).parts
            found += [(*inside, name) for name in names if name.endswith(_TOLD)]
        for parts in sorted(found):
            path = "/".join(parts)
            content = hashlib.sha256((root / path).read_bytes()).hexdigest()
            total.update(f"{path} {content}\n".encode())
    return total.hexdigest()


def held_detail(capture: Capture, digest: Digest, parts: Parts) -> dict[str, Json]:
    """What the entry `held` tells: the device's word, and what we found."""
    told: dict[str, Json] = {
        "began_at": None if capture.began_at is None else rfc3339(capture.began_at),
        "claims": told_claims(capture.claims),
        "clip": capture.clip,
        "group": capture.group,
        "key": capture.key,
        "length": digest.length,
        "media_type": capture.media_type,
        "members": capture.members,
        "priority": capture.priority.name.lower(),
        "volatile": capture.volatile,
    }
    if capture.forgets is not None:
        told["forgets"] = capture.forgets
    detail: dict[str, Json] = {
        "capture": told,
        "device": capture.device.claims,
    }
    if parts:
        detail["parts"] = {"count": len(parts), "list_sha256": hashlib.sha256(parts.sha256 + parts.through).hexdigest()}
    return detail


def told_claims(claims: Mapping[str, Json]) -> dict[str, Json]:
    """A device's claims as they can stand in an entry; what cannot is left out, and that is said."""
    told = dict(claims)
    try:
        length = len(canonical(told))
    except ValueError as error:
        return {"left_out": told_reason(f"the device's claims have no canonical form: {error}")}
    if length > CLAIMS_MAX:
        return {"left_out": f"the device's claims take {length} bytes, more than {CLAIMS_MAX}"}
    return told


def told_reason(reason: str) -> str:
    """A reason as it can stand in an entry, whatever device or DEMS it quotes."""
    return reason[:REASON_MAX].encode("utf-8", "backslashreplace").decode()
