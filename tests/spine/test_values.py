"""The values that travel: canonical JSON against an independent writer, names that cannot lie, identities that stay."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Capture, Device, Origin, Priority, canonical, capture_id, printable, rfc3339
from agent.clock import Clock
from tests.spine.make import BEGAN_AT, DEVICE, capture

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(max_codepoint=127))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_canonical_json_is_what_an_independent_writer_writes(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize(
    "value", [1.5, float("nan"), 2**53, -(2**53), {"ä": 1}, {1: 2}, b"x", "\ud800", ["\udfff"], {"a": {1}}, (1, 2)]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"cannot|too large|surrogates"):
        canonical(value)


@given(st.binary(max_size=60))
def test_any_name_becomes_a_printable_one_and_back(name: bytes) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert unquote_to_bytes(shown) == name


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_two_names_never_look_alike(one: bytes, other: bytes) -> None:
    assert (printable(one) == printable(other)) == (one == other)


@pytest.mark.parametrize("name", ["a\u202eb", "a\u200bb", "a\nb", "a%b", "a\x7fb", "\ufeffa", "a\u2028b"])
def test_what_cannot_be_seen_is_shown(name: str) -> None:
    assert "%" in printable(name)


def test_an_identity_depends_on_device_key_time_and_bytes_and_on_nothing_else() -> None:
    def origin(device: str = "d", key: str = "k", began_at: datetime | None = BEGAN_AT) -> Origin:
        return Origin(device, key, began_at)

    same = origin(began_at=BEGAN_AT.astimezone(timezone(timedelta(hours=5))))
    assert same.token == origin().token
    assert capture_id(same, b"x" * 32) == capture_id(origin(), b"x" * 32)
    others = [origin("e"), origin(key="l"), origin(began_at=None), origin(began_at=BEGAN_AT + timedelta(seconds=1))]
    assert len({one.token for one in (origin(), *others)}) == 5
    names = {capture_id(one, b"x" * 32) for one in (origin(), *others)} | {capture_id(origin(), b"y" * 32)}
    assert len(names) == 6
    assert all(uuid.UUID(name).version == 8 for name in names)


@pytest.mark.parametrize("name", ["SN\x01\u202e%1", "100%"])
def test_a_device_whose_number_must_be_escaped_is_a_device(name: str) -> None:
    assert Device(f"usb:0951:1666:{printable(name)}", "body_worn", "bay-1").id.endswith(printable(name))


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\nb", "\u202e"])
def test_a_device_that_cannot_be_shown_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        Device(name, "body_worn", "bay-1")


@pytest.mark.parametrize("key", ["", "x" * 1025, "a\nb", "\u202e"])
def test_a_key_that_cannot_be_shown_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        Origin("d", key, None)


def test_a_time_without_a_zone_is_no_time() -> None:
    with pytest.raises(ValueError, match="aware"):
        Origin("d", "k", datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("length", [-1, 1 << 53])
def test_a_length_that_cannot_be_true_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="cannot be true"):
        Capture(DEVICE, "k", None, length)


@pytest.mark.parametrize("name", ["", "x" * 2000, "a\nb"])
def test_a_device_without_a_name_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="device id"):
        Device(name, "body_worn", "bay")


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_times_are_written_in_utc_with_milliseconds(moment: datetime) -> None:
    written = rfc3339(moment.replace(tzinfo=UTC))
    read = datetime.fromisoformat(written)
    assert abs(read - moment.replace(tzinfo=UTC)) < timedelta(milliseconds=1)
    assert written.endswith("Z")


def test_the_hour_that_a_zone_has_twice_is_two_hours() -> None:
    """Python takes a time in it for equal to the same time an hour later: fold is not compared within a zone."""
    first = datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo("America/Toronto"))
    told = [rfc3339(one) for one in (first, first.replace(fold=1))]
    assert told == ["2026-11-01T05:30:00.000Z", "2026-11-01T06:30:00.000Z"]


def test_the_clock_never_runs_backwards_beside_the_wall() -> None:
    clock = Clock()
    stamps = [clock.stamp() for _ in range(1000)]
    assert all(one.mono_ns <= other.mono_ns for one, other in pairwise(stamps))
    assert {one.boot_id for one in stamps} == {stamps[0].boot_id}
    assert all(one.at.utcoffset() == timedelta(0) for one in stamps)
    assert all((one.uncertainty_us is not None) == one.synchronised for one in stamps)


def test_a_capture_of_which_more_is_told_is_the_same_one() -> None:
    first = capture(claims={"officer": "4711"}, group="REC1", clip=1, members=2)
    more = first.told(claims={"officer": "4711", "media": {"codec": "h264"}})
    assert more == capture(claims={"officer": "4711", "media": {"codec": "h264"}}, group="REC1", clip=1, members=2)
    assert more.told(priority=Priority.HIT) == replace(more, priority=Priority.HIT)
    assert more.origin is first.origin, "who it is was worked out once"
