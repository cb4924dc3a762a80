"""How a list comes: somebody puts it into a folder, or a server has it; each is looked at again and again.

What is put into the folder is `NAME`, with `NAME.jws` (a signed manifest) or `NAME.sha256` beside it. From a server the
manifest is asked for first, and the list itself only where that says that there is a newer one. What is sent to this
station comes in at `pushed`.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from agent import durable
from agent.descent import open_plain
from agent.errors import ConfigError, Problem, in_words
from agent.mqtt import Session, Subscription
from agent.opened import opening
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.manifest import MANIFEST_MAX, opened, read_keys, seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from agent.mqtt import Message
    from drivers.alpr.hotlist.manifest import Key, Manifest
    from drivers.alpr.hotlist.options import ListOptions
    from drivers.alpr.hotlist.shelf import Shelf

__all__ = ["BESIDE", "Arrivals", "Proof", "beside", "proof_of"]

BESIDE: Final = (".jws", ".sha256")
"""What ends the name of a file that proves the one beside it: a signed manifest, a digest."""
_QUIET: Final = 60.0
"""Seconds in which a server must say something."""
_DIGEST: Final = re.compile(r"([0-9a-fA-F]{64})(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Proof:
    """What came with a file."""

    manifest: Manifest | None = None
    signer: str | None = None
    digest: str | None = None

    @property
    def sha256(self) -> str | None:
        """What the file's digest must be, where it says so."""
        return self.digest if self.manifest is None else self.manifest.sha256


def proof_of(options: ListOptions, keys: tuple[Key, ...], told: bytes | None) -> Proof:
    """What the file beside a list proves. Raises `BadList` where it is less than the options ask for."""
    match options.proof:
        case "signature":
            if told is None:
                raise BadList("the list came without its signed manifest (NAME.jws), or the service may not read that")
            return Proof(*opened(told, keys))
        case "digest":
            found = None if told is None else _DIGEST.match(told[:256].decode("ascii", "replace"))
            if found is None:
                raise BadList("the list came without its digest (NAME.sha256), or the service may not read that")
            return Proof(digest=found[1].lower())
    return Proof()


