"""Write some notes and send them: `python -m drivers.enotes.emulator INVITATION [--text TEXT] [--photo FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import re
import sys
from pathlib import Path

from drivers.enotes.emulator.tablet import Tablet


async def write(arguments: argparse.Namespace) -> int:
    """Enrol, write one note with a correction, send all of it; 0 where everything was good."""
    page = arguments.invitation.read_text("utf-8")
    found = re.search(r'<p class="text">(.*?)</p>', page, re.DOTALL)
    invitation = json.loads(html.unescape(found[1]) if found else page)
    async with Tablet(arguments.folder, name=arguments.tablet, badge=arguments.badge, wire=arguments.wire) as tablet:
        told = await tablet.enrol(invitation)
        tablet.signer.badge = told["badge"]
        note = tablet.notebook.create(arguments.text)
        if photos := [(path.name, path.read_bytes()) for path in arguments.photo]:
            tablet.notebook.attach(note, *photos)
        tablet.notebook.append(note, " Nothing to add.")
        tablet.notebook.correct(note, "Nothing", "Little", "as a demonstration")
        tablet.notebook.finalize(note)
        await tablet.sync()
    for one in tablet.said:
        sys.stdout.write(f"{one['seq']} {one['status']} {' '.join(one['flags'])}\n")
    return 0 if all(one["status"] in ("ok", "duplicate") for one in tablet.said) else 1


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("invitation", type=Path, help="the page that `evidock device enrol` wrote")
    parser.add_argument("--text", default="Attended 42 Main St.", help="of the note")
    parser.add_argument("--photo", type=Path, nargs="*", default=[], help="files to attach")
    parser.add_argument("--tablet", default="TAB-0117", help="name of the tablet")
    parser.add_argument("--badge", default="4471", help="of the officer")
    parser.add_argument("--folder", type=Path, default=Path("tablet"), help="where the tablet keeps its key")
    parser.add_argument("--wire", default="", help="what goes wrong: see the module `tablet`")
    sys.exit(asyncio.run(write(parser.parse_args())))


if __name__ == "__main__":
    main()
