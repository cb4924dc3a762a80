"""One checkpoint on its way to one witness: what is asked, what each answer means, and what is kept of it."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog

from agent.custody.checkpoint import open_checkpoint
from agent.custody.witness import Request, add_cosignatures, read_size
from agent.errors import JournalError, UplinkDown, UplinkError, UplinkRefused, for_people
from agent.journal import anchors
from agent.merkle import consistency_proof
from agent.note import BadNote, Verifier

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import aiohttp

    from agent.anchor.link import Link
    from agent.capture import Stamp
    from agent.custody.policy import Policy
    from agent.journal import Desk, Journal
    from agent.journal.anchors import Signed

__all__ = ["ALARM", "Publishing"]

_TURNS: Final = 3
"""Requests in a row to one witness: a 409 says where to begin."""
ALARM: Final = (
    "Nothing is released any more. Find out whether an old copy of this station's state was put back, or a second"
    " machine runs with a copy of it, and stop that one. Let everything that is held be sent; then begin with a new,"
    " empty state folder and the next number as station.epoch: evidock custody new-epoch."
)


class Publishing:
    """Brings checkpoints to one witness. `on_quorum` is called when a checkpoint has what the policy asks for."""

    def __init__(
        self,
        desk: Desk,
        link: Link,
        logs: Callable[[], Sequence[Verifier]],
        policy: Callable[[], Policy | None],
        stamp: Callable[[], Stamp],
        on_quorum: Callable[[], None],
    ) -> None:
        self._desk, self._link, self._policy = desk, link, policy
        self._keys, self._stamp, self._on_quorum = logs, stamp, on_quorum
        self._log = structlog.get_logger("anchor")

    async def run(self, session: aiohttp.ClientSession, trust: ssl.SSLContext) -> None:
        """Bring each new checkpoint, until cancelled, or until the witness knows another history."""
        while self._link.contradiction is None:
            await self.once(session, trust)
            await self._link.wait()

    async def once(self, session: aiohttp.ClientSession, trust: ssl.SSLContext) -> None:
        """Bring the last checkpoint, unless the witness has cosigned it already. Raises `JournalError` only."""
        link = self._link
        signed = await self._desk.read(anchors.newest)
        if signed is None or signed.size <= link.size or link.contradiction is not None:
            return
        was_up = link.up
        try:
            await self._bring(signed, session, trust)
            link.well()
            if not was_up:
                self._log.info("witness_up", witness=link.verifier.name)
        except UplinkError as error:
            self._failed(error, was_up=was_up)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a witness does to a library, taking and sending go on
            name = link.verifier.name
            self._failed(UplinkDown(f"the witness {name} could not be asked: {for_people(error)}"), was_up=was_up)

    def _failed(self, error: UplinkError, *, was_up: bool) -> None:
        self._link.failed(error)
        if was_up:
            name = self._link.verifier.name
            self._log.warning("witness_down", witness=name, error=str(error), todo=error.what_to_do)

    async def _bring(self, signed: Signed, session: aiohttp.ClientSession, trust: ssl.SSLContext) -> None:
        name, old = self._link.verifier.name, self._link.size
        for _ in range(_TURNS):
            body = await self._desk.read(partial(_request, old=old, signed=signed))
            status, answer = await self._link.ask(session, body, self._keys()[0], trust)
            if status == HTTPStatus.OK:
                await self._cosigned(signed, answer)
                return
            if status == HTTPStatus.UNPROCESSABLE_ENTITY:
                await self._contradicted(f"{name} cosigned another history of {old} entries than this station has")
                return
            theirs = _size_of(answer, name)
            ours: int = await self._desk.read(lambda journal: journal.leaves.size)
            if theirs > ours:
                await self._contradicted(f"{name} cosigned {theirs} entries, and this station has only {ours}")
                return
            if theirs > signed.size:  # the next checkpoint is beyond it, and then it is known whether it is our history
                raise UplinkDown(f"{name} cosigned {theirs} entries, more than the last checkpoint has")
            old = theirs
        raise UplinkRefused(f"the witness {name} contradicts itself about what it cosigned last")

    async def _cosigned(self, signed: Signed, answer: bytes) -> None:
        link = self._link
        try:
            at, reached = await self._desk.write(partial(self._keep, signed=signed, answer=answer))
        except BadNote as error:
            raise UplinkRefused(f"what {link.verifier.name} answered is no cosignature: {error}") from error
        link.size, link.cosigned_at = signed.size, at
        if reached:
            self._on_quorum()

    def _keep(self, journal: Journal, *, signed: Signed, answer: bytes) -> tuple[datetime | None, bool]:
        """In the journal's thread: other witnesses' lines may have come meanwhile."""
        witness, policy = self._link.verifier, self._policy()
        known = anchors.of_size(journal, signed.size) or signed
        cosigned = add_cosignatures(known.best, answer, [witness])
        witnesses = {witness, *(() if policy is None else policy.witness_keys)}
        logs = [Verifier.parse(vkey) for vkey in anchors.log_keys(journal).every]
        opened = open_checkpoint(cosigned, logs, witnesses)
        reached = None if policy is None else policy.cosigned_at(opened.signatures)
        anchors.keep_cosigned(journal, known, cosigned, reached)
        anchors.keep_witness_size(journal, witness.vkey, signed.size)
        return next(one.cosigned_at for one in opened.signatures if one.by == witness), reached is not None

    async def _contradicted(self, reason: str) -> None:
        """Another copy of this log was at this witness: an alarm that stays, whatever is restarted."""
        link, at = self._link, self._stamp().at
        await self._desk.write(lambda journal: anchors.contradict(journal, link.verifier.vkey, reason, at))
        link.contradiction = reason
        self._log.critical("history_contradicted", witness=link.verifier.vkey, reason=reason, todo=ALARM)


def _request(journal: Journal, *, old: int, signed: Signed) -> bytes:
    proof = consistency_proof(old, signed.size, journal.leaves.reader(signed.size))
    return Request(old, tuple(proof), signed.note).write()


def _size_of(answer: bytes, name: str) -> int:
    try:
        return read_size(answer)
    except BadNote as error:
        raise UplinkRefused(f"the witness {name} does not say how much it cosigned: {error}") from error
