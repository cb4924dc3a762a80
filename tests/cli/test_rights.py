"""What whoever types may not do, and a disk that takes nothing more, are no faults of ours: a sentence tells."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.errors import AgentError, ConfigError, Refusal, SpoolError
from tests.cli.conftest import NOBODY, ROOT, Dock, as_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]


MODULES = (
    "import agent.cli.init, agent.cli.templates, agent.cli.identity, agent.cli.custody, agent.cli.handover;"
    "import agent.belief, agent.release, agent.anchor.ring, agent.uplink.folder.bag, agent.custody.receipt;"
    "import agent.cli.sealing as sealing, pathlib;"
)


def told_to_be_another(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == Refusal.exit_code and "you may not" in done.stderr and "as root" in done.stderr


@ROOT
def test_others_come_to_a_station_also_while_another_run_of_pytest_begins(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert not tmp_path.is_relative_to(tmp_path_factory.getbasetemp()), "each run closes the folder above that"
    assert all(folder.stat().st_mode & 0o005 == 0o005 for folder in (tmp_path, *tmp_path.parents))


@ROOT
def test_setting_up_where_only_root_may_look(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir(mode=0o700)
    done = as_nobody(Dock(tmp_path), "--config", tmp_path / "etc/agent.toml", "init", first=MODULES)
    assert told_to_be_another(done), done.stderr


@ROOT
def test_keys_in_folders_that_only_root_may_look_into(evidock: Evidock, still: Dock) -> None:
    for name in ("store", "kept-by-root"):
        (still.folder / name).mkdir(mode=0o700)
    places = f"sealing.STORE = pathlib.Path({str(still.folder / 'store')!r});"
    places += f"sealing.SYSTEM = pathlib.Path({str(still.folder)!r})"
    assert evidock("handover", "prepare", still.folder / "dock").code == 0
    shown = as_nobody(still, "identity", "show", first=MODULES + places)
    assert shown.returncode == 0, shown.stderr
    assert "not to be read here" in shown.stdout
    assert "none" not in shown.stdout, "whoever may not look does not know that there is no certificate"
    done = as_nobody(still, "custody", "trust", first=MODULES + places)
    assert told_to_be_another(done), done.stderr
    key = still.folder / "kept-by-root" / "receipts.key"
    words = ("handover", "sign", still.folder / "dock", "--key", key, "--name", "dems.example.org/receipts")
    done = as_nobody(still, *words, first=MODULES)
    assert told_to_be_another(done), done.stderr


@ROOT
def test_an_export_that_cannot_be_made_leaves_no_word_of_it_in_the_log(evidock: Evidock, still: Dock) -> None:
    def entries() -> int:
        return len(evidock("--config", still.config, "journal", "export").lines)

    one, before = evidock("--config", still.config, "capture", "list", "--json").json["captures"][0]["id"], entries()
    for to in (still.folder, still.config / "bag"):
        assert evidock("--config", still.config, "capture", "export", one, "--to", to).code == Refusal.exit_code
    for path in (still.state, *still.state.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    (still.state / "spool" / "kept").chmod(0)
    first = "import importlib.readers, agent.cli.asking, agent.cli.export, agent.station.dossiers;"
    first += "import agent.custody.bag, agent.custody.export;"
    to = still.folder / "dock" / "bag"
    os.chown(to.parent, NOBODY, NOBODY)
    done = as_nobody(still, "capture", "export", one, "--to", to, first=first)
    assert told_to_be_another(done), done.stderr
    assert entries() == before
    assert not to.exists()


def with_closed_files(dock: Dock) -> tuple[Path, Path]:
    """Name files in agent.toml that only root may read: authorities, and a token."""
    authorities, token = dock.folder / "ca.pem", dock.folder / "dems.token"
    for path in (authorities, token):
        path.write_text("nobody's business")
        path.chmod(0o600)
    uplink = f"""
