"""JSON of devices, bounded, and where each of its values lies in the bytes, so that one can be cut out as it came."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from firmware_specs import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["entries", "loads", "values"]

LENGTH_MAX: Final = 32 << 20
DEPTH_MAX: Final = 32
VALUES_MAX: Final = 200_000

_TOKEN: Final = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*"|[{}\[\],:]|[^ \t\r\n{}\[\],:"]+)', re.DOTALL)
_OPENING, _CLOSING = b"{[", b"}]"


def loads(data: bytes, *, once: frozenset[str] = frozenset()) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value of a document. Raises `SpecError`: what is no JSON, too long, or nested too deep.

    `once`: names that must not stand twice in one object. Of two with one name (RFC 8259 section 4 permits them) the
    last counts, and what the other holds, a read of another car for one, would be passed over, and kept unseen.
    """
    if len(data) > LENGTH_MAX:
        raise SpecError("more JSON than is read")
    try:
        # As text, for of bytes Python guesses UTF-16 and UTF-32, and RFC 8259 section 8.1 knows UTF-8 alone.
        hook = partial(_object, once) if once else None
        found = json.loads(data.decode("utf-8-sig"), parse_int=_integer, object_pairs_hook=hook)
    except SpecError:
        raise
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        raise SpecError("no well-formed JSON") from error
    _bounded(found, DEPTH_MAX)
    return found


def _object(once: frozenset[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs if name in once]
        if len(names) > len(set(names)):
            raise SpecError("an object of the message holds the same name twice, and so two lists where one must be")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 40:  # noqa: PLR2004 - no device counts further
        raise ValueError("a number of more than 40 digits")
    return int(digits)


def _bounded(value: Any, depth: int) -> None:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(value, (dict, list)):
        return
    if depth == 0:
        raise SpecError(f"JSON nested deeper than {DEPTH_MAX}")
    for inner in value.values() if isinstance(value, dict) else value:
        _bounded(inner, depth - 1)


def values(data: bytes) -> Iterator[tuple[tuple[str | int, ...], int, int]]:
    """(path, start, end) of every value of a well-formed document, inner ones first; the path has names and indexes."""
    path: list[str | int] = []
    open_at: list[int] = []
    count, at, name = 0, len(data) - len(data.lstrip(b"\xef\xbb\xbf")), None
    while (found := _TOKEN.match(data, at)) is not None:
        token, start, at = found[1], found.start(1), found.end()
        count += 1
        if count > VALUES_MAX:
            raise SpecError("JSON with more values than is looked at")
        if token in (b"{", b"["):
            open_at.append(start)
            path.append(0 if token == b"[" else "")
            name = token == b"{"
        elif token in (b"}", b"]") and open_at:
            path.pop()
            yield tuple(path), open_at.pop(), at
            name = False
        elif token == b"," and path:
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else last
            name = not isinstance(last, int)
        elif token == b":":
            name = False
        elif name and path:
            path[-1] = _name(token)
        else:
            yield tuple(path), start, at


def _name(token: bytes) -> str:
    try:
        found = json.loads(token)
    except ValueError:
        return ""
    return found if isinstance(found, str) else ""


def entries(data: bytes, *path: str) -> tuple[tuple[int, int], ...]:
    """(start, end) of each entry of the list at a path of names, in their order."""
    return tuple(
        (start, end) for found, start, end in values(data) if len(found) == len(path) + 1 and found[:-1] == path
    )
