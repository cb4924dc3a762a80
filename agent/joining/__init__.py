"""What was observed, joined to captures by device and time; see `agent.context` for the words.

Level, not edge: what belongs to a capture is worked out from what the journal holds, again whenever something was told
that touches it, and becomes an entry `capture.context` where it says something else than before. So late and corrected
words need no way of their own, and nothing that a device said of itself is touched.

If power fails here: observations are in the journal when `observe` returns, positions of the last `batch` seconds are
not; what has to be looked at stands in the journal, and is looked at after the start.
"""

from agent.joining.announcing import Announcing
from agent.joining.assigning import assign, assign_all, held_by, officers_of
from agent.joining.joins import look_at_all
from agent.joining.room import Joining

__all__ = ["Announcing", "Joining", "assign", "assign_all", "held_by", "look_at_all", "officers_of"]
