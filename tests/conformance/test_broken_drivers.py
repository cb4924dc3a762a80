"""Drivers that each break one sentence of the contract, and the test of the suite that must see it.

A suite that cannot fail proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Standing
from agent.errors import BadCapture
from agent.testing import rig as suite_rig
from agent.testing.conformance import FILM, DriverConformance
from tests.conformance.broken import (
    LEFT_OPEN,
    AsksForMore,
    Broken,
    CannotBeEnded,
    CleansUp,
    EndsWhenUnplugged,
    FillsUp,
    ForeignError,
    GivesUp,
    Guesses,
    KeepsDescriptors,
    MovesBeforeOffering,
    NeverSighted,
    Numbered,
    OtherBytesFromN,
    OurClock,
    QuietEnd,
    ReleasesAll,
    ReleasesNothing,
    ReleasesOnce,
    Remembers,
    Stuck,
)
from tests.conformance.recorder import RecorderRig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


CASES: list[tuple[type[Broken], str, tuple[Any, ...]]] = [
    (OurClock, "test_1_an_origin_is_stable", ()),
    (Numbered, "test_1_an_origin_is_stable", ()),
    (NeverSighted, "test_1_an_origin_is_stable", ()),
    (AsksForMore, "test_2_what_is_not_opened_is_skipped", (Standing.HELD,)),
    (Stuck, "test_2_what_is_not_opened_is_skipped", (Standing.QUARANTINED,)),
    (OtherBytesFromN, "test_3_bytes_from_0_and_from_n_agree", ()),
    (OtherBytesFromN, "test_3_a_reading_goes_on_after_the_device_was_gone", ()),
    (QuietEnd, "test_3_a_reading_goes_on_after_the_device_was_gone", ()),
    (ForeignError, "test_3_a_reading_goes_on_after_the_device_was_gone", ()),
    (ReleasesOnce, "test_4_a_release_may_be_repeated", ()),
    (ReleasesNothing, "test_4_a_release_may_be_repeated", ()),
    (ReleasesAll, "test_4_a_release_may_be_repeated", ()),
    (CleansUp, "test_4_a_driver_releases_nothing_by_itself", ()),
    (Remembers, "test_5_a_name_that_is_used_again_is_offered_again", (b"the next shift",)),
    (Remembers, "test_5_a_name_that_is_used_again_is_offered_again", (FILM,)),
    (GivesUp, "test_6_what_take_raises_does_not_end_it", (BadCapture,)),
    (EndsWhenUnplugged, "test_6_unplugging_does_not_end_it", ()),
    (CannotBeEnded, "test_6_cancellation_ends_it_soon", ()),
    (Guesses, "test_7_a_stated_length_is_true", (FILM,)),
    (FillsUp, "test_7_a_length_that_contradicts_the_index_is_not_held", ()),
    (MovesBeforeOffering, "test_8_cancelled_at_any_await_nothing_is_lost", ()),
    (KeepsDescriptors, "test_8_no_descriptor_is_left_behind", ()),
    (ReleasesNothing, "test_a_whole_life", ()),
    (CleansUp, "test_a_whole_life", ()),
]


@pytest.mark.parametrize(("driver", "test", "arguments"), CASES, ids=[f"{c[0].__name__}-{c[1][5:30]}" for c in CASES])
async def test_the_suite_catches_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: type[Broken],
    test: str,
    arguments: tuple[Any, ...],
) -> None:
    monkeypatch.setattr(suite_rig, "WITHIN", 1.5)

    class BrokenRig(RecorderRig):
        made = driver

    class Suite(DriverConformance):
        def rig(self, tmp_path: Path) -> BrokenRig:
            return BrokenRig(tmp_path)

    run: Callable[..., Any] = getattr(Suite(), test)
    try:
        with pytest.raises((AssertionError, Exception, ExceptionGroup)) as caught:
            await run(tmp_path, *arguments)
        assert not isinstance(caught.value, pytest.skip.Exception), "it was skipped, not caught"
    finally:
        while LEFT_OPEN:
            LEFT_OPEN.pop().close()
