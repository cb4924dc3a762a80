"""Receipts that are asked for again, a page at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from drivers.enotes import receiving

if TYPE_CHECKING:
    import pytest

    from tests.drivers.enotes.conftest import Desk


async def test_receipts_in_pages_come_to_an_end_and_tell_of_every_attachment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "_RECEIPTS", 3)
    async with desk.open(), desk.tablet() as tablet, desk.tablet("TAB-0200") as other:
        book = tablet.notebook
        note = book.create("text")
        for two in range(3):
            book.attach(note, (f"{two}-one", b"%d one" % two), (f"{two}-two", b"%d two" % two))
        await tablet.sync()
        forged = json.loads(book.written[1])
        await other.send([json.dumps({**forged, "signature": f"x{number:04}"}).encode() for number in range(5)])
        first, asked, seqs, files = 1, 0, set[int](), set[str]()
        while first is not None:
            asked += 1
            assert asked < 10, "it goes on for ever"
            told = await tablet._ask("GET", f"/enotes/v1/receipts?notebook={book.urn}&from={first}", None, {})
            page = tablet.opened(told["receipt"])
            seqs |= {one["seq"] for one in page["entries"]}
            files |= {one["sha-256"] for one in page["attachments"]}
            first = told["next"]
        assert (seqs, len(files)) == ({1, 2, 3, 4}, 6)
