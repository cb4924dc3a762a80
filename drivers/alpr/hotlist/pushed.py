"""How a list comes over HTTPS: whoever may sends its manifest, then the list, and is told whether it is in use.

    PUT /hotlists/NAME.jws      the signed manifest (or NAME.sha256, a digest): looked at at once
    PUT /hotlists/NAME          the list; 201 when it is in use, 422 with the reason where it is not put to use

What the list before it, a folder or a server must be, this one must be as well: who sent it proves nothing. Both are
idempotent, so whoever lost its connection sends again. A list is never given out here.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import ClientError, hdrs, web
from multidict import CIMultiDict

from agent import durable
from agent.capture import printable
from agent.driver import Notice
from agent.listening import admit, check_certificates, hang_up, listening
from agent.opened import opening
from drivers.alpr.door import Door
from drivers.alpr.hotlist.arriving import BESIDE, Proof, proof_of
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.manifest import MANIFEST_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from agent.listening import Bound, ListenOptions
    from drivers.alpr.hotlist.arriving import Arrivals
    from drivers.alpr.hotlist.options import ListOptions, PushOptions

__all__ = ["Pushed"]

_SLOW: Final = 0.5
"""Seconds by which an answer to a stranger is late."""
_RECENT: Final = 600.0
"""Seconds for which a notice stays after a stranger was seen last."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who may send one list. See `drivers.alpr.door.Caller`."""

    name: str
    auth: str
    secret_file: Path | None
    user: str
    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, name: str, push: PushOptions) -> _Caller:
        return cls(push.common_name or name, push.auth, push.secret_file, push.user, push.networks)


class _Sent:
    """One list that may be sent."""

    def __init__(self, arrivals: Arrivals, push: PushOptions) -> None:
        self.arrivals = arrivals
        self.door = Door(_Caller.of(arrivals.shelf.options.name, push), "list")
        self.proof: Proof | None = None
        """What its newest manifest says, until the list came."""
        self.coming = False
        """Somebody sends it right now."""
        self.refused_at: float | None = None

    @property
    def options(self) -> ListOptions:
        return self.arrivals.shelf.options


