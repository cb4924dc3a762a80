"""A notebook for a reader: everything is there, nothing is invisible, each printed page states the head."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.enotes import EnoteTablets
from drivers.enotes.emulator import Notebook
from drivers.enotes.emulator.notebook import Signer
from drivers.enotes.reading import from_files
from drivers.enotes.rendering import LANGUAGES, rendered, visible
from firmware_specs.formats.enote import STRENGTH, Status
from tests.drivers.enotes.make_book import everything, key_of
from tests.drivers.enotes.rig import options, scanned
from tests.screen.browser import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Page

    from drivers.enotes.reading import Looked

WEB = Path(__file__).parents[3] / "drivers" / "enotes" / "web"
ROOT = Path(__file__).parents[3]


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.struck: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.parts.append(data)
        if "del" in self._open and "span" not in self._open:
            self.struck.append(data)


def read(page: bytes) -> Text:
    parser = Text()
    parser.feed(page.decode())
    return parser


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    with everything(tmp_path_factory.mktemp("book")) as found:
        yield found


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_is_there(book: Looked, language: str) -> None:
    page = b"".join(rendered(book, language=language, service="Example <Police> Service"))
    found = read(page)
    text = "".join(found.parts)
    words = json.loads((WEB / f"words.{language}.json").read_text())
    assert found.struck == ["42", "24", " Main St"]
    for wanted in (
        "24 Main Street",
        "<b>bold</b>",
        "👮🏽",
        "U+202E",
        "Called back.",
        "three, as it was",
        "three, after a backup",
        "by a stranger",
        "52 Main",
        "2026-11-22T02:41:00-05:00",
        "Example <Police> Service",
        book.chain.head_digest.hex(),
        words["missing_one"].format(first=11),
        words["flag"]["clock_went_back"],
        *(words["status"][status] for status in ("fork", "chain_gap", "bad_sig", "unknown_key")),
        *(key.public.kid for key in book.keys.values()),
    ):
        assert wanted in text, wanted
    assert b"\xe2\x80\xae" not in page
    for act in book.acts:
        assert act.digest.hex() in text


@pytest.mark.parametrize("strange", ["a while", [1], {"a": 1}, True, 1e300, None])
def test_an_entry_that_breaks_the_rules_keeps_no_reader_from_the_others(tmp_path: Path, strange: object) -> None:
    signer = Signer("4471", "PC A. Sample")
    book = Notebook(signer)
    note = book.create("what must be read")
    clock = dict.fromkeys(("offset_ms", "source", "uncertainty_ms"), strange)
    many = dict.fromkeys(("comment", "incident", "occurred_at", "reason", "rev", "text", "verdict"), strange)
    book.write("review", note, clock=clock, author={"badge": strange, "name": strange}, **many)
    path = tmp_path / "book.ndjson"
    path.write_bytes(b"\n".join(book.outbox))
    with from_files([path], {signer.kid: key_of(signer)}, late_after=timedelta(hours=12)) as (found,):
        assert [act.status for act in found.acts] == [Status.OK, Status.BAD_ENTRY]
        assert "what must be read" in "".join(read(b"".join(rendered(found))).parts)


def test_the_words_of_both_languages_are_the_same_and_all_there() -> None:
    said = [json.loads((WEB / f"words.{language}.json").read_text()) for language in LANGUAGES]
    assert _keys(said[0]) == _keys(said[1])
    assert set(said[0]["status"]) == {status.value for status in STRENGTH}
    code = "".join(path.read_text() for path in (ROOT / "drivers" / "enotes").glob("*.py"))
    code += (ROOT / "firmware_specs" / "formats" / "enote_notebook.py").read_text()
    code += (ROOT / "firmware_specs" / "formats" / "enote.py").read_text()
    for flag in said[0]["flag"]:
        assert f'"{flag}"' in code, flag
    invitation = json.loads((WEB / "invitation.json").read_text())
    assert _keys(invitation["en"]) == _keys(invitation["fr"])
    assert len(invitation["en"]["steps"]) == len(invitation["fr"]["steps"])


def _keys(value: object) -> object:
    return {name: _keys(one) for name, one in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u00a0b\u202fc — é 中\n\t", "a\u00a0b\u202fc — é 中\n\t"),
        ("\u202eevil", "<mark>U+202E</mark>evil"),
        ("\u0000\u200b\ufeff\u2066", "".join(f"<mark>U+{n}</mark>" for n in ("0000", "200B", "FEFF", "2066"))),
        ("<script>&'\"", "&lt;script&gt;&amp;&#x27;&quot;"),
        ("\ud800", "<mark>U+D800</mark>"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ],
)
def test_nothing_is_invisible(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not here")
async def test_in_a_browser_and_on_paper(book: Looked, tmp_path: Path) -> None:
    """Nothing that hinders people, by axe-core; each printed page states notebook and head."""
    axe = ROOT / "tests" / "interop" / "node_modules" / "axe-core" / "axe.min.js"
    with tempfile.TemporaryDirectory() as profile:
        async with chromium(profile) as context:
            page = await context.new_page()
            for language in LANGUAGES:
                file = tmp_path / f"{language}.html"
                file.write_bytes(b"".join(rendered(book, language=language)))
                await page.goto(file.as_uri())
                await _hinders_nobody(page, axe)
            await _invitation(page, tmp_path, axe)
            await page.goto((tmp_path / "fr.html").as_uri())
            await page.pdf(path=str(tmp_path / "book.pdf"), prefer_css_page_size=True)
    await asyncio.to_thread(_each_page_states_the_head, book, tmp_path / "book.pdf")


@pytest.mark.skipif(shutil.which("weasyprint") is None, reason="weasyprint is not here")
def test_as_a_file_that_says_that_it_is_pdf_a(book: Looked, tmp_path: Path) -> None:
    """By Debian's WeasyPrint, as the document says. Whether it is one, only a validator could tell."""
    (tmp_path / "book.html").write_bytes(b"".join(rendered(book)))
    command = ["weasyprint", "-q", "--pdf-variant", "pdf/a-2b", str(tmp_path / "book.html"), str(tmp_path / "book.pdf")]
    subprocess.run(command, check=True)
    assert b"pdfaid" in (tmp_path / "book.pdf").read_bytes()
    _each_page_states_the_head(book, tmp_path / "book.pdf")


