"""What is wrong with a list: the one before stays in use."""

from __future__ import annotations

from agent.errors import DeviceError

__all__ = ["BadList"]


class BadList(DeviceError):
    """A list that is not put to use: cut off, too old, of another layout, not signed by whom we know."""

    hint = "What was in use stays in use: evidock hotlist status tells its age. Have the list sent again."
