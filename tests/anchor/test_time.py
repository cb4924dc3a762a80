"""Each entry lies between two times that do not rest on the station's clock; time stamps are a second word on them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, time
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from pydantic import ValidationError

from agent.anchor.stamping import _certificates, until_next
from agent.cli.verify import stamped as told_by
from agent.config import Custody
from agent.errors import UplinkDown, UplinkRefused
from agent.journal import anchors
from agent.journal.witnessed import Bound, Witnessed, witnessed
from agent.note import Signer
from agent.testing.dems import EmulatedDems
from tests.anchor.post import Post, in_pieces, witness_that
from tests.anchor.test_witness import cosigned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WITNESS = Signer.cosigner("w.example.org/1", b"\x05" * 32)
NOON = 1795348800


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def around(post: Post, index: int) -> Witnessed:
    return await post.desk.read(lambda journal: witnessed(journal, index))


async def test_an_entry_lies_between_the_quoted_cosignature_and_the_next(tmp_path: Path) -> None:
    now = [NOON]
    async with (
        witness_that(lambda body: (200, cosigned(body, WITNESS, now[0]))) as url,
        Post(tmp_path / "state", (WITNESS.vkey, url)) as post,
    ):
        await post.write(3)
        assert await around(post, 2) == Witnessed(None, None)
        await post.publish()
        await post.anchor.quote()  # entry 5: whatever follows came after noon
        first = await around(post, 2)
        assert (first.after, first.before) == (None, Bound(at(NOON), "witnesses", 5))
        index = await post.write() - 1
        middle = await around(post, index)
        assert middle == Witnessed(Bound(at(NOON), "witnesses", 5), None)
        now[0] += 600
        await post.publish()
        middle = await around(post, index)
        assert (middle.after.at, middle.before.at) == (at(NOON), at(NOON + 600))
        quoted = await around(post, 5)  # the quoting entry itself came before what it makes sure of
        assert quoted.after is None
        await post.anchor.quote()
        now[0] += 600
        await post.publish()
        assert (await around(post, index)).before.at == at(NOON + 600)  # the earliest counts


# --- time stamps ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from agent.testing.dems.stamping import Authority  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("tsa")
    Authority(folder / "tsa")
    return folder


@pytest.fixture
async def stamped(tmp_path: Path, authority: Path) -> AsyncIterator[Post]:
    async with (
        EmulatedDems(authority, tsa=True) as dems,
        Post(tmp_path / "state", tsa_url=dems.tsa_url, tsa_ca_file=dems.tsa_ca_file) as post,
    ):
        yield post


async def test_openssl_verifies_the_token_over_the_file(stamped: Post, tmp_path: Path, authority: Path) -> None:
    await stamped.publish(3)
    before = datetime.now(UTC)
    await stamped.anchor.stamp()
    token = await stamped.desk.read(anchors.newest_time_stamp)
    assert token is not None
    assert abs((token.stamped_at - before).total_seconds()) < 5
    (tmp_path / "checkpoint").write_bytes(token.note)
    (tmp_path / "checkpoint.tsr").write_bytes(token.token)
    words = ["openssl", "ts", "-verify", "-data", "checkpoint", "-in", "checkpoint.tsr"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*words, "-CAfile", str(authority / "tsa" / "ca.pem")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Verification: OK" in done.stdout + done.stderr
    entry = json.loads(await stamped.desk.read(lambda journal: journal.leaves.leaf(journal.leaves.size - 1)))
    told = entry["predicate"]["time_stamp"]
    assert told["sha256"] == sha256(token.token).hexdigest()
    assert (await around(stamped, 1)).before.by == told["authority"]
    later = await stamped.write() - 1
    assert (await around(stamped, later)).after.at == token.stamped_at


async def test_a_login_in_an_address_goes_to_its_server_and_nowhere_else(tmp_path: Path, authority: Path) -> None:
    """It is no part of the custody log, which others read, nor of what is shown."""
    async with (
        EmulatedDems(authority, tsa=True) as dems,
        Post(
            tmp_path / "state",
            (WITNESS.vkey, "http://station:p@ss-w0rd@127.0.0.1:9/witness"),
            tsa_url=dems.tsa_url.replace("://", "://station:p%40ss-w0rd@"),
            tsa_ca_file=dems.tsa_ca_file,
        ) as post,
    ):
        await post.publish(3)
        await post.anchor.stamp()
        token = await post.desk.read(anchors.newest_time_stamp)
        assert token.authority == dems.tsa_url.replace("://", "://***@")
        written = await post.desk.read(lambda journal: b"".join(map(journal.leaves.leaf, range(journal.leaves.size))))
        for text in (written.decode(), repr(await post.anchor.view()), repr(await around(post, 1))):
            assert "w0rd" not in text


async def test_nothing_new_is_not_stamped_again(stamped: Post) -> None:
    await stamped.publish(3)
    await stamped.anchor.stamp()
    size = await stamped.size()
    await stamped.anchor.sign()
    await stamped.anchor.stamp()
    assert await stamped.size() == size  # a token's entry asks for no checkpoint, and so for no token


async def test_what_could_not_be_stamped_is_stamped_later(stamped: Post) -> None:
    stamping = stamped.anchor._stamping
    url, stamping._url = stamping._url, "http://127.0.0.1:9/"
    await stamped.publish(3)
    with pytest.raises(UplinkDown):
        await stamped.anchor.stamp()
    stamping._url = url
    await stamped.publish(3)
    await stamped.anchor.stamp()
    assert (await stamped.desk.read(anchors.newest_time_stamp)).size == 7


async def test_what_others_say_may_come_in_pieces(tmp_path: Path, authority: Path) -> None:
    """A token with its certificates is longer than a segment of TCP."""
    from agent.testing.dems.stamping import Authority  # noqa: PLC0415

    tsa = Authority(authority / "tsa")

    async def stamp(request: web.Request) -> web.StreamResponse:
        return await in_pieces(request, await asyncio.to_thread(tsa._stamp, await request.read()) or b"")

    app = web.Application()
    app.router.add_post("/tsa", stamp)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/tsa"
        async with (
            witness_that(lambda body: (200, cosigned(body, WITNESS, NOON)), pieces=True) as witness,
            Post(tmp_path / "state", (WITNESS.vkey, witness), tsa_url=url, tsa_ca_file=tsa.ca_file) as post,
        ):
            await post.publish(3)
            await post.anchor.stamp()
            token = await post.desk.read(anchors.newest_time_stamp)
            assert token is not None
            assert WITNESS.verifier.name.encode() in token.note
    finally:
        await runner.cleanup()


async def test_a_certificate_that_stands_in_its_file_twice(stamped: Post, tmp_path: Path) -> None:
    stamping, pem = stamped.anchor._stamping, stamped.custody.tsa_ca_file.read_bytes()
    (tmp_path / "twice.pem").write_bytes(pem + pem)
    stamping._roots = _certificates(tmp_path / "twice.pem")
    await stamped.publish(3)
    await stamped.anchor.stamp()
    token = await stamped.desk.read(anchors.newest_time_stamp)
    assert told_by(token.token, token.note, pem + pem) == token.stamped_at


async def test_a_token_of_another_authority_or_for_other_bytes_is_refused(
    stamped: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamping = stamped.anchor._stamping
    await stamped.publish(3)
    true_ask, kept = stamping._ask, []

    async def recorded(*args: object) -> bytes:
        kept.append(await true_ask(*args))
        return kept[-1]

    monkeypatch.setattr(stamping, "_ask", recorded)
    await stamped.anchor.stamp()
    await stamped.publish(3)

    for answer in (kept[0], kept[0][:-1], b"", b"\x30\x03\x02\x01\x00"):

        async def replayed(*_: object, answer: bytes = answer) -> bytes:
            return answer

        monkeypatch.setattr(stamping, "_ask", replayed)
        with pytest.raises(UplinkRefused, match="cannot be verified"):
            await stamped.anchor.stamp()
    monkeypatch.setattr(stamping, "_ask", true_ask)
    from agent.testing.dems.stamping import Authority  # noqa: PLC0415

    strange = await asyncio.to_thread(Authority, tmp_path / "strange")
    stamping._roots = _certificates(strange.ca_file)
    with pytest.raises(UplinkRefused, match="cannot be verified"):
        await stamped.anchor.stamp()


@pytest.mark.parametrize(
    ("times", "now", "seconds"),
    [
        ((), "12:00:00", float("inf")),
        (("07:00", "19:30"), "12:00:00", 7.5 * 3600),
        (("07:00", "19:30"), "19:30:00", 11.5 * 3600),
        (("07:00",), "06:59:59", 1),
        (("07:00",), "07:00:01", 24 * 3600 - 1),
    ],
)
def test_the_next_end_of_a_shift(times: tuple[str, ...], now: str, seconds: float) -> None:
    here = datetime.fromisoformat(f"2026-11-22T{now}+05:30")
    assert until_next([time.fromisoformat(one) for one in times], here) == seconds


async def test_a_token_is_had_when_the_dock_empties(stamped: Post) -> None:
    stamped.anchor._stamping._every = 3600.0
    await stamped.publish(3)
    task = asyncio.create_task(stamped.anchor.run())
    try:
        async with asyncio.timeout(60):
            while (first := await stamped.desk.read(anchors.newest_time_stamp)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await stamped.write(3)
            await stamped.anchor.dock_empties()
            while (await stamped.desk.read(anchors.newest_time_stamp)).size == first.size:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await stamped.desk.read(anchors.newest_time_stamp)).size >= first.size + 3
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_times_of_day_are_written_in_one_way() -> None:
    assert Custody(tsa_at=("07:00", "19:30")).tsa_at == (time(7), time(19, 30))
    for wrong in ("7:00", "24:00", "07:60", "noon", "07:00:00"):
        with pytest.raises(ValidationError, match="write a time of day"):
            Custody(tsa_at=(wrong,))