[[uplink]]
use = "tus"
name = "dems"
url = "https://dems.example.org/files"
ca_file = "{authorities}"
token_file = "{token}"
"""
    dock.config.write_text(dock.config.read_text() + uplink)
    return authorities, token


CONFIG = MODULES + "import agent.cli.config, agent.uplink.tus;"


@ROOT
def test_settings_are_shown_to_who_may_not_read_the_files_that_they_name(still: Dock) -> None:
    authorities, token = with_closed_files(still)
    shown = as_nobody(still, "config", "show", first=CONFIG)
    assert shown.returncode == 0, shown.stderr
    (uplink,) = tomllib.loads(shown.stdout)["uplink"]
    assert (uplink["ca_file"], uplink["token_file"]) == (str(authorities), str(token))
    assert uplink["stall"] == 30, "what is left out is told as well"
    assert f"uplink[0].ca_file: {authorities} could not be looked into: you may not read it" in shown.stderr
    assert "sudo evidock check" in shown.stderr
    as_json = as_nobody(still, "config", "show", "--json", first=CONFIG)
    assert (as_json.returncode, as_json.stderr) == (0, shown.stderr)
    assert json.loads(as_json.stdout)["uplink"][0]["ca_file"] == str(authorities)


@ROOT
def test_what_is_wrong_with_the_settings_is_told_beside_closed_files(still: Dock) -> None:
    with_closed_files(still)
    still.config.write_text(still.config.read_text() + 'role = "copy"\n')
    shown = as_nobody(still, "config", "show", first=CONFIG)
    assert (shown.returncode, shown.stdout) == (ConfigError.exit_code, "")
    assert "one destination must be the primary" in shown.stderr
    assert "ca.pem" not in shown.stderr


@ROOT
def test_files_of_the_daemon_that_agent_toml_names_are_no_fault_of_agent_toml(still: Dock) -> None:
    with_closed_files(still)
    done = as_nobody(still, "run", first=CONFIG + "import agent.cli.run;")
    assert done.returncode == ConfigError.exit_code
    assert "Edit agent.toml" not in done.stderr
    assert "run this as root" in done.stderr


@ROOT
def test_a_medium_of_somebody_else(still: Dock) -> None:
    medium = still.folder / "closed" / "medium"
    medium.mkdir(parents=True)
    medium.parent.chmod(0o700)
    done = as_nobody(still, "handover", "check", medium, first=MODULES + "import agent.uplink.folder.medium;")
    assert told_to_be_another(done), done.stderr
    assert "written" not in done.stderr
    done = as_nobody(still, "handover", "check", medium.parent, first=MODULES)
    assert done.returncode == ConfigError.exit_code
    assert "run this as root" in done.stderr


@ROOT
def test_whoever_could_not_write_is_not_asked_questions(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir(mode=0o755)
    done = as_nobody(Dock(tmp_path), "--config", tmp_path / "etc/agent.toml", "init", first=MODULES)
    assert done.returncode == Refusal.exit_code
    assert f"nothing can be made in {tmp_path}/etc" in done.stderr
    assert "Run this as root" in done.stderr


@ROOT
def test_a_state_folder_behind_a_closed_one(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "state").mkdir(mode=0o700)
    dock = Dock(tmp_path)
    dock.configure()
    dock.config.write_text(dock.config.read_text().replace(f"{tmp_path}/state", f"{tmp_path}/closed/state"))
    done = as_nobody(dock, "status")
    assert told_to_be_another(done), done.stderr
    done = as_nobody(dock, "check")
    assert "you may not look at" in done.stdout, done.stderr


@ROOT
def test_whoever_may_not_look_is_told_that_nobody_else_does(still: Dock) -> None:
    state = f'state = "{still.state}"'
    still.config.write_text(still.config.read_text().replace(state, f'{state}\nsocket = "{still.folder}/control.sock"'))
    done = as_nobody(still, "capture", "list")
    assert done.returncode == Refusal.exit_code
    assert "no daemon runs" in done.stderr
    assert "systemctl start evidock" in done.stderr


@ROOT
def test_a_state_folder_that_may_be_entered_and_not_written(still: Dock) -> None:
    still.state.chmod(0o755)
    done = as_nobody(still, "status")
    assert told_to_be_another(done), done.stderr


def test_whom_to_believe_where_the_key_of_a_log_that_has_signed_is_missing(evidock: Evidock, still: Dock) -> None:
    key = still.state / "keys" / "log.key"
    key.rename(still.folder / "log.key")
    for words in ((), ("--write",)):
        told = evidock("--config", still.config, "custody", "trust", *words)
        assert told.code != 0
        assert not key.exists(), "another key was made for it"
    assert "has signed already" in told.err
    assert "Put keys/log.key back" in told.err


def test_a_state_folder_that_is_a_file(evidock: Evidock, still: Dock) -> None:
    still.config.write_text(still.config.read_text().replace(f"{still.folder}/state", str(still.config)))
    told = evidock("--config", still.config, "status")
    assert told.code == Refusal.exit_code
    assert "Not a directory" in told.err
    assert "is no folder" in evidock("--config", still.config, "check").out


def command(dock: Dock, *words: str, out: str, **more: str) -> subprocess.CompletedProcess[str]:
    with Path(out).open("w") as target:
        return subprocess.run(
            [sys.executable, "-m", "agent.cli", "--config", str(dock.config), *words],
            stdout=target,
            stderr=subprocess.PIPE,
            env={**os.environ, **more},
            text=True,
            check=False,
        )


@pytest.mark.parametrize(
    "words", [("capture", "list"), ("capture", "list", "--json"), ("journal", "export"), ("config", "show")]
)
def test_a_disk_without_room_behind_the_output(still: Dock, words: tuple[str, ...]) -> None:
    done = command(still, *words, out="/dev/full")
    assert done.returncode == AgentError.exit_code
    assert "No space left on device" in done.stderr
    assert "Make room" in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr


def test_whoever_read_enough_is_told_nothing(still: Dock) -> None:
    line = f"{sys.executable} -m agent.cli --config {still.config} capture list --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode in (0, AgentError.exit_code)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("words", "code"), [("capture list", 0), ("capture show nothing", Refusal.exit_code)])
def test_whoever_hears_nothing_has_the_exit_code(still: Dock, closed: str, words: str, code: int) -> None:
    line = f"{sys.executable} -m agent.cli --config {still.config} {words} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "fault of Evidock" not in done.stderr


def test_letters_that_a_terminal_has_not(still: Dock, tmp_path: Path) -> None:
    """What is printed of a name is what can be; the act is done, and is not called a fault."""
    words = ("device", "assign", "usb:bench:BWC-1", "--officer", "\u674e 4471", "--why", "the early shift")
    done = command(still, *words, out=str(tmp_path / "out"), PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "officer ? 4471" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("where", [("--port", "{port}"), ("--host", "256.1.1.1")])
def test_an_emulated_dems_that_cannot_listen(evidock: Evidock, tmp_path: Path, where: tuple[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = evidock("dems", "serve", tmp_path / "dems", *(one.format(port=port) for one in where))
    assert told.code == Refusal.exit_code
    assert "it cannot serve" in told.err


@pytest.mark.parametrize("place", ["file", "file/folder"])
@pytest.mark.parametrize("words", [("dems", "serve"), ("demo", "--folder")])
def test_a_folder_that_cannot_be_made(evidock: Evidock, tmp_path: Path, words: tuple[str, ...], place: str) -> None:
    (tmp_path / "file").touch()
    told = evidock(*words, tmp_path / place)
    assert told.code == Refusal.exit_code
    assert "Not a directory" in told.err


def test_a_log_is_written_beside_nothing_that_is_there(evidock: Evidock, dock: Dock, tmp_path: Path) -> None:
    there = tmp_path / "log"
    there.write_text("mine")
    told = evidock("--config", dock.config, "journal", "export", there)
    assert told.code == Refusal.exit_code
    assert "is there already" in told.err
    assert there.read_text() == "mine"
    told = evidock("--config", dock.config, "journal", "export", tmp_path / "none" / "log")
    assert told.code == Refusal.exit_code
    assert "No such file" in told.err


def test_a_log_that_could_not_be_read_to_its_end_leaves_no_file(
    evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_: object) -> Iterator[bytes]:
        yield b"{}"
        raise SpoolError("the disk failed")

    monkeypatch.setattr("agent.cli.folder.Folder.leaves", broken)
    told = evidock("--config", still.config, "journal", "export", tmp_path / "log")
    assert told.code == SpoolError.exit_code
    assert not (tmp_path / "log").exists()
