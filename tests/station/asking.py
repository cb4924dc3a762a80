"""One request to the status service, and a token that it takes for one."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

TOKEN = "0123456789abcdef" * 2


async def ask(url: str, path: str, method: str = "GET", **more: Any) -> tuple[int, Any, Any]:  # noqa: ANN401 - aiohttp's
    async with aiohttp.ClientSession() as session, session.request(method, url + path, **more) as answer:
        text = await answer.text()
        return answer.status, answer.headers, json.loads(text) if "json" in answer.content_type and text else text
