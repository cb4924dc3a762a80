"""Each command, with the daemon and without: what it says, its keys, its exit code."""

from __future__ import annotations

import json
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.config import load
from agent.errors import ConfigError, JournalError, Refusal, SpoolDamaged
from agent.merkle import Frontier, leaf_hash
from tests.cli.commands import walk
from tests.cli.conftest import FILMS, Dock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"


def documented(command: str) -> set[str]:
    (line,) = re.findall(rf"^\| `{command}` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    return set(re.findall(r"`(\w+)`", line))


def first(evidock: Evidock, dock: Dock) -> dict[str, object]:
    found: dict[str, object] = evidock("--config", dock.config, "capture", "list", "--json").json["captures"][0]
    return found


def test_status(evidock: Evidock, dock: Dock) -> None:
    told = evidock("--config", dock.config, "status", "--json")
    assert told.code == 0
    assert set(told.json) == documented("status")
    assert told.json["tally"]["held"]["captures"] == len(FILMS)
    assert told.json["tally"]["held"]["bytes"] == sum(map(len, FILMS))
    shown = evidock("--config", dock.config, "status")
    assert "edge.example.org/dock-1/log1" in shown.out
    assert ("running for" in shown.out) is told.json["running"]


def test_captures_are_listed_newest_first_page_by_page(evidock: Evidock, dock: Dock) -> None:
    told = evidock("--config", dock.config, "capture", "list", "--limit", 2, "--json").json
    assert set(told) == documented("capture list")
    keys = documented("capture show") - {"witnessed", "recording", "context"}
    assert [set(one) for one in told["captures"]] == [keys] * 2
    rest = evidock("--config", dock.config, "capture", "list", "--before", told["next"], "--json").json
    assert rest["next"] is None
    indexes = [one["index"] for one in told["captures"] + rest["captures"]]
    assert indexes == sorted(indexes, reverse=True)
    assert len(indexes) == len(FILMS)
    assert {one["sha256"] for one in told["captures"] + rest["captures"]} == {
        sha256(film).hexdigest() for film in FILMS
    }


def test_a_page_of_no_log_is_refused(evidock: Evidock, dock: Dock) -> None:
    told = evidock("--config", dock.config, "capture", "list", "--before", "9" * 20)
    assert told.code == ConfigError.exit_code
    assert "Traceback" not in told.err


def test_captures_are_filtered(evidock: Evidock, dock: Dock) -> None:
    for words, count in ((("--standing", "held"), 3), (("--standing", "refused"), 0), (("--device", "no-such"), 0)):
        assert len(evidock("--config", dock.config, "capture", "list", *words, "--json").json["captures"]) == count


def test_a_capture_is_shown_by_the_beginning_of_its_id(evidock: Evidock, dock: Dock) -> None:
    one = first(evidock, dock)
    shown = evidock("--config", dock.config, "capture", "show", str(one["id"])[:8], "--json")
    assert {**shown.json, **one} == shown.json
    told = evidock("--config", dock.config, "capture", "show", str(one["id"])[:8])
    assert str(one["sha256"]) in told.out
    story = evidock("--config", dock.config, "capture", "history", one["id"], "--json").json
    assert set(story) == documented("capture history")
    assert story["story"][0]["predicate"]["event"] == "held"
    assert "held" in evidock("--config", dock.config, "capture", "history", one["id"]).out


@pytest.mark.parametrize("wrong", ["00000000", "zzzz", "ab", "%31%32", "../../etc/passwd"])
def test_an_id_that_means_nothing_is_refused(evidock: Evidock, dock: Dock, wrong: str) -> None:
    for words in (("show", wrong), ("history", wrong), ("retry", wrong, "--why", "a test")):
        told = evidock("--config", dock.config, "capture", *words)
        assert told.code == Refusal.exit_code
        assert len(told.err.splitlines()) == 2, "a sentence, and what to do"
        assert "Traceback" not in told.err


def test_acts_are_entries_with_who_and_why(evidock: Evidock, dock: Dock) -> None:
    one = first(evidock, dock)
    acts = (
        ("retry", "retry", ()),
        ("hold", "hold", ()),
        ("hold", "lift hold", ("--lift",)),
        ("prioritise", "prioritise use_of_force", ("--as", "use-of-force")),
    )
    for verb, command, options in acts:
        told = evidock(
            "--config", dock.config, "capture", verb, one["id"], *options, "--why", f"case 7: {verb}", "--json"
        )
        assert told.code == 0, told.err
        assert set(told.json) == documented(f"capture {verb}")
        story = evidock("--config", dock.config, "capture", "history", one["id"], "--json").json["story"]
        said = story[-1]["predicate"]
        assert (said["command"], said["why"]) == (command, f"case 7: {verb}")
        assert re.fullmatch(r"user:[^()]+\(\d+\)", said["actor"])
    assert first(evidock, dock)["priority"] == "use_of_force"
    assert evidock("--config", dock.config, "journal", "verify").code == 0


@pytest.mark.parametrize("why", ["", "   ", "x" * 501, "two\nlines", "\x1b[2J"])
def test_an_act_without_a_reason_is_refused(evidock: Evidock, dock: Dock, why: str) -> None:
    one = first(evidock, dock)
    before = evidock("--config", dock.config, "journal", "export").out
    assert evidock("--config", dock.config, "capture", "hold", one["id"], "--why", why).code == Refusal.exit_code
    assert evidock("--config", dock.config, "journal", "export").out == before


def test_of_many_one_that_is_refused_keeps_none_from_being_done(evidock: Evidock, dock: Dock) -> None:
    found = evidock("--config", dock.config, "capture", "list", "--json").json["captures"]
    words = (found[0]["id"], "00000000", found[1]["id"])
    told = evidock("--config", dock.config, "capture", "hold", *words, "--why", "case 8")
    assert told.code == Refusal.exit_code
    assert told.err.splitlines() == [
        "00000000: 00000000 is not the id of a capture",
        "refused: 1 of 3; done: 2",
        "List them: evidock capture list.",
    ]
    kept = evidock("--config", dock.config, "capture", "list", "--json").json["captures"]
    assert sum(one["kept_by_order"] for one in kept) == 2
    told = evidock("--config", dock.config, "capture", "hold", *words, "--why", "case 8", "--json")
    assert told.code == Refusal.exit_code
    assert [one["id"] for one in told.json["captures"]] == [found[0]["id"], found[1]["id"]]
    assert "00000000: " in told.err
    evidock("--config", dock.config, "capture", "hold", "--lift", found[0]["id"], found[1]["id"], "--why", "case 8")


def test_a_capture_tells_between_which_times_it_was_taken(evidock: Evidock, dock: Dock) -> None:
    one = first(evidock, dock)
    told = evidock("--config", dock.config, "capture", "show", one["id"], "--json").json
    assert set(told) == documented("capture show")
    assert told["witnessed"] == {"after": None, "before": None}
    shown = evidock("--config", dock.config, "capture", "show", one["id"]).out
    assert shown.count("nobody outside the station has said so yet") == 2


def test_devices(evidock: Evidock, dock: Dock) -> None:
    told = evidock("--config", dock.config, "device", "list", "--json").json
    assert set(told) == documented("device list")
    (one,) = told["devices"]
    assert (one["id"], one["captures"]) == ("usb:bench:BWC-1", len(FILMS))
    assert "usb:bench:BWC-1" in evidock("--config", dock.config, "device", "list").out
    explained = evidock("--config", dock.config, "device", "explain", "bench", "--json").json
    assert set(explained) == documented("device explain")
    assert explained["device"] == one
    assert evidock("--config", dock.config, "device", "explain", "nobody").code == Refusal.exit_code


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
@pytest.mark.parametrize("words", [("capture", "list"), ("device", "list"), ("check",)])
def test_in_a_narrow_terminal_nothing_is_cut(
    evidock: Evidock, dock: Dock, monkeypatch: pytest.MonkeyPatch, columns: int, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", evidock("--config", dock.config, *words).out)
    assert "\u2026" not in told
    if words != ("check",):
        for one in evidock("--config", dock.config, *words, "--json").json[f"{words[0]}s"]:
            name = one["id"][:8] if words[0] == "capture" else one["id"]
            assert re.search(rf"(^|\s){re.escape(name)}\s", told, re.MULTILINE), f"{name} can be typed"
            if words[0] == "capture" and columns >= 80:
                assert f"{one['device']}  {one['key']}" in told, "and what it is can be read"


@pytest.mark.parametrize(("columns", "keys"), [(40, ("id", "key")), (80, ("id", "key", "sha256", "blake3"))])
def test_what_can_stand_whole_in_a_narrow_terminal_does(
    evidock: Evidock, dock: Dock, monkeypatch: pytest.MonkeyPatch, columns: int, keys: tuple[str, ...]
) -> None:
    """An id that is cut in two is copied by halves."""
    one = first(evidock, dock)
    shown = evidock("--config", dock.config, "capture", "show", one["id"], "--json").json
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    told = evidock("--config", dock.config, "capture", "show", one["id"]).out
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told).splitlines()
    for key in keys:
        assert any(line.split()[-1:] == [shown[key]] for line in lines), key


def test_spool(evidock: Evidock, dock: Dock) -> None:
    room = evidock("--config", dock.config, "spool", "room", "--json").json
    assert set(room) == documented("spool room")
    assert room["usable"] == room["free"] - room["watermark"]
    told = evidock("--config", dock.config, "spool", "verify", "--json")
    assert told.code == 0
    assert set(told.json) == documented("spool verify")
    assert (told.json["files"], told.json["bytes"]) == (len(FILMS), sum(map(len, FILMS)))
    assert "ok" in evidock("--config", dock.config, "spool", "verify").out


def test_spool_verify_names_what_is_wrong(evidock: Evidock, still: Dock) -> None:
    kept = still.state / "spool" / "kept"
    missing, altered = (sha256(film).hexdigest() for film in FILMS[:2])
    (kept / missing).unlink()
    with (kept / altered).open("r+b") as file:
        file.write(b"T")
    (kept / "note.txt").write_text("nobody knows me")
    told = evidock("--config", still.config, "spool", "verify", "--json")
    assert told.code == SpoolDamaged.exit_code
    assert [name[:64] for name in told.json["missing"]] == [missing]
    assert [name[:64] for name in told.json["altered"]] == [altered]
    assert told.json["unknown"] == ["note.txt"]
    assert f"missing: {missing}" in evidock("--config", still.config, "spool", "verify").out


def test_spool_verify_follows_no_link_and_waits_for_no_pipe(evidock: Evidock, still: Dock) -> None:
    """The agent itself reads neither: what lies elsewhere is not in the spool."""
    kept = still.state / "spool" / "kept"
    link, pipe = (sha256(film).hexdigest() for film in FILMS[:2])
    (kept / link).rename(still.state / "elsewhere")
    (kept / link).symlink_to(still.state / "elsewhere")
    told = evidock("--config", still.config, "spool", "verify", "--json")
    assert told.code == SpoolDamaged.exit_code
    assert [name[:64] for name in told.json["altered"]] == [link]
    (kept / pipe).unlink()
    os.mkfifo(kept / pipe)
    told = evidock("--config", still.config, "spool", "verify", "--json")
    assert {name[:64] for name in told.json["altered"]} == {link, pipe}


def test_journal_verify_and_export_agree(evidock: Evidock, dock: Dock) -> None:
    told = evidock("--config", dock.config, "journal", "verify", "--json")
    assert told.code == 0
    assert set(told.json) == documented("journal verify")
    exported = evidock("--config", dock.config, "journal", "export")
    tree = Frontier()
    for line in exported.out.splitlines():
        tree.append(leaf_hash(line.encode()))
    assert (tree.size, tree.root().hex()) == (told.json["size"], told.json["root"])
    assert [entry["predicate"]["seq"] for entry in exported.lines] == list(range(tree.size))


def test_journal_verify_finds_a_changed_table(evidock: Evidock, still: Dock) -> None:
    import apsw  # noqa: PLC0415 - here alone the journal is opened from outside

    connection = apsw.Connection(str(still.state / "journal.db"))
    connection.execute("UPDATE capture SET standing = 3, length = length + 1 WHERE row = 2")
    connection.close()
    told = evidock("--config", still.config, "journal", "verify", "--json")
    assert told.code == JournalError.exit_code
    assert any("standing" in problem for problem in told.json["problems"])
    assert any("length" in problem for problem in told.json["problems"])
    assert any("tally" in problem for problem in told.json["problems"])


def test_journal_tail(evidock: Evidock, dock: Dock) -> None:
    told = evidock("--config", dock.config, "journal", "tail", "-n", 2, "--json")
    assert len(told.lines) == 2
    assert set(told.lines[-1]) == documented("journal tail")
    assert len(evidock("--config", dock.config, "journal", "tail", "--count", 3).out.splitlines()) == 3


def test_sums_are_for_sha256sum(evidock: Evidock, still: Dock, tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415

    sums = tmp_path / "SHA256SUMS"
    words = ("journal", "export", "--sums", "--name", "sha256", sums)
    assert evidock("--config", still.config, *words).code == 0
    kept = still.state / "spool" / "kept"
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", sums], cwd=kept, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0
    assert checked.stdout.count(": OK") == len(FILMS)


def test_drivers_and_configuration(evidock: Evidock, dock: Dock, tmp_path: Path) -> None:
    told = evidock("--config", dock.config, "driver", "list", "--json").json
    assert set(told) == documented("driver list")
    (driver,) = [one for one in told["drivers"] if one["name"] == "body_worn.usb_volume"]
    assert driver["used_as"] == ["bay-1"]
    assert [one["name"] for one in told["drivers"] if len(one["what"]) < 10 or "See `" in one["what"]] == []
    shown = evidock("--config", dock.config, "config", "show", "--json")
    assert set(shown.json) == documented("config show")
    # What is shown is a configuration itself, and means the same.
    copy = tmp_path / "shown.toml"
    copy.write_text(evidock("--config", dock.config, "config", "show").out)
    assert evidock("--config", copy, "config", "show", "--json").json == shown.json


def test_a_configuration_that_is_shown_reads_back_whatever_stands_in_it(evidock: Evidock, still: Dock) -> None:
    odd = (
        still.config.read_text()
        + """
[policy]
spool_keep = "36500 d"
grace = "1234567.5 s"
[[traffic.class]]
name = "flagged"
claims = { "event.type" = "panic", "größe \\"x\\"" = "\U0001f46e\\u007f\\\\", "" = true }
[custody]
tsa_url = "https://station:hunter2@tsa.example.org/tsr?a=b@c"
tsa_ca_file = "/etc/tsa.pem"
[[custody.witness]]
vkey = "w+00000000+AA"
url = "http://only-a-t0ken@witness.example.org"
"""
    )
    still.config.write_text(odd)
    shown = evidock("--config", still.config, "config", "show", "--json")
    assert shown.code == 0, shown.err
    text = evidock("--config", still.config, "config", "show").out
    for one in (text, shown.out):
        assert "hunter2" not in one
        assert "t0ken" not in one
        assert "https://***@tsa.example.org/tsr?a=b@c" in one
    copy = still.folder / "shown.toml"
    copy.write_text(text)
    assert evidock("--config", copy, "config", "show", "--json").json == shown.json
    again = load(copy)
    assert again.traffic == load(still.config).traffic
    assert again.policy == load(still.config).policy


def test_drivers_are_listed_without_a_configuration(evidock: Evidock, tmp_path: Path) -> None:
    told = evidock("--config", tmp_path / "none.toml", "driver", "list")
    assert told.code == 0
    assert "body_worn.usb_volume" in told.out


def test_version_as_every_program_tells_it(evidock: Evidock) -> None:
    told = evidock("--version")
    assert (told.code, told.err) == (0, "")
    assert told.out == f"evidock {evidock('version', '--json').json['version']}\n"
    assert evidock("--config", "/nowhere", "--version", "status").out == told.out


def test_version(evidock: Evidock) -> None:
    told = evidock("version", "--json").json
    assert set(told) == documented("version")
    assert re.fullmatch(r"[0-9a-f]{64}", told["build_sha256"])


def test_json_is_plain_ascii(evidock: Evidock, dock: Dock) -> None:
    assert json.dumps(evidock("--config", dock.config, "status", "--json").json).isascii()


def test_a_capture_is_told_in_a_persons_words(evidock: Evidock, dock: Dock) -> None:
    one = first(evidock, dock)
    shown = evidock("--config", dock.config, "capture", "show", one["id"]).out
    assert "held it out as DCIM/" in shown
    assert "copied, hashed, forced to the disk and promised" in shown
    assert f"Bytes: SHA-256 {one['sha256']}" in shown
    assert ("that the station signed" in shown) is not ("under no checkpoint yet" in shown)
    assert f"capture export {str(one['id'])[:8]}" in shown


def test_every_entry_of_a_capture_has_its_sentence() -> None:
    from agent.cli.story import _SENTENCES  # noqa: PLC0415 - the table itself is looked at here alone
    from agent.journal.replay import _ACTS  # noqa: PLC0415

    assert {str(event) for event in _ACTS} <= set(_SENTENCES)


def test_captures_are_found_by_what_people_know(evidock: Evidock, dock: Dock) -> None:
    found = evidock(
        "--config", dock.config, "capture", "find", "--device", "usb:bench:BWC-1", "--since", "3 d", "--json"
    )
    assert set(found.json) == documented("capture find")
    assert len(found.json["captures"]) == len(FILMS)
    assert evidock("--config", dock.config, "capture", "find", "--officer", "nobody", "--json").json["captures"] == []
    assert evidock("--config", dock.config, "capture", "find").code == Refusal.exit_code
    told = evidock("--config", dock.config, "capture", "find", "--since", "yesterday")
    assert (told.code, '"3 d"' in told.err) == (Refusal.exit_code, True)
    assert evidock("--config", dock.config, "capture", "list", "--drills", "--json").json["captures"] == []


def test_no_help_text_has_square_brackets() -> None:
    """They are taken for markup, and what stands in them is not shown."""
    for words, command in walk():
        told = [command.help, *(getattr(one, "help", None) for one in command.params)]
        assert [text for text in told if text and "[" in text] == [], words
