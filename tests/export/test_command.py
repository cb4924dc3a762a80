"""evidock capture export and evidock verify, on a real journal, and through the station's socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from typer.testing import CliRunner

from agent.cli import app
from agent.cli.daemon import Daemon
from agent.cli.export import _authority
from agent.custody.export import evidock_verify
from agent.errors import ConfigError
from agent.journal import anchors
from agent.journal.anchors import Signed, TimeStamp
from agent.station.dossiers import dossiers
from agent.station.routes import Routes, translated
from tests.export.make import AT, LOG, POLICY, log, receipts, root, station, witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.export.make import Station

CONFIG = f"""
[station]
name = "dock-0042"
agency = "example.org"
state = "{{state}}"

[custody]
policy = "{{state}}/policy.note"
roots = ["{root.vkey}"]

[[uplink]]
use = "tus"
receipt_keys = ["{receipts.vkey}"]
"""


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def sign(made: Station, *, cosigned: bool = True) -> Signed:
    """A checkpoint over all entries, kept as the station keeps it."""
    alone, both = made.seal(log).checkpoint, made.seal().checkpoint
    signed = Signed(made.journal.leaves.size, made.journal.leaves.root(), alone or b"", AT)
    with made.journal.transaction():
        anchors.keep_signed(made.journal, signed)
        if cosigned:
            anchors.keep_cosigned(made.journal, signed, both or b"", AT)
    return signed


@pytest.fixture
def state(tmp_path: Path) -> tuple[Path, list[str]]:
    """The state folder of a station that stands still, and its captures."""
    folder = tmp_path / "state"
    folder.mkdir()
    with station(folder) as made:
        captures = [asyncio.run(made.take(f"CLIP{n}", b"clip %d" % n)) for n in range(3)]
        made.receipt(captures[0])
        sign(made)
        made.receipt(captures[1])
    (folder / "policy.note").write_bytes(POLICY)
    (tmp_path / "agent.toml").write_text(CONFIG.format(state=folder))
    return folder, captures


def test_from_the_journal_to_a_bag_that_is_proven(state: tuple[Path, list[str]], tmp_path: Path) -> None:
    _, captures = state
    bag, config = tmp_path / "out" / "bag", tmp_path / "agent.toml"
    done = run("--config", config, "capture", "export", captures[0][:8], "--to", bag)
    assert (done.exit_code, f"check it: sh {bag}/verify.sh" in done.output) == (0, True), done.output
    (tmp_path / "keys").write_text(f"{log.vkey}\n{witness.vkey}\n{receipts.vkey}\n")
    (tmp_path / "root").write_text(f"{root.vkey}\n")
    (tmp_path / "desk").write_text(f"{receipts.vkey}\n")
    named = ("--keys", tmp_path / "keys", "--root", tmp_path / "root")
    done = run("verify", bag, *named)
    assert (done.exit_code, done.output.splitlines()[-1][:10]) == (3, "INCOMPLETE"), "whose keys sign receipts?"
    done = run("verify", bag, *named, "--receipts", tmp_path / "desk")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "PROVEN")
    assert "NOTE" not in done.output
    assert run("verify", next((bag / "custody").glob("*.tlog-proof"))).exit_code == 0
    assert run("verify", bag / "custody/checkpoint").exit_code == 0
    assert run("--config", config, "capture", "export", captures[0], "--to", bag).exception
    again = json.loads(run("verify", bag, "--json").output)
    assert again["exit_code"] == 0
    assert {check["outcome"] for check in again["checks"]} == {"OK", "NOTE"}


def test_what_came_after_the_checkpoint_has_no_proof_yet(state: tuple[Path, list[str]], tmp_path: Path) -> None:
    _, captures = state
    bag = tmp_path / "bag"
    done = run("--config", tmp_path / "agent.toml", "capture", "export", *captures, "--to", bag, "--json")
    assert done.exit_code == 3
    # CLIP1: its receipt came after the checkpoint. CLIP2: it has none.
    assert json.loads(done.output)["missing"] == ["000005: has no proof", f"{captures[2]}: no receipt is in this bag"]
    assert evidock_verify.main([str(bag)]) == 3


def test_bytes_that_were_changed_in_the_spool_are_not_exported(state: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, captures = state
    for kept in (folder / "spool/kept").iterdir():
        kept.write_bytes(b"CLIP 0")
    done = run("--config", tmp_path / "agent.toml", "capture", "export", captures[0], "--to", tmp_path / "bag")
    assert "not those of its entry" in str(done.exception)
    assert not (tmp_path / "bag").exists()


def test_a_pipe_in_the_place_of_a_kept_file_holds_nobody_up(state: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, captures = state
    for kept in (folder / "spool/kept").iterdir():
        kept.unlink()
        os.mkfifo(kept)
    done = run("--config", tmp_path / "agent.toml", "capture", "export", captures[0], "--to", tmp_path / "bag")
    assert "no plain file" in str(done.exception)
    assert not (tmp_path / "bag").exists()


def test_the_authoritys_certificate_that_is_not_there_is_a_matter_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"custody\.tsa_ca_file.*cannot be read"):
        _authority(tmp_path / "tsa.pem")


def test_which_checkpoint_is_taken(tmp_path: Path) -> None:
    with station(tmp_path) as made:
        capture = asyncio.run(made.take("CLIP", b"clip"))
        assert dossiers(made.journal, [capture])["checkpoint"] is None
        signed = sign(made, cosigned=False)
        assert made.seal(log).checkpoint == signed.note
        told = dossiers(made.journal, [capture])
        assert told["captures"][0]["story"][0]["proof"]
        sign(made)
        best = made.seal().checkpoint or b""
        with made.journal.transaction():
            anchors.keep_time_stamp(made.journal, TimeStamp(signed.size, best, b"token", "tsa", AT))
        told = dossiers(made.journal, [capture])
        assert evidock_verify.unbase64(told["checkpoint"]) == best
        assert evidock_verify.unbase64(told["token"]) == b"token"


def test_a_checkpoint_that_is_stamped_and_cosigned_is_taken_before_others(tmp_path: Path) -> None:
    """A witness was down: what was stamped first nobody had cosigned, and what was cosigned first is not stamped."""
    with station(tmp_path) as made:
        capture = asyncio.run(made.take("CLIP", b"clip"))
        alone = sign(made, cosigned=False)
        with made.journal.transaction():
            anchors.keep_time_stamp(made.journal, TimeStamp(alone.size, alone.note, b"first", "tsa", AT))
        assert evidock_verify.unbase64(dossiers(made.journal, [capture])["token"]) == b"first"
        sign(made)
        assert dossiers(made.journal, [capture])["token"] is None
        asyncio.run(made.take("OTHER", b"other clip"))
        both, note = sign(made), made.seal().checkpoint or b""
        with made.journal.transaction():
            anchors.keep_time_stamp(made.journal, TimeStamp(both.size, note, b"second", "tsa", AT))
        told = dossiers(made.journal, [capture])
        assert [evidock_verify.unbase64(told[name]) for name in ("token", "checkpoint")] == [b"second", note]


def test_through_the_daemons_socket(tmp_path: Path) -> None:
    """What a daemon answers is what its journal answers without it."""
    with station(tmp_path) as made:
        capture = asyncio.run(made.take("CLIP", b"clip"))
        made.receipt(capture)
        sign(made)

        class Desk:
            async def write(self, act: Callable[..., object], *, waits: bool) -> object:
                assert not waits, "a person is told at once"
                with made.journal.transaction():
                    return act(made.journal)

        async def ask() -> tuple[object, str]:
            served = web.Application(middlewares=[translated])
            Routes(SimpleNamespace(desk=Desk()), SimpleNamespace()).add_acts(served)
            runner = web.AppRunner(served)
            await runner.setup()
            await web.UnixSite(runner, str(tmp_path / "socket")).start()
            daemon = Daemon(tmp_path / "socket")
            try:
                told = await asyncio.to_thread(partial(daemon.dossiers, [capture[:8]], why="the court asked"))
                with contextlib.suppress(Exception):
                    return told, str(await asyncio.to_thread(partial(daemon.dossiers, ["0000"], why="x")))
                return told, "refused"
            finally:
                await runner.cleanup()

        told, refused = asyncio.run(ask())
        assert told == dossiers(made.journal, [capture])  # its own entry is left to the next bag
        (last,) = made.journal.leaves.between(made.journal.leaves.size - 1, made.journal.leaves.size)
        said = json.loads(last[1])["predicate"]
        assert (said["event"], said["command"], said["why"]) == ("operator.command", "export", "the court asked")
        assert re.fullmatch(rf"user:.*\({os.getuid()}\)", said["actor"])
        assert refused == "refused"
        assert json.dumps(told).count(LOG) == 1


@pytest.mark.parametrize("content", ["", "x", "a\n\nb\n", "c2sp.org/tlog-proof@v1\n"])
def test_what_is_none_of_them(content: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(content)
    (tmp_path / "keys").write_text(f"{log.vkey}\n{witness.vkey}\n")
    assert run("verify", tmp_path / "file").exception.exit_code == 2
    assert evidock_verify.main([str(tmp_path / "file")]) == 2
    assert run("verify", tmp_path / "file", "--keys", tmp_path / "keys").exit_code == 1
    assert evidock_verify.main([str(tmp_path / "file"), "--keys", str(tmp_path / "keys")]) == 1
    assert run("verify", tmp_path / "nothing").exception.exit_code == 2
    assert evidock_verify.main([str(tmp_path / "nothing")]) == 2


def test_what_cannot_be_checked_is_named(state: tuple[Path, list[str]], tmp_path: Path) -> None:
    """The wrong folder or file is nothing that is wrong with evidence, and what is missing has a name."""
    bag = tmp_path / "bag"
    run("--config", tmp_path / "agent.toml", "capture", "export", state[1][0], "--to", bag)
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise").write_bytes(b"\xff\xfe\n\n")
    alone = tmp_path / "alone.tlog-proof"
    alone.write_bytes(next((bag / "custody").glob("*.tlog-proof")).read_bytes())
    keys = ("--keys", bag / "keys" / "vkeys")
    for words, said in (
        ((tmp_path / "empty",), "no folder that evidock capture export made"),
        ((tmp_path / "noise",), "neither a proof nor a checkpoint"),
        ((alone, *keys), "its entry, alone.json, is not beside it"),
        ((bag, "--keys", tmp_path / "noise"), "it is no text"),
    ):
        done = run("verify", *words)
        assert done.exception.exit_code == 2
        assert said in str(done.exception)
    assert evidock_verify.main([str(tmp_path / "empty")]) == 2
