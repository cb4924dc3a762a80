"""What the demo promised, checked at its end: by the DEMS's index, by the camera, and by sha256sum without our code."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.capture import PART_LENGTH
from agent.cli.demo.stage import Cast
from agent.cli.demo.watch import Watch
from agent.cli.telling import length
from agent.driver import BLOCK_LENGTH

if TYPE_CHECKING:
    from agent.testing.dems import Entry

__all__ = ["Check", "Proof", "prove"]

_COPIES: Final = 4
"""Long captures that are read at once from one camera: each may read one block again."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and whether it was kept."""

    what: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What the demo shows at its end."""

    captures: list[dict[str, Any]]
    checks: list[Check]
    read_twice: int
    sent_twice: int

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "ok": all(check.ok for check in self.checks)}


async def prove(cast: Cast, watch: Watch, *, faults: bool) -> Proof:
    """Look at what camera, journal and DEMS have now. Ends the daemon: the last checks are made without it."""
    # The canaries by which the station tried whether the DEMS verifies, it has given up again.
    entries = [entry for entry in await cast.dems.index() if entry.state != "terminated"]
    violations = await cast.dems.violations()
    captures = [
        {
            **one,
            "copy_resumed_at": watch.copies_resumed.get(one["key"], []),
            "upload_resumed_at": watch.sendings_resumed.get(one["id"], []),
        }
        for one in reversed(watch.captures)
    ]
    whole = sum(size for _, size in cast.originals.values())
    read_twice = watch.read - whole
    sent_twice = sum(entry.received for entry in entries) - whole
    checks = [
        *_of_loss(cast, captures),
        await _of_witness(cast, captures),
        *_of_dems(captures, entries),
        Check("the DEMS has nothing to complain of", not violations, "; ".join(one.sentence for one in violations)),
        await _without_our_code(cast, entries),
    ]
    if faults:
        checks += _of_faults(captures, read_twice, sent_twice)
    await cast.daemon.stop()
    for words in (("journal", "verify"), ("spool", "verify")):
        code, printed = await cast.daemon.command(*words)
        said = printed.decode(errors="replace").strip().splitlines()
        checks.append(Check(f"evidock {' '.join(words)}", code == 0, said[-1] if said else ""))
    return Proof(captures, checks, read_twice, sent_twice)


def _of_loss(cast: Cast, captures: list[dict[str, Any]]) -> Iterator[Check]:
    recorded = Counter((key, digest) for key, (digest, _) in cast.originals.items())
    held = Counter((one["key"], one["sha256"]) for one in captures)
    yield Check(
        "every recording is in the journal, once, with its own SHA-256",
        recorded == held,
        f"{len(captures)} of {len(cast.originals)}",
    )
    released = [
        one for one in captures if one["standing"] == "released" and (one["receipt"] or {}).get("strength") == "signed"
    ]
    yield Check("each was released on a signed receipt", len(released) == len(recorded), f"{len(released)} released")
    left = cast.camera.captures()
    yield Check("the camera has forgotten them, and nothing else happened to it", not left, f"{len(left)} left")


async def _of_witness(cast: Cast, captures: list[dict[str, Any]]) -> Check:
    """Nothing was released before the DEMS, as a witness of the log, had cosigned that it is held."""
    signed = (await asyncio.to_thread(cast.daemon.asked.status))["checkpoint"]
    below = [one for one in captures if one["index"] < signed["cosigned_size"]]
    name = cast.dems.witness_vkey.partition("+")[0]
    return Check(
        "each was released under a checkpoint that the witness cosigned",
        len(below) == len(captures) and not signed["contradicted_by"],
        f"{len(below)} of {len(captures)}, by {name}, log of {signed['cosigned_size']} entries",
    )


def _of_dems(captures: list[dict[str, Any]], entries: "list[Entry]") -> Iterator[Check]:
    wanted = Counter((one["id"], one["sha256"], one["length"]) for one in captures)
    stored = Counter((entry.capture, entry.sha256, entry.offset) for entry in entries if entry.state == "stored")
    detail = f"{stored.total()} stored, {len(entries)} uploads in all"
    yield Check("the DEMS has each capture once: nothing lost, nothing doubled", stored == wanted, detail)
    yield Check("no upload was left behind half-way", len(entries) == len(captures), detail)


def _of_faults(captures: list[dict[str, Any]], read_twice: int, sent_twice: int) -> Iterator[Check]:
    copies = [offset for one in captures for offset in one["copy_resumed_at"]]
    uploads = [offset for one in captures for offset in one["upload_resumed_at"]]
    yield Check("copying went on where the plug was pulled", bool(copies), ", ".join(map(length, copies)))
    yield Check("sending went on where it was cut", bool(uploads), ", ".join(map(length, uploads)))
    yield Check(
        "at most a block of each capture under way was read twice",
        0 <= read_twice <= _COPIES * BLOCK_LENGTH,
        f"{length(read_twice)} in {len(copies)} copies",
    )
    cuts = len({one["id"] for one in captures if one["upload_resumed_at"]}) * 2
    yield Check(
        "at most one request of each capture under way was sent twice",
        0 <= sent_twice <= max(1, cuts) * PART_LENGTH,
        # What it had read of a part when it was killed, the DEMS cannot know: at most one part more.
        f"{length(sent_twice)} as the DEMS counted, in {len(uploads)} uploads",
    )


async def _without_our_code(cast: Cast, entries: "list[Entry]") -> Check:
    """`sha256sum --check` of what the DEMS stored, by the list that the journal exports."""
    folder = cast.folder
    stored = folder / "stored"
    stored.mkdir()
    for entry in entries:
        if entry.state == "stored" and entry.capture is not None:
            (stored / entry.capture).symlink_to(cast.dems.stored(entry))
    for words in (("journal.jsonl",), ("SHA256SUMS", "--sums")):
        name, *options = words
        code, printed = await cast.daemon.command("journal", "export", *options, str(folder / name))
        if code:
            return Check("sha256sum", ok=False, detail=printed.decode(errors="replace").strip())
    code, listed = await _sha256sum_check(stored, folder / "SHA256SUMS")
    right = sum(said.endswith(": OK") for said in listed.splitlines())
    return Check(
        "sha256sum --check of what the DEMS stored, by the journal's export",
        code == 0 and right == len(entries),
        f"{right} of {len(entries)} files OK",
    )


async def _sha256sum_check(stored: Path, sums: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(shutil.which("sha256sum") or "/usr/bin/sha256sum", "--check", "--strict", str(sums)),
        cwd=stored,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode(errors="replace")
