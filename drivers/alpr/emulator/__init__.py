"""Number plate cameras to try the receivers with: by hand, and in tests. They share no line with the drivers.

passages    what drives by: plates, times, pictures        messages   how each maker tells it, and how that goes wrong
sender      a camera that pushes, and what answers mean to it          listing   a Hikvision camera's own list of plates
"""

from __future__ import annotations

from drivers.alpr.emulator.listing import PlateList
from drivers.alpr.emulator.messages import MESSAGES, Sent
from drivers.alpr.emulator.passages import Passage, jpeg, plates
from drivers.alpr.emulator.sender import Sender

__all__ = ["MESSAGES", "Passage", "PlateList", "Sender", "Sent", "jpeg", "plates"]
