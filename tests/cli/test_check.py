"""`evidock check` says what it could not look at, and takes missing rights for no fault of the configuration."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any

import pytest

from agent.cli import closed
from agent.cli.check import WARNED, machine
from agent.cli.check.state import SECRETS, secrets
from agent.cli.schema import schema
from agent.config import parse
from agent.errors import ConfigError, Refusal
from agent.machine.disk import Disk, Ground
from agent.machine.smart import Silent, Smart
from agent.registry import equip
from tests.cli.conftest import NOBODY, ROOT, Dock, as_nobody

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]

STATION = '[station]\nname = "dock-1"\nagency = "example.org"\n'


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "states"),
    [
        (Silent("smartctl is not installed", "apt install smartmontools"), ["ok", "warning"]),
        (Silent("only root may ask it", "sudo evidock check"), ["ok", "warning"]),
        (Silent("Unable to detect device type"), ["ok", "ok"]),
        (Smart(healthy=True, facts=("31 °C",)), ["ok", "ok"]),
        (Smart(healthy=True, troubles=("8 sectors wait to be replaced",)), ["warning"]),
        (Smart(healthy=False, troubles=("it says itself that it is failing",)), ["problem"]),
    ],
)
def test_a_disk_that_was_not_asked_is_not_called_well(
    word: Silent | Smart, states: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "ground_of", lambda _: Ground("ext4", False, (Disk("sda", "Lab"),), ()))  # noqa: FBT003
    monkeypatch.setattr(machine.smart, "asked", lambda _: word)
    told = [found for _, found in machine.disks(parse(f'{STATION}state = "{tmp_path}"'))]
    assert [one.state for one in told[1:]] == states
    for one in told:
        assert (one.todo is None) == (one.state == "ok")
    if isinstance(word, Silent):
        assert word.why in told[-1].detail
        assert "well" not in told[-1].detail


# -- files that are closed to whoever asks -----------------------------------------------------------------------------


def lines(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """By kind and what."""
    return {(one["kind"], one["what"]): one for one in json.loads(text)["findings"]}


def uplinks(dock: Dock, token: Path) -> None:
    dock.config.write_text(
        dock.config.read_text()
        + '\n[[uplink]]\nuse = "tus"\nname = "dems"\nurl = "https://127.0.0.1:9/files"\n'
        + f'token_file = "{token}"\n'
        + f'\n[[uplink]]\nuse = "folder"\nname = "disk"\nrole = "copy"\npath = "{dock.folder / "none"}"\n'
    )


@ROOT
def test_what_a_technician_may_not_read_is_a_warning_and_the_rest_is_tried(still: Dock) -> None:
    token = still.folder / "dems.token"
    token.write_text("hidden")
    token.chmod(0o600)
    uplinks(still, token)
    done = as_nobody(still, "check", "--json")
    found = lines(done.stdout)
    assert not [one for (kind, _), one in found.items() if kind == "config" and one["state"] == "problem"], done.stdout
    line = found["rights", "uplink[0].token_file"]
    assert (line["state"], line["todo"]) == ("warning", "Run this as root: sudo evidock check.")
    assert str(token) in line["detail"]
    assert any(what.startswith("disk: ") for kind, what in found if kind == "uplink"), "the other one is tried"


@ROOT
def test_for_the_daemons_user_the_same_file_is_a_problem(evidock: Evidock, still: Dock) -> None:
    token = still.folder / "dems.token"
    token.write_text("hidden")
    token.chmod(0o600)
    uplinks(still, token)
    for path in (still.state, *still.state.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    told = evidock("--config", still.config, "check", "--json")
    assert told.json["exit_code"] == ConfigError.exit_code
    line = lines(told.out)["config", "uplink[0].token_file"]
    assert line["detail"] == f"{token}: Permission denied"
    assert os.system(line["todo"].partition(": ")[2]) == 0  # noqa: S605 - what a person would type
    assert ("config", "agent.toml") in lines(evidock("--config", still.config, "check", "--json").out)


def test_what_systemd_hands_to_the_service_is_missed_by_nobody(
    evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its folder is there while the service runs; the mode of its files shows the mask of an access list (0440)."""
    monkeypatch.setattr(closed, "HANDED", tmp_path / "credentials")
    token = tmp_path / "credentials" / "evidock.service" / "dems.token"
    uplinks(still, token)
    told = evidock("--config", still.config, "check", "--json")
    line = lines(told.out)["rights", "uplink[0].token_file"]
    assert line["state"] == "warning"
    assert "Start the daemon" in line["todo"]
    assert "config" not in {kind for (kind, _), one in lines(told.out).items() if one["state"] == "problem"}
    token.parent.mkdir(parents=True)
    token.write_text("hidden")
    token.chmod(0o440)
    config = parse(still.config.read_text())
    ((_, found),) = secrets(config, equip(config), closed.Closed(config))
    assert found.state == "ok", found.detail


