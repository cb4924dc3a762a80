"""What travels between a station, its broker and the DEMS. Each model is one payload; its schema is made from it.

Payloads are canonical JSON (RFC 8785) of at most 64 KiB. Times are RFC 3339 in UTC, lengths bytes, digests hex. A
reader ignores keys that it does not know: later versions add some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent.capture import canonical
from agent.errors import ConfigError, Problem

if TYPE_CHECKING:
    from agent.config import Config
    from agent.mqtt import StationOptions

__all__ = [
    "CONTENT_TYPE",
    "DOWN",
    "KINDS",
    "PAYLOAD_MAX",
    "UP",
    "AlarmTold",
    "CaptureTold",
    "CommandGiven",
    "DeviceTold",
    "EchoTold",
    "HeadTold",
    "LinkTold",
    "NoticeTold",
    "Order",
    "Payload",
    "ReceiptGiven",
    "ResponseTold",
    "StateTold",
    "StatusTold",
    "prefix",
    "topic",
]

PAYLOAD_MAX: Final = 64 * 1024
"""Bytes of one payload."""
CONTENT_TYPE: Final = "application/json"

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Uuid = Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$", max_length=32)]
Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Station = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}/[a-z0-9-]{1,32}/[a-z0-9-]{1,32}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, hide_input_in_errors=True)


class Payload(_Model):
    """One payload; `schema` says which."""

    kind: ClassVar[str]
    """The last level of its topic."""
    retained: ClassVar[bool] = False
    qos: ClassVar[int] = 1
    expiry: ClassVar[int | None] = None
    """Seconds."""

    def encoded(self) -> bytes:
        """As it is sent. `ValueError` where it is too large."""
        payload = canonical(self.model_dump(mode="json", by_alias=True, exclude_none=True))
        if len(payload) > PAYLOAD_MAX:
            raise ValueError(f"a message of {len(payload)} bytes is larger than {PAYLOAD_MAX}")
        return payload


class DeviceTold(_Model):
    """A device that is docked or connected."""

    device: str
    """Its id; it comes from outside and may hold anything printable."""
    family: str


class StateTold(Payload):
    """Birth and death of a station, retained: one look tells whether it is there."""

    kind = "state"
    retained = True

    schema_: Literal["state/1"] = Field("state/1", alias="schema")
    online: bool
    bd: Count
    """Number of the connection, never used twice. A death whose number is smaller than that of the newest birth is the
    late will of an old connection."""
    boot: str | None = None
    """Boot id of the machine: two of them in turn are two machines with one identity."""
    agent: str | None = None
    """Version of Evidock."""
    since: Time | None = None
    """When the daemon started."""
    log: str | None = None
    """Origin of the custody log."""
    devices: tuple[DeviceTold, ...] | None = None
    """What is docked, up to a hundred."""
    held: Count | None = None
    """Captures that wait for a receipt."""
    oldest_held_at: Time | None = None
    clock: dict[str, JsonValue] | None = None
    """What the station's clock is worth."""


class LinkTold(_Model):
    """One destination."""

    name: str
    up: bool
    problem: str | None = None


class StatusTold(Payload):
    """Figures, now and then. Losing one hurts nobody."""

    kind = "status"
    qos = 0
    expiry = 300

    schema_: Literal["status/1"] = Field("status/1", alias="schema")
    at: Time
    bd: Count
    captures: dict[str, Count]
    """How many stand where."""
    held_bytes: Count
    room: Count
    """Bytes that can still be taken."""
    entries: Count
    """Size of the custody log."""
    devices: Count
    """How many are docked."""
    links: tuple[LinkTold, ...]
    notices: Count
    """Repair notices that stand; `alarm` has them."""
    clock: dict[str, JsonValue]


class CaptureTold(Payload):
    """A capture is held here. It is repeated until a receipt came: `capture` and `entry` tell that it is the same."""

    kind = "capture"

    schema_: Literal["capture/1"] = Field("capture/1", alias="schema")
    capture: Uuid
    device: str
    key: str
    """The device's own name for it."""
    began_at: Time | None = None
    """The device's word."""
    media_type: str
    length: Count
    sha256: Digest
    blake3: Digest
    priority: str
    held_at: Time
    log: str
    entry: Count
    """Leaf of the custody log that says that it is held."""
    group: str | None = None
    clip: int | None = None
    again: Count = 0
    """How often it was announced before."""


class HitTold(CaptureTold):
    """A capture of the class `hit`, such as a number plate on a list, with what the device says of it."""

    kind = "hit"

    schema_: Literal["hit/1"] = Field("hit/1", alias="schema")  # type: ignore[assignment]
    read: dict[str, JsonValue] | None = None
    """The device's claims, such as camera, list and rule; a plate is not among them."""


