"""What a witness answers, and what a second copy of a station, or an old one, cannot hide from it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from agent.custody.witness import Request
from agent.note import Note, Signer
from tests.anchor.post import LOG, Post, witness_that

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.testing.dems import EmulatedDems

WITNESS = Signer.cosigner("w.example.org/1", b"\x05" * 32)
OTHER = Signer.cosigner("w.example.org/2", b"\x06" * 32)
TRIALS = 40


async def put_back(post: Post, backup: Path) -> None:
    await post.stop()
    (post.folder / "journal.db").write_bytes((backup / "journal.db").read_bytes())
    for more in ("journal.db-wal", "journal.db-shm"):
        (post.folder / more).unlink(missing_ok=True)
    await post.start()


# --- rollback and clone -----------------------------------------------------------------------------------------------


async def in_every_trial(trial: Callable[[int, random.Random], Awaitable[bool]]) -> int:
    """How many of the trials detected what they should; ten at a time, for each waits for the disk."""
    places = asyncio.Semaphore(10)

    async def one(number: int) -> bool:
        async with places:
            return await trial(number, random.Random(number))

    return sum(await asyncio.gather(*map(one, range(TRIALS))))


@pytest.mark.slow
async def test_a_rollback_is_detected_in_every_trial(tmp_path: Path, dems: EmulatedDems) -> None:
    async def trial(number: int, chance: random.Random) -> bool:
        log = f"edge.example.org/bench-{number}/log1"
        async with Post(tmp_path / f"a{number}", (dems.witness_vkey, dems.witness_url), log=log) as post:
            await post.publish(chance.randrange(1, 400))
            await post.stop()
            backup = post.copy(tmp_path / f"backup{number}")
            await post.start()
            await post.publish(chance.randrange(1, 20))
            await put_back(post, backup)
            # Some grow beyond what the witness saw before they reach it again, some do not.
            await post.publish(chance.randrange(1, 40))
            return len(await post.contradictions()) == 1

    assert await in_every_trial(trial) == TRIALS


@pytest.mark.slow
async def test_a_clone_is_detected_in_every_trial(tmp_path: Path, dems: EmulatedDems) -> None:
    async def trial(number: int, chance: random.Random) -> bool:
        log, witness = f"edge.example.org/bench-{number}/log1", (dems.witness_vkey, dems.witness_url)
        async with Post(tmp_path / f"a{number}", witness, log=log) as post:
            await post.publish(chance.randrange(1, 300))
            await post.stop()
            post.copy(tmp_path / f"b{number}")
            async with Post(tmp_path / f"b{number}", witness, log=log) as clone:
                await post.start()
                pair = [post, clone]
                chance.shuffle(pair)
                for one in pair:
                    await one.publish(chance.randrange(1, 10))
                first, second = [await one.contradictions() for one in pair]
                return not first and len(second) == 1

    assert await in_every_trial(trial) == TRIALS


async def test_the_alarm_stays_says_what_to_do_and_is_written_once(post: Post, tmp_path: Path) -> None:
    await post.publish(3)
    await post.stop()
    backup = post.copy(tmp_path / "backup")
    await post.start()
    await post.publish(5)
    await put_back(post, backup)
    for _ in range(3):
        await post.publish()
        await post.restart()
    (found,) = await post.contradictions()
    assert "and this station has only" in found.reason
    assert (await post.events()).count("anchor.contradicted") == 1
    (problem,) = post.anchor.problems()
    assert problem["state"] == "problem"
    assert "second machine" in (problem["todo"] or "")
    assert "station.epoch" in (problem["todo"] or "")


async def test_a_crash_alone_is_no_rollback(post: Post, dems: EmulatedDems) -> None:
    """The witness answered, the answer was lost: it says 409 with a size that is ours, and the proof begins there."""
    await post.publish(3)
    before = post.anchor.links[0].size
    await post.publish(4)
    post.anchor.links[0].size = before
    await post.publish(4)
    assert await post.contradictions() == []
    assert dems.core.witness.head(LOG).size == await post.size()


# --- weeks without a link ---------------------------------------------------------------------------------------------


async def test_after_weeks_without_a_link_one_proof_suffices(tmp_path: Path, dems: EmulatedDems) -> None:
    post = Post(tmp_path / "state", (dems.witness_vkey, dems.witness_url))
    async with post:
        await post.publish(10)
        url, post.anchor.links[0].url = post.anchor.links[0].url, "http://127.0.0.1:9/"
        for _ in range(20):
            await post.publish(100)
        (problem,) = post.anchor.problems()
        assert problem["state"] == "warning"
        assert (problem["detail"] or "").endswith("cannot be reached: Connection refused")
        asked = dems.core.witness.asked
        post.anchor.links[0].url = url
        await post.anchor.publish()
        assert dems.core.witness.asked == asked + 1
        assert dems.core.witness.head(LOG).size == await post.size() == 2011
        assert post.anchor.problems() == []


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, b"", "does not know our log"),
        (403, b"", "does not accept the signature"),
        (400, b"", "does not understand"),
        (500, b"", "answers 500"),
        (302, b"", "answers 302"),
        (200, b"", "no cosignature"),
        (200, b"<html>sign in</html>", "no cosignature"),
        (200, b"\xff\xfe", "no cosignature"),
        (409, b"", "does not say how much"),
        (409, b"-1\n", "does not say how much"),
        (409, b"0\n", "contradicts itself"),
    ],
)
async def test_an_answer_that_is_no_cosignature_changes_nothing(
    tmp_path: Path, status: int, body: bytes, says: str
) -> None:
    async with (
        witness_that(lambda _: (status, body)) as url,
        Post(tmp_path / "state", (WITNESS.vkey, url)) as post,
    ):
        await post.publish(3)
        assert await post.cosigned() is None
        assert await post.contradictions() == []
        (problem,) = post.anchor.problems()
        assert says in (problem["detail"] or "")
        assert problem["todo"]


@pytest.mark.parametrize(("status", "body"), [(422, b""), (409, b"99999\n")])
async def test_a_witness_that_knows_more_or_other_is_an_alarm(tmp_path: Path, status: int, body: bytes) -> None:
    async with (
        witness_that(lambda _: (status, body)) as url,
        Post(tmp_path / "state", (WITNESS.vkey, url)) as post,
    ):
        await post.publish(3)
        assert len(await post.contradictions()) == 1


def cosigned(body: bytes, signer: Signer, at: int = 1795332000) -> bytes:
    from datetime import UTC, datetime  # noqa: PLC0415

    text = Note.parse(Request.parse(body).checkpoint).text
    return signer.at(datetime.fromtimestamp(at, UTC)).line(text).encode()


async def test_forged_lines_of_a_witness_count_for_nothing(tmp_path: Path) -> None:
    def bent(body: bytes) -> bytes:
        line = bytearray(cosigned(body, WITNESS))
        line[-8] ^= 1
        return bytes(line)

    forged = [
        bent,
        lambda body: cosigned(body, OTHER),
        lambda body: cosigned(body, Signer.cosigner(WITNESS.verifier.name, b"\x07" * 32)),
        lambda body: cosigned(body, Signer.ed25519(WITNESS.verifier.name, b"\x05" * 32)),
        lambda body: cosigned(body, WITNESS).replace(b"=", b""),
        lambda body: b"more text\n\n" + cosigned(body, WITNESS),
        lambda body: cosigned(body, WITNESS) + b"rest",
    ]
    turns = iter(forged)
    async with (
        witness_that(lambda body: (200, next(turns)(body))) as url,
        Post(tmp_path / "state", (WITNESS.vkey, url)) as post,
    ):
        for _ in forged:
            await post.publish()
            assert await post.cosigned() is None
            assert post.anchor.links[0].problem


async def test_two_witnesses_must_both_have_cosigned(tmp_path: Path) -> None:
    up = [True, False]
    async with (
        witness_that(lambda body: (200, cosigned(body, WITNESS, 1795332000)) if up[0] else (503, b"")) as first,
        witness_that(lambda body: (200, cosigned(body, OTHER, 1795332060)) if up[1] else (503, b"")) as second,
        Post(tmp_path / "state", (WITNESS.vkey, first), (OTHER.vkey, second)) as post,
    ):
        await post.publish(2)
        assert await post.cosigned() is None
        up[1] = True
        await post.anchor.publish()
        found = await post.cosigned()
        assert found is not None
        assert found.cosigned_at is not None
        assert found.cosigned_at.timestamp() == 1795332060
        assert found.best.count("— w.example.org".encode()) == 2


async def test_a_log_that_nobody_enrolled_stays_unknown_where_it_must(tmp_path: Path) -> None:
    from agent.testing.dems import EmulatedDems  # noqa: PLC0415

    async with (
        EmulatedDems(tmp_path / "strict", enrol=False) as strict,
        Post(tmp_path / "state", (strict.witness_vkey, strict.witness_url)) as post,
    ):
        await post.publish()
        assert "does not know our log" in (post.anchor.links[0].problem or "")
        await strict.core.witness.watch(post.anchor.signer.vkey)
        await post.anchor.publish()
        assert await post.cosigned() is not None
