"""The values that travel through the agent: what a device offers, what we hold of it, where it stands.

Nothing here does anything. How each is written down stands in `agent.written`, and is handed on here, so that a driver
finds all of it on one page. Times are aware and in UTC, lengths are bytes, digests are raw bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agent.written import LENGTH_MAX, Json, canonical, printable, rfc3339, text_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "DRILL",
    "KEY_MAX",
    "LENGTH_MAX",
    "NO_CLAIMS",
    "PART_LENGTH",
    "STEPS",
    "Capture",
    "Device",
    "Digest",
    "Holding",
    "Json",
    "Observation",
    "Origin",
    "Parts",
    "Priority",
    "Receipt",
    "Stamp",
    "Standing",
    "Strength",
    "canonical",
    "capture_id",
    "printable",
    "rfc3339",
]

NO_CLAIMS: Final[Mapping[str, Json]] = MappingProxyType({})

DRILL: Final = "drill:"
"""How the id of a device begins that the station makes up to try itself. No driver may offer a capture of one."""

KEY_MAX: Final = 1024
"""Most characters that a device's own name for a capture may have."""

PART_LENGTH: Final = 16 * 1024 * 1024
"""Bytes of one part: what one checksum covers, and the most that a cut link costs."""


class Standing(StrEnum):
    """Where a capture stands: the word of its last entry in the journal."""

    UNKNOWN = "unknown"
    HELD = "held"
    RECEIPTED = "receipted"
    RELEASED = "released"
    PURGED = "purged"
    REFUSED = "refused"
    QUARANTINED = "quarantined"


STEPS: Final[Mapping[Standing, frozenset[Standing]]] = MappingProxyType(
    {
        Standing.UNKNOWN: frozenset({Standing.HELD, Standing.QUARANTINED}),
        Standing.HELD: frozenset({Standing.RECEIPTED, Standing.REFUSED, Standing.QUARANTINED}),
        # Back to HELD: a person asks that it be sent again.
        Standing.RECEIPTED: frozenset({Standing.RELEASED, Standing.HELD, Standing.QUARANTINED}),
        # Back to RECEIPTED: the device offers again what it was told to forget; it was taken again and is the same.
        Standing.RELEASED: frozenset({Standing.PURGED, Standing.RECEIPTED, Standing.QUARANTINED}),
        Standing.PURGED: frozenset({Standing.RECEIPTED}),
        # A person decides.
        Standing.REFUSED: frozenset({Standing.HELD, Standing.QUARANTINED}),
        Standing.QUARANTINED: frozenset({Standing.HELD}),
    }
)
"""The only steps that the journal accepts."""


class Priority(IntEnum):
    """What is sent first: the smaller number."""

    FIRST = 0
    USE_OF_FORCE = 10
    FLAGGED = 20
    HIT = 30
    INTERVIEW = 40
    ROUTINE = 50
    BULK = 60


class Strength(IntEnum):
    """How much a receipt proves; only DIGEST and SIGNED can ever let a device forget."""

    LENGTH = 1
    """So many bytes arrived."""
    DIGEST = 2
    """The receiver names the SHA-256 of what it stored."""
    SIGNED = 3
    """The receiver signed capture, SHA-256, length and our log entry with a key of the policy."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device, as it identified itself."""

    id: str
    """The same on every dock and after every restart, such as `usb:0951:1666:SN-BWC-0002`."""
    family: str
    """`body_worn`, `in_car`, `alpr`, `interview_room`, `enotes`."""
    driver: str
    """Name of the driver instance in agent.toml."""
    maker: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    place: str | None = None
    """Where it is plugged in: the bay, the USB port, the network address."""
    spec: str | None = None
    """The device spec that was recognised."""
    spec_fits: str | None = None
    """How that spec fits its firmware: `exact`, `newest older: 1.2`, `any firmware`, `firmware not told`."""

    def __post_init__(self) -> None:
        for name in ("id", "family", "driver"):
            text = getattr(self, name)
            if not text or len(text) > KEY_MAX or not text.isprintable():
                raise ValueError(f"device {name} {printable(text)!r} is empty, too long or not printable")

    @property
    def claims(self) -> dict[str, Json]:
        """As it stands in the journal."""
        return {
            "driver": self.driver,
            "family": self.family,
            "firmware": self.firmware,
            "id": self.id,
            "maker": self.maker,
            "model": self.model,
            "place": self.place,
            "serial": self.serial,
            "spec": self.spec,
            "spec_fits": self.spec_fits,
        }


