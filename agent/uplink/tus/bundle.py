"""Several small captures in one request: what a request, an answer and a commit cost is paid once for all of them.

The body is one line of JSON, which names the captures as `Upload-Metadata` does and says how long each is, and then
their bytes one after the other. The answer says of each by itself what became of it. Creating is idempotent by capture
where this is offered, so a request whose answer was lost is sent again, and nothing is there twice.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import Receipt, Strength
from agent.errors import UplinkDown
from agent.uplink import BundleRoom
from agent.uplink.http.answer import note_as_text
from agent.uplink.http.body import PIECE, Body
from agent.uplink.http.claims import metadata
from agent.uplink.http.trouble import Cut
from agent.uplink.tus.wire import BUNDLE_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.capture import Holding
    from agent.uplink import Bundle
    from agent.uplink.http.answer import Answer
    from agent.uplink.http.parts import PartLength
    from agent.uplink.tus.door import TusDoor

__all__ = ["brought_together", "room"]

CAPTURES: Final = 128
"""Captures of one request: what a request costs is a hundredth of theirs then, and more only makes each wait longer."""
LENGTH: Final = 4 * 1024 * 1024
"""Bytes of one request: what a cut link costs, and what is in memory."""
BLOCK: Final = 256 * 1024
TRIES: Final = 3
WAIT: Final = 0.3
"""Seconds, times the number of the try, before a request that was cut is sent again."""
NOT_NOW: Final = frozenset({408, 423})
"""What says nothing of the next such request."""
LATER: Final = frozenset({401, 407, 429})
"""What each capture by itself would be answered as well."""

_log = structlog.get_logger("uplink")


def room(door: TusDoor, part: PartLength) -> BundleRoom | None:
    """Return what one request may bring now, by what the server said last."""
    known = door.known()
    if known is None or known.bundle is None or not known.signs or not door.bundles:
        return None
    return BundleRoom(min(known.bundle.captures, CAPTURES), min(known.bundle.length, LENGTH, part.now))


async def brought_together(
    door: TusDoor, bundle: Bundle, part: PartLength, *, stall: float, destination: str
) -> dict[str, Receipt]:
    """Send it, and return the receipts that came by the id of each capture. Raises `UplinkDown`."""
    contents = await bundle.contents()
    given = [(holding, data) for holding, data in zip(bundle.holdings, contents, strict=True) if data is not None]
    if not given:
        return {}
    holdings = [holding for holding, _ in given]
    blocks = _blocks(_head(holdings), [data for _, data in given])
    length = sum(map(len, blocks))
    answer = await _answered(door, bundle, blocks, length, part, stall=stall)
    if answer is None:
        return {}
    part.kept(length)
    receipts = _receipts(answer, holdings, destination)
    if receipts is None:
        _not_here(door, answer)
    return dict(receipts or ())


def _head(holdings: Sequence[Holding]) -> bytes:
    told = [{"length": holding.digest.length, "metadata": metadata(holding)} for holding in holdings]
    return json.dumps({"captures": told}, separators=(",", ":")).encode() + b"\n"


def _blocks(head: bytes, contents: Sequence[bytes]) -> list[bytes]:
    """The body in blocks that are worth a step each."""
    blocks: list[bytes] = []
    lot, length = [head], len(head)
    for data in contents:
        if length + len(data) > BLOCK:
            blocks.append(b"".join(lot))
            lot, length = [], 0
        lot.append(data)
        length += len(data)
    return [*blocks, b"".join(lot)]


async def _answered(
    door: TusDoor, bundle: Bundle, blocks: Sequence[bytes], length: int, part: PartLength, *, stall: float
) -> Answer | None:
    """The answer that tells of each capture; None where such requests are not taken."""
    headers = {"Content-Type": BUNDLE_TYPE, "Content-Length": str(length)}
    for number in range(1, TRIES + 1):
        await bundle.turn()
        source = bundle.outgoing(blocks)
        body = b"".join([block async for block in source]) if length <= PIECE else Body(source, length, stall)
        try:
            answer = await door.ask("POST", door.url, headers, body)
        except Cut as cut:
            if cut.handed:
                part.lost(length)
            if number == TRIES:
                raise
            await asyncio.sleep(number * WAIT * random.uniform(0.5, 1.0))  # noqa: S311 - chance hides nothing here
            continue
        except UplinkDown as error:
            if isinstance(body, bytes) and error.unsent:
                await bundle.unsent()
            raise
        if answer.status == 200 and answer.spoken:  # noqa: PLR2004 - OK
            return answer
        if answer.status in NOT_NOW:
            return None
        if _is_no(answer):
            _not_here(door, answer)
            return None
        door.surprised()
        raise door.explained(answer)
    return None


def _is_no(answer: Answer) -> bool:
    """Whether such requests are not taken here, or not as large: by the server, or by a proxy or a filter before it."""
    refused = 400 <= answer.status < 500 and answer.status not in LATER  # noqa: PLR2004 - the client's side
    return refused or answer.status == 501 or (answer.spoken and 200 <= answer.status < 300)  # noqa: PLR2004


def _not_here(door: TusDoor, answer: Answer) -> None:
    """Send each capture by itself, until the server is asked again what it can do."""
    door.bundles = False
    _log.warning("bundle_refused", status=answer.status, url=str(answer.url))


def _receipts(answer: Answer, holdings: Sequence[Holding], destination: str) -> list[tuple[str, Receipt]] | None:
    """What the answer gives for each capture, by its place; None for another answer than was agreed on.

    Who signed, and for what, the caller verifies.
    """
    try:
        told = json.loads(answer.body)["captures"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(told, list) or len(told) != len(holdings):
        return None
    found: list[tuple[str, Receipt]] = []
    for one, holding in zip(told, holdings, strict=True):
        note = note_as_text(one.get("receipt")) if isinstance(one, dict) else None
        if note is not None:
            receipt = Receipt(Strength.SIGNED, destination, holding.digest.length, note=note)
            found.append((holding.id, receipt))
    return found
