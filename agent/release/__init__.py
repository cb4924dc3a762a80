"""Receipt + cosigned checkpoint + second read + policy -> the device may forget; later the spool too.

room      who may forget what, and when
case      what is known of one capture that is offered
proof     the entry `held` lies under a checkpoint that the witnesses' quorum cosigned
program   the process that deletes: `agent.releaser`, which believes nothing that it did not verify itself
trusting  whose signatures it believes: a file that a person writes
"""

from agent.release.program import Program
from agent.release.proof import Proving
from agent.release.room import Release
from agent.release.trusting import TODO, believed_logs, compared, digest_of, trust_file, trusted

__all__ = ["TODO", "Program", "Proving", "Release", "believed_logs", "compared", "digest_of", "trust_file", "trusted"]
