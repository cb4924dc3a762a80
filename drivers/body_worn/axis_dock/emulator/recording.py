"""A recording as a camera made it: clips, keys, bookmarks, a location trail, and what is told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bookmark", "Recording", "stamp"]

BEGAN_AT = datetime(2026, 11, 22, 10, 11, 12, tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """A time as containers are named by: `20261122T101112Z`."""
    return moment.strftime("%Y%m%dT%H%M%SZ")


def iso(moment: datetime) -> str:
    """A time as RFC 3339 in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Bookmark:
    """What an officer marked."""

    category: str
    category_name: str
    text: str = ""
    at: datetime = BEGAN_AT


@dataclass(slots=True)
class Recording:
    """One recording. `old`: as firmware tells it that knows few of the fields."""

    serial: str = "B8A44F000001"
    user: str = "2b0f1d6e-5a0c-4a7b-8a55-0e3f6f8f2a10"
    began_at: datetime = BEGAN_AT
    clips: list[tuple[str, bytes]] = field(default_factory=list)
    keys: list[tuple[str, bytes]] = field(default_factory=list)
    bookmarks: list[Bookmark] = field(default_factory=list)
    track: list[tuple[float, float, float]] = field(default_factory=list)
    """(latitude, longitude, seconds after `began_at`)."""
    container_type: str = "mkv"
    controller: str = "B8A44F00AAAA"
    old: bool = False
    complete: bool = True
    """False: the controller never says that it is."""

    @property
    def container(self) -> str:
        """Its name."""
        return f"{self.user}_{self.serial}_{stamp(self.began_at)}"

    @property
    def about(self) -> dict[str, str]:
        """Metadata of the container."""
        told = {
            "ContainerName": self.container,
            "BWCSerialNumber": self.serial,
            "UserID": self.user,
            "TriggerOnTime": str(int(self.began_at.timestamp())),
            "StartTime": str(int(self.began_at.timestamp())),
        }
        if self.old:
            return told
        return told | {
            "SCUSerialNumber": self.controller,
            "FirmwareVersion": "11.7.60",
            "BWCModel": "W101",
            "TriggerOn": "Button",
            "TriggerOnTimeISO": iso(self.began_at),
            "StartTimeISO": iso(self.began_at),
            "TimeZone": "America/Toronto",
        }

    @property
    def ending(self) -> dict[str, str]:
        """What is told of it when it is over."""
        over = self.began_at + timedelta(minutes=5)
        return {"StopTime": str(int(over.timestamp())), "StopTimeISO": iso(over), "TriggerOff": "Button"}

    def objects(self) -> Iterator[tuple[str, dict[str, str], bytes]]:
        """(name, metadata, bytes) of each."""
        began = {"StartTime": str(int(self.began_at.timestamp())), "StartTimeISO": iso(self.began_at)}
        for name, data in self.clips:
            yield name, {**began, "ContainerType": self.container_type}, data
        for name, data in self.keys:
            yield name, {"StartTime": began["StartTime"], "FileType": "key"}, data
        for number, mark in enumerate(self.bookmarks, start=1):
            told = {
                "CategoryID": mark.category,
                "CategoryName": mark.category_name,
                "Tags": "TriggerOn:Button",
                "StartTime": iso(mark.at),
                "EndTime": iso(mark.at + timedelta(seconds=1)),
            }
            yield f"bookmark_{iso(mark.at)}_{number}", told, mark.text.encode()
        if self.track:
            entries = [
                {
                    "LocationWKT": f"POINT({longitude} {latitude})",
                    "SecondsFromStart": after,
                    "Timestamp": iso(self.began_at + timedelta(seconds=after)),
                }
                for latitude, longitude, after in self.track
            ]
            name = f"{self.began_at:%Y%m%d_%H%M%S}_7CF7_{self.serial}_gpstrail.json"
            yield name, {"FileType": "json"}, json.dumps({"CoordinateEntries": entries}).encode()
