"""A notebook of any length is read in little memory, from an index that the daemon goes on writing, and from files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import Refusal
from drivers.enotes import reading
from drivers.enotes.emulator import Notebook
from drivers.enotes.emulator.notebook import Signer
from drivers.enotes.reading import from_files, from_index
from drivers.enotes.rendering import rendered
from drivers.enotes.shelf import NAME
from firmware_specs.formats.enote import LINE_MAX
from tests.drivers.enotes.make_book import key_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drivers.enotes.reading import Looked
    from tests.drivers.enotes.conftest import Desk

LATE = timedelta(hours=12)
SIGNER = Signer("4471", "PC A. Sample")
KEYS = {SIGNER.kid: key_of(SIGNER)}


def peak(act: Callable[[], object]) -> int:
    """Bytes that Python had in use at most, beyond those before."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def long_book(count: int, length: int, book: Notebook | None = None) -> Notebook:
    """Notes of so many characters, and one with struck text and as many supplements as long."""
    made = book or Notebook(SIGNER)
    first = made.create("42 Main St")
    made.correct(first, "42", "24", "wrong house number")
    made.finalize(first)
    for number in range(count):
        made.finalize(made.create(f"{number:06}" * (length // 6)))
        made.supplement(first, f"{number:05} " * (length // 6))
    return made


def looked_at(found: Looked) -> None:
    """As both commands do, one after the other."""
    assert not found.flagged
    assert not found.disagreeing
    written = sum(map(len, rendered(found)))
    assert written > 2 * LINE_MAX


def test_of_files_of_any_length_little_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "book.ndjson"
    path.write_bytes(b"\n".join(long_book(12, LINE_MAX // 2).outbox))
    assert path.stat().st_size > 15 * LINE_MAX

    def read() -> None:
        with from_files([path], KEYS, late_after=LATE) as (found,):
            assert len(found.acts) == 39
            looked_at(found)

    taken = peak(read)
    assert taken < 12 * LINE_MAX, f"{taken / 1e6:.0f} MB"


def test_each_entry_takes_a_little(tmp_path: Path) -> None:
    path, count = tmp_path / "book.ndjson", 500
    book = Notebook(SIGNER)
    for number in range(count):
        book.finalize(book.create(f"note {number}"))
    path.write_bytes(b"\n".join(book.outbox))

    def read() -> None:
        with from_files([path], KEYS, late_after=LATE) as (found,):
            assert sum(map(len, rendered(found))) > 100_000

    taken = peak(read)
    assert taken < 2000 * 2 * count, f"{taken / count / 2:.0f} bytes each"


async def test_of_an_index_of_any_length_little_is_in_memory(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        long_book(8, LINE_MAX // 2, tablet.notebook)
        await tablet.sync(patience=120)

        def read() -> None:
            with from_index(desk.options.state, tablet.notebook.urn, late_after=LATE) as found:
                assert len(found.acts) == 27
                looked_at(found)

        taken = await asyncio.to_thread(peak, read)
    assert taken < 12 * LINE_MAX, f"{taken / 1e6:.0f} MB"


async def test_whoever_reads_the_index_keeps_nobody_from_writing_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tablet that sends meanwhile would be told to come again, for as long as a long notebook takes."""
    async with desk.open(), desk.tablet() as tablet:
        for number in range(5):
            tablet.notebook.finalize(tablet.notebook.create(f"note {number}"))
        await tablet.sync()
        writer = sqlite3.connect(desk.options.state / NAME, timeout=0, isolation_level=None)
        judge, written = reading.judge, []

        def meanwhile(*words: Any, **more: Any) -> Any:  # noqa: ANN401 - handed through
            writer.execute("UPDATE envelope SET seen = 1")  # raises where somebody holds it
            written.append(1)
            return judge(*words, **more)

        monkeypatch.setattr(reading, "judge", meanwhile)
        with from_index(desk.options.state, tablet.notebook.urn, late_after=LATE) as found:
            for _ in rendered(found):
                writer.execute("UPDATE envelope SET seen = 1")
        writer.close()
        assert len(written) == 10


def test_what_comes_by_a_pipe_is_read_again_too(tmp_path: Path) -> None:
    """A process substitution of the shell, or what another program writes: it can be read once only."""
    lines, path, pipe = long_book(3, 3000).outbox, tmp_path / "book.ndjson", tmp_path / "pipe"
    path.write_bytes(b"\n".join(lines[:5]))
    os.mkfifo(pipe)
    writing = threading.Thread(target=lambda: pipe.write_bytes(b"\n".join(lines[5:])))
    writing.start()
    with from_files([path, pipe], KEYS, late_after=LATE) as (found,):
        writing.join()
        page = b"".join(rendered(found))
        assert not found.flagged
        assert len(found.acts) == len(lines)
    path.write_bytes(b"\n".join(lines))
    with from_files([path], KEYS, late_after=LATE) as (found,):
        assert without_time(b"".join(rendered(found))) == without_time(page)


def without_time(page: bytes) -> list[bytes]:
    return [one for one in page.splitlines() if b"<dt>Rendered" not in one]


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_file_that_changes_while_it_is_read_is_not_believed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "book.ndjson"
    path.write_bytes(b"\n".join(long_book(2, 3000).outbox))
    with from_files([path], KEYS, late_after=LATE) as (found,):
        if how == "changed":
            path.write_bytes(path.read_bytes().replace(b"e", b"f"))
        else:
            path.unlink()
        with pytest.raises(Refusal) as refused:
            b"".join(rendered(found))
    assert refused.value.what_to_do
