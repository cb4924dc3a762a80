"""Whether the log's entry about a capture is out of our own hands: under a checkpoint that the quorum cosigned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.capture import LENGTH_MAX
from agent.custody.proof import Proof, check_proof
from agent.journal import anchors
from agent.merkle import BadProof, inclusion_proof
from agent.note import BadNote

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.custody.policy import Policy
    from agent.journal import Journal

__all__ = ["NOT_ASKED", "Proving"]

NOT_ASKED: Final = b""
"""What stands for a proof where no witness is asked for."""


@dataclass(frozen=True, slots=True)
class Proving:
    """`asked`: no proof, no release. `policy` is asked each time, for it is known only once the log's key is."""

    asked: bool = False
    policy: Callable[[], Policy | None] = lambda: None

    def prove(self, journal: Journal, index: int) -> bytes | None:
        """Return the proof file of leaf `index`, checked; None where there is none yet, or a witness contradicts us."""
        if anchors.contradictions(journal):
            return None
        if not self.asked:
            return NOT_ASKED
        policy = self.policy()
        if policy is None:
            return None
        for signed in (anchors.covering(journal, index), anchors.newest_cosigned(journal)):
            if signed is None or signed.size <= index:
                continue
            hashes = inclusion_proof(index, signed.size, journal.leaves.reader(signed.size))
            proof = Proof(index, tuple(hashes), signed.best).write()
            try:
                check_proof(proof, journal.leaves.leaf(index), policy, log=journal.log, index=index)
            except (BadNote, BadProof):  # of an earlier policy: a later checkpoint may suffice
                continue
            return proof
        return None

    def below(self, journal: Journal) -> int:
        """Return below which leaf everything is proven: what no device offers again is let go page by page."""
        if anchors.contradictions(journal):
            return 0
        if not self.asked:
            return LENGTH_MAX
        last = anchors.newest_cosigned(journal)
        return 0 if last is None or self.prove(journal, last.size - 1) is None else last.size
