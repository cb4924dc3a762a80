"""What a person should look at, counted from the index: flagged entries, attachments that did not come."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from agent.capture import rfc3339
from agent.driver import Notice
from drivers.enotes.awaiting import AWAITED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from drivers.enotes.options import EnotesOptions
    from drivers.enotes.shelf import Shelf

__all__ = ["Standings"]

_MOST: Final = 20
"""Notebooks that are told by name."""
_SOON: Final = timedelta(days=30)
_VERIFY: Final = "evidock enotes verify"


class Standings:
    """Looks every few seconds; what it found is told from memory."""

    def __init__(self, options: EnotesOptions) -> None:
        self._options = options
        self.notices: Sequence[Notice] = ()
        """See `agent.driver.RaisesNotices`."""
        self.health: dict[str, str] = {}

    async def look(self, shelf: Shelf) -> None:
        """Count anew."""
        late = rfc3339(datetime.now(UTC) - timedelta(seconds=self._options.attachment_patience))

        def count(db: sqlite3.Connection) -> tuple[list[tuple[str | None, str, int]], int, int, tuple[int, int]]:
            sql = (
                "SELECT notebook, status, count(*) FROM envelope"
                " WHERE seen = 0 AND status NOT IN ('ok', 'late', 'duplicate', 'twin') GROUP BY notebook, status"
            )
            missing = f"SELECT count(*) FROM attachment WHERE {AWAITED}"  # noqa: S608 - a constant
            return (
                db.execute(sql).fetchall(),
                db.execute(missing).fetchone()[0],
                db.execute(f"{missing} AND wanted_at < ?", (late,)).fetchone()[0],
                db.execute("SELECT count(*), count(revoked_at) FROM tablet").fetchone(),
            )

        flagged, missing, overdue, (tablets, revoked) = await shelf.look(count)
        found: dict[str | None, list[str]] = {}
        for notebook, status, number in flagged:
            found.setdefault(notebook, []).append(f"{number} {status}")
        told = [
            Notice(
                "enotes.flagged",
                "warning",
                f"notebook {_short(notebook)}",
                f"Entries are flagged, and held: {', '.join(words)}.",
                f"Look at them ({_VERIFY}{'' if notebook else ' unplaced'}), find out why, then: evidock enotes seen.",
            )
            for notebook, words in sorted(found.items(), key=lambda one: str(one[0]))[:_MOST]
        ]
        if overdue:
            told.append(
                Notice(
                    "enotes.attachment_missing",
                    "warning",
                    f"driver {self._options.name}",
                    f"Attachments that entries name did not come: {overdue}.",
                    "Connect the tablets to the network; evidock enotes list says whose they are. Where one is lost:"
                    " evidock enotes give-up.",
                )
            )
        told += await asyncio.to_thread(self._certificates)
        self.notices = told
        self.health = {
            "tablets": f"{tablets} enrolled, {revoked} of them given up as lost",
            "attachments awaited": str(missing),
        }

    def _certificates(self) -> list[Notice]:
        """The station's own certificate ends: then no tablet can send."""
        path: Path | None = self._options.listen.certificate
        if path is None:
            return []
        try:
            until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (OSError, ValueError):
            return []  # `check_certificates` said so at the start
        if until - datetime.now(UTC) > _SOON:
            return []
        return [
            Notice(
                "enotes.certificate_ends",
                "warning",
                f"driver {self._options.name}",
                f"The certificate that tablets are shown ends on {until:%Y-%m-%d}.",
                "Move it and its key away, run evidock device enrol for this driver, and restart the service.",
            )
        ]


def _short(notebook: str | None) -> str:
    return "none: unplaced entries" if notebook is None else notebook.removeprefix("urn:uuid:")
