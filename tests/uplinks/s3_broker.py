"""An agency's broker: the text of docs/s3-broker.md, which holds what it hears against the document; with faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import botocore.auth
from aiohttp import web
from jsonschema_rs import Draft202012Validator

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Sign = Callable[[str, str, dict[str, Any]], dict[str, Any]]

DOCS = Path(__file__).parents[2] / "docs"
TOKEN = "dock-1-secret"  # noqa: S105 - of the broker below


@cache
def document() -> dict[str, Any]:
    return json.loads((DOCS / "s3-broker.json").read_text())  # type: ignore[no-any-return]


def conforms(schema: str, value: object) -> None:
    """Raises `jsonschema_rs.ValidationError` where the document says otherwise."""
    components = document()["components"]
    Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": components}).validate(value)


@cache
def page() -> dict[str, Any]:
    """What the page shows, as it stands there, but with one session for all: each reads what there is of services."""
    (text,) = re.findall(r"```python\n(.*?)```", (DOCS / "s3-broker.md").read_text(), re.DOTALL)
    space: dict[str, Any] = {}
    exec(compile(text, "docs/s3-broker.md", "exec"), space)  # noqa: S102 - our own page
    session = space["botocore"].session.Session()
    space["botocore"] = SimpleNamespace(session=SimpleNamespace(Session=lambda: session))
    return space


def signer(**words: Any) -> Sign:  # noqa: ANN401 - botocore's
    return page()["signer"](**words)  # type: ignore[no-any-return]


class Broker:
    """Signs for station dock-1."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self.port = 0
        self.asked: list[dict[str, Any]] = []
        self.stale = 0
        """So many of the next signatures for bodies are an hour old when they are given out."""
        self.says: tuple[int, dict[str, Any]] | None = None
        """Answer this instead."""
        self.forbidden: set[str] = set()
        self.changes: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
        self.withholds: set[str] = set()
        """Parameters that it does not sign."""
        self.adds: dict[str, Any] = {}
        """Parameters that it signs by itself, with the headers that they become."""
        self.is_down = False
        self.tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/sign", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}/sign"

    def operations(self) -> list[str]:
        return [one["operation"] for one in self.asked]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.is_down:
            assert request.transport is not None
            request.transport.abort()
            raise asyncio.CancelledError
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"reason": "who are you"}, status=401)
        asked = await request.json()
        conforms("Request", asked)
        self.asked.append(asked)
        canary = "canary" in asked["parameters"]["Key"]
        if self.says is not None and not canary:
            status, told = self.says
            conforms("No", told)
            return web.json_response(told, status=status, headers={"Retry-After": "7"})
        if asked["operation"] in self.forbidden:
            return web.json_response({"reason": "not here"}, status=403)
        parameters = {name: value for name, value in asked["parameters"].items() if name not in self.withholds}
        if asked["operation"] in {"PutObject", "CreateMultipartUpload"}:
            parameters |= self.adds.get("parameters", {})
        try:
            with self._an_hour_ago() if self.stale and asked["length"] and not canary else contextlib.nullcontext():
                answer = self._sign("dock-1", asked["operation"], parameters)
        except PermissionError as error:
            return web.json_response({"reason": str(error)}, status=403)
        if asked["operation"] in {"PutObject", "CreateMultipartUpload"}:
            answer |= {"headers": self.adds.get("headers", {})}
        conforms("Signed", answer)
        return web.json_response(answer if canary else self.changes(answer))

    def _an_hour_ago(self) -> Any:  # noqa: ANN401 - a context
        self.stale -= 1
        then = datetime.now(UTC) - timedelta(hours=1)
        return mock.patch.object(botocore.auth, "get_current_datetime", return_value=then)
