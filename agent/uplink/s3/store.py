"""The way to one bucket: one client, its keys or a broker, a limit over each request, and errors in our own words."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore import exceptions as theirs
from botocore.parsers import ResponseParserError
from yarl import URL

from agent.errors import ConfigError, Problem, UplinkDown, in_words
from agent.uplink.http.identity import proxy_login
from agent.uplink.s3.broker import Broker
from agent.uplink.s3.presigned import placed
from agent.uplink.s3.session import session_with
from agent.uplink.s3.trouble import DigestUnsigned, bounded, outdated, translated

if TYPE_CHECKING:
    from pathlib import Path

    from agent.uplink.http.body import Body
    from agent.uplink.s3.options import S3Options
    from agent.uplink.s3.parts import Outgoing
    from agent.uplink.s3.presigned import Signed

__all__ = ["Store", "read_keys"]

SLOWEST: Final = 64 * 1024
"""Bytes per second that a body is given to arrive."""
_ANSWERS: Final = "Does `endpoint` name the object store? A login page of the network may answer in its place."
_SIGNATURES: Final = 2
"""How often one request is signed, where the store says that it is not permitted: the first may have become too old."""

_signed: ContextVar[Signed | None] = ContextVar("signed", default=None)
"""The broker's form of the request that this task is making."""
_body: ContextVar[Body | None] = ContextVar("body", default=None)
"""Its body."""
_stated: ContextVar[bool] = ContextVar("stated", default=False)
"""Whether that goes with its digest or not at all."""


@cache
def _session() -> AioSession:
    """One for all clients: the descriptions of services that each is made from are read, for long, once."""
    session = AioSession()
    # Nothing on this machine but agent.toml decides: no environment, no files of other programs.
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    return session


def read_keys(path: Path) -> tuple[str, str]:
    """Access key id and secret. Raises `ConfigError` where the file cannot be used."""
    where = "keys_file"
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(where, f"{path}: {in_words(error)}")]) from error
    key, colon, secret = text.partition(":")
    # Access key ids of some stores hold a colon themselves; secrets hold none.
    key, colon, secret = text.rpartition(":") if text.count(":") > 1 else (key, colon, secret)
    if not colon or not key or not secret or not text.isprintable() or " " in text:
        raise ConfigError([Problem(where, f"{path} must hold ACCESS_KEY_ID:SECRET_ACCESS_KEY")])
    return key, secret


