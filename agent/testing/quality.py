"""Judge drivers by their tests, and write what was found beside them: `python -m agent.testing.quality TESTS`.

Nothing is believed that is not in the tests:

    emulator      the package of the driver, or its family's, has a module `emulator`, and a test imports it
    conformance   a class derives from `DriverConformance` or `ObserverConformance` in a file that imports the driver
    vectors, peer, device
                  a test is marked: `@pytest.mark.proves("my_room.folder", vectors="RFC 8259, appendix A")`,
                  `peer="rclone 1.60"`, `device="Acme C-1, firmware 2.1, by the police of Riverton"`

Authors of drivers outside this project run it over their own tests; `evidock driver list` then shows the marks.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.quality import FILE, MARKS, Quality, folder_of, quality_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["differing", "judged", "written"]

_SUITES: Final = frozenset({"DriverConformance", "ObserverConformance"})
_GROUP: Final = "evidock.drivers"


class _File:
    """One file of tests, parsed."""

    def __init__(self, path: Path, root: Path) -> None:
        tree = ast.parse(path.read_text("utf-8"), str(path))
        self.name = path.relative_to(root.parent).as_posix()
        self.modules: set[str] = set()
        self.suites: list[str] = []
        self.marks: list[tuple[tuple[str, ...], dict[str, str]]] = []
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module=str(module), names=names):
                    self.modules |= {module, *(f"{module}.{one.name}" for one in names)}
                case ast.Import(names=names):
                    self.modules |= {one.name for one in names}
                case ast.ClassDef(name=name, bases=bases):
                    if any(isinstance(base, ast.Name) and base.id in _SUITES for base in bases):
                        self.suites.append(name)
                case ast.Call(func=ast.Attribute(attr="proves")):
                    self.marks.append(_said(node, self.name))


def _said(call: ast.Call, where: str) -> tuple[tuple[str, ...], dict[str, str]]:
    try:
        drivers = tuple(str(ast.literal_eval(one)) for one in call.args)
        told = {str(one.arg): str(ast.literal_eval(one.value)) for one in call.keywords}
    except ValueError as error:
        raise SystemExit(f"{where}: `proves` takes plain words, so that they can be read without running it") from error
    if not drivers or not told or set(told) - {"vectors", "peer", "device"}:
        raise SystemExit(f"{where}: `proves` takes names of drivers, and vectors=, peer= or device= with its source")
    return drivers, told


def _files(tests: Path) -> list[_File]:
    return [_File(path, tests) for path in sorted(_sources(tests))]


def _sources(folder: Path) -> Iterator[Path]:
    """Every Python file of the tests, and nothing of what they installed for themselves."""
    for path in folder.iterdir():
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and path.name != "node_modules" and not (path / "pyvenv.cfg").exists():
            yield from _sources(path)


def judged(entries: Iterable[EntryPoint], tests: Path) -> dict[str, Quality]:
    """The marks of each driver, by its name, from the tests below a folder."""
    files = _files(tests)
    by_module = {one.name.removesuffix(".py").replace("/", "."): one for one in files}
    return {entry.name: Quality(dict(_evidence(entry, files, by_module))) for entry in entries}


def _evidence(
    entry: EntryPoint, files: list[_File], by_module: dict[str, _File]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    emulators = tuple(name for name in _emulators(entry.module) if any(_imports(one, name) for one in files))
    yield "emulator", emulators[:1]
    suites = [f"{one.name}::{suite}" for one in files for suite in one.suites if _drives(entry, one, by_module)]
    yield "conformance", tuple(_nearest(suites, entry.attr))
    for mark in MARKS[2:]:
        found = [
            f"{told[mark]} ({one.name})" for one in files for drivers, told in one.marks
            if entry.name in drivers and mark in told
        ]  # fmt: skip
        yield mark, tuple(found)


def _nearest(suites: list[str], class_name: str) -> list[str]:
    """Of several suites in files that name several drivers, those that bear the driver's name; else all."""
    mine = [one for one in suites if one.rpartition("::")[2] == f"Test{class_name}"]
    return mine or suites


def _drives(entry: EntryPoint, file: _File, by_module: dict[str, _File]) -> bool:
    """Whether a file imports the driver's class, or a file of tests does that it imports."""
    seen = file.modules.union(*(by_module[module].modules for module in file.modules if module in by_module))
    family = ".".join(entry.module.split(".")[:2])  # another family may have a class of the same name
    return any(one.startswith(f"{family}.") and one.endswith(f".{entry.attr}") for one in seen)


def _emulators(module: str) -> Iterator[str]:
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        name = ".".join((*parts[:length], "emulator"))
        try:
            if importlib.util.find_spec(name) is not None:
                yield name
        except ImportError:
            continue


def _imports(file: _File, module: str) -> bool:
    return any(one == module or one.startswith(f"{module}.") for one in file.modules)


def written(found: dict[str, Quality]) -> str:
    """The text of a file for these drivers."""
    lines = ["# How far these drivers are proven. Written by `python -m agent.testing.quality`, from the tests."]
    for name, quality in sorted(found.items()):
        lines += ["", f'["{name}"]']
        for mark in MARKS:
            told = quality.evidence.get(mark, ())
            lines.append(
                f"{mark} = ["
                + "".join(f"\n    {json.dumps(one, ensure_ascii=False)}," for one in told)
                + ("\n]" if told else "]")
            )
    return "\n".join(lines) + "\n"


def _places(entries: Iterable[EntryPoint], found: dict[str, Quality]) -> dict[Path, dict[str, Quality]]:
    places: dict[Path, dict[str, Quality]] = {}
    for entry in entries:
        if (folder := folder_of(entry)) is not None:
            places.setdefault(folder / FILE, {})[entry.name] = found[entry.name]
    return places


def differing(entries: Iterable[EntryPoint], tests: Path) -> list[str]:
    """Drivers whose file does not say what their tests show; nothing where all is true."""
    entries = list(entries)
    found = judged(entries, tests)
    return [
        f"{entry.name}: the tests show {found[entry.name]}, its {FILE} says {quality_of(entry) or 'nothing'}"
        for entry in entries
        if (told := quality_of(entry)) is None
        or {m: told.evidence.get(m, ()) for m in MARKS} != found[entry.name].evidence
    ]


def main() -> None:
    """Judge the drivers of a package, and write the files."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("tests", type=Path, help="the folder of tests")
    asked.add_argument("--package", default="evidock", help="the distribution whose drivers are judged (%(default)s)")
    wanted = asked.parse_args()
    entries = [one for one in entry_points(group=_GROUP) if one.dist is not None and one.dist.name == wanted.package]
    if not entries:
        raise SystemExit(f"{wanted.package} brings no driver: is it installed?")
    found = judged(entries, wanted.tests.resolve())
    for path, drivers in _places(entries, found).items():
        path.write_text(written(drivers), "utf-8")
    for name, quality in sorted(found.items()):
        sys.stdout.write(f"{name:28} {quality}\n")


if __name__ == "__main__":
    main()
