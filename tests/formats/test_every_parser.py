"""No parser is forgotten: whoever reads bytes in `firmware_specs/formats` is called by some entry of `parsers`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import firmware_specs.formats
from firmware_specs import SpecError
from tests.formats.parsers import PARSERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RAW = {"bytes", "bytearray", "memoryview", "Source"}
"""What stands for bytes of others in the annotation of a first parameter."""


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(firmware_specs.formats.__path__, "firmware_specs.formats."):
        yield importlib.import_module(found.name)


def takes_bytes(function: Callable[..., Any]) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return first is not None and not RAW.isdisjoint(str(first.annotation).replace("|", " ").split())


def parsers(module: ModuleType) -> Iterator[tuple[str, CodeType]]:
    """Public functions that are given bytes of others, by their names."""
    for name, one in vars(module).items():
        if name.startswith("_") or not inspect.isfunction(one) or one.__module__ != module.__name__:
            continue
        if takes_bytes(one):
            yield f"{module.__name__}.{name}", inspect.unwrap(one).__code__


@pytest.fixture(scope="module")
def called() -> set[CodeType]:
    """Every function that ran while each parser read what it accepts."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for parser in PARSERS.values():
            for seed in parser.seeds:
                try:
                    told = parser.read(seed)
                except SpecError:
                    continue
                if inspect.isgenerator(told):
                    list(told)
    finally:
        sys.setprofile(before)
    return seen


def test_every_parser_has_bytes_that_it_reads(called: set[CodeType]) -> None:
    found = dict(one for module in modules() for one in parsers(module))
    assert len(found) > 10
    missing = sorted(name for name, code in found.items() if code not in called)
    assert not missing, f"give each of these an entry in tests/formats/parsers.py: {', '.join(missing)}"


def test_a_parser_that_is_forgotten_is_noticed(called: set[CodeType]) -> None:
    module = ModuleType("firmware_specs.formats.new")
    code = "from __future__ import annotations\ndef record(data: bytes) -> int:\n    return data[0]\n"
    exec(compile(code, "new", "exec"), vars(module))  # noqa: S102 - ours
    ((name, found),) = parsers(module)
    assert name.endswith(".record")
    assert found not in called
