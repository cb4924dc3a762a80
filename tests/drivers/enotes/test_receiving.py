"""Entries of a tablet, from an invitation to a receipt: held byte for byte, answered then, and never doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.drivers.enotes.conftest import Desk


async def test_a_shift(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        book = tablet.notebook
        note = book.create("Attended 42 Main St.")
        book.append(note, " One occupant.")
        book.correct(note, "42", "24", "wrong house number")
        book.attach(note, ("photo.jpg", b"not a photograph"))
        book.finalize(note)
        book.supplement(note, "Called back.")
        await tablet.sync()
        assert [one["status"] for one in tablet.said] == ["ok"] * 6, tablet.said
        assert sorted(await desk.lines()) == sorted(book.written)
        assert book.outbox == []
        found = await desk.held()
        assert len(found) == 7
