"""The only texts that leave the station in a support bundle: words that stand in our own public source.

That a bundle has the word `held` or `destination_down` tells nobody anything of a person: whoever wants can read it in
the source. A name, a plate, a note or a token is no such word. What is none becomes `(text of 12 characters)`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["ours", "plain", "sentences", "stack", "word"]

_WORD: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_.]{1,39}")
_MADE_UP: Final = frozenset({"testing", "emulator", "demo"})
_PACKAGES: Final = ("agent", "drivers", "firmware_specs")
_FRAME: Final = re.compile(r'File "([^"]{1,300})", line (\d{1,6})')
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|\+00:00)")


@cache
def ours() -> frozenset[str]:
    """Every text of our source that is one word, its settings, and the names of its device specs and layouts.

    Not those of emulators and tests: there stand names and plates.
    """
    found: set[str] = set()
    root = Path(__file__).resolve().parents[3]
    for package in _PACKAGES:
        for path in (root / package).rglob("*.py"):
            if not _MADE_UP.isdisjoint((*path.relative_to(root).parts[:-1], path.stem)):
                continue
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and _WORD.fullmatch(node.value):
                    found.add(node.value)
                elif isinstance(node, ast.ClassDef):
                    found.add(node.name)
                    found |= set(_settings(node))
        found |= {path.stem for path in (root / package).rglob("*.toml")}
    return frozenset(found)


@cache
def sentences() -> frozenset[str]:
    """Every text of the module that says what is wrong with agent.toml; none of them quotes the file."""
    found = ast.walk(ast.parse((Path(__file__).resolve().parents[2] / "config.py").read_bytes()))
    return frozenset(one.value for one in found if isinstance(one, ast.Constant) and isinstance(one.value, str))


def _settings(table: ast.ClassDef) -> Iterator[str]:
    """Names of the fields of a class: what agent.toml may say."""
    for one in table.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id


def word(text: object) -> str | None:
    """A text if it is a word of ours, else how long it is; None stays None."""
    if text is None:
        return None
    said = str(text)
    return said if said in ours() else f"(text of {len(said)} characters)"


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A value of a field that may go in: numbers and switches as they are, times as they are, texts by `word`."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return value if _TIME.fullmatch(value) else word(value)
        case list() | tuple():
            return [plain(one) for one in value]
        case dict():
            return {word(name): plain(inner) for name, inner in value.items()}
    return word(value)


def stack(text: str) -> list[str]:
    """Of a traceback the lines of our own code, as `agent/forward.py:170`; no message, for it may quote anything."""
    found = []
    for path, number in _FRAME.findall(text):
        parts = Path(path).parts
        package = next((n for n, part in enumerate(parts) if part in _PACKAGES), None)
        if package is not None and all(part.removesuffix(".py") in _names() for part in parts[package:]):
            found.append(f"{'/'.join(parts[package:])}:{number}")
    return found[:50]


@cache
def _names() -> frozenset[str]:
    root = Path(__file__).resolve().parents[3]
    return frozenset(
        part
        for package in _PACKAGES
        for path in (root / package).rglob("*.py")
        for part in (*path.relative_to(root).parts[:-1], path.stem)
    )
