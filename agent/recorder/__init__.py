"""What a real device gave, written so that a field problem becomes a test: names and sizes, no content, no person.

veil        a name becomes another of the same shape, the same each time
skeleton    a film's boxes, without what is in them
hand        the hand that a driver offers to here: it looks, and takes nothing
writing     the folder that is written
"""

from __future__ import annotations

from agent.recorder.hand import RecordingHand
from agent.recorder.veil import Veil
from agent.recorder.writing import write

__all__ = ["RecordingHand", "Veil", "write"]
