"""Sealed keys, with a program in the place of systemd's own, which `make field` and `make stick` have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.anchor.keys import make_key, new_key
from agent.cli import sealing
from agent.config import parse
from agent.errors import Refusal
from tests.cli.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config import Config
    from tests.cli.conftest import Evidock

PROGRAM = """#!/bin/sh
# systemd-creds encrypt|decrypt --name=NAME ... IN OUT: what is sealed says its name, and opens under no other
[ -e "$0.fails" ] && { echo "Failed to open: no TPM" >&2; exit 1; }
verb=$1 name=${2#--name=}; shift 2
case $verb in
encrypt) printf 'sealed for %s\\n' "$name"; base64 ;;
decrypt) read -r _ _ for < "$1"
    [ -z "$for" ] || [ -z "$name" ] || [ "$for" = "$name" ] || { echo "named $for, not $name" >&2; exit 1; }
    if [ -e "$0.lies" ]; then echo other; else tail -n +2 "$1" | base64 -d; fi ;;
esac
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bin/systemd-creds"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setattr(sealing, "STORE", tmp_path / "store")
    monkeypatch.setattr(sealing, "SYSTEM", tmp_path / "etc")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse(f'[station]\nname = "dock-7"\nagency = "example.org"\nstate = "{tmp_path}/state"\n')


def test_each_service_has_a_sealed_key_of_its_own(tmp_path: Path, program: Path) -> None:
    store = tmp_path / "store"
    assert sealing.place(tmp_path / "etc/agent.toml") == store / "evidock.log.key"
    assert sealing.place(tmp_path / "etc/north.toml", following=True) == store / "evidock-north.log.key.next"
    assert sealing.place(tmp_path / "elsewhere/agent.toml") is None, "no service reads it"
    assert program.exists()


@pytest.mark.usefixtures("program")
def test_what_was_sealed_is_the_key(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "etc/agent.toml"
    assert sealing.given(path, config) == []
    text, following = new_key(config.station.log), new_key(config.station.log)
    place = sealing.place(path)
    assert place is not None
    sealing.seal(text, place, sealing.Seal.TPM2)
    assert text not in place.read_text()
    sealing.seal(following, place.with_name(f"{place.name}.next"), sealing.Seal.HOST, following=True)
    assert [text.split("+")[3] for text in (text, following)] == [
        signer.verifier.key_id.hex() for signer in sealing.given(path, config)
    ]
    place.with_name(f"{place.name}.next").rename(place)  # it takes the place of the other, under its name
    assert [one.verifier.key_id.hex() for one in sealing.given(path, config)] == [following.split("+")[3]]


@pytest.mark.parametrize("how", ["fails", "lies"])
def test_what_cannot_be_opened_again_is_not_left_behind(
    program: Path, tmp_path: Path, config: Config, how: str
) -> None:
    program.with_name(f"{program.name}.{how}").touch()
    target = tmp_path / "store/evidock.log.key"
    with pytest.raises(Refusal, match="no TPM" if how == "fails" else "something else"):
        sealing.seal(new_key(config.station.log), target, sealing.Seal.TPM2)
    assert not target.exists()


def test_a_key_of_another_log_is_none(
    program: Path, tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "store/evidock.log.key"
    sealing.seal(new_key("log.of/another"), target, sealing.Seal.HOST)
    with pytest.raises(Refusal, match="not the private key"):
        sealing.given(tmp_path / "etc/agent.toml", config)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.exists()
    with pytest.raises(Refusal, match="systemd-creds is not here"):
        sealing.given(tmp_path / "etc/agent.toml", config)


@ROOT
@pytest.mark.usefixtures("program")
def test_a_key_that_is_being_changed_is_not_sealed(evidock: Evidock, tmp_path: Path) -> None:
    """The service would be handed the one, and the log is signed with the other: it would not start any more."""
    agent_toml, keys, store = tmp_path / "etc/agent.toml", tmp_path / "state/keys", tmp_path / "store"
    agent_toml.parent.mkdir()
    agent_toml.write_text(f'[station]\nname = "dock-7"\nagency = "example.org"\nstate = "{tmp_path}/state"\n')
    for name in ("log.key", "log.key.next"):
        make_key(keys / name, "edge.example.org/dock-7/log1")
    told = evidock("--config", agent_toml, "identity", "seal", "host")
    assert told.code == Refusal.exit_code
    assert "evidock custody rotate --finish" in told.err
    assert (keys / "log.key").exists()
    assert not store.exists()
    (keys / "log.key.next").unlink()
    assert evidock("--config", agent_toml, "identity", "seal", "host").code == 0
    assert not (keys / "log.key").exists()
    assert (store / "evidock.log.key").exists()
