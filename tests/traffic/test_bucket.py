"""One bucket for everybody: what goes through it in some time, told by a clock of its own."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from agent.traffic import Bucket
from agent.traffic import bucket as bucket_

if TYPE_CHECKING:
    import pytest


async def drain(bucket: Bucket, length: int) -> None:
    while length:
        piece = bucket.piece(min(length, 256 * 1024))
        await bucket.take(piece)
        length -= piece


async def test_all_who_send_together_keep_the_cap() -> None:
    bucket = Bucket(1_000_000)
    began = monotonic()
    await asyncio.gather(*(drain(bucket, 200_000) for _ in range(5)))
    assert monotonic() - began >= 0.4  # 1 MB at 1 MB/s, of which a quarter of a second and one piece may be in advance


async def test_after_an_idle_hour_a_quarter_of_a_second_goes_at_once_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock that stands still while they go: the cap holds over any second, and not on average."""
    now = [1000.0]
    monkeypatch.setattr(bucket_, "monotonic", lambda: now[0])
    bucket = Bucket(1_000_000)
    now[0] += 3600
    gone = 0
    while True:
        one = asyncio.create_task(bucket.take(10_000))
        await asyncio.sleep(0)
        if not one.done():
            one.cancel()
            break
        gone += 10_000
    assert 250_000 <= gone <= 260_000, "what the bucket holds, and the piece that brings it into debt"


async def test_no_cap_lets_everything_pass() -> None:
    await drain(Bucket(), 1 << 40)


async def test_another_rate_counts_at_once_for_those_who_wait() -> None:
    bucket = Bucket(10)  # by which the first piece alone is waited for for minutes
    waiting = asyncio.create_task(drain(bucket, 1_000_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    bucket.rate = None
    async with asyncio.timeout(30):
        await waiting


async def test_who_is_cancelled_keeps_nobody_waiting() -> None:
    bucket = Bucket(4096)
    await bucket.take(8192)
    first = asyncio.create_task(bucket.take(4096))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    bucket.rate = 1e9
    async with asyncio.timeout(30):
        await bucket.take(4096)
