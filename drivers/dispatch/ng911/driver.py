"""The driver: offers every document in its folder again and again, and takes what is posted before it answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import model_validator

from agent.capture import KEY_MAX, Device
from agent.driver import DriverOptions, Notice, Recalls, offer_all
from agent.errors import DeviceError, SpoolError, SpoolFull
from agent.listening import (
    ListenOptions,
    check_certificates,
    listening,
)
from drivers.dispatch.door import application, check_door, said, token_of
from drivers.dispatch.folder import Dropped, Folder, FolderOptions
from drivers.dispatch.ng911.offers import FileOffer, PostedOffer, capture_of, observation_of
from firmware_specs.formats.ng911 import DOCUMENT_MAX

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from aiohttp import web

    from agent.capture import Capture, Standing
    from agent.driver import Intake, Readable
    from agent.listening import Bound

__all__ = ["Ng911"]

_SIGHT: Final = 5.0
_ENDINGS: Final = {"<": ".xml", "{": ".json"}
_AGAIN: Final = {"Retry-After": "30"}
_MARK: Final = 16
"""Hex digits of its digest in the name of a document that took another one's place."""


class Ng911:
    """A call-taking position: documents of NG9-1-1 calls, from a folder or by HTTPS."""

    class Options(DriverOptions):
        """The `[[driver]]` table with `use = "dispatch.ng911"`. Give `folder`, `listen`, or both."""

        folder: FolderOptions | None = None
        listen: ListenOptions | None = None
        """Where it posts to: `POST /documents`."""
        token_file: Path | None = None
        """What it shows as its bearer token, 32 to 512 characters in one line; or `listen.client_ca`."""

        @model_validator(mode="after")
        def _some_way(self) -> Self:
            if self.listen is None and self.folder is None:
                raise ValueError("give `folder` or `listen`: nothing could come in")
            return self

    def __init__(self, options: Options) -> None:
        self._options = options
        check_door(options.listen, options.token_file)
        self._token = token_of(options.token_file)
        if options.listen is not None:
            check_certificates(options.listen)
        self._folder = None if options.folder is None else Folder(options.folder, longest=DOCUMENT_MAX)
        self._device = Device(f"ng911:{options.name}", "dispatch", options.name)
        self._known: dict[bytes, tuple[Dropped, Capture]] = {}
        self.bound: Bound | None = None
        """The listener, while it runs."""

    async def run(self, intake: Intake, /) -> None:
        """Offer and take, until cancelled."""
        await intake.sight(self._device)
        ways: list[Coroutine[Any, Any, None]] = [self._here(intake)]
        if self._options.listen is not None:
            ways.append(self._serve(intake, self._options.listen))
        if self._folder is not None and self._options.folder is not None:
            ways.append(self._watch(intake, self._folder, self._options.folder.path))
        async with asyncio.TaskGroup() as group:
            for way in ways:
                group.create_task(way)

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        if self._folder is None or self._folder.trouble is None:
            return ()
        todo = "Look at the share and at the daemon's rights: it must be able to read the folder."
        return (Notice("dispatch.folder", "problem", self._options.name, self._folder.trouble, todo),)

    # -- the folder ----------------------------------------------------------------------------------------------------

    async def _here(self, intake: Intake) -> None:
        while True:
            await asyncio.sleep(_SIGHT)
            if self._folder is None or self._folder.trouble is None:
                await intake.sight(self._device)

    async def _watch(self, intake: Intake, folder: Folder, path: Path) -> None:
        while True:
            settled = await asyncio.to_thread(folder.settled)
            names = {one.name for one in settled}
            self._known = {name: known for name, known in self._known.items() if name in names}
            offers = [FileOffer(path, one, await self._described(intake, folder, one)) for one in settled]
            await offer_all(_Telling(intake), offers)
            await asyncio.sleep(self._options.rescan)

    async def _described(self, intake: Intake, folder: Folder, one: Dropped) -> Capture:
        """What it says of itself: read once for as long as it does not change."""
        known = self._known.get(one.name)
        if known is not None and known[0] == one:
            return known[1]
        content = await asyncio.to_thread(folder.read, one)
        capture = await asyncio.to_thread(capture_of, self._device, one.key, content, one.length)
        if content is not None and await _passes_for_another(intake, capture, digest := sha256(content).digest()):
            key = f"{one.key[: KEY_MAX - _MARK - 1]};{digest.hex()[:_MARK]}"
            capture = await asyncio.to_thread(capture_of, self._device, key, content, one.length)
        if content is not None or one.length > DOCUMENT_MAX:  # else it is read again at the next look
            self._known[one.name] = (one, capture)
        return capture

    # -- requests ------------------------------------------------------------------------------------------------------

    async def _serve(self, intake: Intake, listen: ListenOptions) -> None:
        async def take(_: web.Request, body: bytes) -> web.Response:
            if not body:
                return said(400, error="an empty body is no document")
            ending = _ENDINGS.get(body[:16].lstrip(b"\xef\xbb\xbf \t\r\n")[:1].decode("latin-1"), ".txt")
            offer = PostedOffer(self._device, body, ending)
            try:
                standing = await _Telling(intake).take(offer)
            except SpoolFull:
                return said(507, error="no room", headers=_AGAIN)
            except (DeviceError, SpoolError) as error:
                return said(503, error=str(error), headers=_AGAIN)
            return said(201, key=offer.capture.key, standing=standing.value)

        app = application("/documents", self._token, take, longest=DOCUMENT_MAX)
        async with listening(app, listen) as self.bound:
            await self.bound.serve()


async def _passes_for_another(intake: Intake, capture: Capture, digest: bytes) -> bool:
    """Whether another document of its name, time and length was taken, and not this one.

    Many tell no time, or that of the call, and are as long as the one before: a position that writes the same file anew
    would show the first of them for ever.
    """
    known = await intake.recall(capture.origin) if isinstance(intake, Recalls) else ()
    return digest not in {one.sha256 for one in known} and capture.length in {one.length for one in known}


class _Telling:
    """The agent's hand; of a document that was taken just now the world hears what it says, once."""

    def __init__(self, intake: Intake) -> None:
        self.sight, self.observe, self._take = intake.sight, intake.observe, intake.take

    async def take(self, offer: Readable, /) -> Standing:
        """See `agent.driver.Intake.take`."""
        standing = await self._take(offer)
        if isinstance(offer, (FileOffer, PostedOffer)) and offer.opened:
            offer.opened = False
            told = observation_of(offer.capture, datetime.now(UTC))
            if told is not None:
                await self.observe(told)
        return standing
