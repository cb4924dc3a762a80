"""The two lanes against the plain way to compute the same digests."""

from __future__ import annotations

import hashlib

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Digest, Parts
from agent.spool import hashing
from agent.spool.hashing import Hasher

PART = 64


def plainly(data: bytes) -> tuple[Digest, Parts]:
    digest = Digest(hashlib.sha256(data).digest(), blake3(data).digest(), len(data))
    if len(data) <= PART:
        return digest, Parts()
    ends = [*range(PART, len(data), PART), len(data)]
    return digest, Parts(through=b"".join(hashlib.sha256(data[:end]).digest() for end in ends))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "PART_LENGTH", PART)


blocks = st.lists(st.binary(max_size=3 * PART), max_size=8)


@given(blocks)
def test_any_blocks_give_the_digests_of_the_whole(data: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "PART_LENGTH", PART)
        hasher = Hasher()
        for block in data:
            hasher.feed(block)
        assert hasher.finish() == plainly(b"".join(data))


@given(blocks)
def test_the_lanes_may_run_apart(data: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "PART_LENGTH", PART)
        hasher = Hasher()
        for lane in (hasher.fast, hasher.whole):
            for block in data:
                lane(block)
        assert hasher.finish() == plainly(b"".join(data))


@pytest.mark.parametrize("length", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1, 5 * PART])
def test_lengths_around_the_end_of_a_part(length: int) -> None:
    data = bytes(index % 251 for index in range(length))
    hasher = Hasher()
    hasher.feed(data)
    digest, parts = hasher.finish()
    assert (digest, parts) == plainly(data)
    assert len(parts) == (0 if length <= PART else -(-length // PART))


def test_lanes_that_were_fed_different_lengths_are_no_digest() -> None:
    hasher = Hasher()
    hasher.whole(b"abc")
    hasher.fast(b"ab")
    with pytest.raises(ValueError, match="same bytes"):
        hasher.finish()
