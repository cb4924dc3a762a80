"""Is the file sound below what it says: the pages and indexes of SQLite, and the schema as it was written.

An index that lost a row hides a capture from whoever asks by it, and no entry contradicts that.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import apsw

from agent.journal.database import bring_forward

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["schema_problems", "table_problems", "tables"]

_READ_ANYWAY: Final = frozenset({"entry"})
"""Its leaves are read one by one, and each is counted by its index: a second look would hold everybody up."""
_FEW: Final = 20
"""Problems that are told of one table."""
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"


def tables(connection: apsw.Connection) -> list[str]:
    """The tables whose pages are looked at, one at a time."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return [str(name) for (name,) in found if name not in _READ_ANYWAY]


def table_problems(connection: apsw.Connection, table: str) -> Iterator[str]:
    """What SQLite finds wrong in one table and its indexes (sqlite.org/pragma.html#pragma_integrity_check)."""
    for (said,) in connection.execute(f"PRAGMA integrity_check({_quoted(table)})"):
        if said != "ok":
            yield str(said)


def schema_problems(connection: apsw.Connection) -> Iterator[str]:
    """Where the schema is not the one that this program writes."""
    found, written = set(connection.execute(_SCHEMA).fetchall()), _written()
    for kind, name, *_ in sorted(found ^ written, key=str)[:_FEW]:
        yield f"{kind} {name} is not as it was written"


@cache
def _written() -> frozenset[tuple[object, ...]]:
    connection = apsw.Connection(":memory:")
    try:
        bring_forward(connection, 0)
        return frozenset(connection.execute(_SCHEMA).fetchall())
    finally:
        connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
