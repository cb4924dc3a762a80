"""What a file's name says: a template such as `{recording}_{camera}_{clip}.mp4` read backwards, in bounded time."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.interview_room.drop_folder.looking import Look
    from drivers.interview_room.drop_folder.sidecars import Beside

__all__ = ["Listing", "Names", "Said", "media_type"]

_FIELD: Final = re.compile(r"\{(recording|camera|clip|began)(?::([^{}]*))?\}")
_WIDTHS: Final = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2, "%y": 2, "%j": 3}

_TYPES: Final = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".avi": "video/vnd.avi",
    ".ts": "video/mp2t",
    ".wmv": "video/x-ms-wmv",
    ".wav": "audio/vnd.wave",
    ".mp3": "audio/mpeg",
    ".pdf": "application/pdf",
    ".csv": "text/csv",
    ".xml": "application/xml",
    ".json": "application/json",
    ".txt": "text/plain",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a name says; None where it says nothing of it."""

    recording: str | None = None
    camera: str | None = None
    clip: int | None = None
    began_at: datetime | None = None


class Names:
    """A template. `ValueError` with what is wrong in it.

    `{recording}` takes any characters but `/`; every other field only such as do not begin what follows it, and
    `{began:%Y%m%d_%H%M%S}` exactly its width of digits: so a name is read in time that grows with its length alone. A
    template with `/` is for the path below the folder, one without for the name in any subfolder. `*` stands for
    anything but `/`.
    """

    def __init__(self, template: str, zone: str = "UTC") -> None:
        self._zone = ZoneInfo(zone)
        self._whole_path = "/" in template
        self._format: str | None = None
        pattern, seen, at = "", set[str](), 0
        for field in _FIELD.finditer(template):
            pattern += _literal(template[at : field.start()])
            name, form = field[1], field[2]
            if name in seen:
                raise ValueError(f"`{{{name}}}` stands twice in `names`")
            if form is not None and name != "began":
                raise ValueError(f"`{{{name}}}` takes no format; only `{{began:...}}` does")
            seen.add(name)
            at = field.end()
            pattern += self._field(name, form, template[at : at + 1])
        pattern += _literal(template[at:])
        if template.count("*") > 1:
            raise ValueError("`names` may have one `*`")
        if not seen:
            raise ValueError("`names` has none of {recording}, {camera}, {clip} and {began:...}")
        self._pattern = re.compile(pattern)

    def _field(self, name: str, form: str | None, following: str) -> str:
        if name == "clip":
            return r"(?P<clip>[0-9]{1,9})"
        if name == "began":
            self._format = form or "%Y%m%d%H%M%S"
            return f"(?P<began>{_digits(self._format)})"
        if name == "recording":
            return "(?P<recording>[^/]{1,200})"
        if following in ("{", "*"):
            raise ValueError(f"something must stand between `{{{name}}}` and what follows it")
        return f"(?P<{name}>[^/{re.escape(following)}]{{1,100}})"

    def read(self, key: str) -> Said | None:
        """What this path below the folder says; None where it does not fit the template."""
        found = self._pattern.fullmatch(key if self._whole_path else key.rpartition("/")[2])
        if found is None:
            return None
        told = found.groupdict()
        clip, began = told.get("clip"), told.get("began")
        began_at = None
        if began is not None and self._format is not None:
            try:
                began_at = datetime.strptime(began, self._format).replace(tzinfo=self._zone).astimezone(UTC)
            except (ValueError, OverflowError):
                return None  # a thirteenth month: the name is of another kind
        return Said(told.get("recording"), told.get("camera"), None if clip is None else int(clip), began_at)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the names of one look say."""

    said: Mapping[str, Said]
    """By key; what says nothing is not in it."""
    _recordings: Mapping[str, int]

    @classmethod
    def of(cls, names: Names | None, look: Look, beside: Beside) -> Listing:
        """Read them; a side-car belongs where its film does.

        What is not finished yet, and what is refused, is a part of its recording all the same.
        """
        if names is None:
            return cls({}, {})
        keys = {entry.key: beside.of(entry.key) or entry.key for entry in look.entries}
        said = {key: found for key, film in keys.items() if (found := names.read(film)) is not None}
        others = [entry.key.rpartition(".")[0] for entry in look.unfinished] + list(look.refused)
        counted = [*said.values(), *(found for key in others if (found := names.read(key)) is not None)]
        return cls(said, Counter(found.recording for found in counted if found.recording is not None))

    def members(self, said: Said | None) -> int | None:
        """How many files the recording has that this name says; None where it says none."""
        return None if said is None or said.recording is None else self._recordings[said.recording]


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError(f"`names` has a field that is not known: {text}")
    return re.escape(text).replace(r"\*", "[^/]{0,200}")


def _digits(form: str) -> str:
    parts = re.split(r"(%.)", form)
    unknown = [part for part in parts if part.startswith("%") and part not in _WIDTHS]
    if unknown:
        raise ValueError(f"`{{began:...}}` knows {' '.join(_WIDTHS)}, not {unknown[0]}")
    return "".join(f"[0-9]{{{_WIDTHS[part]}}}" if part in _WIDTHS else re.escape(part) for part in parts)


def media_type(key: str) -> str:
    """By the ending, which is all that is looked at."""
    dot = key.rfind(".")
    return _TYPES.get(key[dot:].lower() if dot >= 0 else "", "application/octet-stream")