@dataclass(frozen=True, slots=True)
class Origin:
    """Which capture of which device: stable, and the device's word alone."""

    device: str
    key: str
    """The device's own name for it, such as `DCIM/100MEDIA/CLIP0001.MP4`, passed through `printable`."""
    began_at: datetime | None
    """When the device says that it began; never our clock."""
    _token: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.key or len(self.key) > KEY_MAX or not self.key.isprintable():
            raise ValueError(f"a capture's key must have 1 to {KEY_MAX} printable characters")
        if self.began_at is not None and self.began_at.utcoffset() is None:
            raise ValueError("began_at must be aware")

    @property
    def claims(self) -> dict[str, Json]:
        """The three fields as they stand in the journal."""
        began_at = None if self.began_at is None else rfc3339(self.began_at)
        return {"began_at": began_at, "device": self.device, "key": self.key}

    @property
    def token(self) -> bytes:
        """16 bytes that stand for this origin in indexes and stage names."""
        if not self._token:  # asked for at each step of a capture's way
            object.__setattr__(self, "_token", hashlib.sha256(canonical(self.claims)).digest()[:16])
        return self._token


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture as its device holds it out."""

    device: Device
    key: str
    began_at: datetime | None
    length: int | None = None
    """Bytes, where the device knows; a device that states a length is held to it."""
    media_type: str = "application/octet-stream"
    group: str | None = None
    """The recording that this clip belongs to, unique with the device."""
    clip: int | None = None
    """Which clip of that recording it is, where the device counts them."""
    members: int | None = None
    """How many captures that recording has, by the device's count at this moment; 0: it still grows, and the device
    will say. None: the device does not count."""
    priority: Priority = Priority.ROUTINE
    volatile: bool = False
    """The device forgets it as soon as `take` returns (push and streaming devices)."""
    forgets: str | None = None
    """How its device comes to forget it, where nobody can ask it to, in words that follow "its device": "overwrites its
    oldest recordings by itself". Its offers have no `release`, and it stands receipted for ever."""
    claims: Mapping[str, Json] = field(default_factory=lambda: NO_CLAIMS)
    """What the device says of it, in the maker's words; never edited."""
    _origin: Origin | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.length is not None and not 0 <= self.length < LENGTH_MAX:
            raise ValueError(f"a length of {self.length} bytes cannot be true")
        if self.clip is not None and not 0 <= self.clip < LENGTH_MAX:
            raise ValueError(f"{self.clip} cannot be the number of a clip")
        if self.members is not None and (self.group is None or not 0 <= self.members < LENGTH_MAX):
            raise ValueError(f"{self.members} cannot be how many captures a recording has")
        if self.forgets is not None and (self.volatile or not self.forgets.isprintable()):
            raise ValueError("a device forgets at once or some day, and how it does is told in printable words")

    @property
    def origin(self) -> Origin:
        """Its identity."""
        if (origin := self._origin) is None:  # asked for at each step of a capture's way
            object.__setattr__(self, "_origin", origin := Origin(self.device.id, self.key, self.began_at))
        return origin

    def told(self, *, claims: Mapping[str, Json] | None = None, priority: Priority | None = None) -> Capture:
        """The same capture with other claims or in another class: who it is stays, and is not worked out again."""
        made = replace(
            self,
            claims=self.claims if claims is None else claims,
            priority=self.priority if priority is None else priority,
        )
        object.__setattr__(made, "_origin", self.origin)
        return made


