"""The log's key is changed under the eyes of its witness; and after a loss of state a new log says which it follows."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import pytest
from typer.testing import CliRunner

from agent.belief import install
from agent.cli import app
from agent.config import load
from agent.custody.checkpoint import open_checkpoint
from agent.errors import ConfigError, JournalError, Refusal, UplinkDown
from agent.journal import Journal, anchors
from agent.note import ECDSA_P256, ED25519, Verifier
from tests.anchor.post import LOG, Post
from tests.anchor.test_daemon import TOML, daemon, standings, until
from tests.cli.conftest import NOBODY, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from agent.cli.daemon import Daemon
    from agent.testing.dems import EmulatedDems

BY = {"actor": "user:anna(1000)", "why": "yearly change"}


async def enrolled(dems: EmulatedDems, vkey: str) -> int:
    async with aiohttp.ClientSession() as session, session.post(f"{dems.witness_url}/logs", data=vkey) as answer:
        return answer.status


async def test_both_keys_sign_until_it_is_ended_and_the_witness_follows(post: Post, dems: EmulatedDems) -> None:
    await post.publish(3)
    old = post.anchor.signer.verifier
    told = await post.anchor.rotate(**BY)
    new = Verifier.parse(told["new"])
    assert (told["old"], new.name, new != old) == (old.vkey, LOG, True)
    with pytest.raises(Refusal, match="being changed already"):
        await post.anchor.rotate(**BY)
    await post.publish(2)
    signed = await post.cosigned()
    assert signed is not None
    for keys in ([old], [new], [old, new]):
        assert open_checkpoint(signed.best, keys).checkpoint.size == signed.size
    assert [line[0] for line in _lines(signed.best)] == [LOG, LOG, "dems.example.org/witness1"]
    with pytest.raises(Refusal, match="does not know the new key"):
        await post.anchor.finish(frozenset({old.vkey}), **BY)
    assert await enrolled(dems, new.vkey) == 204
    assert await post.anchor.finish(frozenset({new.vkey}), **BY) == told
    with pytest.raises(Refusal, match="not being changed"):
        await post.anchor.finish(frozenset({new.vkey}), **BY)
    await post.publish(2)
    signed = await post.cosigned()
    assert signed is not None
    assert signed.size == await post.size()
    assert [line[0] for line in _lines(signed.best)] == [LOG, "dems.example.org/witness1"]
    await post.restart()
    assert post.anchor.signer.verifier == new
    assert not (post.folder / "keys" / "log.key.next").exists()
    assert await post.desk.read(lambda journal: anchors.log_keys(journal).every) == (old.vkey, new.vkey)
    events = [json.loads(leaf)["predicate"] for leaf in await _leaves(post)]
    changes = [(one["event"], one["actor"], one["key"]["new"]) for one in events if "key" in one]
    assert changes == [(name, BY["actor"], new.vkey) for name in ("key.rotated", "key.retired")]


async def test_a_key_of_ed25519_is_followed_by_one_of_p256(tmp_path: Path, dems: EmulatedDems) -> None:
    async with Post(tmp_path / "state", (dems.witness_vkey, dems.witness_url)) as post:
        await post.publish(2)
        post.custody = post.custody.model_copy(update={"log_key_kind": "p256"})
        await post.restart()
        told = await post.anchor.rotate(**BY)
        await post.publish(2)
        signed = await post.cosigned()
        assert signed is not None
        kinds = [one.by.kind for one in open_checkpoint(signed.best, map(Verifier.parse, told.values())).signatures]
        assert kinds == [ED25519, ECDSA_P256]
        await enrolled(dems, told["new"])
        await post.anchor.finish(frozenset({told["new"]}), **BY)
        await post.restart()
        await post.publish()
        assert (await post.cosigned()).size == await post.size()


@pytest.mark.parametrize("died", ["before the entry", "after the entry", "before the file was renamed"])
async def test_wherever_it_dies_the_change_goes_on(post: Post, dems: EmulatedDems, died: str) -> None:
    await post.publish(2)
    old, path = post.anchor.signer.vkey, post.folder / "keys" / "log.key"
    if died == "before the entry":
        made = post.anchor._place.make(post.anchor._place.next).vkey
        await post.restart()
        assert post.anchor.signer.vkey == old
        assert (await post.anchor.rotate(**BY))["new"] == made, "the key that was made is used"
        return
    new = (await post.anchor.rotate(**BY))["new"]
    await post.restart()
    assert [key.vkey for key in post.anchor.ring.verifiers] == [old, new]
    if died == "before the file was renamed":
        await enrolled(dems, new)
        await post.desk.write(lambda journal: anchors.retire_key(journal, **BY))
        await post.restart()
        assert [key.vkey for key in post.anchor.ring.verifiers] == [new]
        assert not path.with_name("log.key.next").exists()
    await post.publish(2)
    assert (await post.cosigned()).size == await post.size()


async def test_an_old_key_that_is_put_back_signs_nothing(post: Post, dems: EmulatedDems) -> None:
    await post.publish(2)
    path = post.folder / "keys" / "log.key"
    kept = path.read_bytes()
    new = (await post.anchor.rotate(**BY))["new"]
    await enrolled(dems, new)
    await post.anchor.finish(frozenset({new}), **BY)
    await post.publish(1)
    path.write_bytes(kept)
    with pytest.raises(JournalError, match="was not signed with the key of its log"):
        await post.restart()
    path.unlink()
    with pytest.raises(JournalError, match="is missing"):
        await post.start()


def _lines(note: bytes) -> list[list[str]]:
    return [line.split()[1:] for line in note.decode().split("\n\n")[1].splitlines()]


async def _leaves(post: Post) -> list[bytes]:
    return await post.desk.read(lambda journal: [leaf for _, leaf in journal.leaves.between(0, journal.leaves.size)])


# -- the command, the daemon and the program that deletes --------------------------------------------------------------


async def test_a_camera_forgets_under_either_key(tmp_path: Path, dems: EmulatedDems) -> None:
    (tmp_path / "agent.toml").write_text(TOML.format(folder=tmp_path, dems=dems))
    clips = tmp_path / "bay" / "DCIM" / "100EVDCK"
    clips.mkdir(parents=True)

    def evidock(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["--config", str(tmp_path / "agent.toml"), *words])
        return done.exit_code or (1 if done.exception else 0), done.output + str(done.exception or "")

    async def forgotten(asked: Daemon, name: str) -> None:
        """Not only gone from the camera: that comes before it stands in the log."""
        (tmp_path / name).write_bytes(name.encode() * 100)
        count = len(standings(asked)) + 1
        (tmp_path / name).rename(clips / name)  # whole at once, for a driver that does not wait until it settles
        await until(lambda: standings(asked) == ["released"] * count)
        assert not (clips / name).exists()

    assert "no daemon runs" in (await asyncio.to_thread(evidock, "custody", "rotate", "--why", "x"))[1]
    async with daemon(tmp_path) as asked:
        await forgotten(asked, "CLIP0001.MP4")
        code, said = await asyncio.to_thread(evidock, "custody", "rotate", "--why", "yearly change", "--json")
        told = json.loads(said)
        assert code == 0
        await forgotten(asked, "CLIP0002.MP4")  # by a program that knows only the key of before
        assert any(one["id"] == "releaser.trust" for one in asked.status()["problems"])
        code, said = await asyncio.to_thread(evidock, "custody", "rotate", "--why", "yearly change", "--finish")
        assert (code, "does not know the new key" in said) == (1, True)
        assert (await asyncio.to_thread(evidock, "custody", "trust", "--write"))[0] == 0
        await enrolled(dems, told["new"])
        assert (await asyncio.to_thread(evidock, "custody", "rotate", "--why", "it is known", "--finish"))[0] == 0
    async with daemon(tmp_path) as asked:
        await forgotten(asked, "CLIP0003.MP4")
        assert asked.status()["checkpoint"]["log_vkeys"] == [told["new"]]
        capture = asked.captures()["captures"][0]["id"]
        last = asked.capture(capture)["story"][-1]["predicate"]["seq"]
        await until(lambda: asked.status()["checkpoint"]["cosigned_size"] > last)
    code, said = await asyncio.to_thread(evidock, "capture", "export", capture, "--to", str(tmp_path / "bag"))
    assert (code, "verify.sh" in said) == (0, True), said
    done = await asyncio.to_thread(subprocess.run, ["sh", tmp_path / "bag" / "verify.sh"], capture_output=True)
    assert done.returncode == 0, done.stdout


async def test_after_a_loss_the_first_entry_quotes_what_the_witness_saw(
    tmp_path: Path, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Post(
        tmp_path / "lost", (dems.witness_vkey, dems.witness_url), log="edge.example.org/dock-1/log1"
    ) as post:
        await post.publish(3)
        last = await post.cosigned()
    text = TOML.format(folder=tmp_path, dems=dems)
    config = tmp_path / "agent.toml"
    config.write_text(text.replace('name = "dock-1"', 'name = "dock-1"\nepoch = 2'))
    clips = tmp_path / "bay"
    clips.mkdir()
    with pytest.raises(JournalError, match="must say which log it follows"):
        await _start(config)
    where = f"{dems.witness_url}/last-checkpoint?origin=edge.example.org/dock-1/log1"
    words = ["--config", str(config), "custody", "new-epoch", "--why", "the disk was lost", "--checkpoint"]
    for nonsense in ("http://[witness", "http://witness:port/last-checkpoint"):
        with pytest.raises(UplinkDown, match="cannot be read"):
            await asyncio.to_thread(_invoke, [*words, nonsense])
    with pytest.raises(Refusal, match="cannot be read"):
        await asyncio.to_thread(_invoke, [*words, str(tmp_path)])
    for why in (" ", "x" * 501):
        with pytest.raises(Refusal, match="say why"):
            await asyncio.to_thread(_invoke, [*words, where, "--why", why])
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", _broken)
        with pytest.raises(JournalError, match="the disk is full"):
            await asyncio.to_thread(_invoke, [*words, where])
    assert list(load(config).station.state.glob("journal.db*")) == [], (
        "else the next start would begin a log of nothing"
    )
    done = await asyncio.to_thread(CliRunner().invoke, app, [*words, where, "--json"])
    told = json.loads(done.stdout)["follows"]
    assert (told["origin"], told["size"], told["root"]) == ("edge.example.org/dock-1/log1", last.size, last.root.hex())
    with pytest.raises(Refusal, match="begins with an empty state folder"):
        await asyncio.to_thread(_invoke, [*words, where])
    async with daemon(tmp_path) as asked:
        entry = asked.entries(first=0, limit=1)["entries"][0]
        assert (entry["predicate"]["event"], entry["predicate"]["follows"]) == ("log.opened", told)
        assert entry["predicate"]["why"] == "the disk was lost"
        await until(lambda: asked.status()["checkpoint"]["cosigned_size"] > 0)
        assert asked.status()["log"]["origin"] == "edge.example.org/dock-1/log2"


@ROOT
async def test_root_begins_an_epoch_that_the_daemon_can_go_on_with(tmp_path: Path, dems: EmulatedDems) -> None:
    async with Post(
        tmp_path / "lost", (dems.witness_vkey, dems.witness_url), log="edge.example.org/dock-1/log1"
    ) as post:
        await post.publish(3)
        last = await post.cosigned()
    assert last is not None
    config = tmp_path / "agent.toml"
    config.write_text(TOML.format(folder=tmp_path, dems=dems).replace('name = "dock-1"', 'name = "dock-1"\nepoch = 2'))
    (tmp_path / "last").write_bytes(last.best)
    state = load(config).station.state
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)
    words = ["--config", str(config), "custody", "new-epoch", "--why", "lost", "--checkpoint", str(tmp_path / "last")]
    await asyncio.to_thread(_invoke, words)
    assert (state / "journal.db").exists()
    assert {path.stat().st_uid for path in state.rglob("*")} == {NOBODY}
    assert os.geteuid() == 0


async def test_an_epoch_follows_only_what_a_witness_of_ours_signed(tmp_path: Path, dems: EmulatedDems) -> None:
    async with Post(
        tmp_path / "other", (dems.witness_vkey, dems.witness_url), log="edge.example.org/dock-1/log2"
    ) as post:
        await post.publish(3)
        last = await post.cosigned()
    config = tmp_path / "agent.toml"
    config.write_text(TOML.format(folder=tmp_path, dems=dems).replace('name = "dock-1"', 'name = "dock-1"\nepoch = 2'))
    (tmp_path / "same").write_bytes(last.best)
    (tmp_path / "alone").write_bytes(last.note)
    (tmp_path / "bit").write_bytes(last.best.replace(b"\n4\n", b"\n5\n"))
    words = ["--config", str(config), "custody", "new-epoch", "--why", "x", "--checkpoint"]
    with pytest.raises(ConfigError, match="cannot follow"):
        await asyncio.to_thread(_invoke, [*words, str(tmp_path / "same")])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refusal, match="no plain file"):
        await asyncio.to_thread(_invoke, [*words, str(tmp_path / "pipe")])
    for name in ("alone", "bit"):
        with pytest.raises(Refusal, match="not a checkpoint that a witness"):
            await asyncio.to_thread(_invoke, [*words, str(tmp_path / name)])
    config.write_text(config.read_text().replace("[custody]", f'[custody]\nca_file = "{tmp_path}/none.pem"'))
    with pytest.raises(ConfigError, match=r"custody\.ca_file"):
        await asyncio.to_thread(_invoke, [*words, f"{dems.witness_url}/last-checkpoint"])
    assert not (tmp_path / "state" / "journal.db").exists()


def _broken(*_: object, **__: object) -> None:
    raise JournalError("the disk is full")


def _invoke(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    if done.exception is not None:
        raise done.exception


async def _start(config: Path) -> None:
    from agent.daemon import Agent  # noqa: PLC0415

    install(load(config))
    await Agent(load(config)).run()
