"""When a checkpoint is signed, published and quoted, and what stops every release: a witness that knows more than we.

A checkpoint is at most `interval` or 64 entries behind the log and is made only where an entry stands that tells of
something other than an anchor. At most once a minute an entry quotes the last cosigned checkpoint. So an idle station
writes one such entry and then nothing: the entry asks for no checkpoint of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog

from agent.anchor import telling
from agent.anchor.link import ENROL, Link
from agent.anchor.publishing import ALARM, Publishing
from agent.anchor.ring import Place, Ring
from agent.custody.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from agent.errors import ConfigError, JournalError, Problem, Refusal, in_words
from agent.journal import anchors
from agent.journal.anchors import Signed
from agent.note import BadNote, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

    from agent.anchor.stamping import Stamping
    from agent.capture import Json, Stamp
    from agent.config import Custody
    from agent.custody.policy import Policy
    from agent.custody.trust import Trust
    from agent.journal import Desk, Journal
    from agent.journal.anchors import LogKeys
    from agent.note import Signer

__all__ = ["BATCH", "Anchor"]

BATCH: Final = 64
"""Entries after which a checkpoint is due at once."""
_QUOTE_EVERY: Final = 60.0


class Anchor:
    """The log's head on its way out. `start` once the journal is open; `run` until cancelled."""

    def __init__(
        self,
        desk: Desk,
        custody: Custody,
        trust: Trust,
        *,
        log: str,
        state: Path,
        stamp: Callable[[], Stamp],
        quote_every: float = _QUOTE_EVERY,
    ) -> None:
        self._desk, self._custody, self._trust = desk, custody, trust
        self._log_name, self._state, self._stamp = log, state, stamp
        self._quote_every = quote_every
        self._place = Place.of(custody, state, log)
        self._ring: Ring | None = None
        self.policy: Policy | None = None
        """Whose cosignatures count; None where no witness is asked for, or the policy cannot be used."""
        self.problem: str | None = None
        """Why the policy cannot be used."""
        self.links: list[Link] = []
        self._stamping: Stamping | None = None
        self._context: ssl.SSLContext | None = None
        self._size = self._signed = 0
        self._grown, self._due, self._quorum = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._log = structlog.get_logger("anchor")

    @property
    def ring(self) -> Ring:
        """The log's key, and the one before while it is being changed; once started."""
        if self._ring is None:
            raise RuntimeError("the anchor was not started")
        return self._ring

    @property
    def signer(self) -> Signer:
        """The log's key, once started."""
        return self.ring.key

    # -- coming -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the key, and compare the tree with what was signed.

        Raises `JournalError` where the two contradict each other or the key is another, and `ConfigError`.
        """
        last = await self._desk.read(anchors.check_head)
        told = await self._desk.read(anchors.log_keys)
        self._ring = Ring.load(self._place, told, signed=last is not None)
        log = self.signer.verifier
        if last is not None:
            self._size = self._signed = last.size
            _check_note(last, told, self.ring)
        self._log.info("log_key", vkey=log.vkey)
        if told.key != log.vkey or log.vkey not in told.every:  # a start that writes nothing needs no room
            await self._desk.write(lambda journal: anchors.keep_log_vkey(journal, log.vkey), waits=False)
        self._find_policy()
        await self._make_links()
        if self._custody.tsa_url is not None:
            from agent.anchor.stamping import Stamping  # noqa: PLC0415 - X.509 is for those who have an authority

            self._stamping = Stamping(self._custody, self._desk)
        if self._custody.ca_file is not None:
            await asyncio.to_thread(self.context)  # what is wrong with its file is said now

    def _find_policy(self) -> None:
        """Whose cosignatures count for the keys that sign now."""
        self.policy = self.problem = None
        try:
            self.policy = self._trust.policy(*self.ring.verifiers)
        except BadNote as error:
            # Captures are taken all the same; what is released asks for this policy and does not find it.
            self.problem = str(error)
            self._log.error("policy_not_usable", error=str(error), log=self.signer.vkey, todo=ENROL)
        marked = set() if self.policy is None else {mark.verifier for mark in self.policy.marks}
        if marked.issuperset(self.ring.verifiers):
            self.problem = "the policy marks the key of this log as compromised: begin a new epoch"
        if self.policy is None and self.problem is None and self._trust.note is not None:
            self.problem = "the policy asks for no witness: its quorum is none"

    async def _make_links(self) -> None:
        urls = {} if self.policy is None else {one.verifier: one.url for one in self.policy.witnesses if one.url}
        urls |= {Verifier.parse(one.vkey): one.url for one in self._custody.witness}
        known = await self._desk.read(
            lambda journal: {key.vkey: anchors.witness_size(journal, key.vkey) for key in urls}
        )
        against = {one.vkey: one.reason for one in await self._desk.read(anchors.contradictions)}
        self.links = [
            Link(key, url, size=known[key.vkey], contradiction=against.get(key.vkey)) for key, url in urls.items()
        ]
        for vkey, reason in against.items():
            self._log.critical("history_contradicted", witness=vkey, reason=reason, todo=ALARM)

    def context(self) -> ssl.SSLContext:
        """Whom TLS trusts. Reads the authorities at its first call."""
        if self._context is None:
            self._context = self._made_context()
        return self._context

    def _made_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._custody.ca_file)
        except (OSError, ssl.SSLError) as error:
            path = self._custody.ca_file
            raise ConfigError([Problem("custody.ca_file", f"{path} cannot be used: {in_words(error)}")]) from error

    # -- what others tell it ------------------------------------------------------------------------------------------

    def grown(self, size: int) -> None:
        """The log has so many entries, all of them durable."""
        self._size = size
        self._grown.set()
        if size - self._signed >= BATCH:
            self._due.set()

    def nudge(self) -> None:
        """A device was docked: now is the time to hear from witnesses, even those that were down."""
        for link in self.links:
            link.nudge()

    async def dock_empties(self) -> None:
        """The last device has left: what it brought is signed, cosigned where that goes quickly, and stamped."""
        if self._stamping is None or not self._custody.tsa_when_empty or self._desk.full is not None:
            return  # without room nothing is signed, and whoever notices that devices leave does not wait for it
        await self.sign()
        self._stamping.shift_ends()

    # -- the work -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sign, publish, quote and stamp, until cancelled. Raises `JournalError`."""
        self._desk.on_write = self.grown
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(self._sign_on())
                work.create_task(self._quote_on())
                if self.links or self._stamping is not None:
                    work.create_task(self._speak())
        finally:
            self._desk.on_write = None

    async def _speak(self) -> None:
        """Publish and stamp. Only for this the authorities are read: a start that does without is a quarter cheaper."""
        context = await asyncio.to_thread(self.context)
        async with _session() as session, asyncio.TaskGroup() as work:
            for link in self.links:
                work.create_task(self._publishing(link).run(session, context))
            if self._stamping is not None:
                work.create_task(self._stamping.run(session, context))

    async def _sign_on(self) -> None:
        while True:
            await self.sign()
            await self._grown.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._custody.interval.total_seconds()):
                    await self._due.wait()
            self._grown.clear()
            self._due.clear()

    async def sign(self) -> Signed | None:
        """Sign the head, if it tells of anything new."""
        # `read` answers after the commit of everything that it saw: what is signed here is durable below.
        head = await self._desk.read(anchors.unsigned_head)
        if head is None:
            return None
        size, root = head
        note = sign_checkpoint(Checkpoint(self._log_name, size, root), *self.ring.signers)
        signed = Signed(size, root, note, self._stamp().at)
        await self._desk.write(lambda journal: anchors.keep_signed(journal, signed))
        self._signed = size
        for link in self.links:
            link.news()
        return signed

    async def _quote_on(self) -> None:
        while True:
            await self._desk.write(self._quote)
            await self._quorum.wait()
            self._quorum.clear()
            await self._desk.write(self._quote)
            await asyncio.sleep(self._quote_every)

    def _quote(self, journal: Journal) -> bool:
        last = None if self.policy is None else anchors.newest_cosigned(journal)
        if last is None or self.policy is None:
            return False
        logs = [Verifier.parse(vkey) for vkey in anchors.log_keys(journal).every]
        opened = open_checkpoint(last.best, logs, self.policy.witness_keys)
        names = [one.by.name for one in opened.signatures if one.time is not None]
        return anchors.anchor_cosigned(journal, names)

    def _publishing(self, link: Link) -> Publishing:
        return Publishing(
            self._desk, link, lambda: self.ring.verifiers, lambda: self.policy, self._stamp, self._quorum.set
        )

    async def publish(self) -> None:
        """Bring the last checkpoint to every witness, once: what `run` does again and again."""
        context = await asyncio.to_thread(self.context)
        async with _session() as session:
            await asyncio.gather(*(self._publishing(link).once(session, context) for link in self.links))

    async def quote(self) -> bool:
        """Quote the last cosigned checkpoint in an entry, where none did."""
        return await self._desk.write(self._quote)

    async def stamp(self) -> None:
        """Have the last checkpoint stamped, once. `UplinkError` where that fails."""
        if self._stamping is not None:
            context = await asyncio.to_thread(self.context)
            async with _session() as session:
                await self._stamping.once(session, context)

    # -- another key --------------------------------------------------------------------------------------------------

    async def rotate(self, *, actor: str, why: str) -> dict[str, str]:
        """Make another key, and sign with both from the next checkpoint on; both public keys. `Refusal`."""
        former = self.signer
        made = await asyncio.to_thread(self._place.make, self._place.next)
        await self._desk.write(
            lambda journal: anchors.rotate_key(journal, made.vkey, actor=actor, why=why), waits=False
        )
        self._ring = Ring(made, former)
        self._find_policy()
        return {"new": made.vkey, "old": former.vkey}

    async def finish(self, trusts: Container[str], *, actor: str, why: str) -> dict[str, str]:
        """Sign with the newer key alone; `trusts` are the logs' keys that the program that deletes believes.

        `Refusal` as long as somebody whose word is needed does not know that key: nothing could be released any more.
        """
        key, former = self.signer, self.ring.former
        if former is None:
            raise Refusal("the key is not being changed", hint="Nothing was changed. Begin it without --finish.")
        if self._trust.note is not None and (
            self.policy is None or key.verifier not in self.policy.log_keys(key.verifier.name)
        ):
            raise Refusal("the policy does not list the new key", hint="Have the agency sign one that does, first.")
        if key.vkey not in trusts:
            hint = "Nothing was changed. As one who may write that file: evidock custody trust --write."
            raise Refusal("the program that deletes does not know the new key", hint=hint)
        await self._desk.write(lambda journal: anchors.retire_key(journal, actor=actor, why=why), waits=False)
        self._ring = await asyncio.to_thread(self.ring.finish, self._place)
        self._find_policy()
        return {"new": key.vkey, "old": former.vkey}

    # -- what it shows ------------------------------------------------------------------------------------------------

    async def view(self) -> dict[str, Json]:
        """Key, heads, witnesses and time stamps, as JSON; at the same cost however large the log is."""
        heads = await self._desk.read(telling.heads)
        return {"log_vkey": self.signer.vkey, **heads, "witnesses": [telling.witness(link) for link in self.links]}

    def problems(self) -> list[dict[str, str | None]]:
        """What is not as it should be, in the words of `agent.station.problems`."""
        return list(telling.problems(self.problem, self.links, self._stamping))

    def troubles(self) -> list[dict[str, str | None]]:
        """Those of them that the journal does not tell by itself: what releases wait for without a word."""
        return [one for one in self.problems() if one["what"] != telling.CONTRADICTED]


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())


def _check_note(last: Signed, told: LogKeys, ring: Ring) -> None:
    """Raise `JournalError` unless the last checkpoint is one of this log's keys, of which ours is the last."""
    log = ring.key.verifier
    every = [Verifier.parse(vkey) for vkey in told.every] if log.vkey == told.key else [log]
    try:
        checkpoint = open_checkpoint(last.best, every).checkpoint
    except BadNote as error:
        raise JournalError(
            f"the last checkpoint of this journal was not signed with the key of its log: {error}",
            hint="Put the log's own key back, or begin with an empty state folder and the next station.epoch.",
        ) from error
    if (checkpoint.origin, checkpoint.size, checkpoint.root) != (log.name, last.size, last.root):
        raise JournalError("the last checkpoint of this journal is not the one that was signed")