class Arrivals:
    """How one list comes."""

    def __init__(self, shelf: Shelf, put_up: Callable[[Path, Proof], Awaitable[dict[str, Any]]], work: Path) -> None:
        """`put_up` puts a file to use; `work`: folder for what is fetched. Raises `ConfigError`."""
        self.shelf, self._options, self.put_up = shelf, shelf.options, put_up
        self._work = work
        self.keys = read_keys(self._options.keys)
        self._context = _context(self._options)
        self._seen: dict[str, tuple[int, int, int]] = {}
        """Files of the folder that were looked at in vain, as they were then."""
        self._growing: dict[str, tuple[int, int, int]] = {}
        self._tag: str | None = None
        self._asked = asyncio.Event()
        broker, topics = self._options.broker, [Subscription(self._options.topic)]
        self._session = None if broker is None else Session(broker, name=f"list-{self._options.name}", topics=topics)

    def has(self, proof: Proof) -> bool:
        """The list that this proves is in use already."""
        return proof.sha256 is not None and proof.sha256 == self.shelf.about.get("source_sha256")

    def ask(self) -> None:
        """There is news: look at the server now."""
        self._asked.set()

    async def hear(self) -> None:
        """Listen for announcements, until cancelled. What they say proves nothing: the server is asked."""

        async def announced(_: Message) -> None:
            self.ask()

        if self._session is not None:
            await self._session.listen(announced)

    async def watch(self, every: float) -> None:
        """Look at the folder, until cancelled."""
        folder = self._options.folder
        while folder is not None:
            for path in await asyncio.to_thread(self._settled, folder):
                await self._take(path)
            await asyncio.sleep(every)

    def _settled(self, folder: Path) -> list[Path]:
        """Files that are not being written any more, and that were not looked at as they are."""
        found: list[Path] = []
        for path, facts in _files(folder):
            if path.suffix in BESIDE or path.name.startswith("."):
                continue
            shown = [_facts_of(path.with_name(path.name + suffix)) for suffix in BESIDE]
            print_ = (facts.st_size, facts.st_mtime_ns, sum(one[1] for one in shown if one is not None))
            if self._seen.get(path.name) == print_:
                continue
            if self._growing.get(path.name) == print_:
                self._growing.pop(path.name)
                self._seen[path.name] = print_
                found.append(path)
            else:
                self._growing[path.name] = print_
        return found

    async def _take(self, path: Path) -> None:
        try:
            proof = proof_of(self._options, self.keys, await asyncio.to_thread(beside, path))
            if proof.manifest is None or not self.has(proof):
                await self.put_up(path, proof)
        except BadList as error:  # it stays where it is, and is looked at again when it is another one
            self.shelf.blame(error)
        else:
            # Where the folder is not ours to write it stays, and is remembered as looked at.
            if await asyncio.to_thread(_removed, path):
                self._seen.pop(path.name, None)

    # -- a server ------------------------------------------------------------------------------------------------------

    async def fetch(self) -> None:
        """Look at the server, until cancelled."""
        while self._options.url is not None:
            try:
                await self._look(self._options.url)
            except BadList as error:
                self.shelf.blame(error)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.shelf.blame(_unreached(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.every.total_seconds()):
                    await self._asked.wait()
            self._asked.clear()

    async def _look(self, url: str) -> None:
        timeout = aiohttp.ClientTimeout(total=3600, sock_connect=_QUIET, sock_read=_QUIET)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers(), auto_decompress=False) as session:
            told = None if self._options.proof == "none" else await self._small(session, self._manifest_url(url))
            proof = proof_of(self._options, self.keys, told)
            active = self.shelf.about.get("as_of")
            if proof.manifest is not None and active is not None and seconds(proof.manifest.as_of) <= active:
                self.shelf.trouble = None
                return
            path = self._work / f".{self._options.name}.fetched"
            try:
                if (tag := await self._large(session, url, path)) is not None:
                    await self.put_up(path, proof)
                    self._tag = tag or None  # only of one that is in use: a bad one is asked for again
            finally:
                path.unlink(missing_ok=True)

    def _manifest_url(self, url: str) -> str:
        return self._options.manifest_url or url + BESIDE[self._options.proof == "digest"]

    def _headers(self) -> dict[str, str]:
        if self._options.token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._options.token_file.read_text('ascii').strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            raise BadList("the token for the server of the list cannot be read") from error

    async def _small(self, session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.get(url, ssl=self._context, allow_redirects=False) as answer:
            if answer.status != 200:  # noqa: PLR2004 - the only answer that has one
                raise BadList(f"the server answers {answer.status} for the manifest")
            body = await answer.content.read(MANIFEST_MAX + 1)
            while len(body) <= MANIFEST_MAX and (more := await answer.content.read(MANIFEST_MAX + 1)):
                body += more
            return body

    async def _large(self, session: aiohttp.ClientSession, url: str, path: Path) -> str | None:
        """Its entity tag, or ""; None where it is the one that we have."""
        headers = {} if self._tag is None else {"If-None-Match": self._tag}
        async with session.get(url, ssl=self._context, allow_redirects=False, headers=headers) as answer:
            if answer.status == 304 and self._tag is not None:  # noqa: PLR2004 - RFC 9110 section 15.4.5
                return None
            if answer.status != 200:  # noqa: PLR2004 - the only answer that has one
                raise BadList(f"the server answers {answer.status} for the list")
            await asyncio.to_thread(path.unlink, missing_ok=True)
            flags, length = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0
            async with opening(lambda: os.open(path, flags, 0o600)) as file:
                async for block in answer.content.iter_chunked(1 << 20):
                    if length + len(block) > self._options.largest:
                        raise BadList(f"the server sends more than `largest`, {self._options.largest} bytes")
                    await file.run(durable.write_all, block, length)
                    length += len(block)
            stated = answer.content_length
            if stated is not None and stated != length:
                raise BadList("the list was cut off on its way")
            return answer.headers.get("ETag", "")


def _context(options: ListOptions) -> ssl.SSLContext | bool:
    if options.url is None or options.url.startswith("http:"):
        return True
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if options.ca_file is not None:
            context = ssl.create_default_context(cafile=options.ca_file)
        if options.client_file is not None:
            context.load_cert_chain(options.client_file, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise ConfigError(
            [Problem(f"list.{options.name}", f"its certificates cannot be used: {in_words(error)}")]
        ) from error
    return context


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Plain files; links are not followed."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            with suppress(OSError):
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode):
                    yield path, facts


def _facts_of(path: Path) -> tuple[int, int] | None:
    """(length, time of change) of a file, where there is one."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _unreached(error: Exception) -> BadList:
    """The server did not answer, or not as the one that we trust; in words that quote nothing that it sent."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = f"its certificate is not accepted ({getattr(error.certificate_error, 'verify_message', 'no reason')})"
        case aiohttp.ClientConnectorError():
            why = in_words(error.os_error)
        case TimeoutError():
            why = "it gave no answer in time"
        case _:
            why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    hint = "Look at `url`, `ca_file` and the network; it is asked again by itself. What was in use stays in use."
    return BadList(f"the server of the list cannot be reached: {why}", hint=hint)


def beside(path: Path) -> bytes | None:
    """What lies beside a list to prove it."""
    for suffix in BESIDE:
        with suppress(OSError), os.fdopen(open_plain(path.with_name(path.name + suffix)), "rb") as file:
            return file.read(MANIFEST_MAX + 1)
    return None


def _removed(path: Path) -> bool:
    """A list that is in use lies nowhere else; a folder that is not ours to write keeps it: then False."""
    try:
        for suffix in ("", *BESIDE):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError:
        return False
    return True