def _each_page_states_the_head(book: Looked, file: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not here (poppler-utils)")
    done = subprocess.run(["pdftotext", str(file), "-"], capture_output=True, text=True, check=True)
    pages = [one for one in done.stdout.split("\f") if one.strip()]
    assert len(pages) > 3
    for number, one in enumerate(pages, 1):
        assert f"sha-256:{book.chain.head_digest.hex()}" in one
        assert str(book.notebook) in one
        assert re.search(rf"\b{number}/{len(pages)}\b", one)


def _script(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


async def _hinders_nobody(page: Page, axe: Path) -> None:
    if (script := _script(axe)) is not None:
        await page.evaluate(script)
        told = await page.evaluate("axe.run()")
        assert [(one["id"], one["nodes"][0]["html"]) for one in told["violations"]] == []


async def _invitation(page: Page, folder: Path, axe: Path) -> None:
    """jsQR finds in the picture what stands below it."""
    made = EnoteTablets.enrol(options(folder, reached_at=["dock-0042.example.org", "192.0.2.10"]))
    (folder / "invitation.html").write_bytes(made.content)
    await page.goto((folder / "invitation.html").as_uri())
    await _hinders_nobody(page, axe)
    if (reader := _script(axe.parents[1] / "jsqr" / "dist" / "jsQR.js")) is not None:
        await page.goto("about:blank")
        await page.evaluate(reader)
        (svg,) = re.findall(r"<svg.*?</svg>", made.content.decode(), re.DOTALL)
        assert json.loads(await page.evaluate(READ, svg)) == scanned(made)


READ = """async (svg) => {
    const image = new Image()
    image.src = URL.createObjectURL(new Blob([svg], { type: 'image/svg+xml' }))
    await image.decode()
    const canvas = document.createElement('canvas')
    canvas.width = image.width; canvas.height = image.height
    const context = canvas.getContext('2d')
    context.fillStyle = 'white'; context.fillRect(0, 0, image.width, image.height)
    context.drawImage(image, 0, 0)
    const pixels = context.getImageData(0, 0, image.width, image.height)
    return jsQR(pixels.data, image.width, image.height)?.data
}"""
