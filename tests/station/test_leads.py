"""What waits for a person, on the status service: its words and pictures, and in which answers nothing of it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp

from agent.driver import Lead, ShowsLeads
from agent.station.leads import PLACE
from agent.station.status import EVENTS
from tests.screen.dock import Bays, served
from tests.station.asking import TOKEN, ask
from tests.station.test_news import listening

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 11, 22, 7, 41, 3, 120_000, tzinfo=UTC)
LEAD = Lead(
    id="0195a1b2-c3d4-8e5f-8a6b-7c8d9e0f1a2b",
    at=AT,
    what="stolen vehicle",
    lines=("listed EVDK042, read EVDKO42", "exact at alpr:car42/front"),
    todo="evidock hotlist outcome 0195a1b2 confirmed",
    pictures=1,
)
PICTURE = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


async def test_a_lead_is_shown_with_its_picture_and_nowhere_else(tmp_path: Path) -> None:
    assert isinstance(Bays(1), ShowsLeads)
    async with served(tmp_path, 1) as dock:
        assert (await ask(dock.url, "/v1/status"))[2]["leads"] == []
        dock.bays.shown, dock.bays.pictures = [LEAD], {(LEAD.id, 0): PICTURE}
        async with listening(dock) as following:
            told = (await following("state")).data
            assert told["status"]["leads"] == [LEAD.id], "by its id alone"
            assert "EVDK" not in str(told)
        status, headers, shown = await ask(dock.url, PLACE)
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        (one,) = shown["leads"]
        assert (one["what"], one["lines"], one["at"]) == (LEAD.what, [*LEAD.lines], "2026-11-22T07:41:03.120Z")
        async with aiohttp.ClientSession() as session, session.get(f"{dock.url}{PLACE}/{LEAD.id}/0") as answer:
            assert (answer.content_type, await answer.read()) == ("image/jpeg", PICTURE)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
        for path in ("/v1/status", "/v1/bays", "/metrics", "/"):
            status, _, told = await ask(dock.url, path)
            assert status == 200
            assert "EVDK" not in str(told), path


async def test_pictures_that_are_gone_or_none_are_not_there(tmp_path: Path) -> None:
    async with served(tmp_path, 1) as dock:
        dock.bays.shown, dock.bays.pictures = [LEAD], {(LEAD.id, 0): b"<html>", (LEAD.id, 1): b"\x89PNG\r\n\x1a\n..."}
        assert (await ask(dock.url, f"{PLACE}/{LEAD.id}/0"))[0] == 404, "what is no picture is served to no browser"
        for wrong in ("2", "4", "00", "0/1", "-1"):
            assert (await ask(dock.url, f"{PLACE}/{LEAD.id}/{wrong}"))[0] == 404
        assert (await ask(dock.url, f"{PLACE}/{'x' * 36}/0"))[0] == 404
        assert (await ask(dock.url, f"{PLACE}/{LEAD.id}/0", "POST"))[0] == 405
        async with aiohttp.ClientSession() as session, session.get(f"{dock.url}{PLACE}/{LEAD.id}/1") as answer:
            assert answer.content_type == "image/png"


async def test_who_may_not_look_sees_none(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    async with served(tmp_path, 1, status=f'token_file = "{token}"') as dock:
        dock.bays.shown, dock.bays.pictures = [LEAD], {(LEAD.id, 0): PICTURE}
        for path in (PLACE, f"{PLACE}/{LEAD.id}/0", EVENTS):
            assert (await ask(dock.url, path))[0] == 401


async def test_what_a_driver_says_is_bounded_and_what_is_urgent_comes_first(tmp_path: Path) -> None:
    many = [replace(LEAD, id=f"{LEAD.id[:-2]}{number:02}", at=AT + timedelta(seconds=number)) for number in range(40)]
    many[5] = replace(many[5], urgent=True, what="x" * 1000, lines=("\x1b[31m" * 500,) * 50, pictures=99)
    async with served(tmp_path, 1) as dock:
        dock.bays.shown = many
        _, _, shown = await ask(dock.url, PLACE)
    leads = shown["leads"]
    assert len(leads) == 12
    assert [leads[0]["urgent"], leads[1]["urgent"]] == [True, False]
    assert (len(leads[0]["what"]), len(leads[0]["lines"]), leads[0]["pictures"]) == (200, 8, 4)
    assert "\x1b" not in str(leads)