class _Stated:
    """What the client is shown instead of a body: its length. It would copy a body of bytes, and sign what it read."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def read(self, _: int = -1) -> bytes:
        """By this the client knows something that it may send."""
        raise OSError("a body is read by who sends it")


def _with_body(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's request
    """Put the body into the request that is about to be sent."""
    if isinstance(request.body, _Stated):
        request.body = _body.get()


def _with_login(options: S3Options) -> str | None:
    """The proxy as the client is told of it. Raises `ConfigError` where its login cannot be read."""
    if options.proxy is None or options.proxy_login_file is None:
        return options.proxy
    user, _, password = proxy_login(options.proxy_login_file).partition(":")
    return str(URL(options.proxy).with_user(user).with_password(password))


class Store:
    """One bucket. Opened when it is first asked, and anew when the keys have changed."""

    def __init__(self, options: S3Options) -> None:
        """Raises `ConfigError` where the keys or the certificates cannot be read."""
        self.options = options
        self.place = f"{options.endpoint or 'Amazon S3'}, bucket {options.bucket}"
        if options.keys_file is not None:
            read_keys(options.keys_file)
        if options.ca_file is not None:
            try:
                ssl.create_default_context(cafile=options.ca_file)
            except (OSError, ssl.SSLError) as error:
                problem = Problem("ca_file", f"{options.ca_file}: {in_words(error)}")
                raise ConfigError([problem]) from error
        self._proxy = _with_login(options)
        self.broker = None if options.broker is None else Broker(options)
        self.states_digests = True
        """False once a broker left the digest of a body unsigned, so that it could not be sent."""
        self._opened: tuple[tuple[str, str] | None, Any] | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    async def ask(
        self,
        operation: str,
        *,
        outgoing: Outgoing | None = None,
        length: int = 0,
        **words: Any,  # noqa: ANN401 - S3's own
    ) -> dict[str, Any]:
        """One request on the bucket and what was answered. `outgoing`: its body; else `length`: bytes of `Body`.

        Raises what `agent.uplink.s3.trouble.translated` makes of what the client raised, what the body's source raised,
        and what `Broker.signed` does.
        """
        client = await self._client()
        length = length if outgoing is None else outgoing.length
        if self.broker is None:
            return await self._asked(client, operation, outgoing, length, words)
        again = _SIGNATURES
        while True:
            signed = await self.broker.signed(client.meta.method_to_api_mapping[operation], words, length=length)
            token, again = _signed.set(signed), again - 1
            try:
                return await self._asked(client, operation, outgoing, length, words)
            except UplinkDown as error:
                if not outdated(error.__cause__):
                    raise
                if not again:
                    raise UplinkDown(
                        f"{self.place} does not accept what {self.broker.place} signs, not even at once",
                        hint="The broker's administrator must look at its keys, at what they may do, and at its clock.",
                    ) from error
            finally:
                _signed.reset(token)

    async def _asked(
        self,
        client: Any,  # noqa: ANN401 - aiobotocore's
        operation: str,
        outgoing: Outgoing | None,
        length: int,
        words: dict[str, Any],
    ) -> dict[str, Any]:
        body = None if outgoing is None else outgoing.body()
        if body is not None:
            words = {**words, "Body": _Stated(length)}
        token, stated = _body.set(body), _stated.set(outgoing is not None and outgoing.stated)
        limit = self.options.connect_timeout + self.options.stall + (0 if body else length / SLOWEST)
        try:
            async with asyncio.timeout(limit) as watch:
                if body is not None:
                    body.watched_by(watch)  # which moves it as the bytes go
                told: dict[str, Any] = await getattr(client, operation)(Bucket=self.options.bucket, **words)
                return told
        except (theirs.BotoCoreError, theirs.ClientError, OSError, TimeoutError) as error:
            if body is not None and body.failure is not None:
                raise body.failure from error
            raise translated(error, self.place) from error
        except (ResponseParserError, ValueError, LookupError, TypeError) as error:  # the client, at what it read
            if body is not None and body.failure is not None:
                raise body.failure from error
            why = bounded(str(error) or type(error).__name__)
            raise UplinkDown(f"{self.place} gave an answer that is none: {why}", hint=_ANSWERS) from error
        finally:
            _body.reset(token)
            _stated.reset(stated)
            if body is not None:
                body.watched_by(None)
                await body.close()

    async def blocks(self, key: str, **words: Any) -> Any:  # noqa: ANN401 - aiobotocore's stream
        """The body of an object, to be read in pieces and closed. Raises as `ask` does."""
        return (await self.ask("get_object", Key=key, **words))["Body"]

    async def _client(self) -> Any:  # noqa: ANN401 - made by the library from a description of the service
        async with self._opening:
            path, keys = self.options.keys_file, None
            try:
                if path is not None:
                    keys = await asyncio.to_thread(read_keys, path)
            except ConfigError as error:
                raise UplinkDown(str(error), hint=error.what_to_do) from error
            if self._opened is None or self._opened[0] != keys:
                await self._stack.aclose()  # who is under way with the old keys fails, and comes back with the new
                self._stack = AsyncExitStack()
                client = await self._stack.enter_async_context(self._made(keys))
                if self.broker is not None:
                    client.meta.events.register_last("request-created.s3", self._as_signed)
                client.meta.events.register("before-send.s3", _with_body)
                self._opened = keys, client
            return self._opened[1]

    def _as_signed(self, request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's request
        signed = _signed.get()
        if signed is not None and self.broker is not None and not placed(request, signed, self.broker.place):
            self.states_digests = False
            if _stated.get():
                raise DigestUnsigned(f"{self.broker.place} does not sign the digest of what is sent any more")

    def _made(self, keys: tuple[str, str] | None) -> Any:  # noqa: ANN401 - a context that gives a client
        options = self.options
        config = AioConfig(
            http_session_cls=session_with(options.pins),
            signature_version=UNSIGNED if keys is None else "s3v4",
            connect_timeout=options.connect_timeout,
            read_timeout=options.stall,
            retries={"total_max_attempts": 1},  # second tries are the business of `forward`
            max_pool_connections=options.parts + options.in_flight,  # whoever waited for one would look like a stall
            # Some stores cannot read the check sums that the client adds by itself. We state our own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": options.style,
                "us_east_1_regional_endpoint": "regional",
                # The digest of each body is in a header that is signed: to sign the body would read it once more.
                "payload_signing_enabled": False,
            },
            user_agent="evidock",
            proxies=None if self._proxy is None else {"http": self._proxy, "https": self._proxy},
        )
        return _session().create_client(
            "s3",
            region_name=options.region,
            endpoint_url=options.endpoint,
            aws_access_key_id=None if keys is None else keys[0],
            aws_secret_access_key=None if keys is None else keys[1],
            verify=True if options.ca_file is None else str(options.ca_file),
            config=config,
        )

    async def aclose(self) -> None:
        """Close the connections; opened again where something is sent after all."""
        async with self._opening:
            self._opened = None
            await self._stack.aclose()
            self._stack = AsyncExitStack()
            if self.broker is not None:
                await self.broker.aclose()
