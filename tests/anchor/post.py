"""A journal with its anchor in a folder that can be copied, put back and killed; and witnesses that lie."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from aiohttp import web

from agent.anchor import Anchor
from agent.clock import Clock
from agent.config import Custody, WitnessConfig
from agent.custody.trust import Trust
from agent.journal import Desk, Event, Journal, anchors
from agent.note import Verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

LOG = "edge.example.org/bench-1/log1"


class Post:
    """What of a station writes its log and publishes it."""

    def __init__(self, folder: Path, *witnesses: tuple[str, str], log: str = LOG, **custody: object) -> None:
        self.folder, self.log = folder, log
        asked = tuple(WitnessConfig(vkey=vkey, url=url) for vkey, url in witnesses)
        self.custody = Custody(witness=asked, **custody)
        self.trust = Trust(witnesses=tuple(Verifier.parse(vkey) for vkey, _ in witnesses))
        self.quote_every = 0.0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = Clock().stamp
        self.desk = Desk(lambda: Journal.open(self.folder / "journal.db", log=self.log, stamp=stamp))
        await self.desk.open()
        self.anchor = Anchor(
            self.desk,
            self.custody,
            self.trust,
            log=self.log,
            state=self.folder,
            stamp=stamp,
            quote_every=self.quote_every,
        )
        try:
            await self.anchor.start()
        except BaseException:
            await self.desk.close()
            raise

    async def stop(self) -> None:
        await self.desk.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def write(self, count: int = 1) -> int:
        """Add entries; the size of the log."""

        def act(journal: Journal) -> int:
            for number in range(count):
                journal.record(Event.OBSERVED, {"observation": {"number": number}})
            return journal.leaves.size

        return await self.desk.write(act)

    async def publish(self, count: int = 1) -> None:
        """Write, sign, and ask every witness once."""
        await self.write(count)
        await self.anchor.sign()
        await self.anchor.publish()

    async def size(self) -> int:
        return await self.desk.read(lambda journal: journal.leaves.size)

    async def newest(self) -> anchors.Signed | None:
        return await self.desk.read(anchors.newest)

    async def cosigned(self) -> anchors.Signed | None:
        return await self.desk.read(anchors.newest_cosigned)

    async def contradictions(self) -> list[anchors.Contradiction]:
        return await self.desk.read(anchors.contradictions)

    async def events(self) -> list[str]:
        return await self.desk.read(_events)

    def copy(self, to: Path) -> Path:
        """The state folder as a backup would have it; the post must be stopped."""
        shutil.rmtree(to, ignore_errors=True)
        return shutil.copytree(self.folder, to)


def _events(journal: Journal) -> list[str]:
    import json  # noqa: PLC0415

    return [json.loads(leaf)["predicate"]["event"] for _, leaf in journal.leaves.between(0, journal.leaves.size)]


Answer = tuple[int, bytes]


@asynccontextmanager
async def witness_that(
    answers: Callable[[bytes], Answer] | Sequence[Answer], *, pieces: bool = False
) -> AsyncIterator[str]:
    """Serve a witness that answers what it is told to; its submission prefix. `pieces`: as a slow network brings it."""
    turn = iter(answers) if not callable(answers) else None

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        status, said = answers(body) if turn is None else next(turn)  # type: ignore[operator]
        return await in_pieces(request, said) if pieces else web.Response(status=status, body=said)

    app = web.Application()
    app.router.add_post("/w/add-checkpoint", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/w"
    finally:
        await runner.cleanup()


async def in_pieces(request: web.Request, body: bytes) -> web.StreamResponse:
    """Answer 200, half of the body, and a while later the rest."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for piece in (body[: len(body) // 2], body[len(body) // 2 :]):
        await answer.write(piece)
        await asyncio.sleep(0.2)
    return answer
