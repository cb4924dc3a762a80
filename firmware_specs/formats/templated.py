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

__all__ = ["Document", "dropped", "look", "read"]

_FIELDS_MAX: Final = 256
_FIELD_MAX: Final = 16 << 20
_DOCUMENT_MAX: Final = 24 << 20
_LINE: Final = re.compile(r"[ \t]*([^=:\s][^=:\n]*?)[ \t]*[=:][ \t]*(.*?)[ \t]*\r?\n?", re.ASCII)
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")


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

    def look(self, path: str) -> Any:  # noqa: ANN401 - whatever stands there
        """What stands at a path; None where nothing does."""
        if self.encoding in ("form", "multipart", "lines"):
            return self.told.get(path)
        return look(self.told, path.removeprefix("$").removeprefix(".") if self.encoding == "json" else path)

    def spans(self, path: str) -> tuple[tuple[int, int], ...]:
        """(start, end) in the body of each entry of the list at a path."""
        if self.encoding == "json":
            steps = tuple(name or int(index) for name, index in _STEP.findall(path.removeprefix("$").removeprefix(".")))
            found = [one for one in json_spans.values(self.text) if one[0][:-1] == steps]
            return tuple((self.offset + start, self.offset + end) for _, start, end in found)
        if self.encoding == "xml":
            *above, last = path.split("/")
            root = plain_xml.parse(self.text)
            holder = root.find("/".join(above[1:])) if above[1:] else root
            found_ = [] if holder is None else [one for one in holder.children if one.name == last]
            return tuple((self.offset + one.start, self.offset + one.end) for one in found_)
        return ()


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
    steps = _STEP.findall(path.replace("/", ".").replace("@", ".@")) if path else []
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
