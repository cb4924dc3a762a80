"""Messages whose template an operator wrote: one document as XML, JSON, a form, parts, or lines, looked up by path.

Known:        templates of Genetec SharpV, Blue Iris, and others, in which only names, encodings and dates differ.
Not verified: each product's own template language.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from firmware_specs import SpecError
from firmware_specs.formats import json_spans, multipart, plain_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Document", "Entry", "dropped", "look", "read"]

_FIELDS_MAX: Final = 256
_FIELD_MAX: Final = 16 << 20
_DOCUMENT_MAX: Final = 24 << 20
_LINE: Final = re.compile(r"[ \t]*([^=:\s][^=:\n]*?)[ \t]*[=:][ \t]*(.*?)[ \t]*\r?\n?", re.ASCII)
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list in a document, with all that it lies in: `within[n]` is what stands after n steps to it."""

    value: Any
    steps: tuple[tuple[str, str], ...]
    within: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One message, to be looked up in."""

    encoding: str
    body: bytes = field(repr=False)
    told: dict[str, Any] = field(default_factory=dict, repr=False)
    """JSON as it came; XML as nested dictionaries; fields by name."""
    files: tuple[tuple[str, int, int, int], ...] = ()
    """(name, number, start, end) of each part of a multipart body that is no text of the document."""
    text: bytes = field(default=b"", repr=False)
    offset: int = 0
    """Where the document lies in the body."""

    def look(self, path: str, entry: Entry | None = None) -> Any:  # noqa: ANN401 - whatever stands there
        """What stands at a path; None where nothing does. `entry`: where it leads through what that lies in, there."""
        if self.encoding in ("form", "multipart", "lines"):
            return self.told.get(path)
        steps = self._steps(path)
        if entry is None:
            return _looked(self.told, steps)
        at = 0
        while at < min(len(steps), len(entry.steps)) and steps[at] == entry.steps[at]:
            at += 1
        while at and steps[at : at + 1] and steps[at][1]:
            at -= 1  # it counts the entries of a list itself
        return _looked(entry.within[at], steps[at:])

    def entries(self, path: str) -> list[Entry]:
        """Every entry of the lists at a path: of each of them, where what holds them comes more than once.

        A single object is a list of one. Raises `SpecError` where there is nothing of the kind.
        """
        steps = self._steps(path)
        found: list[tuple[Any, ...]] = [(self.told,)]
        for name, index in steps:
            found = [(*above, *both) for *above, value in found for both in _below(value, name, index)]
        last = [(above, one) for *above, one in found if isinstance(one, (dict, list))]
        if not last:
            raise SpecError("there is no list of reads where the mapping says")
        return [
            Entry(one, steps, (*above, one))
            for above, ends in last
            for one in (ends if isinstance(ends, list) else [ends])
        ]

    def spans(self, path: str) -> tuple[tuple[int, int], ...]:
        """(start, end) in the body of each of `entries`."""
        if self.encoding == "json":
            steps = tuple(name or int(index) for name, index in self._steps(path))
            found = [
                (start, end)
                for at, start, end in json_spans.values(self.text)
                if _is_entry(at, steps, is_object=self.text[start : start + 1] == b"{")
            ]
            return tuple((self.offset + start, self.offset + end) for start, end in found)
        if self.encoding == "xml":
            holders = [plain_xml.parse(self.text)]
            for name in path.split("/")[1:]:
                holders = [child for one in holders for child in one.children if child.name == name]
            return tuple((self.offset + one.start, self.offset + one.end) for one in holders)
        return ()

    def _steps(self, path: str) -> tuple[tuple[str, str], ...]:
        return _steps(path.removeprefix("$").removeprefix(".") if self.encoding == "json" else path)


def dropped(document: Document, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """(start, end) in the body of everything whose path is one of these names, or lies below one."""

    def below(path: str) -> bool:
        return any(path == name or path.startswith((f"{name}.", f"{name}[", f"{name}/")) for name in names)

    if document.encoding == "multipart":
        return tuple((start, end) for name, _, start, end in document.files if below(name))
    pathed = {"json": _pathed_json, "xml": _pathed_xml, "lines": _pathed_lines}.get(document.encoding)
    found = pathed(document.text) if pathed is not None else ()
    return tuple((document.offset + start, document.offset + end) for path, start, end in found if below(path))


def _pathed_json(text: bytes) -> Iterator[tuple[str, int, int]]:
    for steps, start, end in json_spans.values(text):
        yield "$" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps), start, end


def _pathed_xml(text: bytes) -> Iterator[tuple[str, int, int]]:
    root = plain_xml.parse(text)
    waiting = [(root.name, root)]
    while waiting:
        path, element = waiting.pop()
        yield path, element.start, element.end
        waiting += [(f"{path}/{child.name}", child) for child in element.children]


def _pathed_lines(text: bytes) -> Iterator[tuple[str, int, int]]:
    at = 0
    for line in text.splitlines(keepends=True):
        said = _LINE.fullmatch(line.decode("utf-8", "replace"))
        if said:
            yield said[1], at, at + len(line)
        at += len(line)


def look(value: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    """What stands below a value at a path of names and indexes: `a.b[0].c`, or `A/B/C@attribute`."""
    return _looked(value, _steps(path))


def _steps(path: str) -> tuple[tuple[str, str], ...]:
    return tuple(_STEP.findall(path.replace("/", ".").replace("@", ".@")))


def _looked(value: Any, steps: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401 - JSON
    for name, index in steps:
        if name:
            if isinstance(value, list) and value:
                value = value[0]
            value = value.get(name) if isinstance(value, dict) else None
        else:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
    if isinstance(value, dict) and "#text" in value:
        return value["#text"]
    return value


def _below(value: Any, name: str, index: str) -> list[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    """(from where, what) one step leads to: with a name, from each entry of a list."""
    if not name:
        return [(value, value[int(index)])] if isinstance(value, list) and int(index) < len(value) else []
    holders = value if isinstance(value, list) else [value]
    return [(one, one[name]) for one in holders if isinstance(one, dict) and name in one]


def _is_entry(at: tuple[str | int, ...], steps: tuple[str | int, ...], *, is_object: bool) -> bool:
    """Whether what stands at this place of a document is one of the entries of the lists at these steps."""
    place = 0
    for step in steps:
        if isinstance(step, str) and place < len(at) and isinstance(at[place], int):
            place += 1  # one of several that hold such lists
        if place >= len(at) or at[place] != step:
            return False
        place += 1
    rest = at[place:]
    return is_object if not rest else len(rest) == 1 and isinstance(rest[0], int)


def read(body: bytes, content_type: str, encoding: str, part: str | None, each: str | None = None) -> Document:
    """A message as a document. Raises `SpecError`. `each`: path of a list whose entries are told apart."""
    if len(body) > multipart.BODY_MAX:
        raise SpecError("a message longer than is read")
    files: tuple[tuple[str, int, int, int], ...] = ()
    text, offset = body, 0
    if part is not None or encoding == "multipart":
        boundary = multipart.boundary_of(content_type, body)
        if boundary is None:
            raise SpecError("the message is no multipart")
        parts = multipart.parse(body, boundary).parts
        files = tuple((one.name, at, one.start, one.end) for at, one in enumerate(parts) if one.name != part)
        if encoding == "multipart":
            fields = {one.name: _text(one.content(body)) for one in parts if not _is_picture(one.content(body)[:4])}
            return Document(encoding, body, fields, files)
        holding = next((one for one in parts if one.name == part), None)
        if holding is None:
            raise SpecError("the message has no part of the name that the mapping gives")
        text, offset = holding.content(body), holding.start
    if len(text) > _DOCUMENT_MAX:
        raise SpecError("a document longer than is read")
    return Document(encoding, body, _parsed(text, encoding, each or ""), files, text, offset)


def _parsed(text: bytes, encoding: str, each: str) -> dict[str, Any]:
    if encoding == "json":
        told = json_spans.loads(text, once=frozenset(name for name, _ in _STEP.findall(each) if name))
        return told if isinstance(told, dict) else {"": told}
    if encoding == "xml":
        root = plain_xml.parse(text)
        return {root.name: _tree(root)}
    if encoding == "form":
        try:
            return dict(parse_qsl(text.decode("utf-8"), max_num_fields=_FIELDS_MAX, keep_blank_values=True))
        except ValueError as error:
            raise SpecError("the message is no form") from error
    lines = _text(text).split("\n")
    if len(lines) > _FIELDS_MAX:
        raise SpecError("more lines than are read")
    return {found[1]: found[2] for line in lines if (found := _LINE.fullmatch(line))}


def _tree(element: plain_xml.Element) -> Any:  # noqa: ANN401 - text, or a dictionary
    attributes = {f"@{name}": value for name, value in element.attributes.items()}
    if not element.children:
        return {**attributes, "#text": element.text} if attributes else element.text
    found: dict[str, Any] = dict(attributes)
    for child in element.children:
        value = _tree(child)
        if child.name not in found:
            found[child.name] = value
        elif isinstance(found[child.name], list):
            found[child.name].append(value)
        else:
            found[child.name] = [found[child.name], value]
    return found


def _text(data: bytes) -> str:
    if len(data) > _FIELD_MAX:
        raise SpecError("a field longer than is read")
    return data.decode("utf-8", "replace").strip()


def _is_picture(beginning: bytes) -> bool:
    return beginning.startswith((b"\xff\xd8", b"\x89PNG", b"BM"))
