"""How what is said of a capture is written: canonical JSON, moments, and names that anybody can be shown.

Byte for byte the same everywhere: the custody log, ids, receipts and descriptions in the spool rest on it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TypeAlias

__all__ = ["LENGTH_MAX", "Json", "canonical", "checked", "encoded", "printable", "rfc3339", "text_id"]

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"
"""What may stand in a journal entry: JSON without fractions (write a fraction as a string)."""

LENGTH_MAX: Final = 1 << 53
"""A stated length lies below this: beyond it not every JSON reader keeps integers exact (RFC 8785 section 3.2.2.3)."""


def canonical(value: Json) -> bytes:
    """Canonical JSON (RFC 8785) of a value without fractions and with keys in ASCII.

    `ValueError` where the value has no canonical form: a fraction, an integer of 2^53 or more, a lone surrogate, a key
    beyond ASCII (for those alone the order of RFC 8785 and of Python differ).
    """
    checked(value)
    return encoded(value)


def encoded(value: Json) -> bytes:
    """The same of a value of which everything that came from outside was `checked` before."""
    return _encoded(value).encode()


# One encoder for all: `json.dumps` would make one for each call.
_encoded = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")).encode


def checked(value: Json) -> None:
    """Raise `ValueError` where the value has no canonical form, but for a lone surrogate, which shows when encoded."""
    # Plain type tests and no call for what holds nothing: every entry of the journal goes through here.
    kind = type(value)
    if kind is dict:
        for key, inner in value.items():  # type: ignore[union-attr]
            if not (type(key) is str and key.isascii()):
                raise ValueError(f"{key!r} cannot be a key in a journal entry")
            if type(inner) is not str and inner is not None:
                checked(inner)
    elif kind is int:
        if not -LENGTH_MAX < value < LENGTH_MAX:  # type: ignore[operator]
            raise ValueError(f"{value} is too large for a journal entry")
    elif kind is list:
        for inner in value:  # type: ignore[union-attr]
            checked(inner)
    elif kind is not str and kind is not bool and value is not None:
        raise ValueError(f"a {kind.__name__} cannot stand in a journal entry")


def rfc3339(moment: datetime) -> str:
    """The moment as RFC 3339 in UTC with milliseconds: `2026-11-22T07:02:17.123Z`."""
    # Before it is looked up: of the hour that a zone has twice, each time is equal to the same time an hour later.
    return _in_utc(moment if moment.tzinfo is UTC else moment.astimezone(UTC))


@lru_cache(maxsize=1024)  # when a capture began is written five times until it is held
def _in_utc(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def text_id(raw: bytes) -> str:
    """The text of a capture's id, a UUID (RFC 9562 section 4)."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def printable(name: bytes | str) -> str:
    """A name from a device as text that can be shown, logged and stored anywhere.

    UTF-8 stays as it is; `%`, control characters, invisible and direction-changing characters, and bytes that are no
    UTF-8 are percent-escaped, so that two names never look alike because of what cannot be seen. Reversible by
    percent-decoding.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return "".join(c if c.isprintable() and c != "%" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    raw = character.encode("utf-8", "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in raw)
