"""The dock's screen as files: one page with its style and its script, and a JSON file for each language."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.errors import ConfigError, Problem, in_words

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

__all__ = ["POLICY", "Page", "pages"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
"""Content-Security-Policy: nothing but our own files, no inline script or style, no frame, no form."""

_CODE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
_LANGUAGE_MAX: Final = 64 * 1024
_FILES: Final = {
    "/": ("screen.html", "text/html"),
    "/screen.css": ("screen.css", "text/css"),
    "/screen.js": ("screen.js", "text/javascript"),
    "/words.js": ("words.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/openapi.json": ("openapi.json", "application/json"),
}


class Page(NamedTuple):
    """One file, as it is served."""

    content: bytes
    media_type: str


def pages(more: Path | None = None) -> dict[str, Page]:
    """Every file by its path. `more`: a folder with further languages. `ConfigError` where one cannot be used."""
    web = resources.files("agent.station") / "web"
    found = {path: Page((web / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}
    languages = {file.name[:-5]: _language(file) for file in (web / "lang").iterdir() if file.name.endswith(".json")}
    if more is not None:
        languages |= _more(more)
    for code, words in languages.items():
        found[f"/languages/{code}.json"] = Page(json.dumps(words).encode(), "application/json")
    names = [{"code": code, "name": words["name"]} for code, words in sorted(languages.items())]
    found["/languages.json"] = Page(json.dumps(names).encode(), "application/json")
    return found


def _more(folder: Path) -> dict[str, dict[str, object]]:
    try:
        return {path.stem: _language(path) for path in sorted(folder.glob("*.json"))}
    except OSError as error:
        raise ConfigError([Problem("status.language_folder", f"{folder}: {error.strerror}")]) from error


def _language(file: Path | Traversable) -> dict[str, object]:
    """One language: an object with a `name` and texts, some of them in objects of their own."""
    problem = None
    words: object = None
    try:
        with file.open("rb") as opened:
            raw = opened.read(_LANGUAGE_MAX + 1)
        words = json.loads(raw) if len(raw) <= _LANGUAGE_MAX else None
    except (OSError, ValueError) as error:
        problem = in_words(error)
    if not isinstance(words, dict) or not isinstance(words.get("name"), str):
        problem = problem or f"it must be an object with a `name`, of at most {_LANGUAGE_MAX} bytes"
    elif not _CODE.fullmatch(file.name.removesuffix(".json")):
        problem = "its name must be a language's code, such as `es.json`"
    if problem is not None or not isinstance(words, dict):
        raise ConfigError([Problem("status.language_folder", f"{file.name}: {problem}")])
    return words
