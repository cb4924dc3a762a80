"""Work as a task of its own, whose end is waited for: a cancellation is neither lost in it nor taken for one.

Two things make that needful before Python 3.13. `asyncio.wait_for` drops a cancellation that comes in the moment in
which what it waits for is there (until 3.12). And `Task.cancelling()` says nothing of a task in which a `TaskGroup`
failed: the group cancels the task that waits for it, and does not always take that back (cpython gh-116720). A task of
its own keeps both to itself. And what must not be cut in two goes on to its end in one.

Of several that failed together one is told: which one matters is the caller's word.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["alone", "first_of", "whole"]

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

_AGAIN: Final = 10.0
"""Seconds after which one who was told to end, and has not ended, is told again."""


async def alone(work: Coroutine[Any, Any, T]) -> T:
    """Do it and return its result, or raise what it raised. Whoever is cancelled here ends it first, and is cancelled.

    Work that was cancelled by nobody here and ended so all the same raises `RuntimeError`.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=_AGAIN)
        if not task.cancelled():
            task.exception()  # looked at: it was told to end, and has
        raise
    if task.cancelled():
        raise RuntimeError("it ended as if it had been cancelled, and nobody did")
    return task.result()


async def whole(work: Coroutine[object, object, None]) -> None:
    """Never half of it: whoever is cancelled meanwhile waits until it is done, and is cancelled then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError, AgentError):
                await asyncio.shield(task)
        raise


def first_of(errors: BaseExceptionGroup[E], *order: type[BaseException]) -> E:
    """The one that matters of several that failed together: of the first of these kinds; any, where it is of none."""
    flat: list[E] = []
    pending: list[E | BaseExceptionGroup[E]] = [errors]
    while pending:
        one = pending.pop()
        if isinstance(one, BaseExceptionGroup):
            pending.extend(one.exceptions)
        else:
            flat.append(one)
    return min(flat, key=lambda one: next((n for n, kind in enumerate(order) if isinstance(one, kind)), len(order)))
