"""One witness, asked over HTTP: what it answers is bounded, and nothing of it is believed here."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Final

import aiohttp

from agent.errors import AgentError, UplinkDown, UplinkRefused

if TYPE_CHECKING:
    import ssl
    from datetime import datetime

    from agent.note import Verifier

__all__ = ["ANSWER_MAX", "ENROL", "LOG_KEY", "TIMEOUT", "Link", "body_of", "why"]

TIMEOUT: Final = aiohttp.ClientTimeout(total=20.0, connect=10.0)
ANSWER_MAX: Final = 64 * 1024
LOG_KEY: Final = "Evidock-Log-Key"
"""Header with our public key, for witnesses that are enrolled by their first sight of us; others leave it unread."""

_PAUSE: Final = 1.0
_PAUSE_MAX: Final = 300.0
_SENTENCES: Final = {
    HTTPStatus.BAD_REQUEST: "does not understand our request",
    HTTPStatus.FORBIDDEN: "does not accept the signature of our log's key",
    HTTPStatus.NOT_FOUND: "does not know our log",
}
ENROL: Final = "Give the administrator of the witness the log's key: evidock status shows it."


def why(error: aiohttp.ClientError | OSError) -> str:
    """What a failed request says to a person; the texts of the library show objects of ours."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate cannot be verified; see custody.ca_file"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else type(error).__name__
    return f"the answer breaks off or is no HTTP ({type(error).__name__})"


async def body_of(answer: aiohttp.ClientResponse) -> bytes:
    """The body, as far as an answer may go: it comes in as many pieces as the network likes."""
    body = b""
    while len(body) < ANSWER_MAX and (more := await answer.content.read(ANSWER_MAX - len(body))):
        body += more
    return body


@dataclass(slots=True)
class Link:
    """How it stands with one witness."""

    verifier: Verifier
    url: str
    size: int = 0
    """How large the log was when it cosigned last."""
    cosigned_at: datetime | None = None
    problem: str | None = None
    todo: str | None = None
    contradiction: str | None = None
    """It knows another history: it is not asked any more."""
    pause: float = 0.0
    again_at: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def up(self) -> bool:
        """Whether it answered as a witness should when it was asked last."""
        return self.problem is None and self.contradiction is None

    def news(self) -> None:
        """There is something to ask for; a witness that is down is left alone until its pause is over."""
        if not self.pause:
            self.wake.set()

    def nudge(self) -> None:
        """Ask now, whatever happened before."""
        self.wake.set()

    async def wait(self) -> None:
        """Until there is news, a nudge, or the pause is over."""
        try:
            async with asyncio.timeout(max(0.0, self.again_at - monotonic()) if self.pause else None):
                await self.wake.wait()
        except TimeoutError:
            pass
        self.wake.clear()

    def well(self) -> None:
        """It did what a witness does."""
        self.problem = self.todo = None
        self.pause = 0.0

    def failed(self, error: AgentError) -> None:
        """It did not; the next time is later each time, and not at the same moment as that of other stations."""
        self.problem, self.todo = str(error), error.what_to_do
        self.pause = min(_PAUSE_MAX, self.pause * 2 or _PAUSE)
        self.again_at = monotonic() + self.pause * (0.5 + secrets.randbelow(1000) / 1000)

    async def ask(
        self, session: aiohttp.ClientSession, body: bytes, log: Verifier, trust: ssl.SSLContext
    ) -> tuple[int, bytes]:
        """Send a request; (status, body) where it is 200, 409 or 422. `UplinkDown` or `UplinkRefused` otherwise."""
        name = self.verifier.name
        try:
            async with session.post(
                self.url.rstrip("/") + "/add-checkpoint",
                data=body,
                headers={LOG_KEY: log.vkey, "Content-Type": "text/plain; charset=utf-8"},
                ssl=trust,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as answer:
                said = await body_of(answer)
                status = answer.status
        except TimeoutError:
            raise UplinkDown(f"the witness {name} does not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UplinkDown(f"the witness {name} cannot be reached: {why(error)}") from error
        if status in {HTTPStatus.OK, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
            return status, said
        if status in _SENTENCES:
            raise UplinkRefused(f"the witness {name} {_SENTENCES[HTTPStatus(status)]} ({status})", hint=ENROL)
        raise UplinkDown(f"the witness {name} answers {status}")
