"""What drivers want a person to look at now, for the dock's screen alone: words and pictures, from memory."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from agent.capture import printable, rfc3339
from agent.driver import ShowsLeads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.driver import Lead
    from agent.station.running import Loaded
    from agent.station.views import View

__all__ = ["PLACE", "Asked", "leads", "names", "picture"]

PLACE: Final = "/v1/leads"
_MOST: Final = 12
"""Leads that are shown: nobody looks at more at once."""
_LINES: Final = 8
_LINE: Final = 200
_PICTURES: Final = 4
_PICTURE: Final = re.compile(PLACE + r"/([0-9a-f-]{36})/([0-3])")
_KINDS: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


class Asked:
    """A path that names a picture."""

    def __init__(self, lead: str, number: int) -> None:
        self.lead, self.number = lead, number

    @classmethod
    def of(cls, path: str) -> Asked | None:
        """None: it names none."""
        found = _PICTURE.fullmatch(path)
        return None if found is None else cls(found[1], int(found[2]))


def leads(drivers: Iterable[Loaded]) -> list[View]:
    """Every lead, urgent ones first, with its words."""
    return [
        {
            "id": one.id,
            "at": rfc3339(one.at),
            "what": printable(one.what)[:_LINE],
            "lines": [printable(line)[:_LINE] for line in one.lines[:_LINES]],
            "todo": printable(one.todo)[:_LINE],
            "urgent": one.urgent,
            "pictures": min(one.pictures, _PICTURES),
        }
        for one in _shown(drivers)
    ]


def names(drivers: Iterable[Loaded]) -> list[str]:
    """Which leads there are: what everybody is told who looks at the station, so that a page knows that it must ask."""
    return [one.id for one in _shown(drivers)]


def picture(drivers: Iterable[Loaded], asked: Asked) -> tuple[bytes, str] | None:
    """(content, media type) of one picture; None where it is gone, or is none."""
    for driver in _tellers(drivers):
        content = driver.picture(asked.lead, asked.number)
        if content is not None:
            kind = next((kind for mark, kind in _KINDS if content.startswith(mark)), None)
            return None if kind is None else (content, kind)
    return None


def _shown(drivers: Iterable[Loaded]) -> list[Lead]:
    found = [one for driver in _tellers(drivers) for one in islice(driver.leads(), _MOST)]
    return sorted(found, key=lambda one: (not one.urgent, -one.at.timestamp()))[:_MOST]


def _tellers(drivers: Iterable[Loaded]) -> Iterator[ShowsLeads]:
    return (one.driver for one in drivers if isinstance(one.driver, ShowsLeads))
