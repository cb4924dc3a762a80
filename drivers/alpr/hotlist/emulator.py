"""Whoever sends lists: invented plates in a known layout, signed manifests, and a server that gives them, with faults.

    python -m drivers.alpr.hotlist.emulator FOLDER --plates 100000 --port 8480

Plates are invented. Faults of the server are words: `cut` (half of the file comes), `damaged`
(one byte is another), `old` (the manifest of yesterday), `unsigned` (signed by a stranger), `slow`, `gone` (503).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from drivers.alpr.hotlist.manifest import FORMAT, thumbprint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent.capture import Json

__all__ = ["Publisher", "invented", "line_of", "public_pem", "signed", "write_list"]

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CARS: Final = ("F0RDESC4D", "T0Y0CAM4D", "H0NDCIV4D", "D0DGRAMPK", "MAZDMZ34D")
_COLOURS: Final = ("BLU", "RED", "BLK", "WHI", "GRY", "GRN")
_KINDS: Final = "VPRWMA"


def invented(count: int, seed: int = 1) -> Iterator[str]:
    """So many plates, each once, the same for the same seed."""
    chance, seen = random.Random(seed), set[str]()
    while len(seen) < count:
        letters = "".join(chance.choices(_LETTERS, k=4))
        plate = f"{letters}{chance.randrange(1000):03}"
        if plate not in seen:
            seen.add(plate)
            yield plate


def line_of(plate: str, number: int, chance: random.Random) -> str:
    """A line of the layout `ncic_fixed`."""
    kind, car, colour = chance.choice(_KINDS), chance.choice(_CARS), chance.choice(_COLOURS)
    return (
        f"{kind}{900_000_000 + number}ON000000020261122{plate:<10}0N2027PC{chance.randrange(2005, 2027)}{car}{colour}"
    )


def write_list(path: Path, plates: Iterator[str]) -> int:
    """A file of the layout `ncic_fixed`; how many plates it has."""
    chance, count = random.Random(2), 0
    with path.open("w", encoding="ascii") as file:
        file.write("HEADER\n")
        for count, plate in enumerate(plates, 1):
            file.write(line_of(plate, count, chance) + "\n")
    return count


def signed(facts: dict[str, Json], key: Ed25519PrivateKey) -> bytes:
    """A flattened JWS (RFC 7515, RFC 8037)."""
    header = {"alg": "EdDSA", "kid": thumbprint(key.public_key()), "typ": "hotlist+jws"}
    protected, payload = (_text(json.dumps(one).encode()) for one in (header, facts))
    signature = _text(key.sign(f"{protected}.{payload}".encode()))
    return json.dumps({"payload": payload, "protected": protected, "signature": signature}).encode()


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """What the station is given."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Publisher:
    """One list and who publishes it."""

    def __init__(self, folder: Path, name: str = "region") -> None:
        self.folder, self.name = folder, name
        self.key, self.stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.fault = ""
        self.asked: list[tuple[str, int]] = []
        """(path, status) of every answer."""
        self._as_of = datetime.now(UTC) - timedelta(hours=1)
        self._count = 0

    @property
    def file(self) -> Path:
        """The list."""
        return self.folder / f"{self.name}.txt"

    def publish(self, plates: Iterator[str], *, as_of: datetime | None = None) -> Path:
        """Make a newer list, with its manifest beside it."""
        self._as_of = as_of or self._as_of + timedelta(minutes=1)
        self._count = write_list(self.file, plates)
        self.manifest_file.write_bytes(self.manifest())
        return self.file

    def adopt(self) -> None:
        """Make the manifest of a file of `write_list` that lies there already."""
        with self.file.open("rb") as file:
            self._count = sum(1 for _ in file) - 1
        self.manifest_file.write_bytes(self.manifest())

    @property
    def manifest_file(self) -> Path:
        """The manifest."""
        return self.folder / f"{self.name}.txt.jws"

    def manifest(self, **changed: Json) -> bytes:
        """The manifest of the file as it is, signed."""
        facts: dict[str, Json] = {
            "format": FORMAT,
            "list": self.name,
            "layout": "ncic_fixed",
            "as_of": _said(self._as_of),
            "expires_at": _said(self._as_of + timedelta(days=2)),
            "entries": self._count,
            "sha256": self._digest(),
            "source": "emulated regional server",
            **changed,
        }
        return signed(facts, self.stranger if self.fault == "unsigned" else self.key)

    def _digest(self) -> str:
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Serve both; the URL of the list."""
        app = web.Application()
        app.router.add_get("/{name}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/{self.file.name}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        answer = self._given(request)
        self.asked.append((request.path, answer.status))
        if self.fault == "slow":
            await asyncio.sleep(0.2)
        return answer

    def _given(self, request: web.Request) -> web.Response:
        if self.fault == "gone":
            return web.Response(status=503)
        if request.match_info["name"].endswith(".jws"):
            changed: dict[str, Any] = {"as_of": _said(self._as_of - timedelta(days=1))} if self.fault == "old" else {}
            return web.Response(body=self.manifest(**changed))
        content = self.file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        if self.fault == "cut":
            content = content[: len(content) // 2]
        if self.fault == "damaged":
            content = content[:100] + bytes([content[100] ^ 1]) + content[101:]
        return web.Response(body=content, headers={"ETag": tag})


def _said(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def _main() -> None:
    parser = argparse.ArgumentParser(description="Publish an invented hotlist.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plates", type=int, default=100_000)
    parser.add_argument("--port", type=int, default=8480)
    asked = parser.parse_args()
    publisher = Publisher(asked.folder)
    publisher.publish(invented(asked.plates))
    (asked.folder / "publisher.pem").write_bytes(public_pem(publisher.key))
    async with publisher.serving(asked.port) as url:
        print(url)  # noqa: T201 - for the person who started it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