@dataclass(frozen=True, slots=True)
class Digest:
    """What the bytes are. SHA-256 is the hash of record (FIPS 180-4); BLAKE3 is there for speed."""

    sha256: bytes
    blake3: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Digests at the ends of a capture's parts of PART_LENGTH bytes (the last may be shorter).

    32 bytes times the number of parts, and empty for a capture of one part, whose own digest serves.
    """

    sha256: bytes = b""
    """SHA-256 of each part by itself: only in entries of builds that hashed every byte twice for it."""
    through: bytes = b""
    """SHA-256 of everything from the first byte through the end of each part: it costs nothing beside the whole."""

    def __len__(self) -> int:
        return len(self.through) // 32


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a DEMS said of one capture."""

    strength: Strength
    destination: str
    """Name of the uplink instance in agent.toml."""
    length: int
    sha256: bytes | None = None
    note: bytes | None = None
    """The signed note, byte for byte; present where the strength is SIGNED."""
    sent: Mapping[str, Json] = field(default_factory=lambda: NO_CLAIMS)
    """What went there instead of the capture's own bytes, where an uplink encrypts: it stands in the entry."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What the journal says of one capture."""

    id: str
    """UUID; the same on every dock that takes the same bytes from the same device."""
    origin: Origin
    digest: Digest
    standing: Standing
    log: str
    """Origin of the custody log, such as `edge.example.org/dock-0042/log1`."""
    index: int
    """Leaf index of its `held` entry."""
    held_at: datetime
    changed_at: datetime
    priority: Priority
    media_type: str
    group: str | None = None
    clip: int | None = None
    members: int | None = None
    volatile: bool = False
    forgets: str | None = None
    """See `Capture.forgets`."""
    spooled: bool = True
    """Its bytes lie in the spool."""
    retained: bool = False
    """A person ordered that it be kept: it is neither released nor purged."""
    receipt: Receipt | None = None
    receipted_at: datetime | None = None
    reason: str | None = None
    """Why it is refused or quarantined, or why its device may not forget it."""
    parts: Parts = field(default=Parts())

    @property
    def drill(self) -> bool:
        """The station made it to try itself; it is no evidence."""
        return self.origin.device.startswith(DRILL)


@dataclass(frozen=True, slots=True)
class Observation:
    """A fact about the world, told by a device: a position, the ignition, a trigger. The kinds: see `agent.context`."""

    device: str
    kind: str
    """Dotted, such as `vehicle.ignition` or `position`."""
    observed_at: datetime
    """The device's or time source's word."""
    detail: Mapping[str, Json] = field(default_factory=lambda: NO_CLAIMS)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What our own clocks said at one moment, and how far they can be trusted."""

    at: datetime
    boot_id: str
    mono_ns: int
    """CLOCK_BOOTTIME, so that time asleep counts."""
    source: str
    synchronised: bool
    uncertainty_us: int | None
    """The largest error that the kernel admits."""
    offset_us: int | None = None
    """How far the clock is known to be off and is being corrected; None where nobody keeps it right."""
    last_sync_at: datetime | None = None
    """When it was set right last, by itself; None where that was not seen."""

    @property
    def claims(self) -> dict[str, Json]:
        """The part that stands under `clock` in the journal."""
        return {
            "last_sync_at": None if self.last_sync_at is None else rfc3339(self.last_sync_at),
            "offset_us": self.offset_us,
            "source": self.source,
            "synchronised": self.synchronised,
            "uncertainty_us": self.uncertainty_us,
        }


def capture_id(origin: Origin, sha256: bytes) -> str:
    """UUIDv8 (RFC 9562 section 5.8) over SHA-256 of the canonical JSON of origin and digest."""
    raw = bytearray(hashlib.sha256(canonical({**origin.claims, "sha256": sha256.hex()})).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return text_id(bytes(raw))
