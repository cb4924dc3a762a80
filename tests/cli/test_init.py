"""`evidock init` and what an editor is told: a station that can start, and nothing overwritten."""

from __future__ import annotations

import json
import os
import ssl
import stat
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from agent.cli.schema import schema
from agent.cli.templates import agent_toml
from agent.config import load, parse
from agent.errors import Refusal
from agent.note import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer

    Evidock = Callable[..., Answer]


def certifi_file() -> str:
    """Certificates that any machine has."""
    return ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"


FLAGS = ("--name", "dock-7", "--agency", "example.org", "--dems", "https://dems.example.org/files", "--bays", "2")


def test_four_answers_make_a_station(evidock: Evidock, tmp_path: Path) -> None:
    path = tmp_path / "new" / "agent.toml"
    told = evidock("--config", path, "init", *FLAGS)
    assert told.code == 0, told.err
    config = load(path)
    assert (config.station.name, config.station.agency) == ("dock-7", "example.org")
    assert [driver["mount"] for driver in config.driver] == ["/run/evidock-media/bay1", "/run/evidock-media/bay2"]
    assert config.uplink[0]["url"] == "https://dems.example.org/files"
    assert config.policy.device == "keep"
    key = config.station.state / "keys" / "log.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.station.state.stat().st_mode) == 0o700
    shown = evidock("--config", path, "identity", "show", "--json").json
    assert shown["vkey"] in told.out
    assert shown["fingerprint"] in told.out
    assert key.read_text().strip() not in told.out + path.read_text()


def test_the_fingerprint_is_what_openssl_says_of_the_key(evidock: Evidock, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    evidock("--config", path, "init", *FLAGS)
    shown = evidock("--config", path, "identity", "show", "--json").json
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"],
        input=Verifier.parse(shown["vkey"]).pem(),
        capture_output=True,
        check=True,
    ).stdout
    said = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der, capture_output=True, check=True).stdout
    assert shown["fingerprint"].removeprefix("SHA-256 ").replace(" ", "") == said.split()[0].decode()


