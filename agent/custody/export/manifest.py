"""The manifest of one capture: what its device said apart from what the station found, bound to the entry by its hash.

Both halves together are the entry `held`, field by field: nothing is added, nothing is left out, nothing is edited. A
reader makes the manifest again from the entry, and compares.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.custody.export.dossier import Facts

__all__ = ["MANIFEST_TYPE", "OURS", "halves", "manifest", "write_json"]

MANIFEST_TYPE: Final = "https://evidock.example/manifest/v1"

OURS: Final[Mapping[str, frozenset[str]]] = {
    "capture": frozenset({"length", "media_type", "priority", "volatile"}),
    "device": frozenset({"driver", "family", "place", "spec"}),
}
"""Of the parts about capture and device, the fields that the station found; the others are the device's word."""


def halves(statement: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the device said, and what the station found, of an entry `held`."""
    rest = dict(statement["predicate"])
    said: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for part, ours in OURS.items():
        values = rest.pop(part)
        said[part] = {name: value for name, value in values.items() if name not in ours}
        found[part] = {name: value for name, value in values.items() if name in ours}
    return said, {**rest, **found, "digest": statement["subject"][0]["digest"]}


def manifest(facts: Facts, log: str, others: Iterable[Facts]) -> bytes:
    """The file. `others`: every capture of the bag, of which those of the same recording are named."""
    said, found = halves(facts.statement)
    same = [one.id for one in others if facts.recording is not None and one.recording == facts.recording]
    return write_json(
        {
            "type": MANIFEST_TYPE,
            "capture": facts.id,
            "file": facts.file,
            "entry": {"log": log, "index": facts.held.index, "leaf_hash": facts.leaf_hash},
            "device_said": said,
            "station_found": found,
            "receipt": None if facts.receipt is None else f"custody/receipts/{facts.place}.note",
            "recording": sorted(same),
        }
    )


def write_json(value: object) -> bytes:
    """JSON for people and programs, the same bytes each time. ASCII: what cannot be seen is written as its number."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
