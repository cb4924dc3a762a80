"""What the custody log costs: per leaf, per proof, per checkpoint, and at a start, with 10^3 to 10^7 leaves.

    python -m benchmarks.custody [LEAVES...]

The leaves are 400 bytes long and lie in a real journal in the temporary folder; 512 of them share one commit, as under
load.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from agent.clock import Clock
from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.custody.proof import Proof, check_proof
from agent.custody.trust import Trust
from agent.journal import Journal, anchors
from agent.journal.anchors import Signed
from agent.merkle import consistency_proof, inclusion_proof
from agent.note import Signer

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = Signer.ed25519("edge.example.org/bench-1/log1", b"\x01" * 32)
WITNESS = Signer.cosigner("w.example.org/1", b"\x05" * 32)
BATCH = 512
TIMES = 200


def _micros(act: Callable[[], object]) -> float:
    began = perf_counter()
    for _ in range(TIMES):
        act()
    return (perf_counter() - began) / TIMES * 1e6


def measure(folder: Path, leaves: int) -> dict[str, float]:
    """Return microseconds, and for the start milliseconds."""
    chance, clock = random.Random(leaves), Clock()  # noqa: S311 - which leaves are proven
    journal = Journal.open(folder / "journal.db", log=LOG.verifier.name, stamp=clock.stamp)
    began, written = perf_counter(), 0
    while journal.leaves.size < leaves:
        with journal.transaction():
            for _ in range(min(BATCH, leaves - journal.leaves.size)):
                journal.leaves.append(b'{"seq":%d,"filler":"%s"}' % (journal.leaves.size, b"x" * 370), None)
                written += 1
    found = {"leaf us": (perf_counter() - began) / written * 1e6}
    size, root = journal.leaves.size, journal.leaves.root()
    policy = Trust(witnesses=(WITNESS.verifier,)).policy(LOG.verifier)
    if policy is None:
        raise RuntimeError("a witness is named")
    note = sign_checkpoint(Checkpoint(LOG.verifier.name, size, root), LOG, WITNESS.at(clock.stamp().at))

    def proof() -> tuple[int, bytes]:
        index = chance.randrange(size)
        return index, Proof(index, tuple(inclusion_proof(index, size, journal.leaves.reader(size))), note).write()

    def proven() -> None:
        index, raw = proof()
        check_proof(raw, journal.leaves.leaf(index), policy, log=LOG.verifier.name, index=index)

    def signed() -> None:
        with journal.transaction():
            journal.leaves.append(b"one more", None)
        size, root = journal.leaves.size, journal.leaves.root()
        fresh = sign_checkpoint(Checkpoint(LOG.verifier.name, size, root), LOG)
        with journal.transaction():
            anchors.keep_signed(journal, Signed(size, root, fresh, clock.stamp().at))

    found["proof us"] = _micros(proof)
    found["proof, checked us"] = _micros(proven)
    found["consistency us"] = _micros(
        lambda: consistency_proof(chance.randrange(1, size), size, journal.leaves.reader(size))
    )
    found["bytes of a proof"] = float(len(proof()[1]))
    found["one leaf and its checkpoint, two commits us"] = _micros(signed)
    journal.close()
    began = perf_counter()
    journal = Journal.open(folder / "journal.db", log=LOG.verifier.name, stamp=clock.stamp)
    anchors.check_head(journal)
    found["start and compare ms"] = (perf_counter() - began) * 1e3
    journal.close()
    return found


def main() -> None:
    """Print a table."""
    for leaves in [int(word) for word in sys.argv[1:]] or [1_000, 100_000]:
        with tempfile.TemporaryDirectory() as folder:
            for name, value in measure(Path(folder), leaves).items():
                print(f"{leaves:>10} leaves  {name:<44} {value:>10.1f}")


if __name__ == "__main__":
    main()
