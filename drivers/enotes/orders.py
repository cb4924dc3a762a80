"""What a person says to the driver: who is lost, who is invited, what was looked at. The log has it first."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Json, rfc3339
from agent.errors import Refusal
from drivers.enotes.authority import is_name
from drivers.enotes.awaiting import AWAITED
from drivers.enotes.inviting import enrolment
from firmware_specs.formats.enote import moment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from agent.driver import Intake, Record
    from drivers.enotes.options import EnotesOptions
    from drivers.enotes.reconsidering import Reconsidering
    from drivers.enotes.register import Register
    from drivers.enotes.shelf import Shelf

__all__ = ["Orders"]

_TEXT_MAX: Final = 500
_LIST_MAX: Final = 10_000
_TOLD: Final = 50
"""Attachments that an entry of the log names; their number is told as well."""


class Orders:
    """`evidock enotes` is made with these."""

    def __init__(
        self, options: EnotesOptions, shelf: Shelf, register: Register, again: Reconsidering, intake: Intake
    ) -> None:
        self._options, self._shelf, self._register, self._again = options, shelf, register, again
        self._intake = intake

    async def obey(self, word: str, arguments: Mapping[str, Json], *, record: Record) -> Json:
        """See `agent.driver.TakesOrders`."""
        if word == "list":
            return await self._list()
        if word == "keys":
            return [key.told for key in self._register.keys.values()]
        acts = {
            "give-up": self._give_up,
            "invite": self._invite,
            "read": self._read,
            "revoke": self._revoke,
            "seen": self._seen,
        }
        if (act := acts.get(word)) is None:
            raise Refusal(f"tablets are not told {word!r}", hint="evidock enotes --help")
        return await act(arguments, record)

    async def _list(self) -> Json:
        """Notebooks and tablets: names and numbers, no text of a note."""

        def look(db: sqlite3.Connection) -> Json:
            notebooks: list[Json] = []
            sql = (
                "SELECT notebook, count(*), max(seq), max(received_at),"
                " sum(seen = 0 AND status NOT IN ('ok', 'late', 'duplicate', 'twin')),"
                " sum(status NOT IN ('ok', 'late', 'duplicate', 'twin'))"
                " FROM envelope GROUP BY notebook ORDER BY max(received_at) DESC LIMIT ?"
            )
            for notebook, entries, last, received_at, unseen, flagged in db.execute(sql, (_LIST_MAX,)):
                waits = db.execute(
                    f"SELECT count(*) FROM attachment WHERE notebook = ? AND {AWAITED}",  # noqa: S608 - a constant
                    (notebook,),
                ).fetchone()[0]
                who = db.execute(
                    "SELECT badge, name FROM key JOIN envelope USING (kid) WHERE notebook = ? AND base = ''"
                    " ORDER BY number LIMIT 1",
                    (notebook,),
                ).fetchone() or (None, None)
                notebooks.append(
                    {
                        "attachments_missing": waits, "badge": who[0], "entries": entries, "flagged": flagged,
                        "last_received_at": received_at, "last_seq": last, "name": who[1], "notebook": notebook,
                        "unseen": unseen,
                    }
                )  # fmt: skip
            names = ("id", "enrolled_at", "revoked_since", "revoked_at", "why")
            tablets: list[Json] = [
                dict(zip(names, row, strict=True))
                for row in db.execute(f"SELECT {', '.join(names)} FROM tablet ORDER BY id LIMIT {_LIST_MAX}")  # noqa: S608
            ]
            return {"notebooks": notebooks, "state": str(self._options.state), "tablets": tablets}

        return await self._shelf.look(look)

    async def _read(self, arguments: Mapping[str, Json], record: Record) -> Json:
        """Somebody reads a notebook: who, which and why stand in the log. The files themselves decide who can."""
        notebook = None if arguments.get("notebook") is None else _text(arguments, "notebook")
        why, sql = _text(arguments, "why"), "SELECT count(*) FROM envelope WHERE notebook IS ?"
        if not await self._shelf.look(lambda db: db.execute(sql, (notebook,)).fetchone()[0]):
            what = "no entry without a notebook" if notebook is None else f"no notebook {notebook}"
            raise Refusal(f"{what} is known here", hint="List them: evidock enotes list.")
        await record({"notebook": notebook, "why": why})
        late = self._options.late_after
        return {"late_after_s": int(late), "service": self._options.service, "state": str(self._options.state)}

    async def _invite(self, arguments: Mapping[str, Json], record: Record) -> Json:
        tablet, badge = _text(arguments, "tablet"), _text(arguments, "badge")
        name = _text(arguments, "name") if arguments.get("name") else None
        if not is_name(tablet):
            raise Refusal("1 to 64 letters, digits and . _ : - can be a tablet's name", hint="Nothing was changed.")
        await record({"badge": badge, "name": name, "tablet": tablet})
        made = await asyncio.to_thread(enrolment, self._options, tablet=tablet, badge=badge, name=name)
        return {"name": made.name, "page": base64.b64encode(made.content).decode(), "todo": list(made.todo)}

    async def _revoke(self, arguments: Mapping[str, Json], record: Record) -> Json:
        tablet, why, now = _text(arguments, "tablet"), _text(arguments, "why"), datetime.now(UTC)
        since = moment(arguments.get("since")) if arguments.get("since") else now
        if since is None or since > now:
            raise Refusal("`since` is a time of RFC 3339 that has been, such as 2026-11-22T07:00:00Z")
        if not any(key.tablet == tablet for key in self._register.keys.values()):
            raise Refusal(f"no tablet {tablet} was enrolled here", hint="List them: evidock enotes list.")
        await record({"since": rfc3339(since), "tablet": tablet, "why": why})
        kids = await self._register.revoke(tablet, since, now, why)
        ours = [key.public.kid for key in self._register.keys.values() if key.tablet == tablet]
        await self._again.keys(ours)
        told: list[Any] = [kid for kid in kids if kid != "-"]
        return {"keys": told, "since": rfc3339(since), "tablet": tablet}

    async def _seen(self, arguments: Mapping[str, Json], record: Record) -> Json:
        """A person looked at what is flagged in a notebook: the notice goes, the flags stay."""
        notebook, why = arguments.get("notebook"), _text(arguments, "why")
        if notebook is not None and not isinstance(notebook, str):
            raise Refusal("`notebook` is a text")
        await record({"notebook": notebook, "why": why})
        unseen = "notebook IS ? AND seen = 0 AND status NOT IN ('ok', 'late', 'duplicate', 'twin')"
        sql = f"UPDATE envelope SET seen = 1 WHERE {unseen}"  # noqa: S608 - a constant
        return {"seen": await self._shelf.run(lambda db: db.execute(sql, (notebook,)).rowcount)}

    async def _give_up(self, arguments: Mapping[str, Json], record: Record) -> Json:
        """What is awaited for a notebook will not come: the notice goes. Should it come, it is held all the same."""
        notebook, why = _text(arguments, "notebook"), _text(arguments, "why")
        sql = f"SELECT seq, sha256 FROM attachment WHERE notebook = ? AND {AWAITED} ORDER BY seq, sha256"  # noqa: S608
        rows = await self._shelf.look(lambda db: db.execute(sql, (notebook,)).fetchall())
        if not rows:
            raise Refusal(f"no attachment of {notebook} is awaited", hint="List them: evidock enotes list.")
        told: list[Json] = [{"seq": seq, "sha256": sha256} for seq, sha256 in rows[:_TOLD]]
        await record({"attachments": told, "count": len(rows), "notebook": notebook, "why": why})
        put = "INSERT OR IGNORE INTO given_up VALUES (?, ?, ?)"
        await self._shelf.run(lambda db: db.executemany(put, [(notebook, *row) for row in rows]))
        return {"given_up": len(rows)}


def _text(arguments: Mapping[str, Json], name: str) -> str:
    found = arguments.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= _TEXT_MAX or not found.isprintable():
        raise Refusal(f"`{name}` must be said, in at most {_TEXT_MAX} printable characters")
    return found
