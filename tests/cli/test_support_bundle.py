"""Nothing that tells of a person, a place or a secret leaves in a support bundle, wherever it was planted."""

from __future__ import annotations

import errno
import io
import json
import re
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from agent.capture import Capture, Device, Digest, Parts
from agent.cli.support_bundle.words import ours, plain, stack, word
from agent.clock import Clock
from agent.config import Config
from agent.errors import Refusal
from agent.journal import Event, Journal
from tests.cli.conftest import TOML, Dock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]

PLATE, OFFICER, NOTE = "CVXK417", "Konstable Anneliese Wrzesniewski", "the witness lives at 17 Larchmont"
TOKEN, KEY, HOST, CASE = (
    "eyJhbGciOiJub25lIn0.c2VjcmV0",
    "PRIVATE+KEY+evidock+AbCdEf0123",
    "dems.smallville.invalid",
    "C-2026-88714",
)
PLANTED = (PLATE, OFFICER, NOTE, TOKEN, KEY, HOST, CASE, "smallville", "Wrzesniewski", "Larchmont", "BWC-SERIAL-9000")


TRACE = f"""File "/opt/x/agent/daemon.py", line 17, in {OFFICER}
  File "/home/{OFFICER}/agent/{PLATE}.py", line 3
ValueError: {NOTE} {TOKEN}"""


@pytest.fixture
def full(tmp_path: Path) -> Dock:
    """A stopped station with secrets in every corner that a bundle looks at."""
    dock = Dock(tmp_path)
    dock.configure()
    text = dock.config.read_text().replace('"example.org"', '"smallville.invalid"').replace("bay-1", "bay-Larchmont")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    uplink = f'[[uplink]]\nuse = "tus"\nname = "{CASE}"\nurl = "https://{HOST}/files/{PLATE}"\n'
    uplink += f'token_file = "{tmp_path}/token"\n'
    dock.config.write_text(text + uplink)
    dock.state.mkdir(mode=0o700)
    for folder in ("spool/kept", "spool/stage", "keys"):
        (dock.state / folder).mkdir(parents=True)
    (dock.state / "keys" / "log.key").write_text(KEY)
    (dock.state / "spool" / "kept" / PLATE).write_text(NOTE)
    journal = Journal.open(dock.state / "journal.db", log="edge.smallville.invalid/dock-1/log1", stamp=Clock().stamp)
    device = Device(
        f"alpr:{PLATE}", "alpr", "bay-Larchmont", maker=OFFICER, model=NOTE, serial="BWC-SERIAL-9000", place=HOST
    )
    claims = {"officer": OFFICER, "plate": PLATE, "note": NOTE, "token": TOKEN, CASE: {"deep": [KEY, HOST]}}
    with journal.transaction():
        capture = Capture(device, f"read-{PLATE}", None, 3, media_type=f"image/{PLATE}", group=CASE, claims=claims)
        held = journal.hold(capture, Digest(b"s" * 32, b"b" * 32, 3), Parts())
        journal.record(Event.DEVICE_ATTACHED, {"device": device.claims})
        journal.record(Event.OBSERVED, {"observation": {"kind": PLATE, "device": device.id, "detail": claims}})
        journal.retain(held.id, keep=True, actor=f"user:{OFFICER}(1000)", why=NOTE)
        journal.refuse(held.id, f"{HOST} says {TOKEN}")
    journal.close()
    lines = [
        {"event": "destination_down", "level": "warning", "timestamp": "2026-11-22T07:02:17Z", "error": HOST},
        {
            "event": f"asked {HOST} with Bearer {TOKEN}",
            "level": PLATE,
            "timestamp": OFFICER,
            "logger": KEY,
            "todo": NOTE,
        },
        {"event": PLATE, "level": {"x": OFFICER}, "timestamp": [CASE], PLATE: NOTE},
        {"event": "ended", "level": "critical", "exception": TRACE},
        [PLATE],
        PLATE,
    ]
    (tmp_path / "daemon.log").write_text("".join(json.dumps(line) + "\n" for line in lines) + f"no JSON {NOTE}\n")
    return dock


