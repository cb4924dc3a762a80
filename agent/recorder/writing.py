"""The folder that is written: `recorded.json`, a skeleton for each capture that was looked at, and what it is of."""

from __future__ import annotations

import json
from hashlib import sha256
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Final

from agent.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.recorder.hand import RecordingHand

__all__ = ["FORMAT", "write"]

FORMAT: Final = "https://evidock.example/recorded/v1"

_README: Final = """# Recorded from real devices

Source: {who}, on {day}, with Evidock {version}. Nothing here is evidence, and nothing of a person is in it on purpose:
names, numbers and claims stand for others of the same shape, and of each file only the skeleton of its beginning was
kept. Lengths and times are as the device gave them. Look through it before you pass it on.

`recorded.json` says what was offered; `agent.testing.recorded.lay_out(folder, volume)` makes a volume of it again.
"""


def write(
    folder: Path, hand: RecordingHand, drivers: Mapping[str, Any], *, who: str, day: str, version: str
) -> dict[str, Any]:
    """Write a new folder. Raises `Refusal` where it is there already, or cannot be written."""
    told = {
        "type": FORMAT,
        "source": {"by": who, "on": day, "version": version},
        "drivers": drivers,
        "devices": list(hand.devices.values()),
        "captures": [_with_head(one, hand.heads) for one in hand.captures.values()],
        "observations": hand.observations,
        "left_out": hand.left_out,
    }
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise _unwritten(folder, error) from error
    try:
        (folder / "heads").mkdir()
        for head in hand.heads.values():
            (folder / "heads" / _name(head)).write_bytes(head)
        (folder / "README.md").write_text(_README.format(who=who, day=day, version=version), "utf-8")
        (folder / "recorded.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        rmtree(folder, ignore_errors=True)  # a part of it would keep the next try from its name
        raise _unwritten(folder, error) from error
    return told


def _unwritten(folder: Path, error: OSError) -> Refusal:
    hint = "Nothing was written. Make room there, or name another folder that is not there yet."
    return Refusal(f"{folder} cannot be written: {error.strerror}", hint=hint)


def _with_head(capture: dict[str, Any], heads: Mapping[str, bytes]) -> dict[str, Any]:
    head = heads.get(capture["key"])
    return {**capture, "head": None if head is None else f"heads/{_name(head)}"}


def _name(head: bytes) -> str:
    return sha256(head).hexdigest()[:16]
