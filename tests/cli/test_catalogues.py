"""docs/events.md and docs/repairs.md against what the program says, and the log against itself: each thing once."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agent.cli.journald import VALUE_MAX, Journald
from agent.cli.logs import without_secrets
from agent.repairs import Raised, repair
from agent.sides import Sides
from tests.cli.catalogues import ROOT, events, repairs
from tests.cli.commands import walk
from tests.cli.conftest import until

if TYPE_CHECKING:
    from collections.abc import Iterator


def documented(name: str) -> dict[str, set[str]]:
    """(words of the second column) by the name in the first."""
    text = (ROOT / "docs" / name).read_text()
    return {
        one: set(re.split(r", ?", column))
        for one, column in re.findall(r"^\| `([\w.]+)` \| ([^|]+?) \|", text, re.MULTILINE)
    }


def differing(told: dict[str, set[str]], found: dict[str, set[str]]) -> list[str]:
    return [
        f"{name}: the document says {told.get(name)}, the code {found.get(name)}"
        for name in sorted(told.keys() | found.keys())
        if told.get(name) != found.get(name)
    ]


def test_every_event_is_documented_with_its_level() -> None:
    found = {name: {level for level, _ in places} for name, places in events().items()}
    assert differing(documented("events.md"), found) == [], "docs/events.md does not say what the code says"


def test_every_repair_notice_is_documented_with_its_state() -> None:
    found = {name: {state for state, _ in places} for name, places in repairs().items()}
    assert differing(documented("repairs.md"), found) == [], "docs/repairs.md does not say what the code says"


# -- once --------------------------------------------------------------------------------------------------------------


def test_what_breaks_is_said_once_and_once_that_it_works_again() -> None:
    said: list[tuple[str, dict[str, Any]]] = []

    def say(event: str, **told: object) -> None:
        said.append((event, told))

    sides = Sides()
    sides.works("bay-1", say, "mended")
    for why in ("cable", "cable", "cable", "card"):
        sides.broke("bay-1", why, say, "broken", todo="look")
    sides.works("bay-1", say, "mended")
    sides.works("bay-1", say, "mended")
    assert said == [
        ("broken", {"error": "cable", "todo": "look"}),
        ("broken", {"error": "card", "todo": "look"}),
        ("mended", {}),
    ]


def test_a_million_broken_sides_cost_the_memory_of_some() -> None:
    sides, said = Sides(), []
    for number in range(30_000):
        sides.broke(number, "no", lambda *_, **__: said.append(1), "broken")
    assert len(sides.broken()) == len(said) == 10_000
    sides.forget(lambda number: number % 2)
    assert len(sides.broken()) == 5_000


def test_a_notice_keeps_the_time_at_which_it_came_and_leaves_by_itself() -> None:
    raised = Raised()
    with structlog.testing.capture_logs() as logs:
        one = repair("room.full", "problem", "room", "no room", "wait")
        other = repair("clock.unkept", "warning", "clock", "nothing keeps it", "ntp")
        (first,) = raised.look([dict(one)])
        both = raised.look([dict(other), dict(one)])
        raised.look([dict(other)])
        raised.look([])
    assert [found["id"] for found in both] == ["room.full", "clock.unkept"], "the worst first"
    assert both[0]["since"] == first["since"]
    assert [(log["event"], log["id"]) for log in logs] == [
        ("repair_needed", "room.full"),
        ("repair_needed", "clock.unkept"),
        ("repaired", "room.full"),
        ("repaired", "clock.unkept"),
    ]


# -- journald ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def journald() -> Iterator[tuple[str, Any]]:
    """(path of the socket, entries so far) of a journald of its own."""
    program = Path("/lib/systemd/systemd-journald")
    if os.geteuid() != 0 or not program.exists() or shutil.which("journalctl") is None:
        pytest.skip("needs root and systemd-journald")
    namespace = f"evidock-test-{os.getpid()}"
    folder = Path(f"/run/systemd/journal.{namespace}")
    process = subprocess.Popen([program, namespace], stderr=subprocess.DEVNULL)

    def entries() -> list[dict[str, Any]]:
        asked = subprocess.run(
            ["journalctl", f"--namespace={namespace}", "--output=json", "--all", "--no-pager", "-t", "evidock"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [json.loads(line) for line in asked.stdout.splitlines()]

    try:
        until(lambda: process.poll() is not None or (folder / "socket").exists())
        if process.poll() is not None:
            pytest.skip("no journald can be started here")
        yield str(folder / "socket"), entries
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
        for place in ("/run/log/journal", "/var/log/journal"):
            for left in Path(place).glob(f"*.{namespace}"):
                shutil.rmtree(left)


def test_a_real_journald_takes_every_line_with_its_fields(journald: tuple[str, Any]) -> None:
    path, entries = journald
    journal = Journald(path)
    log = structlog.wrap_logger(
        journal.loggers(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            without_secrets,
            journal.rendered,
        ],
    )
    log.warning("destination_down", destination="dems", error="two\nlines", again_in=3, token="secret-1")  # noqa: S106
    log.error("not_sent", capture="\udcff\x1b[2J", lots="x" * 1_000_000, **{"Naïve name": True, "1": None})
    library = logging.getLogger("a library")
    library.addHandler(journal.handler(without_secrets))
    try:
        library.propagate = False
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            library.exception("it fell over with Bearer abcdef")
    finally:
        library.handlers.clear()
        journal.close()
    until(lambda: len(entries()) == 3)
    down, sent, fell = entries()
    assert down["EVIDOCK_EVENT"] == "destination_down"
    assert down["PRIORITY"] == "4"
    assert down["EVIDOCK_ERROR"] == "two\nlines"
    assert down["EVIDOCK_AGAIN_IN"] == "3"
    assert "secret-1" not in json.dumps([down, sent, fell])
    assert len(sent["EVIDOCK_LOTS"]) == VALUE_MAX
    assert sent["EVIDOCK_NA_VE_NAME"] == "true"
    assert fell["PRIORITY"] == "3"
    assert "ZeroDivisionError" in fell["EVIDOCK_EXCEPTION"]
    assert "abcdef" not in json.dumps(fell)


def test_it_is_journald_that_is_spoken_to_only_where_systemd_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert Journald.behind(sys.__stderr__) is None
    for wrong in ("", "nonsense", "1:2:3", "0:0"):
        monkeypatch.setenv("JOURNAL_STREAM", wrong)
        assert Journald.behind(sys.__stderr__) is None


def test_a_journald_that_is_gone_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journald(tmp_path / "nobody")
    journal.send(journal.rendered(None, "", {"event": "ready", "level": "info", "n": 1}))
    journal.close()
    assert "ready n=1" in capsys.readouterr().err
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "small"))
        journal = Journald(tmp_path / "small")
        journal.send(b"MESSAGE=" + b"x" * 10_000_000)  # larger than any datagram
    journal.close()
    assert "MESSAGE=xxx" in capsys.readouterr().err


# -- docs/troubleshooting.md -------------------------------------------------------------------------------------------


def test_what_troubleshooting_says_exists() -> None:
    """Each command with its options, each notice and each event that it names."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    known = {words: {opt for param in command.params for opt in param.opts} for words, command in walk()}
    told = re.findall(r"(?:`|    |sudo )evidock ((?:[a-z-]+)(?: [a-z]+)?)((?: [^`#|\n]*)?)", text)
    assert len(told) > 20
    for words, rest in told:
        name = words if words in known else words.partition(" ")[0]
        assert name in known, words
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in known[name], (words, option)
    for notice in re.findall(r"[Nn]otice `([a-z_.]+)`", text):
        assert notice in repairs(), notice
    for event in re.findall(r"`([a-z_]+)` in the log", text):
        assert event in events(), event
