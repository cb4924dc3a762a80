"""Send reads to a receiver: `python -m drivers.alpr.emulator URL --maker hikvision --plate EVDK042`."""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
import uuid
from datetime import UTC, datetime
from urllib.parse import urlsplit

from drivers.alpr.emulator.messages import MESSAGES
from drivers.alpr.emulator.passages import Passage, jpeg
from drivers.alpr.emulator.sender import Sender


async def send(arguments: argparse.Namespace) -> int:
    """Send so many passages, one after another; 0 where all were answered with success."""
    url = urlsplit(arguments.url)
    tls = ssl._create_unverified_context() if url.scheme == "https" else None  # noqa: S323, SLF001 - it is a camera
    one = Sender(url.hostname or "127.0.0.1", url.port or (443 if tls else 80), url.path, tls=tls, wire=arguments.wire)
    if arguments.login:
        kind, user, password = arguments.login.split(":", 2)
        one.login = (kind, user, password)
    if arguments.token:
        one.headers["Authorization"] = f"Token {arguments.token}"
    pictures = {"plate": jpeg(arguments.picture // 10), "overview": jpeg(arguments.picture)}
    for _ in range(arguments.count):
        passage = Passage(arguments.plate, datetime.now(UTC), str(uuid.uuid4()), pictures)
        await one.once(MESSAGES[arguments.maker](passage, arguments.faults))
    sys.stdout.write(f"{' '.join(str(status or 'lost') for status in one.said)}\n")
    return 0 if all(status in range(200, 300) for status in one.said) else 1


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="as `evidock device enrol` tells it")
    parser.add_argument("--maker", default="hikvision", choices=sorted(MESSAGES))
    parser.add_argument("--plate", default="EVDK042")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--picture", type=int, default=100_000, help="bytes of the scene")
    parser.add_argument("--login", help="digest:USER:PASSWORD or basic:USER:PASSWORD")
    parser.add_argument("--token")
    parser.add_argument("--faults", default="", help="what goes wrong in the message: see the module `messages`")
    parser.add_argument("--wire", default="", help="what goes wrong on the wire: see the module `sender`")
    sys.exit(asyncio.run(send(parser.parse_args())))


if __name__ == "__main__":
    main()
