"""Open GoPro over HTTP, version 2: the list of a camera's card, its state, its clock, and how files are named.

Known:        requests and answers from `gopro/OpenGoPro` (its Python client 0.22 and its documents); that client drives
              our emulator in a test. Statuses 8 (busy), 10 (encoding), 54 (room in kB), 70 (battery in per cent).
Not verified: on a camera. That `cre` is the camera's local time as seconds since 1970. That HEAD and ranges are served.

Every value of the list is text. A group (a burst, a time lapse) stands in the list with its first file, and counts its
members; which chapters are one recording is told by their names (the layout `gopro`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from firmware_specs.formats.source import Malformed

__all__ = ["FILES_MAX", "LIST_MAX", "Info", "Media", "State", "clock", "info", "media", "state"]

LIST_MAX: Final = 16 << 20
FILES_MAX: Final = 100_000
"""Files of one list, the members of groups counted."""

_FOLDER: Final = re.compile(r"\d{3}[A-Z0-9_]{5}", re.ASCII)
_FILE: Final = re.compile(r"[A-Z0-9_]{4}\d{4}\.[A-Z0-9]{3}", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,15}", re.ASCII)
_MEMBERS: Final = re.compile(r"(?P<stem>[A-Z0-9_]{4})\d{4}\.(?P<end>[A-Z0-9]{3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Media:
    """One file on the card."""

    path: str
    """`100GOPRO/GX010001.MP4`"""
    created_at: datetime | None
    length: int | None
    """None for a member of a group, whose lengths are told as a sum."""
    group: str | None = None
    """What the list counts as one: a burst, a time lapse. Else its name says what it belongs to (`gopro.toml`)."""


@dataclass(frozen=True, slots=True)
class State:
    """How the camera is; None where it does not say."""

    busy: bool
    encoding: bool
    battery: int | None
    """Per cent."""
    room: int | None
    """Kilobytes that are free on its card."""


@dataclass(frozen=True, slots=True)
class Info:
    """Who it is."""

    model: str
    firmware: str
    serial: str


def media(text: bytes) -> tuple[list[Media], int]:
    """The files of `gopro/media/list`, and how many entries were none. Raises `Malformed`."""
    told = _object(text)
    folders = told.get("media")
    if not isinstance(folders, list):
        raise Malformed("it is no list of a camera")
    found: dict[str, Media] = {}
    strange = 0
    for folder in folders:
        name, files = (folder.get("d"), folder.get("fs")) if isinstance(folder, dict) else (None, None)
        if not (isinstance(name, str) and _FOLDER.fullmatch(name) and isinstance(files, list)):
            strange += 1
            continue
        for file in files:
            members = _members(name, file)
            strange += not members
            found |= {one.path: one for one in members}
            if len(found) > FILES_MAX:
                raise Malformed(f"it lists more than {FILES_MAX} files")
    return list(found.values()), strange


def state(text: bytes) -> State:
    """`gopro/camera/state`. Raises `Malformed`."""
    told = _object(text).get("status")
    if not isinstance(told, dict):
        raise Malformed("it is no state of a camera")
    return State(
        busy=bool(told.get("8")),
        encoding=bool(told.get("10")),
        battery=_count(told.get("70")),
        room=_count(told.get("54")),
    )


def info(text: bytes) -> Info:
    """`gopro/camera/info`, as of today and as of older firmware, which has it below `info`. Raises `Malformed`."""
    told = _object(text)
    inner = told.get("info")
    told = inner if isinstance(inner, dict) else told
    words = [told.get(name) for name in ("model_name", "firmware_version", "serial_number")]
    if not all(isinstance(one, str) and 0 < len(one) <= 64 and one.isprintable() for one in words):  # noqa: PLR2004
        raise Malformed("it does not say which camera it is")
    return Info(*map(str, words))


def clock(text: bytes) -> datetime:
    """`gopro/camera/get_date_time`: the camera's local time, read as it is set. Raises `Malformed`."""
    told = _object(text)
    try:
        return datetime.strptime(f"{told['date']} {told['time']}", "%Y_%m_%d %H_%M_%S").replace(tzinfo=UTC)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise Malformed("it is no time of a camera") from error


def _members(folder: str, file: Any) -> list[Media]:  # noqa: ANN401 - what JSON gave
    name = file.get("n") if isinstance(file, dict) else None
    if not (isinstance(name, str) and _FILE.fullmatch(name)):
        return []
    created_at = _moment(file.get("cre"))
    if "g" in file:
        return _group(folder, name, file, created_at)
    length = _count(file.get("s"))
    return [Media(f"{folder}/{name}", created_at, length)]


def _group(folder: str, name: str, file: dict[str, Any], created_at: datetime | None) -> list[Media]:
    first, last, shape = _count(file.get("b")), _count(file.get("l")), _MEMBERS.fullmatch(name)
    gone = file.get("m")
    missing = {_count(one) for one in gone} if isinstance(gone, list) else set()
    if first is None or last is None or shape is None or not 0 <= last - first < 10_000 or last > 9999:  # noqa: PLR2004
        return []
    return [
        Media(f"{folder}/{shape['stem']}{number:04}.{shape['end']}", created_at, None, f"{folder}/{name[:4]}{first:04}")
        for number in range(first, last + 1)
        if number not in missing
    ]


def _object(text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("it is no JSON") from error
    if not isinstance(told, dict):
        raise Malformed("it is no answer of a camera")
    return told


def _count(value: Any) -> int | None:  # noqa: ANN401
    if isinstance(value, bool):
        return None
    return int(value) if isinstance(value, int | str) and _NUMBER.fullmatch(str(value)) else None


def _moment(value: Any) -> datetime | None:  # noqa: ANN401
    seconds = _count(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