def words_of(dock: Dock, *more: object) -> tuple[object, ...]:
    return ("--config", dock.config, "support-bundle", "--log", dock.folder / "daemon.log", *more)


def test_nothing_that_was_planted_survives(evidock: Evidock, full: Dock) -> None:
    target = full.folder / "bundle.tar.gz"
    told = evidock(*words_of(full, "--to", target, "--yes"))
    assert told.code == 0, told.err
    with tarfile.open(target) as bundle:
        raw = {member.name: bundle.extractfile(member).read().decode() for member in bundle}  # type: ignore[union-attr]
    everything = "\n".join((*raw, *raw.values())) + told.out.replace(str(full.folder), "")
    for secret in PLANTED:
        assert secret.lower() not in everything.lower(), secret
    # Nor in pieces: no longer word of any of them is there.
    for piece in {piece for secret in PLANTED for piece in re.findall(r"[A-Za-z]{6,}", secret)} - {
        "witness",
        "PRIVATE",
    }:
        if piece.lower() not in {one.lower() for one in ours()}:
            assert not re.search(rf"\b{piece}\b", everything, re.IGNORECASE), piece
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_what_is_left_helps(evidock: Evidock, full: Dock) -> None:
    told = evidock(*words_of(full, "--json")).json
    assert not any("cannot_be_had" in content for content in told.values() if isinstance(content, dict)), told
    assert told["configuration.json"]["driver"][0]["use"] == "body_worn.usb_volume"
    assert told["configuration.json"]["policy"]["device"] == "keep"
    assert told["configuration.json"]["policy"]["spool_keep"] == 7 * 86400
    assert told["configuration.json"]["spool"]["read_back"] is True
    assert told["configuration.json"]["station"]["agency"] == "(text of 18 characters)"
    assert told["status.json"]["aside"]["refused"] == 1
    events = [entry["event"] for entry in told["journal.json"]["entries"]]
    assert events[:3] == ["log.opened", "held", "device.attached"]
    held, attached = told["journal.json"]["entries"][1:3]
    assert held["device"] == attached["device"], "the same device is the same number"
    assert told["events.json"][0] == {"event": "destination_down", "level": "warning", "at": "2026-11-22T07:02:17Z"}
    assert {"kind": "config", "state": "ok"} in told["check.json"]


def test_every_setting_keeps_its_name(evidock: Evidock, full: Dock) -> None:
    """What a person wrote as the name of something is a text; what agent.toml calls it is not."""
    told = evidock(*words_of(full, "--json")).json["configuration.json"]
    for name in Config.model_fields:
        assert name in told
        if isinstance(told[name], dict):
            assert not [inner for inner in told[name] if inner.startswith("(text")], name


