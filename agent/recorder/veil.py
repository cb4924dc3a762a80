"""Names without what they tell of people: each word and number becomes another of the same shape, the same each time.

What makers write stays, or no test could be made of it: the words of our layouts and specs, extensions, two letters at
most, dates and times, and numbers of at most two digits. An officer's name, a badge, a plate, a serial number does not.
"""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from firmware_specs.devices import device_specs
from firmware_specs.formats.layout import layouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.capture import Json

__all__ = ["PLAIN", "Veil"]

_TOKEN: Final = re.compile(r"[^\W\d_]+|\d+", re.UNICODE)
_KEPT_LETTERS: Final = 2
_KEPT_DIGITS: Final = 2
_TRIES: Final = 1000
_MAKERS: Final = frozenset(
    [
        "CLIP",
        "MVI",
        "IMG",
        "DSC",
        "GOPR",
        "GOPRO",
        "MEDIA",
        "REC",
        "VID",
        "MOV",
        "MOVI",
        "FILE",
        "PICT",
        "EVT",
        "EMR",
        "NOR",
        "PARK",
    ]
)
"""Words with which cameras begin the names of files and folders."""

PLAIN: Final = frozenset(
    [
        "attributes",
        "clip",
        "codec",
        "dcf_conformant",
        "direction",
        "file_system",
        "kind",
        "layout",
        "mode",
        "mtime_ns",
        "role",
        "time",
        "type",
        "upload",
    ]
)
"""Claims whose values say nothing of a person: what a file system or a maker's name for a kind of recording says."""


@cache
def _words() -> frozenset[str]:
    """Words of our layouts and specs, folded: they stand in public source."""
    found = {word.casefold() for word in _MAKERS}
    for layout in layouts().values():
        texts = [*layout.roots, *layout.media_types, *(rule.path for rule in layout.rules)]
        found |= {one.casefold() for text in texts for one in _TOKEN.findall(text)}
    for spec in device_specs().values():
        told = [text for text in (spec.serial, spec.firmware, spec.battery) if text is not None]
        said = [word for text in told for word in (text.path, text.pattern)]
        texts = [*spec.match.paths, *said, spec.maker or "", spec.model or "", *spec.models]
        found |= {one.casefold() for text in texts for one in _TOKEN.findall(text)}
    return frozenset(found)


class Veil:
    """One veil: a key that nobody keeps decides what becomes of each word."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._made: dict[str, str] = {}
        self._used: set[str] = set()

    def name(self, text: str) -> str:
        """A path, an id or another name of a device's."""
        return _TOKEN.sub(lambda found: self._token(found[0]), text)

    def value(self, value: Json) -> Json:
        """Anything that a device claims: switches as they are, everything else under the veil."""
        match value:
            case None | bool():
                return value
            case int():
                return int(self._number(str(abs(value)))) * (-1 if value < 0 else 1)
            case str():
                return self.name(value)
            case list():
                return [self.value(one) for one in value]
        return {self._label(name): self.value(inner) for name, inner in value.items()}

    def claims(self, claims: dict[str, Json]) -> dict[str, Json]:
        """A capture's claims: the values of those that tell of nobody stay."""
        return dict(self._claims(claims))

    def _claims(self, claims: dict[str, Json]) -> Iterator[tuple[str, Json]]:
        for name, value in claims.items():
            if isinstance(value, dict):
                yield self._label(name), self.claims(value)
            else:
                yield self._label(name), value if name in PLAIN else self.value(value)

    def _label(self, name: str) -> str:
        return name if re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) else self.name(name)

    def _token(self, token: str) -> str:
        if token.isdigit():
            return token if len(token) <= _KEPT_DIGITS or _is_time(token) else self._number(token)
        if len(token) <= _KEPT_LETTERS or token.casefold() in _words():
            return token
        return self._other(token, lambda place: "".join(chr(ord("a") + byte % 26) for byte in place[: len(token)]))

    def _number(self, digits: str) -> str:
        return self._other(digits, lambda place: "".join(str(byte % 10) for byte in place[: len(digits)]))

    def _other(self, token: str, shape: Callable[[bytes], str]) -> str:
        """Another token of the same shape, which no other one became; case is kept, for FAT does not tell it."""
        plain = token.casefold()
        for number in range(_TRIES if plain not in self._made else 0):
            place = b"".join(
                hmac.digest(self._key, f"{number} {part} {plain}".encode("utf-8", "surrogatepass"), sha256)
                for part in range(1 + len(token) // 32)
            )
            self._made[plain] = made = shape(place)
            if made not in self._used and made != plain:
                break
        made = self._made[plain]
        self._used.add(made)
        return "".join(new.upper() if old.isupper() else new for old, new in zip(token, made, strict=False))


def _is_time(digits: str) -> bool:
    """A date, a time of day, or both, as cameras write them."""
    for form, length in (("%Y%m%d", 8), ("%H%M%S", 6), ("%Y%m%d%H%M%S", 14), ("%y%m%d", 6), ("%Y", 4), ("%m%d", 4)):
        if len(digits) != length:
            continue
        try:
            when = datetime.strptime(digits, form)  # noqa: DTZ007 - whether it is one, and nothing else
        except ValueError:
            continue
        if "%Y" not in form or 2000 <= when.year <= 2099:  # noqa: PLR2004
            return True
    return False
