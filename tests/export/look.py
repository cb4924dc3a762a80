"""Both verifiers over a bag in memory, and a bag's manifests written anew as a forger would."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from agent.custody import bag as ours
from agent.custody.export import evidock_verify as alone

if TYPE_CHECKING:
    from pathlib import Path

    from agent.note import Verifier

Held = dict[str, bytes]


class Memory:
    """A bag that lies nowhere; see `agent.custody.bag_files.Files`."""

    def __init__(self, held: Held) -> None:
        self.held, self.names, self.odd = held, sorted(held), []

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.held[name])


class Alone(alone.Bag):
    """The single file's bag, in memory."""

    def __init__(self, held: Held) -> None:
        self.held, self.names, self.odd = held, sorted(held), []
        self.checks, self.sums, self.leaves = [], {}, {}
        self.quoted = set()

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.held[name])


def load(folder: Path) -> Held:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def summed(held: Held) -> Held:
    """The same with manifests that fit."""
    made = {name: raw for name, raw in held.items() if "manifest-" not in name}
    data = [raw for name, raw in made.items() if name.startswith("data/")]
    info = made["bag-info.txt"].decode().split("\n")
    oxum = f"Payload-Oxum: {sum(map(len, data))}.{len(data)}"
    made["bag-info.txt"] = "\n".join(oxum if row.startswith("Payload-Oxum") else row for row in info).encode()
    for tag in ("", "tag"):
        for kind in ("sha256", "sha512"):
            names = [name for name in sorted(made) if name.startswith("data/") is not bool(tag) and name[:3] != "tag"]
            rows = [f"{hashlib.new(kind, made[name]).hexdigest()}  {name}\n" for name in names]
            made[f"{tag}manifest-{kind}.txt"] = "".join(rows).encode()
    return made


def look(
    held: Held,
    given: tuple[Verifier, ...] = (),
    roots: tuple[Verifier, ...] = (),
    desks: tuple[Verifier, ...] = (),
) -> list[tuple[str, str, str]]:
    """What both verifiers find: outcome, what, subject; they must find the same."""
    one = [
        (str(check.outcome), check.what, check.subject)
        for check in ours.Bag(Memory(held), given=given, roots=roots, desks=desks).check()
    ]
    named = ([alone.Key.parse(key.vkey) for key in some] for some in (given, roots, desks))
    other = [check[:3] for check in Alone(held).run(*named)]
    assert one == other
    return one


def failed(found: list[tuple[str, str, str]]) -> set[str]:
    """What was found wrong."""
    return {f"{what} {subject}" for outcome, what, subject in found if outcome == "FAILED"}


def missing(found: list[tuple[str, str, str]]) -> set[str]:
    """What is not there."""
    return {f"{what} {subject}" for outcome, what, subject in found if outcome == "MISSING"}