class Pushed:
    """Where lists are sent to. Raises `ConfigError` where a file of the options cannot be used."""

    def __init__(self, listen: ListenOptions, lists: Mapping[str, Arrivals], work: Path) -> None:
        """`work`: folder for what comes."""
        check_certificates(listen)
        self._listen, self._work = listen, work
        self._lists = {
            name: _Sent(arrivals, push)
            for name, arrivals in lists.items()
            if (push := arrivals.shelf.options.push) is not None
        }
        self._log = structlog.get_logger("hotlist")
        self.refused: Counter[str] = Counter()
        """Requests that did not show who sent them, by list."""
        self.bound: Bound | None = None
        """The listener, while it runs."""

    async def run(self) -> None:
        """Listen, until cancelled."""
        app = web.Application()
        admit(app, self._answer, self._refusal)
        try:
            async with listening(app, self._listen) as self.bound:
                await self.bound.serve()
        finally:
            self.bound = None

    def notices(self) -> Iterator[Notice]:
        """What a person should do."""
        for name, one in self._lists.items():
            if one.refused_at is not None and monotonic() - one.refused_at < _RECENT:
                detail = f"whoever sends hotlist {name} did not show who it is ({self.refused[name]} times)"
                todo = "Compare token, password or certificate of whoever sends it with: evidock device enrol."
                yield Notice("hotlist.refused", "warning", f"hotlist {name}", detail, todo)

    # -- who -----------------------------------------------------------------------------------------------------------

    def _which(self, request: web.Request) -> tuple[_Sent | None, str]:
        """(the list that the path names, the ending of its name: of a manifest, or none)."""
        match request.path.split("/"):
            case ["", "hotlists", name]:
                ending = next((one for one in BESIDE if name.endswith(one)), "")
                return self._lists.get(name.removesuffix(ending)), ending
        return None, ""

    async def _refusal(self, request: web.Request) -> web.Response | None:
        sent, _ = self._which(request)
        if sent is None:
            await asyncio.sleep(_SLOW)
            return _told(404, "No list of this station is sent to this address.")
        challenges = sent.door.refuses(request, "")
        if challenges is not None:
            if hdrs.AUTHORIZATION in request.headers or not challenges:  # who is to be challenged comes without first
                self._refused(sent, request.remote or "?")
                await asyncio.sleep(_SLOW)
            headers = CIMultiDict((hdrs.WWW_AUTHENTICATE, one) for one in challenges)
            return _told(401, "This station does not know who sends this.", headers)
        if request.method != hdrs.METH_PUT:
            return _told(405, "Lists are put here, and never given out.", CIMultiDict({hdrs.ALLOW: "PUT"}))
        if (
            hdrs.CONTENT_RANGE in request.headers
            or request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity"
        ):
            return _told(415, "A list is sent whole and as it is: neither a range of it nor compressed.")
        return None

    def _refused(self, sent: _Sent, peer: str) -> None:
        name = sent.options.name
        if not self.refused[name]:
            self._log.warning("hotlist_push_refused", list=name, peer=peer, todo="evidock status tells what to do")
        self.refused[name] += 1
        sent.refused_at = monotonic()

    # -- what ----------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        sent, ending = self._which(request)
        if sent is None:  # pragma: no cover - the refusal above
            return web.Response(status=404)
        try:
            return await (self._proof(sent, request, ending) if ending else self._list(sent, request))
        except BadList as error:
            sent.arrivals.shelf.blame(error)
            return _told(422, f"{error}. {error.what_to_do}")
        except (ClientError, ConnectionError, TimeoutError):  # whoever sent it is gone, and sends it again
            return hang_up(request)
        except OSError as error:
            self._log.warning("hotlist_push_failed", list=sent.options.name, error=error.strerror)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return _told(507 if full else 500, "This station cannot write the list down. The one before stays in use.")

    async def _proof(self, sent: _Sent, request: web.Request, ending: str) -> web.Response:
        """Look at a manifest, and say whether the list is wanted."""
        wanted = {"signature": ".jws", "digest": ".sha256"}.get(sent.options.proof)
        if ending != wanted:
            return _told(
                404, f"This list is proven by NAME{wanted}." if wanted else "This list comes without a manifest."
            )
        body = await request.content.read(MANIFEST_MAX + 1)
        while len(body) <= MANIFEST_MAX and (more := await request.content.read(MANIFEST_MAX + 1)):
            body += more
        if len(body) > MANIFEST_MAX:
            return _told(413, "This is longer than any manifest.")
        proof = proof_of(sent.options, sent.arrivals.keys, body)
        if sent.arrivals.has(proof):
            return _told(200, "This list is in use already. There is nothing to send.")
        sent.arrivals.shelf.wants(proof.manifest)
        sent.proof = proof
        return _told(202, f"Now send the list itself: PUT /hotlists/{sent.options.name}")

    async def _list(self, sent: _Sent, request: web.Request) -> web.Response:
        """Take a list, put it to use, and say so."""
        options, proof = sent.options, sent.proof
        if options.proof != "none" and proof is None:
            return _told(428, "Send first what proves it: its manifest (NAME.jws), or its digest (NAME.sha256).")
        if (request.content_length or 0) > options.largest:
            return _told(413, f"`largest` of this list is {options.largest} bytes.")
        if sent.coming:
            return _told(409, "Somebody sends this list right now.", CIMultiDict({hdrs.RETRY_AFTER: "60"}))
        sent.coming = True
        path = self._work / f".{options.name}.pushed"
        try:
            await self._written(request, path, options.largest, proof)
            try:
                told = await sent.arrivals.put_up(path, proof or Proof())
            finally:
                if sent.proof is proof:  # the next one has a manifest of its own, whatever became of this one
                    sent.proof = None
        finally:
            sent.coming = False
            await asyncio.to_thread(path.unlink, missing_ok=True)
        return _told(201, f"{told['plates']} plates are in use. SHA-256 {told['sha256']}")

    async def _written(self, request: web.Request, path: Path, largest: int, proof: Proof | None) -> None:
        """Write the body down. Raises `BadList` where it is another one than was announced."""
        await asyncio.to_thread(path.unlink, missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        length, total = 0, hashlib.sha256()
        async with opening(lambda: os.open(path, flags, 0o600)) as file:
            async for block in request.content.iter_chunked(1 << 20):
                if length + len(block) > largest:
                    raise BadList(f"more than `largest`, {largest} bytes, was sent")
                total.update(block)
                await file.run(durable.write_all, block, length)
                length += len(block)
        if request.content_length is not None and length != request.content_length:
            raise ConnectionError("the list was cut off on its way")
        stated = None if proof is None else proof.sha256
        if stated is not None and stated != total.hexdigest():
            raise BadList("the list that was sent is another one than its manifest says: its digest is another one")


def _told(status: int, text: str, headers: CIMultiDict[str] | None = None) -> web.Response:
    return web.Response(status=status, text=printable(text) + "\n", headers=headers)
