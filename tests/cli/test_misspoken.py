"""A command line that nobody understands is told of like everything else: a sentence, and what to do."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
import typer

from agent.errors import ConfigError, Refusal
from tests.cli.commands import walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]

INTERRUPTED = 130


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("capture", "list", "--standing", "silly"), "--standing: 'silly' is not one of"),
        (("capture", "list", "--limit", "x"), "--limit: must be a whole number"),
        (("capture", "list", "--limit", "0"), "--limit: must be greater than or equal to 1"),
        (("identity", "seal", "paper"), "HOW: 'paper' is not one of 'tpm2', 'host'"),
        (("identity", "seal"), "Missing argument 'HOW'"),
        (("capture", "hold", "1234"), "Missing option '--why'"),
        (("capture", "silly"), "No such command 'silly'"),
        (("--silly", "status"), "No such option: --silly"),
        (("version", "silly"), "unexpected extra argument"),
    ],
)
def test_it_is_a_sentence_and_what_to_do(evidock: Evidock, words: tuple[str, ...], said: str) -> None:
    told = evidock(*words)
    assert (told.code, told.out) == (ConfigError.exit_code, "")
    first, second = told.err.splitlines()
    assert said in first
    assert "Value error" not in first
    assert "Input should" not in first
    assert second.startswith("Nothing was changed. What it takes: evidock ")
    assert second.endswith(" --help.")


def test_a_folder_in_the_place_of_agent_toml(evidock: Evidock, tmp_path: Path) -> None:
    told = evidock("--config", tmp_path, "status")
    assert told.code == ConfigError.exit_code
    assert "Edit" not in told.err
    assert "evidock --config FILE" in told.err


def test_what_is_no_file_of_envelopes_is_named(evidock: Evidock, tmp_path: Path) -> None:
    (tmp_path / "book").write_text("dear diary\n")
    (tmp_path / "keys").write_text('{"keys": []}')
    told = evidock("enotes", "verify", "--file", tmp_path / "book")
    assert told.code == Refusal.exit_code
    assert "evidock enotes keys --json > FILE" in told.err
    told = evidock("enotes", "verify", "--file", tmp_path / "book", "--keys", tmp_path / "keys")
    assert told.code == Refusal.exit_code
    assert f"{tmp_path / 'book'} is no file of envelopes" in told.err


@pytest.mark.parametrize(
    "words",
    [
        ("enotes", "verify", "--file", "/dev/null", "--keys", "/dev/zero"),
        ("enotes", "verify", "--file", "/dev/zero", "--keys", "KEYS"),
        ("support-bundle", "--yes", "--to", "TO", "--log", "/dev/zero"),
        ("device", "assign-all", "/dev/zero", "--why", "x"),
        ("identity", "install", "/dev/zero"),
        ("verify", "/dev/zero"),
        ("spec", "parse", "/dev/zero"),
    ],
)
def test_a_file_without_an_end_is_given_up(evidock: Evidock, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "keys").write_text('{"keys": []}')
    places = {"KEYS": tmp_path / "keys", "TO": tmp_path / "bundle.tar.gz"}
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, before[1]))  # else it would take the machine's memory
    try:
        told = evidock("--config", tmp_path / "none", *(places.get(word, word) for word in words))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert told.code in (0, 2, 3), told.err
    assert "fault of Evidock" not in told.err


@pytest.mark.parametrize("words", [(), ("capture",)])
def test_no_word_at_all_asks_for_help(evidock: Evidock, words: tuple[str, ...]) -> None:
    told = evidock(*words)
    assert told.code == ConfigError.exit_code
    assert "Usage" in told.out
    assert told.err == ""


def test_a_question_that_is_interrupted(evidock: Evidock, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise typer.Abort

    monkeypatch.setattr("agent.cli.version.agent_version", interrupted)
    told = evidock("version")
    assert (told.code, told.err) == (INTERRUPTED, "Interrupted.\n")


def test_each_argument_is_called_in_capitals() -> None:
    for words, command in walk():
        for one in command.params:
            assert one.param_type_name != "argument" or (one.metavar and one.metavar.upper() == one.metavar), words
