"""A plate as it is compared: normalised, folded over what cameras confuse, and written as one number.

Nothing here changes a plate to fit a pattern: personalised plates use every letter. `O` and `0` are the same character
to us, for lists derived from NCIC print the one as the other; the other confusions are told of by their number.
"""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = [
    "LONGEST",
    "SHORTEST",
    "decoded",
    "encoded",
    "folded",
    "folded_number",
    "matchable",
    "normalised",
    "with_zeros",
]

SHORTEST: Final = 2
LONGEST: Final = 12
"""Characters of a plate that can be compared, after normalising. 37 to the 12th lies below 2 to the 63rd."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_KEEP: Final = {
    code: (chr(code).upper() if chr(code).isascii() and chr(code).isalnum() else None) for code in range(128)
}
# Tables of bytes: one of characters raises and catches an error for each letter that is not in it.
_FOLD: Final = bytes.maketrans(b"ODQIZSBG", b"00012586")
_DIGITS: Final = bytes(_ALPHABET.find(chr(code)) + 1 if chr(code) in _ALPHABET else 0 for code in range(256))
_FOLDED_DIGITS: Final = _FOLD.translate(_DIGITS)
_PAIRS: Final = [
    _ALPHABET[high - 1] + _ALPHABET[low - 1] if high and low else _ALPHABET[low - 1] if low else ""
    for high in range(37)
    for low in range(37)
]
"""The two characters of each number below 37 squared; one where the number has only one, none where it is none."""
_PAIR: Final = 37 * 37


def normalised(plate: str) -> str:
    """NFKC, upper case, and of that only letters and digits of ASCII: a crown, a dot or a blank is nothing."""
    if not plate.isascii():
        plate = "".join(c for c in unicodedata.normalize("NFKC", plate).upper() if c.isascii())
    return plate.translate(_KEEP)


def matchable(plate: str) -> bool:
    """Whether a normalised plate can be looked for."""
    return SHORTEST <= len(plate) <= LONGEST


def folded(plate: str) -> str:
    """A normalised plate with one character for each class that cameras confuse: 0ODQ, 1I, 2Z, 5S, 8B, 6G."""
    return plate.encode().translate(_FOLD).decode()


def with_zeros(plate: str) -> str:
    """A normalised plate with the letter O as the digit, as NCIC prints it."""
    return plate.replace("O", "0")


def encoded(plate: str) -> int:
    """A normalised or folded plate as a number to the base 37, most significant first; no two share one."""
    number = 0
    for digit in plate.encode().translate(_DIGITS):
        number = number * 37 + digit
    return number


def folded_number(plate: str) -> int:
    """`encoded(folded(plate))`, in one go: what every look begins with."""
    number = 0
    for digit in plate.encode().translate(_FOLDED_DIGITS):
        number = number * 37 + digit
    return number


def decoded(number: int) -> str:
    """The plate of a number that `encoded` gave; `ValueError` for one that it never gives."""
    plate = ""
    while number > 0:
        number, pair = divmod(number, _PAIR)
        two = _PAIRS[pair]
        if not two or (number and len(two) == 1):
            raise ValueError("no plate has this number")
        plate = two + plate
    return plate
