"""The small HTTP server of BlackVue recorders: its list, where its files are, and what belongs to a recording.

Known:        two ways, by firmware: up to 1.008 a list of lines (`/blackvue_vod.cgi`) and files below `/Record/`; from
              1.009 on JSON (`/accessible`, `/vodList`), films at the root, thumbnails and positions by `/vodMetadata`,
              and no accelerations. From blackvuesync (MIT), its documents and its mock of a recorder.
Not verified: on a recorder: ranges, HEAD, the clock of its `Date`; whether a film that is being made is listed; where
              things stand in the answer of `/vodMetadata`: blackvuesync 2.2 reads them below `metadata`, its document
              shows thumbnails beside it; both are looked for.

The size in the old list is the same for every file, and means nothing. Names are the camera's local time.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from firmware_specs.formats.source import Malformed

__all__ = ["FILMS_MAX", "LIST_MAX", "Film", "metadata", "new_list", "old_list", "sidecars"]

LIST_MAX: Final = 4 << 20
FILMS_MAX: Final = 20_000
"""Films of one list: a card of 512 GB holds some thousands."""

_LINE: Final = re.compile(r"n:/Record/([^,\r\n]{1,100}),s:\d{1,20}")
_NAME: Final = re.compile(r"(\d{8}_\d{6})_([A-Z])([FRIO])([LS])?\.mp4", re.ASCII)


@dataclass(frozen=True, slots=True)
class Film:
    """One film that a recorder lists."""

    name: str
    time: str
    kind: str
    direction: str
    upload: str

    @property
    def began_at(self) -> datetime | None:
        """The camera's local time, read as it is set; None where it is none."""
        try:
            return datetime.strptime(self.time, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None


def old_list(text: bytes) -> tuple[list[Film], int]:
    """The films of `/blackvue_vod.cgi`, and how many lines were none. Raises `Malformed`."""
    lines = text.decode("ascii", "replace").split("\n")
    if not lines[0].startswith("v:"):
        raise Malformed("it is no list of a BlackVue recorder")
    names, strange = [], 0
    for line in filter(None, (line.strip() for line in lines[1:])):
        if found := _LINE.fullmatch(line):
            names.append(found[1])
        else:
            strange += 1
    films, others = _films(names)
    return films, strange + others


def new_list(text: bytes) -> tuple[list[Film], int]:
    """The films of `/vodList`, and how many entries were none. Raises `Malformed`."""
    try:
        told = json.loads(text)["filelist"]
        names = [str(one["filename"]) for one in told] if isinstance(told, list) else [str(told["filelist"])]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed("it is no list of a BlackVue recorder") from error
    return _films(names)


def sidecars(film: Film) -> dict[str, str]:
    """What may lie beside a film, by what it is: names with and without the direction, as the recorder makes them."""
    stem = f"{film.time}_{film.kind}"
    return {
        "thumbnail": f"{stem}{film.direction}{film.upload}.thm",
        "gps": f"{stem}{film.upload}.gps",
        "3gf": f"{stem}{film.upload}.3gf",
    }


def metadata(text: bytes, kind: str) -> bytes | None:
    """What `/vodMetadata` gives of one kind; None where it has none. Raises `Malformed`."""
    try:
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("resultcode") != "BC_ERR_OK":
            return None
        inner = told.get("metadata")
        found = told.get(kind) or (inner.get(kind) if isinstance(inner, dict) else None)
        if not isinstance(found, str) or not found:
            return None
        return base64.b64decode("".join(found.split()), validate=True)  # it may come in lines
    except (ValueError, RecursionError, binascii.Error) as error:
        raise Malformed("it is no answer about a recording") from error


def _films(names: list[str]) -> tuple[list[Film], int]:
    if len(names) > FILMS_MAX:
        raise Malformed(f"it lists {len(names)} films, more than a card holds")
    films: dict[str, Film] = {}
    strange = 0
    for name in names:
        if found := _NAME.fullmatch(name):
            films[name] = Film(name, found[1], found[2], found[3], found[4] or "")
        else:
            strange += 1
    return list(films.values()), strange
