"""What goes wrong is told in a sentence, with what to do and an exit code; never with a traceback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from pydantic import BaseModel

from agent.cli import UNEXPECTED
from agent.cli.check import WARNED
from agent.cli.check.state import secrets
from agent.cli.closed import Closed
from agent.cli.daemon import _Connection
from agent.cli.logs import without_secrets
from agent.config import parse
from agent.errors import ConfigError, JournalError, Refusal, SpoolDamaged, SpoolFull, UplinkDown
from agent.testing.ports import free_port
from tests.cli.conftest import NOBODY, ROOT, Dock, as_nobody, until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]

STATION = '[station]\nname = "dock-1"\nagency = "example.org"\nstate = "/nowhere/state"\n'


def test_a_wrong_configuration_tells_every_problem(evidock: Evidock, tmp_path: Path) -> None:
    wrong = tmp_path / "agent.toml"
    wrong.write_text('[station]\nname = "Dock 1"\nagencie = "x"\n[spool]\nwatermark = "much"\n')
    for words in (("status",), ("run",), ("check",), ("config", "show"), ("capture", "list")):
        told = evidock("--config", wrong, *words)
        assert told.code == ConfigError.exit_code
        for place in ("station.name", "station.agency", "station.agencie", "spool.watermark"):
            assert place in told.err + told.out
        assert "Traceback" not in told.err


def test_a_configuration_without_an_end(evidock: Evidock) -> None:
    assert "is not TOML" in evidock("--config", "/dev/zero", "status").err


def test_a_missing_configuration(evidock: Evidock, tmp_path: Path) -> None:
    assert evidock("--config", tmp_path / "none.toml", "status").code == ConfigError.exit_code


def test_where_nothing_was_ever_taken_nothing_is_made(evidock: Evidock, tmp_path: Path) -> None:
    dock = Dock(tmp_path)
    dock.configure()
    for words in (("status",), ("capture", "list"), ("journal", "verify"), ("spool", "room")):
        told = evidock("--config", dock.config, *words)
        assert told.code == Refusal.exit_code
        assert "evidock run" in told.err
    assert not dock.state.exists()


def test_two_daemons_cannot_share_a_state_folder(evidock: Evidock, running: Dock) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "--config", running.config, "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Refusal.exit_code
    assert evidock("--config", running.config, "status", "--json").json["running"]


def test_a_damaged_journal(evidock: Evidock, still: Dock) -> None:
    (still.state / "journal.db").write_bytes(b"this is no journal" * 1000)
    told = evidock("--config", still.config, "status")
    assert told.code == JournalError.exit_code
    assert "evidock journal verify" in told.err


def test_a_fault_of_our_own_names_a_file_with_the_details(
    evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agent.station.views.summary", lambda _: 1 // 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told = evidock("--config", still.config, "status")
    assert told.code == UNEXPECTED
    assert "Traceback" not in told.err
    (details,) = tmp_path.glob("evidock-*.txt")
    assert str(details) in told.err
    assert "ZeroDivisionError" in details.read_text()


def test_a_fault_of_our_own_on_a_full_disk_is_still_told_in_sentences(
    evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agent.station.views.summary", lambda _: 1 // 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    told = evidock("--config", still.config, "status")
    assert told.code == UNEXPECTED
    assert "Traceback" not in told.err
    assert "division" in told.err
    assert "Make room" in told.err
    assert len(told.err.splitlines()) == 3


def test_what_a_device_said_cannot_steer_a_terminal(
    evidock: Evidock, monkeypatch: pytest.MonkeyPatch, still: Dock
) -> None:
    hostile = "\x1b[2J[red]CLIP[/red]\u202egpj.exe"
    monkeypatch.setattr(
        "agent.station.views.devices",
        lambda _: {"devices": [{"id": hostile, "captures": 1, "bytes": 1, "last_held_at": None}]},
    )
    told = evidock("--config", still.config, "device", "list")
    assert "\x1b" not in told.out
    assert "\u202e" not in told.out
    assert "[red]CLIP[/red]" in told.out


def test_watching_needs_a_daemon(evidock: Evidock, still: Dock) -> None:
    assert evidock("--config", still.config, "device", "watch").code == Refusal.exit_code


def test_watching_tells_what_happens_until_it_is_interrupted(evidock: Evidock, running: Dock, tmp_path: Path) -> None:
    with (tmp_path / "seen").open("wb") as seen:
        watching = subprocess.Popen(
            [sys.executable, "-m", "agent.cli", "--config", running.config, "device", "watch", "--json"], stdout=seen
        )
    try:
        one = evidock("--config", running.config, "capture", "list", "--json").json["captures"][0]

        def told() -> bool:
            evidock("--config", running.config, "capture", "retry", one["id"], "--why", "to be seen")
            return b"to be seen" in (tmp_path / "seen").read_bytes()

        until(told)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
    finally:
        watching.kill()
        watching.wait()
    entry = json.loads((tmp_path / "seen").read_text().splitlines()[0])
    assert entry["subject"][0]["name"] == one["id"]


# -- check -------------------------------------------------------------------------------------------------------------


def findings(evidock: Evidock, dock: Dock, expected: set[int]) -> dict[str, dict[str, str]]:
    told = evidock("--config", dock.config, "check", "--json")
    assert told.code in expected, told.out
    assert told.code == told.json["exit_code"]
    worst_last = sorted(told.json["findings"], key=lambda one: ("ok", "warning", "problem").index(one["state"]))
    return {one["kind"]: one for one in worst_last}


def test_check(evidock: Evidock, dock: Dock) -> None:
    found = findings(
        evidock, dock, {0, WARNED}
    )  # a container's clock is nobody's, and its disk tells nothing of itself
    assert {kind for kind, one in found.items() if one["state"] == "ok"} >= {
        "config",
        "driver",
        "firmware",
        "journal",
        "rights",
        "room",
        "serial",
        "spool",
        "update",
        "usb",
    }
    assert all(one["todo"] for one in found.values() if one["state"] != "ok")
    shown = evidock("--config", dock.config, "check")
    assert "bay-1" in shown.out


def test_check_names_what_is_wrong(evidock: Evidock, still: Dock, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hidden")
    secret.chmod(0o644)
    port = free_port()
    text = still.config.read_text()
    still.config.write_text(
        text
        + f'\n[[uplink]]\nuse = "tus"\nname = "dems"\nurl = "https://127.0.0.1:{port}/files"\ntoken_file = "{secret}"\n'
    )
    found = findings(evidock, still, {20})
    assert found["rights"]["what"] == "dems.token_file"
    assert found["uplink"]["state"] == "problem"
    secret.chmod(0o600)
    assert findings(evidock, still, {UplinkDown.exit_code})["rights"]["state"] == "ok"
    still.config.write_text(text.replace('"1 MiB"', '"900000 GiB"'))
    assert findings(evidock, still, {SpoolFull.exit_code})["room"]["state"] == "problem"
    still.config.write_text(text)
    still.state.chmod(0o755)
    assert findings(evidock, still, {20})["rights"]["state"] in ("ok", "problem")


def test_check_looks_at_journal_and_spool_and_the_worst_decides(evidock: Evidock, still: Dock) -> None:
    kept = sorted((still.state / "spool" / "kept").iterdir(), key=lambda path: path.stat().st_size)
    kept[-1].chmod(0o600)
    raw = bytearray(kept[-1].read_bytes())
    raw[1000] ^= 1
    kept[-1].write_bytes(raw)
    found = findings(evidock, still, {SpoolDamaged.exit_code})
    assert "other bytes" in found["spool"]["detail"]
    assert "evidock spool verify" in found["spool"]["todo"]
    kept[-1].unlink()
    assert "is missing" in findings(evidock, still, {SpoolDamaged.exit_code})["spool"]["detail"]
    import apsw  # noqa: PLC0415 - here alone the journal is opened from outside

    connection = apsw.Connection(str(still.state / "journal.db"))
    connection.execute("UPDATE capture SET standing = 3 WHERE row = 2")
    connection.close()
    assert findings(evidock, still, {JournalError.exit_code})["journal"]["state"] == "problem"


def test_check_before_anything_was_set_up(evidock: Evidock, tmp_path: Path) -> None:
    dock = Dock(tmp_path)
    dock.configure()
    assert findings(evidock, dock, {0, WARNED})["rights"]["state"] == "ok"
    assert not dock.state.exists()


# -- rights ------------------------------------------------------------------------------------------------------------


@ROOT
def test_another_user_may_not_look_into_a_closed_folder(still: Dock) -> None:
    for words in (("status",), ("capture", "list")):
        done = as_nobody(still, *words)
        assert done.returncode == Refusal.exit_code, done.stderr
        assert "root" in done.stderr
    assert as_nobody(still, "check").returncode in (0, WARNED)


@ROOT
def test_whoever_can_open_the_socket_may_look_and_not_act(evidock: Evidock, lived: Dock, tmp_path: Path) -> None:
    import shutil  # noqa: PLC0415

    shutil.copytree(lived.state, tmp_path / "state")
    (tmp_path / "dock").mkdir()
    dock = Dock(tmp_path)
    dock.configure()
    daemon = dock.start()
    try:
        dock.state.chmod(0o755)
        until(lambda: dock.socket.stat().st_mode & 0o777 == 0o660)  # the daemon's own last touch
        dock.socket.chmod(0o666)
        assert as_nobody(dock, "status").returncode == 0
        shown = as_nobody(dock, "identity", "show", first="import agent.cli.identity, agent.anchor.keys;")
        assert "edge.example.org/dock-1/log1+" in shown.stdout, "the daemon tells whose key it signs with"
        one = evidock("--config", dock.config, "capture", "list", "--json").json["captures"][0]
        done = as_nobody(dock, "capture", "hold", one["id"], "--why", "I want to")
        assert done.returncode == Refusal.exit_code
        assert "group evidock" in done.stderr
        assert not evidock("--config", dock.config, "capture", "show", one["id"], "--json").json["kept_by_order"]
    finally:
        daemon.kill()
        daemon.wait()


@ROOT
def test_root_leaves_no_file_that_the_daemon_cannot_write(evidock: Evidock, still: Dock) -> None:
    for path in (still.state, *still.state.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    one = evidock("--config", still.config, "capture", "list", "--json").json["captures"][0]
    assert evidock("--config", still.config, "capture", "hold", one["id"], "--why", "case 9").code == 0
    assert {path.stat().st_uid for path in (still.state, *still.state.rglob("*"))} == {NOBODY}
    assert os.geteuid() == 0
    story = evidock("--config", still.config, "capture", "history", one["id"], "--json").json["story"]
    assert story[-1]["predicate"]["actor"] == "user:root(0)"


# -- logs --------------------------------------------------------------------------------------------------------------


def test_the_daemon_logs_json_lines(lived: Dock) -> None:
    told = [json.loads(line) for line in (lived.folder / "daemon.log").read_text().splitlines()]
    assert {"ready", "device_attached"} <= {line["event"] for line in told}
    assert all({"event", "level", "timestamp"} <= set(line) for line in told)


def test_secrets_are_hidden_whatever_logs_them() -> None:
    told = without_secrets(
        None,
        "",
        {
            "event": "asked with Authorization: Bearer abc.def",
            "token": "abc",
            "Proxy-Authorization": "Basic abc",
            "url": "https://user:abc@dems.example.org/files",
            "token_file": "/etc/evidock/token",
            "bytes": 3,
        },
    )
    assert "abc" not in json.dumps(told)
    assert told["token_file"] == "/etc/evidock/token"  # noqa: S105 - a path
    assert told["url"] == "https://***@dems.example.org/files"


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    read, written = os.pipe()
    os.close(read)
    said = (
        "import structlog; from agent.cli.logs import configure; configure()\n"
        "structlog.get_logger('x').warning('nobody hears this')\n"
        "open(1, 'w').write('went on')"
    )
    done = subprocess.run([sys.executable, "-c", said], stderr=written, stdout=subprocess.PIPE, check=False)
    os.close(written)
    assert done.stdout == b"went on"


def test_a_secret_that_others_may_read_is_found_in_every_table(tmp_path: Path) -> None:
    """Also in one that stands within another, as of a room's cameras."""

    class Camera(BaseModel):
        password_file: Path

    class Room(BaseModel):
        name: str = "room-1"
        key: str = "no file"
        stream: tuple[Camera, ...]

    paths = [tmp_path / "open", tmp_path / "closed", tmp_path / "missing"]
    for path, mode in zip(paths[:2], (0o644, 0o600), strict=True):
        path.write_text("secret")
        path.chmod(mode)
    options = Room(stream=tuple(Camera(password_file=path) for path in paths))
    equipment = SimpleNamespace(uplinks=(), drivers=[SimpleNamespace(options=options)])
    config = SimpleNamespace(
        mqtt=None, identity=None, status=None, uplink=(), driver=(None,), station=SimpleNamespace(state=tmp_path)
    )
    told = list(secrets(config, equipment, Closed(parse(STATION))))  # type: ignore[arg-type]
    assert [line.what for _, line in told] == ["room-1.stream[0].password_file", "room-1.stream[2].password_file"]
    assert "others may read" in told[0][1].detail


