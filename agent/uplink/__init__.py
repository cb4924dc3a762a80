"""The ways out: each turns a held capture into bytes at a DEMS and a receipt, and answers for nothing else.

An uplink knows *how* to bring bytes to one kind of receiver and what that receiver can prove. It never decides when to
send, in which order, whether to try again, or whether a device may forget: `agent.forward` and `agent.release` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from agent.capture import Holding, Priority, Receipt

__all__ = [
    "Announces",
    "Back",
    "Bundle",
    "BundleRoom",
    "Bundles",
    "Finding",
    "Leaving",
    "Probes",
    "ReadsBack",
    "ReceiptsLater",
    "Sending",
    "Uplink",
    "UplinkOptions",
]


class Leaving(Protocol):
    """The bytes of one long body, on their way out by a thread."""

    def read(self, room: memoryview, /) -> int:
        """In that thread: put the next bytes there and return how many, at the pace that the policy allows.

        Raises `SpoolDamaged` or `SpoolError`; and `ConnectionAbortedError` after `stop`.
        """

    def stop(self) -> None:
        """Let whoever reads wait no longer."""


class Sending(Protocol):
    """One held capture on its way out through one uplink."""

    @property
    def holding(self) -> Holding:
        """What the journal says of it: id, digests, length, parts, log and index."""

    def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        """Its bytes from the spool in blocks of 256 KiB, read ahead off the event loop.

        Raises `SpoolDamaged` when the kept file is missing, too short or unreadable.
        """

    async def turn(self, length: int, /) -> None:
        """Ask before each request that brings so many bytes.

        Raises `NotNow`, which `send` lets through: something more urgent goes first, or the policy lets these bytes
        wait. What the receiver has confirmed stays.
        """

    def outgoing(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        """The same bytes as `blocks`, for the body of a request: at the pace that the policy allows."""

    def leaving(self, offset: int, length: int, /) -> AbstractAsyncContextManager[Leaving]:
        """The same, for a thread that sends a long body."""

    async def unsent(self, length: int, /) -> None:
        """Tell that the last body of so many bytes was read, and nothing of it left: no connection came about."""

    async def sha256_through(self, offset: int, /) -> bytes:
        """SHA-256 of the first `offset` bytes: from the journal at the end of a part, else computed from the spool."""

    async def class_kept(self) -> Priority:
        """The class of its entry `held`, as rules about its context raised it, for what is kept by class.

        `holding.priority` is when it is sent, and a person may have changed that.
        """

    def recall(self) -> str | None:
        """What `remember` last kept, also after a restart of the agent."""

    async def remember(self, state: str | None, /, *, renew_at: datetime | None = None) -> None:
        """Keep one short text (such as an upload's URL) for this capture and this uplink; durable on return.

        `renew_at`: when `announce` is to be asked again, if the capture still waits then.
        """

    def progress(self, offset: int, /) -> None:
        """The receiver has confirmed everything before `offset`. For people who watch; proves nothing."""


class Uplink(Protocol):
    """One destination. Built from its options; holds no state that a restart may lose."""

    async def send(self, sending: Sending, /) -> Receipt:
        """Bring the capture to the receiver, continuing where an earlier try stopped, and return what it answered.

        The receipt is not believed here: `forward` verifies it. Raises `UplinkDown` (try again later), `UplinkRefused`
        (no, for ever), `BadReceipt`, `SpoolDamaged`, or what `Sending.turn` raised. Cancellation leaves a state from
        which `send` continues.
        """

    async def check(self) -> list[Finding]:
        """One line per thing that was tried: name resolution, TLS, round trip, abilities."""

    async def aclose(self) -> None:
        """Close what is open."""


@runtime_checkable
class Announces(Protocol):
    """An uplink whose receiver can be told of a capture before its bytes come."""

    async def announce(self, sending: Sending, /) -> None:
        """Tell the receiver what the capture is, and remember where its bytes will go. Raises as `send` does.

        Asked again when what was remembered is due: then see to it that the receiver goes on knowing.
        """


class BundleRoom(NamedTuple):
    """What one request may bring at most."""

    captures: int
    length: int
    """Bytes of them together."""


class Bundle(Protocol):
    """Several small held captures on their way in one request."""

    @property
    def holdings(self) -> Sequence[Holding]:
        """What the journal says of them."""

    async def turn(self) -> None:
        """Ask before the request. Raises `NotNow`, which `send_bundle` lets through."""

    async def contents(self) -> Sequence[bytes | None]:
        """Their bytes, from one visit to the spool; None for what it does not give as the journal says."""

    def outgoing(self, blocks: Sequence[bytes], /) -> AsyncIterator[bytes]:
        """Blocks of a request's body, at the pace that the policy allows."""

    async def unsent(self) -> None:
        """Tell that the last body was read, and nothing of it left: no connection came about."""


@runtime_checkable
class Bundles(Protocol):
    """An uplink whose receiver may take several small captures in one request, each with a receipt of its own."""

    @property
    def bundle_room(self) -> BundleRoom | None:
        """How much of them; None where the receiver takes none, and as long as nobody knows."""

    async def send_bundle(self, bundle: Bundle, /) -> Mapping[str, Receipt]:
        """Bring them in one request, and return the receipts by the id of each capture.

        What has none is then sent by `send`, which finds out why. Raises `UplinkDown`, or what `turn` raised, for all
        of them; sent again nothing is doubled.
        """


@dataclass(frozen=True, slots=True)
class Back:
    """What a receiver shows of a capture that it stores."""

    blocks: AsyncIterator[bytes] | None = None
    """Its bytes from the first to the last."""
    sha256: bytes | None = None
    """A digest that it computed anew, where it gives no bytes."""
    why: str | None = None
    """Why it gives no bytes, in a clause."""


@runtime_checkable
class ReadsBack(Protocol):
    """An uplink that can ask for what the receiver stores. For drills alone: evidence is not fetched back."""

    async def read_back(self, holding: Holding, /) -> Back:
        """Ask for a capture that this uplink brought there since the start. Raises `UplinkDown`; reading may too."""


@runtime_checkable
class Probes(Protocol):
    """An uplink that can try what its receiver only says of itself; it is asked to once a day."""

    async def probe(self) -> None:
        """Try it, and act on what was found. Raises `UplinkDown`."""


@runtime_checkable
class ReceiptsLater(Protocol):
    """An uplink to which receipts come when nobody asks: on a disk that is brought back."""

    def later(self) -> AsyncIterator[bytes]:
        """Signed notes as they come, for ever. They are verified by whoever reads them; some may come again."""


class Finding(BaseModel):
    """One line of `evidock check`."""

    model_config = ConfigDict(frozen=True)

    what: str
    state: Annotated[str, Field(pattern="^(ok|warning|problem)$")]
    detail: str
    todo: str | None = None
    """What a person should do, where there is something."""


class UplinkOptions(BaseModel):
    """What every `[[uplink]]` table has; an uplink's `Options` adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: ClassVar[bool] = True
    """Whether its bytes go over a network; else they go while there is none, too."""

    use: str
    """Entry point of the uplink, such as `tus`."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Name of this destination."""
    role: Literal["primary", "fallback", "copy"] = "primary"
    """`primary`: everything goes there. `fallback`: what the primary does not take, once it has been down for `after`.
    `copy`: everything goes there as well."""
    after: Annotated[float, Field(ge=0, le=604800)] = 600.0
    """Seconds that the primary must have been down before a fallback serves; or without a network, if it needs none."""
    in_flight: Annotated[int, Field(ge=1, le=64)] = 16
    """How many captures are on their way at once."""
    receipt_keys: tuple[str, ...] = ()
    """vkeys (C2SP signed-note) of those whose receipts are believed."""
