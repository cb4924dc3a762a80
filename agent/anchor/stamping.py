"""Tokens of a time stamping authority over checkpoints (RFC 3161): a second word on time, from someone else.

What is stamped is the checkpoint's file, byte for byte; a stranger repeats the check with

    openssl ts -verify -data checkpoint -in checkpoint.300.tsr -CAfile ca.pem
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog
from cryptography import x509
from rfc3161_client import TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response

from agent.addresses import shown
from agent.anchor.link import TIMEOUT, body_of, why
from agent.errors import ConfigError, Problem, UplinkDown, UplinkError, UplinkRefused, in_words
from agent.journal import anchors
from agent.journal.anchors import Signed, TimeStamp

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from datetime import time
    from pathlib import Path

    from agent.config import Custody
    from agent.journal import Desk, Journal

__all__ = ["Stamping", "until_next"]

_PAUSE: Final = 60.0
_LOOK: Final = 60.0
_COSIGNED_WITHIN: Final = 2.0
"""Seconds that witnesses get at the end of a shift before their lines are stamped with the rest."""
_QUERY: Final = "application/timestamp-query"  # RFC 3161 section 3.4


class Stamping:
    """One authority. Raises `ConfigError` for certificates that cannot be read."""

    def __init__(self, custody: Custody, desk: Desk) -> None:
        self._url, self._desk = custody.tsa_url or "", desk
        self._every = custody.tsa_every.total_seconds()
        self._at = custody.tsa_at
        self._roots = _certificates(custody.tsa_ca_file)
        self._now = asyncio.Event()
        self.problem: str | None = None
        """Why the last attempt failed."""
        self.todo: str | None = None
        self._log = structlog.get_logger("anchor")

    async def run(self, session: aiohttp.ClientSession, trust: ssl.SSLContext) -> None:
        """Have the log stamped while it grows, until cancelled; what failed is tried again.

        Beside that at each end of a shift: at the times of day that agent.toml names, and when it is told of one.
        """
        while True:
            self._now.clear()
            try:
                pause = self._every if await self.once(session, trust) else min(_LOOK, self._every)
            except UplinkError as error:
                if self.problem is None:
                    self._log.warning("not_stamped", error=str(error), todo=error.what_to_do)
                self.problem, self.todo, pause = str(error), error.what_to_do, min(_PAUSE, self._every)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, until_next(self._at, datetime.now().astimezone()))):
                    await self._now.wait()
                    await asyncio.sleep(_COSIGNED_WITHIN)

    def shift_ends(self) -> None:
        """A shift has ended: what is there is to be stamped now."""
        self._now.set()

    async def once(self, session: aiohttp.ClientSession, trust: ssl.SSLContext) -> bool:
        """Stamp the last checkpoint, if it is beyond the last one stamped; say whether there was one.

        Raises `UplinkDown` or `UplinkRefused`.
        """
        signed = await self._desk.read(_due)
        if signed is None:
            return False
        note = signed.best
        request = TimestampRequestBuilder().data(note).build()
        token = await self._ask(session, request.as_bytes(), trust)
        at = await asyncio.to_thread(self._verified, token, note, request.nonce)
        kept = TimeStamp(signed.size, note, token, shown(self._url), at)
        await self._desk.write(lambda journal: anchors.keep_time_stamp(journal, kept))
        if self.problem is not None:
            self._log.info("stamped_again", authority=shown(self._url))
        self.problem = self.todo = None
        return True

    async def _ask(self, session: aiohttp.ClientSession, query: bytes, trust: ssl.SSLContext) -> bytes:
        try:
            async with session.post(
                self._url,
                data=query,
                headers={"Content-Type": _QUERY},
                ssl=trust,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as answer:
                token = await body_of(answer)
                status = answer.status
        except TimeoutError:
            raise UplinkDown("the time stamping authority does not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UplinkDown(f"the time stamping authority cannot be reached: {why(error)}") from error
        if status != HTTPStatus.OK:
            raise UplinkDown(f"the time stamping authority answers {status}")
        return token

    def _verified(self, token: bytes, note: bytes, nonce: int | None) -> datetime:
        """The time of a token that is one for exactly these bytes, from an authority that we trust."""
        builder = VerifierBuilder()
        for root in self._roots:
            builder = builder.add_root_certificate(root)
        if nonce is not None:
            builder = builder.nonce(nonce)
        try:
            response = decode_timestamp_response(token)
            builder.build().verify_message(response, note)
        except Exception as error:  # a stranger's bytes in a parser of others: whatever it raises, this is no token
            raise UplinkRefused(
                f"the time stamp cannot be verified: {error}",
                hint="Is custody.tsa_ca_file the authority's own? Ask its operator.",
            ) from error
        return response.tst_info.gen_time.astimezone(UTC)


def until_next(times: Iterable[time], now: datetime) -> float:
    """Seconds until the next of these times of day, in the zone of `now`; infinite where there are none.

    The second after it counts as past, so that nobody is woken twice for one.
    """
    found = []
    for at in times:
        due = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
        found.append((due if due > now else due + timedelta(days=1)) - now)
    return min(found).total_seconds() if found else math.inf


def _due(journal: Journal) -> Signed | None:
    """The newest checkpoint that has no token, rather one with the witnesses' lines."""
    last = anchors.newest_time_stamp(journal)
    size = 0 if last is None else last.size
    for found in (anchors.newest_cosigned(journal), anchors.newest(journal)):
        if found is not None and found.size > size:
            return found
    return None


def _certificates(path: Path | None) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes()) if path is not None else []
    except (OSError, ValueError) as error:
        raise ConfigError([Problem("custody.tsa_ca_file", f"{path} cannot be read: {in_words(error)}")]) from error
    return list(dict.fromkeys(found))  # some bundles name a certificate twice, and the builder takes each once
