"""XML of devices as a bounded tree by local names: no document type, no entities of its own, nothing fetched.

Namespaces and prefixes vary by firmware and by what forwards a message, so an element is known by its local name alone.
Each element knows where it lies in the bytes, so that it can be cut out without writing the rest anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn
from xml.parsers import expat

from firmware_specs import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Element", "parse"]

LENGTH_MAX: Final = 4 << 20
DEPTH_MAX: Final = 32
ELEMENTS_MAX: Final = 20_000
ATTRIBUTES_MAX: Final = 64

_TAG: Final = re.compile(rb"<(?:\"[^\"]*\"|'[^']*'|[^>\"'])*>")
"""A start, end or empty tag, with `>` in values."""


@dataclass(slots=True)
class Element:
    """One element; `start` and `end` are where it lies in the bytes, tags included."""

    name: str
    start: int
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    end: int = 0
    _texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its own characters, without outer blanks."""
        return "".join(self._texts).strip()

    def child(self, name: str) -> Element | None:
        """The first child of this local name."""
        return next((child for child in self.children if child.name == name), None)

    def find(self, path: str) -> Element | None:
        """The first element at a path of local names such as `ANPR/vehicleInfo/color`."""
        found: Element | None = self
        for name in path.split("/"):
            found = None if found is None else found.child(name)
        return found

    def said(self, path: str) -> str:
        """The characters at a path; empty where there are none."""
        found = self.find(path)
        return "" if found is None else found.text

    def walk(self) -> Iterator[Element]:
        """Itself and all below it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse(data: bytes) -> Element:
    """The root of a document; what stands before the first `<` is passed over. Raises `SpecError`."""
    begin = data.find(b"<")
    if begin < 0 or len(data) > LENGTH_MAX or b"\0" in data[begin : begin + 4]:
        raise SpecError("no XML, more than is read, or in two bytes a character")
    building = _Building(data, begin)
    try:
        building.parser.Parse(data[begin:], True)  # noqa: FBT003 - the standard library's own
    except expat.ExpatError as error:
        raise SpecError(f"no well-formed XML: {expat.ErrorString(error.code)}") from error
    except (LookupError, ValueError) as error:
        raise SpecError("XML in an encoding that is not read") from error
    if building.root is None:  # pragma: no cover - expat says "no element found"
        raise SpecError("XML without an element")
    return building.root


class _Building:
    def __init__(self, data: bytes, begin: int) -> None:
        self.parser = expat.ParserCreate()
        self.root: Element | None = None
        self._data, self._begin, self._count = data, begin, 0
        self._open: list[Element] = []
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._started
        self.parser.EndElementHandler = self._ended
        self.parser.CharacterDataHandler = self._said
        self.parser.StartDoctypeDeclHandler = self._refused
        self.parser.EntityDeclHandler = self._refused
        self.parser.ExternalEntityRefHandler = self._refused

    def _refused(self, *_: object) -> NoReturn:
        raise SpecError("XML with a document type or entities is not read")

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_MAX or len(self._open) >= DEPTH_MAX or len(attributes) > ATTRIBUTES_MAX:
            raise SpecError("XML with more elements, depth or attributes than is read")
        local = {key.rpartition(":")[2]: value for key, value in attributes.items()}
        made = Element(name.rpartition(":")[2], self._begin + self.parser.CurrentByteIndex, local)
        if self._open:
            self._open[-1].children.append(made)
        else:
            self.root = made
        self._open.append(made)

    def _ended(self, _: str) -> None:
        ended = self._open.pop()
        tag = _TAG.match(self._data, self._begin + self.parser.CurrentByteIndex)
        ended.end = ended.start if tag is None else tag.end()

    def _said(self, text: str) -> None:
        if self._open:
            self._open[-1]._texts.append(text)  # noqa: SLF001 - of the tree that is built here
