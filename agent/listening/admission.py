"""Who may say something is asked before anything is heard: a body is asked for only of who may send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

__all__ = ["admit"]


def admit(
    app: web.Application,
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    refusal: Callable[[web.Request], Awaitable[web.StreamResponse | None]],
) -> None:
    """Let `answer` have every request, whatever its path, to which `refusal` has nothing to say.

    Who waits for `100 Continue` (RFC 9110 section 10.1.1) hears the refusal in its place, and keeps its body.
    """

    async def expected(request: web.Request) -> web.StreamResponse | None:
        if (refused := await refusal(request)) is not None:
            return refused
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
        return None

    async def admitted(request: web.Request) -> web.StreamResponse:
        if (refused := await refusal(request)) is not None:
            return refused
        return await answer(request)

    app.router.add_route("*", r"/{rest:[\s\S]*}", admitted, expect_handler=expected)
