"""Electronic notes, `enote/1`: an entry is canonical JSON (RFC 8785), its envelope a flattened JWS (RFC 7515).

What is known: the format is an open one, made for want of any that is public (the makers' own are apps and clouds). It
stands on RFC 8785 (canonical JSON), RFC 7515 to 7518 and 7638 (signatures, keys, their thumbprints), RFC 8037 and 9864
(Ed25519), RFC 9562 (UUID), RFC 3339 (times) and RFC 7946 (a GeoJSON point). Vectors: a notebook that was signed by npm
jose 6.2.17 and verified by PyPI jwcrypto 1.6.1 and joserfc 1.8.0, with its negatives, and those of RFC 8785's author,
of C2SP wycheproof and of the IETF's JOSE cookbook.

Not verified: a tablet product that speaks it (there is none), and keys that live in a tablet's own key store.

This file says what an envelope and an entry are, and whether one is well-formed. `enote_notebook` says what many of
them are together. No key is known here, and none that travels with its own signature is ever looked at.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NoReturn

import rfc8785

from firmware_specs import SpecError
from firmware_specs.formats.enote_entry import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ALGORITHMS",
    "BATCH_LINES",
    "BATCH_MAX",
    "LINE_MAX",
    "STRENGTH",
    "Envelope",
    "Status",
    "Unreadable",
    "b64url",
    "canonical",
    "compact",
    "envelope",
    "lines",
    "moment",
    "payload_of",
    "problems",
    "strict_json",
    "unb64url",
]

LINE_MAX: Final = 1 << 20
"""Bytes of one envelope."""
BATCH_MAX: Final = 4 << 20
"""Bytes of one upload."""
BATCH_LINES: Final = 1000
"""Envelopes of one upload."""

ALGORITHMS: Final = {"ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
"""Names in a header that are accepted, with the type of the key that they ask for: RFC 7518, 8037, 9864."""

_MEMBERS: Final = ("payload", "protected", "signature")
_B64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_TRAVELLING: Final = ("jwk", "jku", "x5u", "x5c")
_NEVER: Final = ("crit", "b64")
_SHORT: Final = 512
"""Characters of a protected header that are remembered with what it says."""
_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


class Unreadable(SpecError):
    """These bytes are not lines of JSON objects with the three members; nothing can be said of what they hold."""


class Status(StrEnum):
    """What a station says of one envelope; see `STRENGTH` for which is said where several hold."""

    OK = "ok"
    LATE = "late"
    DUPLICATE = "duplicate"
    TWIN = "twin"
    NOT_CANONICAL = "not_canonical"
    BAD_SIG = "bad_sig"
    UNKNOWN_KEY = "unknown_key"
    BAD_ENTRY = "bad_entry"
    BAD_OPS = "bad_ops"
    OUT_OF_ORDER = "out_of_order"
    CHAIN_GAP = "chain_gap"
    FORK = "fork"


STRENGTH: Final = (
    Status.BAD_SIG,
    Status.UNKNOWN_KEY,
    Status.BAD_ENTRY,
    Status.NOT_CANONICAL,
    Status.FORK,
    Status.TWIN,
    Status.CHAIN_GAP,
    Status.BAD_OPS,
    Status.OUT_OF_ORDER,
    Status.LATE,
    Status.DUPLICATE,
    Status.OK,
)
"""From the strongest to the weakest."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One line of an upload, taken apart; nothing in it is believed yet."""

    line: bytes
    """As it came."""
    payload: str
    protected: str
    signature: str
    wrong: tuple[str, ...]
    """Why signature, header or algorithm cannot be accepted whoever signed: then the status is `bad_sig`."""
    noted: tuple[str, ...]
    """What is worth knowing and forbids nothing: `key_in_header`."""
    alg: str | None
    kid: str | None
    canonical: bool
    """The header is in canonical form."""

    @property
    def received_sha256(self) -> bytes:
        """Of the bytes as they came: the capture's digest of record."""
        return sha256(self.line).digest()

    @property
    def digest(self) -> bytes:
        """Of the canonical JSON of the three members: what the next entry names as `prev`."""
        return sha256(compact(self.payload, self.protected, self.signature)).digest()

    @property
    def signed(self) -> bytes:
        """What the signature is over: RFC 7515 section 5.1."""
        return f"{self.protected}.{self.payload}".encode("ascii", "replace")


def compact(payload: str, protected: str, signature: str) -> bytes:
    """Canonical JSON of the three members. What is no base64url is escaped as RFC 8785 has it."""
    if _B64URL.fullmatch(payload + protected + signature):  # nothing in it to be escaped
        return f'{{"payload":"{payload}","protected":"{protected}","signature":"{signature}"}}'.encode()
    try:
        return rfc8785.dumps({"payload": payload, "protected": protected, "signature": signature})
    except (rfc8785.CanonicalizationError, UnicodeError):  # a lone surrogate: no canonical form, and never accepted
        return json.dumps([payload, protected, signature]).encode()


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Canonical JSON of it. Raises `SpecError` where it has none: a number that no double holds, a lone surrogate."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
        raise SpecError(f"it has no canonical form: {error}") from error


