"""Which rule matched, and how sure: the reference's table, and random plates with known changes."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.alpr.hotlist.index import Entry
from drivers.alpr.hotlist.matching import _CLASSES, Match, Rules, matches, readings
from drivers.alpr.hotlist.plates import folded, with_zeros

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFUSED = ("0ODQ", "1I", "2Z", "5S", "8B", "6G")


def listing(*plates: str, region: str | None = None) -> list[tuple[str, object]]:
    entries = [Entry(plate, "stolen_vehicle", region, None, None) for plate in plates]
    return [("list", lambda plate: [entry for entry in entries if folded(entry.plate) == folded(plate)])]


def found(
    read: str,
    *listed: str,
    most: int = 2,
    region: str | None = None,
    list_region: str | None = None,
    likelihood: float | None = None,
    chars: Iterable[float] = (),
    candidates: Iterable[tuple[str, float | None]] = (),
) -> list[Match]:
    asked = readings(read, likelihood, tuple(chars), candidates)
    return matches(asked, listing(*listed, region=list_region), Rules(most), region=region)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("read", "listed", "rule"),
    [
        ("EVDKO42", "EVDK042", "exact"),
        ("EVDK 042", "EVDK042", "exact"),
        ("EVDKD42", "EVDK042", "ocr(1)"),
        ("EVDKQ4Z", "EVDK042", "ocr(2)"),
        ("EVDK0A2", "EVDK042", None),
        ("EVDK42", "EVDK042", None),
        ("EVDK0422", "EVDK042", None),
    ],
)
def test_the_reference_table(read: str, listed: str, rule: str | None) -> None:
    assert [match.rule for match in found(read, listed)] == ([] if rule is None else [rule])


@pytest.mark.parametrize(("most", "hits"), [(0, 0), (1, 1), (2, 2)])
def test_the_policy_says_how_many_may_differ(most: int, hits: int) -> None:
    assert len(found("EVDKD4Z", "EVDKD42", "EVDK042", most=most)) == hits


@given(
    plate=st.text(string.ascii_uppercase + string.digits, min_size=3, max_size=8),
    seed=st.integers(0, 1 << 30),
    changes=st.integers(0, 2),
)
@settings(max_examples=150)
def test_the_label_is_the_number_of_changes(plate: str, seed: int, changes: int) -> None:
    chance, read = random.Random(seed), list(plate)
    places = [at for at, c in enumerate(plate) if any(c in group for group in CONFUSED)]
    chosen = chance.sample(places, min(changes, len(places)))
    for at in chosen:
        group = next(group for group in CONFUSED if read[at] in group)
        read[at] = chance.choice([c for c in group if with_zeros(c) != with_zeros(read[at])])
    (match,) = found("".join(read), plate)
    assert match.differences == len(chosen)
    assert match.rule == (f"ocr({len(chosen)})" if chosen else "exact")


def test_the_letter_o_is_the_digit_and_d_is_not() -> None:
    assert [m.rule for m in found("OOO1", "0001")] == ["exact"]
    assert [m.rule for m in found("DOO1", "0001")] == ["ocr(1)"]


def test_a_character_that_the_camera_was_unsure_of_may_be_any() -> None:
    sure = [0.99] * 7
    unsure = [0.99, 0.99, 0.41, 0.99, 0.99, 0.99, 0.99]
    assert found("EVXK042", "EVDK042", chars=sure) == []
    (match,) = found("EVXK042", "EVDK042", chars=unsure, likelihood=0.9)
    assert (match.rule, match.differences) == ("unsure(1)", 1)
    assert match.sureness == pytest.approx(0.9 * 0.59)
    (match,) = found("EVXK0A2", "EVDK0A2", chars=unsure)
    assert match.sureness is None, "a camera that does not say how sure it is of the whole"
    assert found("EVXK0AZ", "EVDK042", chars=unsure) == [], "only the one that it was least sure of"
    assert found("EVXK042", "EVDK042", chars=unsure, most=0) == []
    assert [m.rule for m in found("EVXK04Z", "EVDK042", chars=unsure)] == ["unsure(2)"]
    assert found("EVXK04Z", "EVDK042", chars=unsure, most=1) == []


def test_likelihoods_of_characters_that_do_not_fit_the_plate_count_for_nothing() -> None:
    (match,) = found("EVDK D42", "EVDK042", chars=[0.1] * 3, likelihood=0.8)
    assert match.sureness == pytest.approx(0.4), "as if there were none"
    (match,) = found("EVDK-D42", "EVDK042", chars=[0.9] * 5 + [0.75] + [0.9] * 2, likelihood=0.8)
    assert match.sureness == pytest.approx(0.2), "the hyphen has one too, and is passed over"


def test_other_readings_of_the_camera_are_looked_up_after_the_best() -> None:
    (match,) = found("EVXX042", "EVDK042", likelihood=0.9, candidates=[("EVXX042", 0.9), ("EVDK-042", 0.4)])
    assert (match.rule, match.reading.rank, match.sureness) == ("exact", 2, 0.4)
    (match,) = found("EVDKD42", "EVDK042", candidates=[("EVDK042", 0.4)])
    assert match.rule == "exact", "the better of two ways to one entry"
    many = [(f"AAAA{number:03}", 0.1) for number in range(100)]
    assert len(readings("EVDK042", 0.9, (), many)) <= 11


def test_the_order_of_hits() -> None:
    told = found("EVDKD42", "EVDK042", "EVDKD42", "EVDKDAZ", "EVDKQ4Z", most=2)
    assert [match.rule for match in told] == ["exact", "ocr(1)", "ocr(2)"]


@pytest.mark.parametrize(
    ("camera", "lists", "mismatch"), [("CA-ON", "CA-QC", True), ("CA-ON", "CA-ON", False), (None, "CA-ON", None)]
)
def test_another_region_is_told_and_never_a_reason_to_pass_by(
    camera: str | None, lists: str | None, mismatch: object
) -> None:
    (match,) = found("EVDK042", "EVDK042", region=camera, list_region=lists)
    assert match.region_mismatch is mismatch


def test_the_classes_are_those_that_folding_makes() -> None:
    assert {folded(c) for c in string.ascii_uppercase + string.digits} == set(_CLASSES)
