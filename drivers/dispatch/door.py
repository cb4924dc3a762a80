"""Who may send us something over HTTPS: bearer of the token, or of a certificate of the agency; bounded in all ways."""

from __future__ import annotations

import asyncio
import hmac
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from agent.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.listening import ListenOptions

__all__ = ["Table", "application", "check_door", "said", "token_of"]

_TOKEN_LEAST, _TOKEN_MOST = 32, 512
_SLOW: Final = 0.5
"""Seconds by which a wrong token is answered later."""
_log = structlog.get_logger("driver")


class Table(BaseModel):
    """A table inside of a `[[driver]]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def token_of(path: Path | None) -> bytes | None:
    """The token in a file; None where there is no file. Raises `ConfigError` where it cannot be used."""
    if path is None:
        return None
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError([Problem("token_file", f"{path}: {error.strerror}")]) from error
    if not _TOKEN_LEAST <= len(token) <= _TOKEN_MOST or not token.decode("latin-1").isprintable():
        raise ConfigError(
            [Problem("token_file", f"{path} must hold {_TOKEN_LEAST} to {_TOKEN_MOST} characters in one line")],
            hint="Make one: openssl rand -hex 32",
        )
    return token


def check_door(listen: ListenOptions | None, token_file: Path | None) -> None:
    """Raise `ConfigError` where strangers could come in, or where a token would go over the wire in the clear."""
    if listen is None:
        return
    if token_file is None and listen.client_ca is None:
        raise ConfigError([Problem("listen", "give `token_file` or `listen.client_ca`: else strangers could tell it")])
    if listen.plain and not ip_address(str(listen.address)).is_loopback:
        raise ConfigError([Problem("listen.plain", "only on loopback: what is sent here must not be read or altered")])


def application(
    path: str, token: bytes | None, take: Callable[[web.Request, bytes], Awaitable[web.Response]], *, longest: int
) -> web.Application:
    """An application that takes `POST path` from whoever may send, with a body of at most `longest` bytes."""

    async def answer(request: web.Request) -> web.Response:
        if token is not None and not _bears(request, token):
            await asyncio.sleep(_SLOW)
            return said(401, error="a bearer token is wanted", headers={"WWW-Authenticate": "Bearer"})
        body = bytearray()
        async for block in request.content.iter_any():
            body += block
            if len(body) > longest:
                return said(413, error=f"a body has at most {longest} bytes")
        return await take(request, bytes(body))

    async def elsewhere(_: web.Request) -> web.Response:
        return said(404, error=f"POST {path} is what there is")

    app = web.Application()
    app.router.add_post(path, answer)
    app.router.add_route("*", r"/{rest:.*}", elsewhere)
    return app


def _bears(request: web.Request, token: bytes) -> bool:
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    shown_token = shown.strip().encode("utf-8", "surrogatepass")
    return scheme.lower() == "bearer" and hmac.compare_digest(shown_token, token)


def said(status: int, *, headers: dict[str, str] | None = None, **told: Any) -> web.Response:  # noqa: ANN401 - JSON
    """An answer in JSON."""
    return web.json_response(told, status=status, headers=headers)
