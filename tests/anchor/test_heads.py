"""Checkpoints are signed in batches over what is durable, and quoting one asks for no other."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from agent.anchor import keys
from agent.anchor.room import BATCH
from agent.custody.checkpoint import open_checkpoint, open_cosigned
from agent.errors import ConfigError, JournalError
from agent.journal import anchors
from tests.anchor.post import LOG, Post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.testing.dems import EmulatedDems


async def until(true: Callable[[], object], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not (await found if asyncio.iscoroutine(found := true()) else found):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def at_work(post: Post, interval: timedelta) -> AsyncIterator[Post]:
    post.custody = post.custody.model_copy(update={"interval": interval})
    post.anchor._custody = post.custody
    task = asyncio.create_task(post.anchor.run())
    yield post
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_is_signed_is_the_head_and_is_kept(post: Post) -> None:
    size = await post.write(5)
    signed = await post.anchor.sign()
    assert signed is not None
    checkpoint = open_checkpoint(signed.note, [post.anchor.signer.verifier]).checkpoint
    assert (checkpoint.origin, checkpoint.size) == (LOG, size)
    assert checkpoint.root == await post.desk.read(lambda journal: journal.leaves.root())
    assert await post.newest() == signed
    assert await post.anchor.sign() is None  # nothing changed


async def test_a_station_comes_to_rest_although_each_cosignature_is_quoted(post: Post, dems: EmulatedDems) -> None:
    async def rests() -> bool:
        before = await post.size(), dems.core.witness.asked
        await asyncio.sleep(0.7)
        return before == (await post.size(), dems.core.witness.asked)

    async with at_work(post, timedelta(milliseconds=20)):
        for _ in range(5):
            size = await post.write()  # not what the log has a moment later: a quotation of this may stand there then
            await until(lambda size=size: dems.core.witness.head(LOG).size >= size)
        await until(rests)
    events = await post.events()
    assert 1 <= events.count("anchor.cosigned") <= 6
    assert events[-1] == "anchor.cosigned"


async def test_the_entry_quotes_the_cosigned_note_and_only_once(post: Post) -> None:
    await post.publish(3)
    assert await post.anchor.quote()
    assert not await post.anchor.quote()
    cosigned = await post.cosigned()
    entry = json.loads(await post.desk.read(lambda journal: journal.leaves.leaf(journal.leaves.size - 1)))
    told = entry["predicate"]["checkpoint"]
    assert told["sha256"] == sha256(cosigned.best).hexdigest()
    assert (told["size"], told["witnesses"]) == (cosigned.size, ["dems.example.org/witness1"])
    assert await post.anchor.sign() is None  # a quotation is no news
    await post.restart()
    assert await post.anchor.sign() is None
    assert not await post.anchor.quote()
    await post.write()
    assert await post.anchor.sign() is not None


@pytest.mark.parametrize(("count", "interval"), [(BATCH, 60), (1, 1)])
async def test_many_entries_are_signed_at_once_and_few_within_the_interval(
    post: Post, count: int, interval: int
) -> None:
    async def there() -> bool:
        newest = await post.newest()
        return newest is not None and newest.size >= size

    async with at_work(post, timedelta(seconds=interval)):
        await until(post.newest)  # what stood there before is signed without a wait
        size = await post.write(count)
        await until(there)  # which gives up long before a minute is over


async def test_old_checkpoints_that_nobody_cosigned_are_let_go(post: Post) -> None:
    for _ in range(10):
        await post.write()
        await post.anchor.sign()
    count = await post.desk.read(lambda journal: journal.connection.execute("SELECT count(*) FROM checkpoint").get)
    assert count == 1


async def test_a_tree_that_does_not_begin_with_what_was_signed_does_not_start(post: Post) -> None:
    await post.write(5)
    await post.anchor.sign()
    await post.desk.write(lambda journal: journal.connection.execute("DELETE FROM entry WHERE seq >= 3"))
    with pytest.raises(JournalError, match="does not agree with the checkpoint over 6 entries"):
        await post.restart()


async def test_an_entry_that_was_changed_under_the_last_checkpoint_does_not_start(post: Post) -> None:
    await post.write(5)
    await post.anchor.sign()
    await post.write(5)
    await post.desk.write(
        lambda journal: journal.connection.execute("UPDATE entry SET leaf = CAST('{}' AS BLOB) WHERE seq = 2")
    )
    with pytest.raises(JournalError, match="does not agree"):
        await post.restart()


async def test_the_key_is_made_once_for_its_owner_alone(post: Post) -> None:
    path = post.folder / "keys" / "log.key"
    assert path.stat().st_mode & 0o777 == 0o600
    before = post.anchor.signer.vkey
    await post.restart()
    assert post.anchor.signer.vkey == before
    assert keys.load_key(path, LOG).vkey == before
    assert await post.desk.read(anchors.log_vkey) == before


async def test_a_lost_key_is_never_replaced_in_silence(post: Post) -> None:
    await post.write()
    await post.anchor.sign()
    path = post.folder / "keys" / "log.key"
    path.unlink()
    with pytest.raises(JournalError, match="is missing, and it has signed already"):
        await post.restart()
    keys.make_key(path, LOG)
    with pytest.raises(JournalError, match="was not signed with the key of its log"):
        await post.start()


@pytest.mark.parametrize(
    "text", ["", "PRIVATE+KEY+other+00000000+AQ==", "PRIVATE+KEY+edge.example.org/bench-1/log1+00000000+", "\xff"]
)
async def test_what_is_no_key_of_this_log_is_refused_without_a_word_of_it(post: Post, text: str) -> None:
    path = post.folder / "keys" / "log.key"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as error:
        await post.restart()
    assert "AQ==" not in str(error.value)


async def test_a_key_that_others_may_read_is_refused(post: Post) -> None:
    path = post.folder / "keys" / "log.key"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0600"):
        await post.restart()


async def test_systemd_may_bring_the_key(post: Post, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = post.folder / "credentials"
    folder.mkdir()
    (post.folder / "keys" / "log.key").rename(folder / "log.key")
    (folder / "log.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    vkey = post.anchor.signer.vkey
    await post.restart()
    assert post.anchor.signer.vkey == vkey


async def test_the_quorum_is_what_counts(post: Post) -> None:
    await post.publish()
    cosigned = await post.cosigned()
    assert cosigned is not None
    assert post.anchor.policy is not None
    assert open_cosigned(cosigned.best, post.anchor.policy).cosigned_at == cosigned.cosigned_at
    view = await post.anchor.view()
    assert view["log_vkey"] == post.anchor.signer.vkey
    assert view["cosigned"]["size"] == cosigned.size
    assert post.anchor.problems() == []


# --- killed between two steps -----------------------------------------------------------------------------------------


async def test_killed_after_each_step_the_tree_is_at_or_ahead_of_everything_signed(
    post: Post, dems: EmulatedDems, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    for step in ("sign_checkpoint", "keep_signed", "_cosigned"):
        await post.write(2)
        with monkeypatch.context() as patch:
            if step == "sign_checkpoint":  # signed, and not yet kept
                patch.setattr(anchors, "keep_signed", killed)
            elif step == "_cosigned":  # the witness has answered, and the answer is lost
                patch.setattr("agent.anchor.publishing.Publishing._cosigned", killed)
            with suppress(Killed, JournalError):
                await post.anchor.sign()
                if step == "_cosigned":
                    await post.anchor.publish()
        await post.restart()
        newest = await post.newest()
        assert await post.size() >= (newest.size if newest else 0) >= 0
        assert dems.core.witness.head(LOG).size <= await post.size()
        await post.publish()
        assert (await post.cosigned()).size == await post.size()
        assert await post.contradictions() == []


async def test_a_log_that_nobody_outside_is_told_of_reads_no_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a quarter of what a start costs. A file that is named is read all the same: what is wrong is said now."""
    read: list[object] = []
    made = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **what: read.append(what) or made(**what))
    async with Post(tmp_path / "alone") as alone:
        task = asyncio.create_task(alone.anchor.run())
        await alone.write()
        await until(alone.newest)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not read
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="ca_file"):
        await Post(tmp_path / "named", ca_file=tmp_path / "ca.pem").start()
