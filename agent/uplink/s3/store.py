"""The way to one bucket: one client, its keys, a limit over each request, and errors in our own words."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import exceptions as theirs

from agent.errors import ConfigError, Problem, UplinkDown
from agent.uplink.s3.trouble import translated

if TYPE_CHECKING:
    from agent.uplink.s3.options import S3Options

__all__ = ["Store", "read_keys"]

SLOWEST: Final = 64 * 1024
"""Bytes per second that a body is given to arrive."""


def read_keys(options: S3Options) -> tuple[str, str]:
    """Access key id and secret. Raises `ConfigError` where the file cannot be used."""
    where = f"uplink[{options.name}].keys_file"
    try:
        text = options.keys_file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(where, f"{options.keys_file}: {error}")]) from error
    name, colon, secret = text.partition(":")
    # Access key ids of some stores hold a colon themselves; secrets hold none.
    name, colon, secret = text.rpartition(":") if text.count(":") > 1 else (name, colon, secret)
    if not colon or not name or not secret or not text.isprintable() or " " in text:
        raise ConfigError([Problem(where, f"{options.keys_file} must hold ACCESS_KEY_ID:SECRET_ACCESS_KEY")])
    return name, secret


class Store:
    """One bucket. Opened when it is first asked, and anew when the keys have changed."""

    def __init__(self, options: S3Options) -> None:
        """Raises `ConfigError` where the keys or the certificates cannot be read."""
        self.options = options
        self.place = f"{options.endpoint or 'Amazon S3'}, bucket {options.bucket}"
        read_keys(options)
        if options.ca_file is not None:
            try:
                ssl.create_default_context(cafile=options.ca_file)
            except (OSError, ssl.SSLError) as error:
                problem = Problem(f"uplink[{options.name}].ca_file", f"{options.ca_file}: {error}")
                raise ConfigError([problem]) from error
        self._opened: tuple[tuple[str, str], Any] | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    async def ask(self, operation: str, *, length: int = 0, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's own
        """One request on the bucket and what was answered. `length`: bytes of its body.

        Raises what `agent.uplink.s3.trouble.translated` makes of what the client raised.
        """
        client = await self._client()
        limit = self.options.connect_timeout + self.options.stall + length / SLOWEST
        try:
            async with asyncio.timeout(limit):
                told: dict[str, Any] = await getattr(client, operation)(Bucket=self.options.bucket, **words)
                return told
        except (theirs.BotoCoreError, theirs.ClientError, OSError, TimeoutError) as error:
            raise translated(error, self.place) from error

    async def blocks(self, key: str, **words: Any) -> Any:  # noqa: ANN401 - aiobotocore's stream
        """The body of an object, to be read in pieces and closed. Raises as `ask` does."""
        return (await self.ask("get_object", Key=key, **words))["Body"]

    async def _client(self) -> Any:  # noqa: ANN401 - made by the library from a description of the service
        async with self._opening:
            try:
                keys = await asyncio.to_thread(read_keys, self.options)
            except ConfigError as error:
                raise UplinkDown(str(error), hint=error.what_to_do) from error
            if self._opened is None or self._opened[0] != keys:
                await self._stack.aclose()  # who is under way with the old keys fails, and comes back with the new
                self._stack = AsyncExitStack()
                self._opened = keys, await self._stack.enter_async_context(self._made(keys))
            return self._opened[1]

    def _made(self, keys: tuple[str, str]) -> Any:  # noqa: ANN401 - a context that gives a client
        options = self.options
        config = AioConfig(
            signature_version="s3v4",
            connect_timeout=options.connect_timeout,
            read_timeout=options.stall,
            retries={"total_max_attempts": 1},  # second tries are the business of `forward`
            max_pool_connections=max(options.parts, options.in_flight),
            # Some stores cannot read the check sums that the client adds by itself. We state our own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": options.style, "us_east_1_regional_endpoint": "regional"},
            user_agent="evidock",
            proxies=None if options.proxy is None else {"http": options.proxy, "https": options.proxy},
        )
        session = AioSession()
        # Nothing on this machine but agent.toml decides: no environment, no files of other programs.
        session.set_config_variable("config_file", "/dev/null")
        session.set_config_variable("credentials_file", "/dev/null")
        return session.create_client(
            "s3",
            region_name=options.region,
            endpoint_url=options.endpoint,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            verify=True if options.ca_file is None else str(options.ca_file),
            config=config,
        )

    async def aclose(self) -> None:
        """Close the connections; opened again where something is sent after all."""
        async with self._opening:
            self._opened = None
            await self._stack.aclose()
            self._stack = AsyncExitStack()