class NoticeTold(_Model):
    """A repair notice."""

    id: str
    state: Literal["problem", "warning"]
    what: str
    detail: str
    todo: str | None = None
    since: str | None = None


class AlarmTold(Payload):
    """Everything that a person should look at, told whenever it changes; an empty list says that all is well again."""

    kind = "alarm"

    schema_: Literal["alarm/1"] = Field("alarm/1", alias="schema")
    at: Time
    notices: tuple[NoticeTold, ...]


class HeadTold(Payload):
    """The newest signed head of the custody log: whoever keeps it can show later that nothing was cut off."""

    kind = "head"

    schema_: Literal["head/1"] = Field("head/1", alias="schema")
    size: Count
    checkpoint: str
    """A signed note (c2sp.org/tlog-checkpoint)."""


class ReceiptGiven(Payload):
    """The DEMS has captures: each note is a receipt as it comes by HTTPS, signed by a key of `receipt_keys`."""

    kind = "receipt"

    schema_: Literal["receipt/1"] = Field("receipt/1", alias="schema")
    receipts: Annotated[tuple[Annotated[str, Field(max_length=16384)], ...], Field(min_length=1, max_length=16)]


class Order(_Model):
    """What an operator signs: one line of canonical JSON after the line `evidock-command/v1` of a signed note."""

    schema_: Literal["order/1"] = Field("order/1", alias="schema")
    id: Uuid
    """Of this command: obeyed once, whatever comes again."""
    station: Station
    """Whom it is for: agency, site and station as in the topics."""
    command: Literal["report", "prioritise", "hold", "resume", "reload-hotlist"]
    capture: Annotated[str, Field(pattern="^[0-9a-f-]{4,36}$")] | None = None
    priority: Annotated[str, Field(pattern="^[a-z-]{1,32}$")] | None = None
    why: Annotated[str, Field(min_length=1, max_length=500)]
    not_before: Time
    not_after: Time
    """At most 24 hours after `not_before`."""


class CommandGiven(Payload):
    """A command. It needs a Message Expiry; a Response Topic other than the station's own `resp` is refused."""

    kind = "cmd"
    expiry = 86400

    schema_: Literal["cmd/1"] = Field("cmd/1", alias="schema")
    note: Annotated[str, Field(max_length=8192)]
    """The signed note, whose text is an `Order`."""


class ResponseTold(Payload):
    """What became of a command, with its Correlation Data."""

    kind = "resp"
    expiry = 3600

    schema_: Literal["resp/1"] = Field("resp/1", alias="schema")
    id: Uuid | None = None
    """Of the command, where it could be read."""
    done: bool
    again: bool = False
    """It had been obeyed before, and was not obeyed again."""
    detail: str
    """What was done, or why not, in a sentence."""


class EchoTold(Payload):
    """What `evidock check` sends to itself through the broker."""

    kind = "echo"
    expiry = 60

    schema_: Literal["echo/1"] = Field("echo/1", alias="schema")
    id: str


UP: Final[tuple[type[Payload], ...]] = (
    StateTold,
    StatusTold,
    CaptureTold,
    HitTold,
    AlarmTold,
    HeadTold,
    ResponseTold,
    EchoTold,
)
"""What a station sends."""
DOWN: Final[tuple[type[Payload], ...]] = (ReceiptGiven, CommandGiven, EchoTold)
"""What it listens to."""
KINDS: Final = tuple(dict.fromkeys(one.kind for one in (*UP, *DOWN)))


def prefix(config: Config, options: StationOptions) -> str:
    """Agency, site and station as they stand in topics. Raises `ConfigError` where a name does not fit there."""
    agency = options.agency or config.station.agency.lower().replace(".", "-").replace("_", "-")
    station = options.station or config.station.name.lower().replace(".", "-").replace("_", "-")
    problems = [
        Problem(name, f"{level} is longer than 32 characters: give a shorter one")
        for name, level in (("agency", agency), ("station", station))
        if len(level) > 32  # noqa: PLR2004 - as the pattern of a level says
    ]
    if options.receipts_for not in {None, *(table.get("name") for table in config.uplink)}:
        problems.append(Problem("receipts_for", f"no [[uplink]] is named {options.receipts_for}"))
    if problems:
        raise ConfigError(problems)
    return f"{agency}/{options.site}/{station}"


def topic(station: str, kind: str) -> str:
    """The topic of a kind of message."""
    return f"evidock/v1/{station}/{kind}"
