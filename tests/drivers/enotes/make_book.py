"""A notebook with everything in it that a reader must see: for the tests of the rendering."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from drivers.enotes.emulator import Notebook
from drivers.enotes.emulator.notebook import Signer
from drivers.enotes.reading import from_files
from drivers.enotes.register import Key
from drivers.enotes.signatures import PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drivers.enotes.reading import Looked


def key_of(signer: Signer) -> Key:
    public = PublicKey.of({name: value for name, value in signer.public.items() if name != "kid"})
    now = datetime.now(UTC)
    return Key(public, signer.badge, signer.name, "TAB-0117", now - timedelta(days=1), None, "enrolled", now, None)


@contextmanager
def everything(folder: Path) -> Iterator[Looked]:
    """Struck text, a fork, a gap, a bad signature, a clock that went back, characters that cannot be seen."""
    signer, stranger = Signer("4471", "PC A. Sample"), Signer("666", "nobody")
    book = Notebook(signer)
    note = book.create(
        "Attended 42 Main St. 👮🏽 <b>bold</b> “non”.\nSecond line\u202e.",
        incident="urn:emergency:uid:incidentid:7f2c1e0b44:cad.police.example",
        occurred_at="2026-11-22T02:41:00-05:00",
        late=True,
        reason="no paper at hand",
    )
    book.correct(note, "42", "24", "wrong house number")
    book.correct(note, "24 Main St", "24 Main Street", "spelled out")
    book.attach(note, ("photo.jpg", b"not a photograph"))
    book.append(note, " One occupant.")
    book.finalize(note)
    book.supplement(note, "Called back.")
    book.clock_off = timedelta(hours=-1)
    other = book.create("A second note, long enough for a page of its own. " * 120)
    book.clock_off = timedelta(0)
    book.write("void_page", other, reason="opened by mistake")
    lines = list(book.outbox)
    fork = book.backup()
    book.create("three, as it was")
    fork.create("three, after a backup")
    book.create("four, which does not come")
    book.create("five")
    told = json.loads(lines[0])
    payload = base64.urlsafe_b64decode(told["payload"] + "==").replace(b"42 Main", b"52 Main")
    told["payload"] = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    lines += [book.outbox[-3], fork.outbox[-1], book.outbox[-1], json.dumps(told).encode()]
    lines.append(Notebook(stranger, urn=book.urn).write("create", "n-9", text="by a stranger", kind="x"))
    path = folder / "book.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    key = key_of(signer)
    with from_files([path], {key.public.kid: key}, late_after=timedelta(hours=12)) as found:
        yield max(found, key=lambda one: len(one.acts))
