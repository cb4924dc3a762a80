"""The blind mutations of `make fuzz`: they reach every kind of change, and what breaks a parser is kept."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

import pytest

from firmware_specs import SpecError
from tests.formats import havoc
from tests.formats.parsers import Parser

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = ["havoc", "made up", "--count", "20000", "--seconds", "30"]


def drive(read: object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(havoc, "PARSERS", {"made up": Parser(read, (b"seed",))})  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "argv", [*ARGUMENTS, str(folder)])
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)  # this process has other tests before it
    return havoc.main()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "made_up"
    folder.mkdir()
    (folder / "one").write_bytes(b"seed")
    return folder


def test_an_input_is_longer_shorter_or_of_other_bytes_and_never_too_long() -> None:
    draw = random.Random(7)
    made = [havoc.bend([b"0123456789" * 10, b"abc"], [2, 3], draw, 120) for _ in range(5000)]
    assert {len(one) > 100 for one in made} == {len(one) < 50 for one in made} == {True, False}
    assert max(map(len, made)) <= 120
    assert len(set(made)) > 3500
    assert any(b"\xff\xff\xff\xff" in one for one in made)
    assert all(havoc.bend([b""], [1], draw, 9) is not None for _ in range(100))


def test_what_is_no_typed_error_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(data: bytes) -> object:
        if data[:1] != b"s":
            raise KeyError("first")
        return None

    assert drive(read, folder, monkeypatch) == 1
    assert (folder.parent / "broke-made_up").read_bytes()[:1] != b"s"
    assert "KeyError" in capsys.readouterr().err


def test_one_that_takes_too_long_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> object:
        if data[:1] != b"s":
            began = time.process_time()
            while time.process_time() - began < 5:
                pass
        return None

    monkeypatch.setattr(havoc, "SECONDS_MAX", 0.05)
    assert drive(read, folder, monkeypatch) == 1
    assert (folder.parent / "broke-made_up").exists()


def test_values_and_typed_errors_are_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(data: bytes) -> object:
        if data[:1] != b"s":
            raise SpecError("no")
        return None

    assert drive(read, folder, monkeypatch) == 0
    assert capsys.readouterr().out == "20000\n"
    assert not (folder.parent / "broke-made_up").exists()
