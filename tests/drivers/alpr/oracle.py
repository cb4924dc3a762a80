"""Makers' messages, what they must be read as, and how that is compared (see the page beside them)."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from drivers.alpr.read import Read

VECTORS = Path(__file__).parent / "vectors"
NEAR = {"heading_deg": 0.01}


def sample(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def expected(name: str) -> dict[str, Any]:
    return json.loads(sample(f"{name}.expected.json"))


def request(data: bytes) -> tuple[str, bytes]:
    """(content type, body) of a whole HTTP request."""
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-type:"):
            return line.partition(b":")[2].strip().decode(), body
    raise AssertionError("no content type")


def told(read: Read) -> dict[str, Any]:
    """A read with its pictures, as an oracle tells it."""
    images = [
        {
            "role": one.role,
            "name": one.name,
            "length": len(one.content),
            "sha256": hashlib.sha256(one.content).hexdigest(),
        }
        for one in read.images
    ]
    return {**read.facts, "images": images}


def agrees(found: Any, oracle: Any, where: str = "read") -> None:  # noqa: ANN401 - JSON
    """Every member that the oracle names is equal; what it does not name is not compared."""
    if isinstance(oracle, dict):
        assert isinstance(found, dict), f"{where} is {found!r}"
        for name, value in oracle.items():
            assert name in found, f"{where}.{name} is not told"
            agrees(found[name], value, f"{where}.{name}")
    elif isinstance(oracle, list):
        assert isinstance(found, list), f"{where} is {found!r}"
        assert len(found) == len(oracle), f"{where} has {len(found)} entries: {found!r}"
        for number, (one, other) in enumerate(zip(found, oracle, strict=True)):
            agrees(one, other, f"{where}[{number}]")
    elif isinstance(oracle, float) or (isinstance(oracle, int) and isinstance(found, float)):
        assert found == pytest.approx(oracle, abs=NEAR.get(where.rpartition(".")[2], 0.0001)), where
    elif where.endswith("captured_at") and oracle is not None:
        assert datetime.fromisoformat(found) == datetime.fromisoformat(oracle), where
    else:
        assert found == oracle, where
