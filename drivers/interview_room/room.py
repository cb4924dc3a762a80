"""An interview room, as every way of recording in it names it: the room, and which recorder of the room this is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.capture import Device
from agent.driver import DriverOptions

__all__ = ["RoomOptions", "Word", "device_of"]

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class RoomOptions(DriverOptions):
    """What the `[[driver]]` tables of all ways have in common."""

    room: Word | None = None
    """The room; left out, it is the driver's `name`. Two recorders of one room, and two stations that look at one
    recorder, say the same here."""
    recorder: Word = "main"
    """Which recorder of the room: a second one that records the same interviews is `backup`, or has a name of its own.
    It stands in every capture's identity: two stations that see the same recorder must say the same."""


def device_of(options: RoomOptions, *, maker: str | None = None, place: str | None = None) -> Device:
    """The recorder as a device. Its id is the same at every station that has the same words in its agent.toml."""
    room = options.room or options.name
    return Device(
        id=f"room:{room}:{options.recorder}", family="interview_room", driver=options.name, maker=maker, place=place
    )