@ROOT
def test_how_a_secret_is_closed_leaves_it_open_to_the_daemon(evidock: Evidock, still: Dock) -> None:
    token = still.folder / "dems.token"
    token.write_text("hidden")
    token.chmod(0o640)
    uplinks(still, token)
    for path in (still.state, *still.state.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.chown(token, 0, NOBODY)
    todo = lines(evidock("--config", still.config, "check", "--json").out)["rights", "dems.token_file"]["todo"]
    assert os.system(todo) == 0  # noqa: S605 - what a person would type
    assert (token.stat().st_uid, stat.S_IMODE(token.stat().st_mode)) == (NOBODY, 0o600)
    found = lines(evidock("--config", still.config, "check", "--json").out)
    assert found["rights", "secrets"]["state"] == "ok"


@ROOT
def test_what_enrol_makes_in_a_folder_of_root_the_daemon_can_read(evidock: Evidock, still: Dock) -> None:
    """As /etc/evidock is: root's, and the group may look into it."""
    folder = still.folder / "etc"
    folder.mkdir(mode=0o755)
    still.config.write_text(
        still.config.read_text()
        + '\n[[driver]]\nuse = "alpr.receiver"\nname = "car42"\n'
        + f'listen = {{ address = "127.0.0.1", port = 8443, certificate = "{folder}/a.pem", key = "{folder}/a.key" }}\n'
        + f'[[driver.camera]]\nname = "front"\nmaker = "hikvision"\nsecret_file = "{folder}/front.secret"\n'
    )
    for path in (still.state, *still.state.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    told = evidock("--config", still.config, "device", "enrol", "car42", "--out", still.folder / "page.txt")
    assert told.code == 0, told.err
    assert {path.name for path in folder.iterdir()} == {"a.pem", "a.key", "front.secret"}
    assert {(path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()} == {(NOBODY, 0o600)}
    found = lines(evidock("--config", still.config, "check", "--json").out)
    assert ("config", "agent.toml") in found


def test_every_setting_that_names_a_secret_is_looked_at() -> None:
    """Of every table of every driver and uplink that is installed."""
    named: set[str] = set()

    def look(node: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(node, list):
            for one in node:
                look(one)
        if isinstance(node, dict):
            for name, told in node.get("properties", {}).items():
                if '"format": "path"' in json.dumps(told) and re.search(
                    r"(^|_)(secret|password|login|token|keys?)(_|$)", name
                ):
                    named.add(name)
            for one in node.values():
                look(one)

    look(schema())
    assert {"password_file", "secret_file", "est_login_file"} <= named
    public, of_the_log = {"public_key", "keys"}, {"log_key"}  # who opens the log's key looks at its mode itself
    assert named - public - of_the_log <= set(SECRETS)


# -- the file itself ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_told_with_what_makes_one(evidock: Evidock, tmp_path: Path) -> None:
    for words in (("check",), ("status",), ("run",)):
        told = evidock("--config", tmp_path / "none.toml", *words)
        assert told.code == ConfigError.exit_code
        assert "No such file or directory" in told.out + told.err
        assert "Errno" not in told.out + told.err
        assert "evidock init" in told.out + told.err


@ROOT
def test_a_file_that_may_not_be_read_is_told_with_who_may(still: Dock) -> None:
    still.config.chmod(0o600)
    try:
        done = as_nobody(still, "status")
    finally:
        still.config.chmod(0o644)
    assert done.returncode == ConfigError.exit_code
    assert "Permission denied" in done.stderr
    assert "group evidock" in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('name = "Dock 42"', "lower-case letters, digits and hyphens"),
        ('name = "dock"\n[[custody.witness]]\nvkey = "v"\nurl = "witness"', "an http or https address"),
        ('name = "dock"\n[identity]\nest_url = "http://est"', "an https address"),
        ('name = "dock"\n[[driver]]\nuse = "body_worn.usb_volume"\nname = "bay 1"\nmount = "/x"', "without a blank"),
        ('name = "dock"\n[driver]\nuse = "body_worn.usb_volume"', "write [[driver]] above each"),
        ('name = "dock"\n[custody.witness]\nvkey = "v"', "write [[custody.witness]] above each"),
        ('name = "dock"\n[policy]\nreceipts_from = "dems"', "a list, in brackets"),
        ('name = "dock"\n[[spool]]\nwatermark = "1 GiB"', "spool: must be a table"),
        ('name = "dock"\n[[driver]]\nuse = "body_worn.usb_volume"\nname = "x"\nmount = "/x"\ndevice = 3', "a table"),
    ],
)
def test_what_has_the_wrong_form_is_told_in_words(line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        equip(parse(f'[station]\nagency = "example.org"\n{line}'))
    assert words in str(caught.value)
    assert "pattern" not in str(caught.value)
    assert "^" not in str(caught.value)


def test_a_certificate_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "none.pem"
    file.write_text("nothing")
    for name, words in (("client_cert", "holds no certificate"), ("ca_file", "holds no certificate (PEM)")):
        table = f'[[uplink]]\nuse = "tus"\nname = "d"\nurl = "https://localhost/"\n{name} = "{file}"'
        with pytest.raises(ConfigError) as caught:
            equip(parse(f"{STATION}{table}"))
        (problem,) = caught.value.problems
        assert problem.path == f"uplink[0].{name}"
        assert words in problem.message
        assert "_ssl.c" not in problem.message


def test_a_full_disk_whose_policy_keeps_everything_does_not_empty_by_itself(evidock: Evidock, still: Dock) -> None:
    text = still.config.read_text().replace('"1 MiB"', '"900000 GiB"')
    for policy, words in (("keep", 'policy.spool = "keep" lets nothing leave'), ("receipted", "Room comes back")):
        still.config.write_text(f'{text}\n[policy]\nspool = "{policy}"\n')
        line = lines(evidock("--config", still.config, "check", "--json").out)["room", "room"]
        assert (line["state"], words in line["todo"]) == ("problem", True)


def test_a_daemon_that_does_not_run_is_no_trifle(evidock: Evidock, still: Dock) -> None:
    line = lines(evidock("--config", still.config, "check", "--json").out)["daemon", "daemon"]
    assert line["state"] == "warning"
    assert "systemctl start evidock" in line["todo"]


def test_without_a_terminal_nothing_is_cut_however_long_a_line_is(evidock: Evidock, still: Dock) -> None:
    long = "x" * 3000
    still.config.write_text(still.config.read_text() + f'\n[[driver]]\nuse = "{long}"\nname = "x"\n')
    told = evidock("--config", still.config, "check")
    row = next(row for row in told.out.splitlines() if "driver[1].use" in row)
    assert row.startswith("problem  config    driver[1].use")
    assert "…" not in told.out


@ROOT
def test_root_does_not_run_the_daemon_of_another_user(evidock: Evidock, still: Dock) -> None:
    """Its files would be root's, and the service could not open them any more."""
    for path in (still.state, *still.state.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    told = evidock("--config", still.config, "run")
    assert told.code == Refusal.exit_code
    assert "systemctl start evidock" in told.err
    assert {path.stat().st_uid for path in still.state.rglob("*")} == {NOBODY}


def test_warnings_alone_have_a_code_of_their_own(
    evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "ground_of", lambda _: Ground("ext4", False, (Disk("sda", "Lab"),), ()))  # noqa: FBT003
    monkeypatch.setattr(machine.smart, "asked", lambda _: Silent("only root may ask it", "sudo evidock check"))
    assert evidock("--config", still.config, "check").code == WARNED


def test_a_newer_package_is_told(evidock: Evidock, still: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ("update", "package") not in lines(evidock("--config", still.config, "check", "--json").out)
    monkeypatch.setenv("CANDIDATE", "0.2.0")
    line = lines(evidock("--config", still.config, "check", "--json").out)["update", "package"]
    assert (line["state"], line["detail"]) == ("warning", "version 0.2.0 can be installed")
