"""Receipt + cosigned checkpoint + second read + policy -> the device may forget; later the spool too.

room      who may forget what, and when
proof     the entry `held` lies under a checkpoint that the witnesses' quorum cosigned
program   the process that deletes: `agent.releaser`, which believes nothing that it did not verify itself
"""

from agent.release.program import Program, trust_file
from agent.release.proof import Proving
from agent.release.room import Release

__all__ = ["Program", "Proving", "Release", "trust_file"]
