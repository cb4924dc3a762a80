"""What may go out when: classes, links, windows, budgets and the one bucket that all bytes pass.

Nothing here sends. `agent.gate` asks before each request that brings bytes, and each answer is for that request only:
what a person changes, or what the network becomes, counts from the next one on.
"""

from agent.traffic.bucket import Bucket
from agent.traffic.links import LinkClass
from agent.traffic.options import Traffic
from agent.traffic.paced import Paced
from agent.traffic.rules import class_of, day_of, verdict

__all__ = ["Bucket", "LinkClass", "Paced", "Traffic", "class_of", "day_of", "verdict"]