def b64url(data: bytes) -> str:
    """Base64url without padding: RFC 7515 section 2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """The bytes. Raises `SpecError` for every other way to write them: padding, spaces, spare bits."""
    if not _B64URL.fullmatch(text) or len(text) % 4 == 1:
        raise SpecError("it is no base64url without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64url(data) != text:
        raise SpecError("its last character has spare bits that are not zero")
    return data


def strict_json(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """JSON in UTF-8 without a byte order mark, without members that stand twice, without NaN. Raises `SpecError`."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except SpecError:
        raise
    except (ValueError, RecursionError) as error:
        raise SpecError(f"it is no JSON: {str(error)[:200]}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise SpecError("a member stands twice in it")
    return made


def _no_constant(word: str) -> NoReturn:
    raise SpecError(f"{word} is no number of JSON")


def lines(body: bytes) -> list[bytes]:
    """The envelopes of an upload, one a line. Raises `Unreadable`: none, too many, one too long, an empty one."""
    found = body.split(b"\n")
    if found[-1] == b"":
        found.pop()
    if not found:
        raise Unreadable("there is no envelope in it")
    if len(found) > BATCH_LINES:
        raise Unreadable(f"it has more than {BATCH_LINES} lines")
    for number, line in enumerate(found, 1):
        if not 0 < len(line) <= LINE_MAX:
            raise Unreadable(f"line {number} is empty or longer than {LINE_MAX} bytes")
    return found


def envelope(line: bytes) -> Envelope:
    """One line, taken apart. Raises `Unreadable` where it is no JSON object with the three members, each a text."""
    wrong: list[str] = []
    try:
        pairs = json.loads(line.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"a line is no JSON object: {str(error)[:200]}") from error
    if not isinstance(pairs, _Members):
        raise Unreadable("a line is no JSON object")
    members = dict(pairs.items)
    if not all(isinstance(members.get(name), str) for name in _MEMBERS):
        raise Unreadable(f"a line has not the members {', '.join(_MEMBERS)}, each a text")
    if len(pairs.items) != len(_MEMBERS):
        wrong.append("it must have exactly three members")
    protected = members["protected"]
    # A tablet's header is the same each time; one that is long is none of an honest tablet.
    header, canonical_header, bad = (_header if len(protected) > _SHORT else _remembered)(protected)
    wrong += bad
    alg, kid = header.get("alg"), header.get("kid")
    wrong += _wrong_in(header)
    for name in ("payload", "signature"):
        try:
            unb64url(members[name])
        except SpecError as error:
            wrong.append(f"{name}: {error}")
    return Envelope(
        line=line,
        payload=members["payload"],
        protected=protected,
        signature=members["signature"],
        wrong=tuple(wrong),
        noted=("key_in_header",) if any(name in header for name in _TRAVELLING) else (),
        alg=alg if isinstance(alg, str) else None,
        kid=kid if isinstance(kid, str) and _KID.fullmatch(kid) else None,
        canonical=canonical_header,
    )


def _wrong_in(header: dict[str, Any]) -> Iterator[str]:
    """Why this header cannot be accepted."""
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        yield "its algorithm is none that is accepted"
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        yield "it names no key by its thumbprint"
    if header.get("typ") != "enote+jws" or header.get("cty") != "enote-entry+json":
        yield "its header is not that of an entry"
    if any(name in header for name in _NEVER):
        yield "its header has `crit` or `b64`"


@dataclass(slots=True)
class _Members:
    items: list[tuple[str, Any]]


def _pairs(pairs: list[tuple[str, Any]]) -> _Members:
    return _Members(pairs)


def _header(protected: str) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
    """(the header, whether it is canonical, what is wrong with it)."""
    try:
        raw = unb64url(protected)
        header = strict_json(raw)
    except SpecError as error:
        return {}, True, (f"protected: {error}",)
    if not isinstance(header, dict):
        return {}, True, ("its header is no JSON object",)
    return header, _is_canonical(header, raw), ()


_remembered: Final = lru_cache(256)(_header)


def _is_canonical(value: Any, raw: bytes) -> bool:  # noqa: ANN401
    try:
        return canonical(value) == raw
    except SpecError:
        return False


def payload_of(found: Envelope) -> tuple[dict[str, Any] | None, tuple[str, ...], bool]:
    """(the entry, what is wrong with it, whether its bytes are canonical). None where it is no JSON object.

    A payload that breaks the rules is given all the same, so that it can be shown; only its problems say what it is.
    """
    try:
        raw = unb64url(found.payload)
        entry = strict_json(raw)
    except SpecError as error:
        return None, (str(error),), True
    if not isinstance(entry, dict):
        return None, ("the payload is no JSON object",), True
    return entry, problems(entry), found.canonical and _is_canonical(entry, raw)


def moment(text: object) -> datetime | None:
    """A time of RFC 3339 with its offset, in UTC; None for anything else."""
    if not isinstance(text, str) or not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
