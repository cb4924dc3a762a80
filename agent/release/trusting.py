"""Whom the program that deletes believes: a file that a person writes, and the daemon only compares.

It holds public keys and the policy, nothing secret. Were it the daemon's to write, whoever takes over the daemon could
name keys of his own. So it is written by `evidock custody trust --write`, at installation and whenever keys or policy
change; an installation keeps it where only root may write, and the daemon reads it and says when it is not what
agent.toml asks for.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from agent import durable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.capture import Json
    from agent.custody.trust import Trust
    from agent.note import Verifier

__all__ = ["TODO", "believed_logs", "compared", "digest_of", "trust_file", "trusted"]

TODO: Final = "Compare the keys, then, as one who may write that file: evidock custody trust --write."
_READABLE: Final = 0o644
_LENGTH_MAX: Final = 1 << 20


def trusted(
    *, trust: Trust, logs: Sequence[Verifier], asked: bool, receipt_keys: Sequence[Verifier]
) -> dict[str, Json]:
    """What the file must say. `logs`: the key of this station's log; two while it is being changed."""
    return {
        "logs": [key.vkey for key in logs],
        "policy": None if trust.note is None else base64.b64encode(trust.note).decode(),
        "receipt_keys": [key.vkey for key in receipt_keys],
        "roots": [key.vkey for key in trust.roots],
        "witness_required": asked,
        "witnesses": [key.vkey for key in trust.witnesses],
    }


def trust_file(path: Path, told: dict[str, Json]) -> None:
    """Write the file, whole or not at all, for all to read.

    What `durable.unwritable` makes of it where it cannot be written.
    """
    try:
        durable.replace_file(path, json.dumps(told, indent=1, sort_keys=True).encode() + b"\n", mode=_READABLE)
        path.chmod(_READABLE)  # whatever the mask of whoever writes it: it is for all to read, and holds no secret
    except OSError as error:
        raise durable.unwritable(str(path), "cannot be written", error) from error


def compared(path: Path, told: dict[str, Json]) -> str | None:
    """Why the program would not do what agent.toml asks for, in words for a person; None where both say the same."""
    raw = _read(path)
    if raw is None:
        return f"nothing is deleted on devices: {path}, which says whom to believe, is not there or cannot be read"
    try:
        said: Any = json.loads(raw)
    except ValueError:
        return f"nothing is deleted on devices: {path} is not what evidock custody trust writes"
    if not isinstance(said, dict):
        said = {}
    differing = sorted(name for name in {*told, *said} if told.get(name) != said.get(name))
    return f"{path} says something else than agent.toml: {', '.join(differing)}" if differing else None


def believed_logs(path: Path) -> frozenset[str]:
    """The keys of logs that the file names; none where there is no such file."""
    try:
        return frozenset(map(str, json.loads(_read(path) or b"{}")["logs"]))
    except (ValueError, KeyError, TypeError):
        return frozenset()


def digest_of(path: Path) -> str | None:
    """SHA-256 of the file, hex, as each start writes it down; None where there is none."""
    raw = _read(path)
    return None if raw is None else sha256(raw).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_LENGTH_MAX)
    except OSError:
        return None
