"""Electronic notes by programs of other authors: npm jose and canonicalize, and tus-js-client."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from jwcrypto import jwk

from agent.testing.devices import some_bytes
from drivers.enotes.emulator.notebook import Signer, new_uuid

if TYPE_CHECKING:
    from tests.drivers.enotes.conftest import Desk

pytestmark = [
    pytest.mark.interop,
    pytest.mark.proves("enotes.tablets", peer="npm jose and canonicalize sign and verify, tus-js-client brings files"),
]
PEERS: Final = Path(__file__).parents[2] / "interop"
JS_CLIENT: Final = """
import fs from 'node:fs'
import { createRequire } from 'node:module'
const [url, path, chunk, folder, metadata, peers] = process.argv.slice(1)
const tus = createRequire(peers + '/package.json')('tus-js-client')
const read = (name) => fs.readFileSync(folder + '/' + name)
new tus.Upload(fs.createReadStream(path), {
  endpoint: url,
  uploadSize: fs.statSync(path).size,
  chunkSize: Number(chunk) || Infinity,
  retryDelays: [50, 100, 200],
  metadata: JSON.parse(metadata),
  httpStack: new tus.DefaultHttpStack({ ca: read('ca.pem'), cert: read('tls.pem'), key: read('tls.key') }),
  onError: (error) => { console.error(String(error)); process.exit(1) },
  onSuccess: () => process.exit(0),
}).start()
"""


def needs(package: str) -> None:
    if shutil.which("node") is None or not (PEERS / "node_modules" / package).is_dir():
        pytest.skip(f"node, or npm's {package}, is not here")


async def node(*words: str, said: object = None) -> str:
    process = await asyncio.create_subprocess_exec(
        "node",
        *words,
        cwd=PEERS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, wrong = await asyncio.wait_for(process.communicate(json.dumps(said).encode()), 120)
    assert process.returncode == 0, wrong.decode()
    return out.decode()


def entries(device: str, badge: str) -> list[dict[str, Any]]:
    """With numbers, keys and characters for which implementations of RFC 8785 must agree."""
    common = {
        "author": {"badge": badge, "name": "PC Élise 👮🏽 Sample"},
        "clock": {"offset_ms": -0.5, "source": "gnss", "uncertainty_ms": 1e-7},
        "device": {"app": "npm jose", "app_version": "6", "id": device},
        "note": "n-1",
        "notebook": new_uuid(),
        "occurred_at": None,
        "recorded_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000Z",
        "typ": "enote-entry",
        "v": 1,
        "é": 1e21,
        "\U0001f600": [1.0, 0.1, 333333333.33333329, 4.5, 2e-3, 1e30],
        "\ufb33": "דּ",
    }
    text = 'Attended 👮🏽 42 Main St. “non” \u2028 \\ " /'
    at = text.index("42")
    corrected = text.replace("42", "24")
    return [
        {**common, "seq": 1, "rev": 1, "op": "create", "kind": "x", "text": text, "accuracy_m": 4.0,
         "location": {"type": "Point", "coordinates": [-81.24530, 42.9849]}},
        {**common, "seq": 2, "rev": 2, "op": "correct", "text": corrected, "reason": "r", "supersedes": 1,
         "ops": [{"op": "strike", "at": [at, at + 2], "with": "24"}]},
    ]  # fmt: skip


@pytest.mark.parametrize(("kty", "crv", "alg"), [("EC", "P-256", "ES256"), ("OKP", "Ed25519", "EdDSA")])
async def test_what_npm_jose_signed_is_good_here(desk: Desk, kty: str, crv: str, alg: str) -> None:
    needs("jose")
    async with desk.open(), desk.tablet() as tablet:
        tablet.signer.key = tablet.notebook.signer.key
        signer = Signer("77", "PC Élise Sample", jwk.JWK.generate(kty=kty, crv=crv))
        tablet.signer = tablet.notebook.signer = signer
        tablet.name = "TAB-JOSE"
        await tablet.hang_up()
        await tablet.enrol(desk.invited())
        private = json.loads(signer.key.export_private())
        told = {"key": private, "kid": signer.kid, "alg": alg, "entries": entries("TAB-JOSE", "77")}
        lines = (await node("notes.mjs", "sign", said=told)).encode().splitlines()
        answer = await tablet.send(lines)
        assert [one["status"] for one in answer["results"]] == ["ok", "ok"], answer["results"]
        assert sorted(await desk.lines()) == sorted(lines)
        # And what is signed here is good there: the tablet's entries, and the station's receipt.
        tablet.notebook.create("by jcs and jwcrypto", note="n-9")
        ours = await tablet.send(tablet.notebook.outbox)
        keys = [{**signer.public, "kid": signer.kid}, json.loads(tablet._receipt_key.export_public())]
        envelopes = [json.loads(tablet.notebook.written[0]), ours["receipt"], *map(json.loads, lines)]
        out = await node("notes.mjs", "verify", said={"keys": keys, "envelopes": envelopes})
        found = [json.loads(one) for one in out.strip().split("\n")]
        assert [(one["good"], one["canonical"]) for one in found] == [(True, True)] * 4
        assert found[1]["said"]["entries"][0]["sha-256"] == found[0]["sha256"]
        bent = {**envelopes[1], "payload": envelopes[0]["payload"]}
        (one,) = (await node("notes.mjs", "verify", said={"keys": keys, "envelopes": [bent]})).strip().split("\n")
        assert json.loads(one)["good"] is False


@pytest.mark.parametrize("chunk", ["", "1000000"])
async def test_tus_js_client_brings_an_attachment(desk: Desk, chunk: str) -> None:
    needs("tus-js-client")
    data = some_bytes(3_500_001, "photo")
    path = desk.folder / "photo.jpg"
    path.write_bytes(data)
    async with desk.open(), desk.tablet() as tablet:
        note = tablet.notebook.create("text")
        (file,) = tablet.notebook.attach(note, ("photo.jpg", data))
        tablet.notebook.files = []
        await tablet.sync()
        told = {name: file.told[name] for name in ("sha256", "blake3")}
        metadata = {**told, "notebook": file.notebook, "seq": str(file.seq), "filename": "photo.jpg", "empty": ""}
        url = f"{tablet._url}/enotes/v1/attachments"
        words = (url, str(path), chunk, str(tablet.folder), json.dumps(metadata), str(PEERS))
        await node("--input-type=module", "-e", JS_CLIENT, *words)
        assert data in {desk.bytes_of(one) for one in await desk.station.holdings()}
