"""stage/ -> kept/: where a capture's bytes lie, under their own digest, from device to receipt."""

from agent.spool.hashing import Hasher
from agent.spool.stage import Stage
from agent.spool.store import Leftover, Room, Spool

__all__ = ["Hasher", "Leftover", "Room", "Spool", "Stage"]
