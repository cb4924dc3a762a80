"""Plates as they are compared: the worked values of the reference table, which were computed outside of our code."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.alpr.hotlist.plates import decoded, encoded, folded, folded_number, matchable, normalised, with_zeros

# as read, normalised, folded, number of the normalised one, number of the folded one
TABLE = [
    ("EVDK-042", "EVDK042", "EV0K042", 40732206283, 40707842190),
    ("evdk 042", "EVDK042", "EV0K042", 40732206283, 40707842190),
    ("EVDK O42", "EVDKO42", "EV0K042", 40732239139, 40707842190),
    ("EVDK0Q2", "EVDK0Q2", "EV0K002", 40732207097, 40707842042),
    ("EVDKO4Z", "EVDKO4Z", "EV0K042", 40732239172, 40707842190),
    ("EVDK\u2022042", "EVDK042", "EV0K042", 40732206283, 40707842190),
    ("\uff25\uff36\uff24\uff2b\uff10\uff14\uff12", "EVDK042", "EV0K042", 40732206283, 40707842190),
    ("EVOK042", "EVOK042", "EV0K042", 40752822054, 40707842190),
    ("B0I1 G8", "B0I1G8", "801168", 834967428, 626074086),
    ("\u00dftest", "SSTEST", "55TE5T", 2066866650, 428849085),
    ("12345678901Z", "12345678901Z", "123456789012", 370798994156099061, 370798994156099028),
]

ANY = st.text(string.ascii_uppercase + string.digits, min_size=2, max_size=12)


@pytest.mark.parametrize(("read", "plain", "fold", "number", "number_of_fold"), TABLE)
def test_worked_values(read: str, plain: str, fold: str, number: int, number_of_fold: int) -> None:
    assert normalised(read) == plain
    assert folded(plain) == fold
    assert encoded(plain) == number
    assert encoded(fold) == number_of_fold


@pytest.mark.parametrize("read", ["A", "1234567890123", "", "\u8eca\u724c", "- -"])
def test_what_cannot_be_looked_for(read: str) -> None:
    assert not matchable(normalised(read))


@given(ANY)
@settings(max_examples=200)
def test_a_number_is_of_one_plate(plate: str) -> None:
    assert decoded(encoded(plate)) == plate
    assert folded_number(plate) == encoded(folded(plate))
    assert encoded(plate) < 2**63
    assert len(folded(plate)) == len(plate)
    assert folded(folded(plate)) == folded(with_zeros(plate)) == folded(plate)


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_anything_becomes_letters_and_digits(text: str) -> None:
    assert set(normalised(text)) <= set(string.ascii_uppercase + string.digits)
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize("number", [37, 37 * 37, 37**2 * 5 + 37, 37**3, 37**3 + 37 * 2, 37**4 + 1])
def test_no_plate_has_a_number_with_a_zero_digit(number: int) -> None:
    with pytest.raises(ValueError, match="no plate"):
        decoded(number)