def test_a_state_folder_is_the_same_wherever_the_daemon_starts(
    evidock: Evidock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evidock("--config", "agent.toml", "init", *FLAGS, "--state", "kept").code == 0
    assert load(tmp_path / "agent.toml").station.state == tmp_path / "kept"


def test_what_is_there_is_never_overwritten(evidock: Evidock, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("mine")
    told = evidock("--config", path, "init", *FLAGS)
    assert told.code == Refusal.exit_code
    assert path.read_text() == "mine"
    path.unlink()
    evidock("--config", path, "init", *FLAGS)
    key = (tmp_path / "state/keys/log.key").read_bytes()
    path.unlink()
    assert evidock("--config", path, "init", *FLAGS).code == 0
    assert (tmp_path / "state/keys/log.key").read_bytes() == key


def test_check_then_passes_but_for_what_it_names(evidock: Evidock, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    evidock("--config", path, "init", "--name", "dock-7", "--agency", "example.org", "--dems", "", "--bays", "1")
    found = evidock("--config", path, "check", "--json").json
    assert found["ok"], found


@pytest.mark.another_user
def test_root_is_told_what_the_daemon_may_not_read(evidock: Evidock, tmp_path: Path) -> None:
    path, secret = tmp_path / "agent.toml", tmp_path / "ca.pem"
    evidock("--config", path, "init", *FLAGS)
    secret.write_bytes(Path(certifi_file()).read_bytes())
    secret.chmod(0o600)
    path.write_text(path.read_text().replace("receipt_keys = []", f'receipt_keys = []\nca_file = "{secret}"'))

    def told() -> str:
        return str(evidock("--config", path, "config", "show").err + evidock("--config", path, "check", "--json").out)

    assert "Permission denied" not in told()
    os.chown(tmp_path / "state", 65534, 65534)
    assert "Permission denied" in told()


@pytest.mark.parametrize(
    ("flag", "value", "place"),
    [
        ("--name", "Dock 7", "station.name"),
        ("--agency", "not a domain", "station.agency"),
        ("--dems", "ftp://x", "uplink[0].url"),
        ("--dems", "https://me:secret@dems.example.org/", "uplink[0].url"),
    ],
)
def test_a_wrong_answer_is_told_and_nothing_is_made(
    evidock: Evidock, tmp_path: Path, flag: str, value: str, place: str
) -> None:
    words = list(FLAGS)
    words[words.index(flag) + 1] = value
    told = evidock("--config", tmp_path / "agent.toml", "init", *words)
    assert told.code == 2
    assert place in told.err
    assert "secret" not in told.err
    assert "Edit agent.toml" not in told.err, "there is none"
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_can_answer_the_flag_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "--config", tmp_path / "agent.toml", "init", "--name", "dock-7"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Refusal.exit_code
    assert "--agency" in done.stderr


def test_questions_are_asked_at_a_terminal(tmp_path: Path) -> None:
    reader, writer = os.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "agent.cli", "--config", tmp_path / "agent.toml", "init"],
            stdin=writer,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            for answer in ("dock-7", "example.org", "", "3"):
                os.write(reader, answer.encode() + b"\n")
            out, _ = process.communicate(timeout=60)
    finally:
        os.close(reader)
        os.close(writer)
    assert process.returncode == 0, out
    assert len(load(tmp_path / "agent.toml").driver) == 3


def test_an_answer_that_will_not_do_is_asked_for_again(tmp_path: Path) -> None:
    reader, writer = os.openpty()
    answers = (
        "Dock 7",
        "dock-7",
        "not a domain",
        "example.org",
        "dems",
        "https://dems.example.org/",
        "many",
        "999",
        "3",
    )
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "agent.cli", "--config", tmp_path / "agent.toml", "init"],
            stdin=writer,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            for answer in answers:
                os.write(reader, answer.encode() + b"\n")
            out, _ = process.communicate(timeout=60)
    finally:
        os.close(reader)
        os.close(writer)
    assert process.returncode == 0, out
    told = out.decode()
    for words in (
        "lower-case letters",
        "a domain",
        "no http or https address",
        "no number of bays",
        "at most 128 bays",
    ):
        assert words in told
    config = load(tmp_path / "agent.toml")
    assert (config.station.name, config.station.agency, len(config.driver)) == ("dock-7", "example.org", 3)
    assert f"evidock --config {tmp_path / 'agent.toml'} check" in told


# -- the schema --------------------------------------------------------------------------------------------------------


@cache
def editor() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema())


def good(text: str) -> bool:
    return editor().is_valid(tomllib.loads(text))


def written(**changes: Any) -> str:  # noqa: ANN401
    said: dict[str, Any] = {
        "name": "dock-7",
        "agency": "example.org",
        "dems": "https://dems.example.org/",
        "bays": 2,
        **changes,
    }
    return agent_toml(state=said.pop("state", "/var/lib/evidock"), socket=None, **said)


def test_the_schema_is_one_and_agrees_with_the_daemon(evidock: Evidock) -> None:
    printed = json.loads(evidock("config", "schema").out)
    assert printed == schema()
    jsonschema_rs.meta.validate(printed)
    for bays, dems in ((0, ""), (2, "https://dems.example.org/")):
        text = written(bays=bays, dems=dems)
        parse(text)
        assert good(text)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('watermark = "2 GiB"', 'watermark = "lots"'),
        ('device = "keep"', 'device = "forget"'),
        ('use = "tus"', 'use = "tuss"'),
        ('name = "bay-1"', "name = 7"),
        ("[spool]", "[spool]\nwatermarks = 1"),
        ('mount = "/run/evidock-media/bay1"', "mounted = true"),
    ],
)
def test_what_the_daemon_refuses_an_editor_underlines(was: str, becomes: str) -> None:
    assert good(written())
    assert was in written()
    assert not good(written().replace(was, becomes, 1))


def test_every_setting_is_described() -> None:
    told = schema()
    bare = [
        f"{name}.{field}"
        for name, table in told["$defs"].items()
        for field, said in table.get("properties", {}).items()
        if "description" not in said and name in {"Station", "SpoolConfig", "Policy", "Custody", "Identity"}
    ]
    assert bare == []