def test_where_no_log_is_found_that_is_said(
    evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = evidock("--config", still.config, "support-bundle", "--yes", "--to", tmp_path / "bundle.tar.gz")
    assert "--log" in told.out


def test_words_of_emulators_do_not_pass() -> None:
    """A plate or a name that stands in a test is one all the same."""
    assert "EVDK042" not in ours()


def test_what_goes_in_is_listed_before_it_is_written(
    evidock: Evidock, full: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = full.folder / "bundle.tar.gz"
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    told = evidock(*words_of(full, "--to", target))
    assert told.code == Refusal.exit_code
    assert not target.exists()
    for name in ("versions.json", "configuration.json", "journal.json", "events.json"):
        assert name in told.out
    target.write_text("somebody's")
    assert evidock(*words_of(full, "--to", target, "--yes")).code == Refusal.exit_code
    assert target.read_text() == "somebody's"
    shown = evidock(*words_of(full, "--show"))
    assert "destination_down" in shown.out
    assert OFFICER not in shown.out


def test_where_nobody_answers_the_flag_is_named_and_a_log_that_is_not_there_is_told(
    evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = still.folder / "bundle.tar.gz"
    monkeypatch.setattr("sys.stdin", io.StringIO())
    words = ("--config", still.config, "support-bundle", "--to", target)
    told = evidock(*words)
    assert (told.code, target.exists()) == (Refusal.exit_code, False)
    assert "Add --yes" in told.err
    told = evidock(*words, "--yes", "--log", still.folder / "none.log")
    assert (told.code, target.exists()) == (Refusal.exit_code, False)
    assert "none.log cannot be read" in told.err


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (f'[{NOTE!r}]\nx = "{TOKEN}"\n', {"where": [f"(text of {len(NOTE)} characters)"]}),
        (f'[policy]\n"{PLATE}" = true\n', {"where": ["policy", f"(text of {len(PLATE)} characters)"]}),
        ("[policy]\nreceipt = 3\n", {"where": ["policy", "receipt"]}),
        ("[spool]\n", {"where": "agent.toml", "line": 23, "column": 7}),
    ],
)
def test_a_configuration_that_cannot_be_used_is_no_reason_for_none(
    evidock: Evidock, full: Dock, more: str, problem: dict[str, object]
) -> None:
    target = full.folder / "bundle.tar.gz"
    full.config.write_text(full.config.read_text() + more)
    told = evidock(*words_of(full, "--to", target, "--yes"))
    assert told.code == 0, told.err
    assert "agent.toml cannot be used" in told.out
    assert "as root" not in told.out
    with tarfile.open(target) as bundle:
        raw = {one.name.split("/")[1]: json.loads(bundle.extractfile(one).read()) for one in bundle}  # type: ignore[union-attr]
    (found,) = raw["configuration.json"]["cannot_be_used"]
    assert {name: found[name] for name in problem} == problem
    assert raw["check.json"] == [{"kind": "config", "state": "problem"}]
    assert raw["events.json"][0]["event"] == "destination_down"
    if "line" in problem:
        assert raw["status.json"] == raw["machine.json"] == {"cannot_be_had": "ConfigError"}
    else:  # what is good of the file leads to the station
        assert raw["status.json"]["aside"]["refused"] == 1
        assert raw["configuration.json"]["settings"]["spool"]["watermark"] == "(text of 5 characters)"
    for secret in PLANTED:
        assert secret.lower() not in json.dumps(raw).lower(), secret


def test_without_any_configuration_there_is_a_bundle_too(evidock: Evidock, tmp_path: Path) -> None:
    told = evidock("--config", tmp_path / "none.toml", "support-bundle", "--json").json
    (found,) = told["configuration.json"]["cannot_be_used"]
    assert found == {"where": "agent.toml", "what": "No such file or directory"}
    assert told["versions.json"]["evidock"]


def test_a_disk_that_is_full_leaves_no_part_of_it(
    evidock: Evidock, full: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", no_room)
    told = evidock(*words_of(full, "--to", full.folder / "bundle.tar.gz", "--yes"))
    assert (told.code, (full.folder / "bundle.tar.gz").exists()) == (Refusal.exit_code, False)
    assert "--to" in told.err


def test_a_running_daemon_is_asked(evidock: Evidock, running: Dock) -> None:
    told = evidock("--config", running.config, "support-bundle", "--json").json
    assert told["status.json"]["running"] is True
    assert told["status.json"]["tally"]["held"]["captures"] == 3


def test_only_words_of_ours_pass() -> None:
    assert word("destination_down") == "destination_down"
    assert word(None) is None
    assert word(PLATE) == "(text of 7 characters)"
    assert plain({"held": [1, 2.5, True, None, NOTE], OFFICER: TOKEN}) == {
        "held": [1, 2.5, True, None, f"(text of {len(NOTE)} characters)"],
        f"(text of {len(OFFICER)} characters)": f"(text of {len(TOKEN)} characters)",
    }
    assert stack(f'File "/opt/agent/daemon.py", line 7\nFile "/x/agent/{PLATE}.py", line 8\n{NOTE}') == [
        "agent/daemon.py:7"
    ]
    assert TOML
