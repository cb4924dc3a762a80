"""The dock's screen in a real browser: what it shows, in which language, and when it says that it knows nothing."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from agent.driver import Lead
from agent.station import news as news_module
from tests.screen.dock import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import BrowserContext, Page


pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.interop]

STATES = ("safe", "copying", "help", "charging", "do_not_remove", "empty")
WORDS = {
    "en": ("Safe to take", "Copying", "Ask for help", "Charging", "Do not remove", "Free"),
    "fr": ("Peut partir", "Copie en cours", "Aide requise", "En charge", "Ne pas retirer", "Libre"),
}
LEAD = Lead(
    id="0195a1b2-c3d4-8e5f-8a6b-7c8d9e0f1a2b",
    at=datetime.now(UTC),
    what="stolen <b>vehicle</b>",
    lines=("listed EVDK042, read EVDKO42", "exact at alpr:car42/front"),
    todo="evidock hotlist outcome 0195a1b2 confirmed",
    urgent=True,
    pictures=2,
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FITS = """
() => [...document.querySelectorAll(".tile")].flatMap((tile) => {
  const box = tile.getBoundingClientRect(), view = document.documentElement;
  const of = (name) => tile.querySelector("." + name).getBoundingClientRect();
  const word = of("word"), name = of("name"), foot = of("foot"), sign = of("sign");
  const beside = (one) => one.left < box.left || one.right > box.right + 0.5;
  const inside = (one) => !beside(one) && one.top >= box.top && one.bottom <= box.bottom + 0.5;
  const wide = (one) => one.scrollWidth > one.clientWidth + 1;
  const wrong = [];
  if (box.bottom > view.clientHeight || box.right > view.clientWidth) wrong.push("outside the screen");
  if (!inside(word) || wide(tile.querySelector(".word"))) wrong.push("the word does not fit");
  if (!inside(name) || !inside(sign) || !inside(foot)) wrong.push("name, sign or foot do not fit");
  if (word.top < name.bottom - 2 || word.bottom > foot.top + 2) wrong.push("lines overlap");
  return wrong.map((one) => tile.dataset.bay + ": " + one);
})
"""


@asynccontextmanager
async def opened(
    browser: BrowserContext, url: str, width: int = 1280, height: int = 800, *, clock: bool = False
) -> AsyncIterator[Page]:
    """A page that has complained of nothing when it is closed, and has asked nobody but the station.

    `clock`: its time is the test's.
    """
    page = await browser.new_page()
    await page.set_viewport_size({"width": width, "height": height})
    if clock:
        await page.clock.install()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    origin = "/".join(url.split("/")[:3])
    page.on("request", lambda asked: None if asked.url.startswith(origin) else wrong.append(asked.url))
    try:
        await page.goto(url)
        yield page
        assert not wrong
    finally:
        await page.close()


async def complaints(page: Page, axe: str) -> list[str]:
    await page.evaluate(axe)
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found: dict[str, Any] = await page.evaluate(
        "(tags) => axe.run(document, {runOnly: tags, resultTypes: ['violations', 'incomplete']})", rules
    )
    contrast = [one for one in found["incomplete"] if one["id"] == "color-contrast"]
    assert found["passes"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary']}"
        for one in [*found["violations"], *contrast]
        for node in one["nodes"]
    ]


def word(page: Page, bay: str) -> Any:  # noqa: ANN401 - playwright's
    return page.locator(f".tile[data-bay='{bay}'] .word")


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_axe_finds_nothing(browser: BrowserContext, axe: str, tmp_path: Path, language: str) -> None:
    async with served(tmp_path, len(STATES)) as dock:
        for number, state in enumerate(STATES, 1):
            dock.put(number, state)
        dock.bays.pictures, dock.bays.shown = {(LEAD.id, 0): PNG}, [LEAD, replace(LEAD, urgent=False, pictures=0)]
        dock.told.append(
            {"id": "uplink.down", "state": "problem", "what": "uplink", "detail": "it does not answer", "todo": "Wait."}
        )
        async with opened(browser, f"{dock.url}/?lang={language}") as page:
            for number, said in enumerate(WORDS[language], 1):
                await expect(word(page, f"bay-{number:02d}")).to_have_text(said)
            assert await page.locator("html").get_attribute("lang") == language
            await expect(page.locator("#leads li")).to_have_count(2)
            assert await complaints(page, axe) == []
            await page.locator(".tile[data-bay='bay-03']").click()
            assert await complaints(page, axe) == []
            await page.keyboard.press("Escape")
            await page.set_viewport_size({"width": 390, "height": 844})
            assert await complaints(page, axe) == []


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("bays", [1, 8, 60])
async def test_every_word_fits_and_every_bay_is_in_sight(
    browser: BrowserContext, tmp_path: Path, language: str, bays: int
) -> None:
    async with served(tmp_path, bays) as dock:
        for number in range(1, bays + 1):
            dock.put(number, STATES[(number + 3) % len(STATES)])
        async with opened(browser, f"{dock.url}/?lang={language}") as page:
            await expect(page.locator(".tile")).to_have_count(bays)
            for width, height in ((1920, 1080), (1024, 768), (768, 1024)):
                await page.set_viewport_size({"width": width, "height": height})
                await page.wait_for_function("width => document.documentElement.clientWidth === width", arg=width)
                await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
                assert await page.evaluate(FITS) == [], (width, height)


async def test_it_follows_what_happens(
    browser: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_module, "PACE", 0.05)
    async with served(tmp_path, 60) as dock, opened(browser, dock.url) as page:
        await expect(word(page, "bay-07")).to_have_text("Free")
        dock.put(7, "copying")
        await expect(word(page, "bay-07")).to_have_text("Copying")
        await expect(page.locator("#said")).to_have_text("bay-07: Copying")
        line = page.locator(".tile[data-bay='bay-07'] .line")
        before = await line.text_content()
        dock.move(2_000_000_000)
        await expect(line).not_to_have_text(before or "")
        dock.put(7, "safe")
        await expect(word(page, "bay-07")).to_have_text("Safe to take")
        await expect(line).to_contain_text("42")
        for number in range(1, 61):
            dock.put(number, "safe")
        await expect(page.locator(".tile[data-state=safe]")).to_have_count(60)
        await expect(page.locator("#said")).to_contain_text("and 55 more")


async def test_with_a_token_it_is_opened_once_and_goes_on(browser: BrowserContext, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 2)
    token.chmod(0o600)
    async with served(tmp_path, 1, status=f'token_file = "{token}"') as dock:
        dock.put(1, "safe")
        page = await browser.new_page()
        answer = await page.goto(dock.url.replace("//", f"//screen:{token.read_text()}@"))
        assert answer is not None
        assert answer.status == 200
        await expect(word(page, "bay-01")).to_have_text("Safe to take")
        dock.put(1, "help")
        await expect(word(page, "bay-01")).to_have_text("Ask for help")
        await page.close()


async def test_what_a_device_or_a_roster_says_is_text(browser: BrowserContext, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    async with served(tmp_path, 1) as dock:
        dock.put(1, "help")
        bay = dock.bays["bay-01"]
        dock.bays["bay-01"] = replace(bay, officer=hostile, trouble=hostile + "\u202e", todo=hostile)
        async with opened(browser, dock.url) as page:
            await expect(page.locator(".officer")).to_have_text(hostile)
            await page.locator(".tile").click()
            await expect(page.locator("dialog")).to_contain_text(hostile)
            assert await page.locator("img").count() == 0


async def test_it_is_used_by_keyboard_alone(browser: BrowserContext, tmp_path: Path) -> None:
    async with served(tmp_path, 6) as dock:
        for number, state in enumerate(STATES, 1):
            dock.put(number, state)
        async with opened(browser, dock.url) as page:
            await expect(page.locator(".tile")).to_have_count(6)
            await page.keyboard.press("Tab")
            await expect(page.locator(".skip")).to_be_focused()
            for _ in range(2):
                await page.keyboard.press("Tab")
            await page.keyboard.press("Enter")
            await expect(word(page, "bay-01")).to_have_text("Peut partir")
            await expect(page.locator("[aria-pressed=true]")).to_be_focused()
            await page.keyboard.press("Tab")
            await expect(page.locator(".tile[data-bay='bay-01']")).to_be_focused()
            await page.keyboard.press("ArrowRight")
            await page.keyboard.press("ArrowRight")
            await expect(page.locator(".tile[data-bay='bay-03']")).to_be_focused()
            await page.keyboard.press("Enter")
            await expect(page.locator("dialog")).to_contain_text("40 en sûreté, 2 inexpliqué")
            await page.keyboard.press("Escape")
            await expect(page.locator(".tile[data-bay='bay-03']")).to_be_focused()
            await page.keyboard.press("End")
            await expect(page.locator(".tile[data-bay='bay-06']")).to_be_focused()
            await page.reload()
            await expect(word(page, "bay-01")).to_have_text("Peut partir")  # it is remembered
            await page.evaluate("localStorage.clear()")


async def test_a_silent_line_makes_the_page_say_that_it_knows_nothing(
    browser: BrowserContext, axe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_module, "HEARTBEAT", 1e9)
    monkeypatch.setattr(news_module, "PACE", 1e9)
    async with served(tmp_path, 3) as dock:
        dock.put(1, "safe")
        async with opened(browser, dock.url, clock=True) as page:
            await expect(word(page, "bay-01")).to_have_text("Safe to take")
            await page.route("**/v1/events", lambda route: route.abort())
            await page.clock.run_for(14_000)
            await expect(page.locator("#lost strong")).to_have_text("Connection lost")
            await expect(page.locator("#mark")).to_be_visible()
            for bay in ("bay-01", "bay-02"):
                await expect(word(page, bay)).to_have_text("Not known")
            assert await page.locator("text=Safe to take").count() == 0
            assert await page.evaluate(FITS) == []
            await page.clock.resume()
            assert await complaints(page, axe) == []
            await page.unroute("**/v1/events")
            await page.clock.run_for(4_000)
            await expect(word(page, "bay-01")).to_have_text("Safe to take")
            await expect(page.locator("#mark")).to_be_hidden()
            await expect(page.locator("#lost")).to_be_empty()


async def test_what_waits_for_an_answer_stands_there_with_its_picture_until_it_was_given(
    browser: BrowserContext, tmp_path: Path
) -> None:
    async with served(tmp_path, 4) as dock, opened(browser, dock.url) as page:
        await expect(page.locator("#leads")).to_be_hidden()
        dock.bays.pictures = {(LEAD.id, 0): PNG}
        dock.bays.shown = [LEAD]
        await expect(page.locator("#leads strong")).to_have_text("stolen <b>vehicle</b>", timeout=15_000)
        await expect(page.locator("#leads p")).to_have_count(3)
        await expect(page.locator("#leads img")).to_have_count(1)  # the second one is gone already
        assert await page.evaluate("document.querySelector('#leads img').naturalWidth") == 1
        assert await page.evaluate(FITS) == []
        dock.bays.shown = []
        await expect(page.locator("#leads")).to_be_hidden(timeout=15_000)
        assert "EVDK" not in await page.content(), "and nothing of it is left in the page"