def test_where_nothing_was_ever_taken_that_is_said_and_not_a_lack_of_rights(evidock: Evidock, tmp_path: Path) -> None:
    dock = Dock(tmp_path)
    dock.configure()
    told = evidock("--config", dock.config, "spool", "verify")
    assert told.code == Refusal.exit_code
    assert "nothing was ever taken here" in told.err


def test_a_family_without_a_driver_and_one_with_several(evidock: Evidock, still: Dock) -> None:
    told = evidock("--config", still.config, "enotes", "list")
    assert told.code == Refusal.exit_code
    assert "no [[driver]] whose `use` begins with enotes." in told.err
    tables = "".join(f'[[driver]]\nuse = "enotes.tablets"\nname = "{name}"\n' for name in ("one", "two"))
    still.config.write_text(still.config.read_text() + tables)
    told = evidock("--config", still.config, "enotes", "list")
    assert "say which driver is meant; agent.toml has one, two" in told.err
    assert "--driver NAME" in told.err
    told = evidock("--config", still.config, "enotes", "list", "--driver", "three")
    assert "no driver for this is named three; agent.toml has one, two" in told.err


def test_a_daemon_that_hangs_is_waited_for_once(evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes connections for it, and nobody answers: stopped, or waiting for a disk."""
    monkeypatch.setattr("agent.cli.daemon._PATIENCE", 0.3)
    monkeypatch.setattr("agent.cli.daemon._AGAIN", 0.01)
    waits: list[float] = []
    true = _Connection.__init__

    def counted(self: _Connection, path: Path, patience: float) -> None:
        waits.append(patience)
        true(self, path, patience)

    monkeypatch.setattr(_Connection, "__init__", counted)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(still.socket))
        hung.listen()
        for words in (("status",), ("check",), ("capture", "list")):
            told = evidock("--config", still.config, *words)
            assert told.code != 0
            assert "did not answer in" in told.out + told.err
            assert "systemctl restart evidock" in told.out + told.err
        watched = evidock("--config", still.config, "watch", "--once").out.splitlines()
        assert "runs, and did not answer in" in watched[0]
        assert watched[1].startswith("Restart it: systemctl restart evidock.")
    assert waits[0] > waits[1] == min(waits)
