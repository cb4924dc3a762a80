"""Clearance's services as its guide tells of them, in front of Azurite: stricter than the guide, and with faults.

It compares the checksum of a completion, purges what is not complete by a clock that tests set, lets tokens and
addresses expire, and reads the assertion of a token request with a library of other authors. What the guide leaves open
it does as `agent.uplink.clearance.words` assumes: so it cannot show that the real service does so too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as wrapping
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from tests.uplinks.azurite import ACCOUNT, account_sas, blob_sas

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400.0
KEY_ID = "https://vault.example.org/keys/agency/7b2cad59333347b989beccad2144d4ff"
_IDS = itertools.count(811)


@cache
def made_key(name: str) -> rsa.RSAPrivateKey:
    """A key, the same in one run: making one takes long."""
    return rsa.generate_private_key(65537, 2048)


@dataclass
class File:
    id: str
    told: dict[str, Any]
    complete: bool = False
    checksum: str | None = None


@dataclass
class Item:
    id: str
    told: dict[str, Any]
    began_at: float
    files: dict[str, File] = field(default_factory=dict)
    complete: bool = False


class Clearance:
    """One tenant."""

    def __init__(self, azurite: int, storage: int) -> None:
        """`azurite`: its port. `storage`: the port that is given out, such as of a proxy before it."""
        self._azurite, self._storage = azurite, storage
        self.agency, self.integration = made_key("agency"), made_key("integration")
        self.items: dict[str, Item] = {}
        self.now = 0.0
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.token_uses = 10_000
        """Requests for which one token is good."""
        self.sas_seconds = 3600.0
        self.permits = "rcw"
        self.compares = True
        self.takes_none = False
        """Every completion is refused as wrong, the right ones too."""
        self.stumbles: list[int] = []
        """How the next completions of items are answered instead; 0: not at all."""
        self.refuses: int | None = None
        self.answers_lost: list[str] = []
        """Ends of paths of which the next answer is lost."""
        self.renews = True
        self.calls_uploaded = True
        self.keeps = True
        """False: what was completed is lost in the moment after."""
        self.is_down = False
        self._tokens: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        app = web.Application()
        base = "/ds/api/v1/tenant/tenant123/evidence"
        app.router.add_post("/connect/token", self._token)
        app.router.add_get("/keys/api/v1/tenant/tenant123/key", self._key)
        app.router.add_post(base, self._make_item)
        app.router.add_post(base + "/{item}/resource", self._make_file)
        app.router.add_get(base + "/{item}/resource", self._list)
        app.router.add_get(base + "/{item}/resource/{file}", self._one)
        app.router.add_post(base + "/{item}/resource/{file}/complete", self._file_done)
        app.router.add_post(base + "/{item}/complete", self._item_done)
        app.middlewares.append(self._faulty)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    def connection_file(self, path: Path) -> Path:
        """In the maker's form."""
        key = JWK.from_pyca(self.integration).export_private(as_dict=True)
        url = f"http://127.0.0.1:{self.port}"
        told = {
            "DocumentStoreBaseAddresses": [f"{url}/ds/api/v1"],
            "SecurityTokenServiceBaseAddresses": [f"{url}/connect"],
            "KeyStoreBaseAddresses": [f"{url}/keys/api/v1"],
            "APIKey": "ABCDEFGHIJKLMNOPQRSTUV",
            "CertificateThumbprints": [],
            "DisableEncryption": False,
            "ServicePrincipalId": "151",
            "ServicePrincipalKey": {**key, "kid": "urn:service:tenant123:MyApiUser:151", "k": None, "x5t": None},
            "TenantId": "tenant123",
        }
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(told).encode())
        path.chmod(0o600)
        return path

    async def later(self, seconds: float) -> None:
        """Time passes; what is not complete is purged, its bytes too."""
        self.now += seconds
        for item in list(self.items.values()):
            if not item.complete and item.began_at + DAY <= self.now:
                del self.items[item.id]
                await self._azure("DELETE", f"/evidence-{item.id}", "&restype=container")

    async def opened(self, item: Item) -> list[bytes]:
        """The plain bytes of each file, by the agency's key."""
        return [await self._decrypted(item, file) for file in item.files.values()]

    async def blob(self, item: Item, file: File) -> tuple[bytes, dict[str, Any]]:
        """Ciphertext and envelope, as they lie in the storage."""
        async with self._session.get(self._url(f"/evidence-{item.id}/{file.id}")) as answer:
            assert answer.status == 200
            return await answer.read(), json.loads(answer.headers["x-ms-meta-encryptiondata"])

    async def _decrypted(self, item: Item, file: File) -> bytes:
        sealed, told = await self.blob(item, file)
        oaep = wrapping.OAEP(wrapping.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - RSA-OAEP
        key = self.agency.decrypt(base64.b64decode(told["WrappedContentKey"]["EncryptedKey"]), oaep)
        cipher = Cipher(algorithms.AES256(key), modes.CBC(base64.b64decode(told["ContentEncryptionIV"]))).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        return unpadder.update(cipher.update(sealed) + cipher.finalize()) + unpadder.finalize()

    # -- answers ------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's
        self.asked.append(f"{request.method} {request.path}")
        assert request.transport is not None
        if self.is_down:
            request.transport.abort()
            raise asyncio.CancelledError
        if request.path != "/connect/token":
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if self._tokens.get(token, 0) < 1:
                return web.json_response({"Message": "token"}, status=401)
            self._tokens[token] -= 1
        if self.refuses is not None and request.method == "POST" and request.path.endswith("/evidence"):
            return web.json_response({"Message": "the account keeps no such films"}, status=self.refuses)
        answer: web.StreamResponse = await handler(request)
        lost = next((one for one in self.answers_lost if request.path.endswith(one)), None)
        if lost is not None and request.method == "POST":
            self.answers_lost.remove(lost)
            request.transport.abort()
            raise asyncio.CancelledError
        return answer

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        key = JWK.from_pyca(self.integration.public_key())
        try:
            assert form["client_id"] == "151@tenant123"
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            claims = {"iss": "151@tenant123", "sub": None, "exp": None, "jti": None, "aud": str(request.url)}
            JWT(jwt=form["assertion"], key=key, algs=["RS256", "RS512"], check_claims=claims)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            return web.json_response({"error": "invalid_grant", "error_description": str(error)}, status=400)
        token = f"token-{len(self._tokens)}"
        self._tokens[token] = self.token_uses
        return web.json_response({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    async def _key(self, _: web.Request) -> web.Response:
        key = JWK.from_pyca(self.agency.public_key()).export_public(as_dict=True)
        return web.json_response({"key": {**key, "kid": KEY_ID}})

    async def _make_item(self, request: web.Request) -> web.Response:
        item = Item(str(next(_IDS)), await self._body(request), self.now)
        assert await self._azure("PUT", f"/evidence-{item.id}", "&restype=container") == 201
        self.items[item.id] = item
        return web.json_response({"EvidenceId": item.id, **item.told, "State": "None"}, status=201)

    async def _make_file(self, request: web.Request) -> web.Response:
        item = self._item(request)
        file = File(str(next(_IDS)), await self._body(request))
        item.files[file.id] = file
        return web.json_response({"ResourceId": file.id, "Uri": self._address(item, file)}, status=201)

    async def _one(self, request: web.Request) -> web.Response:
        item, file = self._file(request)
        told = {"ResourceId": file.id, **file.told}
        return web.json_response(told | ({"Uri": self._address(item, file)} if self.renews else {}))

    async def _list(self, request: web.Request) -> web.Response:
        item = self._item(request)
        told = [
            {
                "ResourceId": one.id,
                "EvidenceId": item.id,
                **one.told,
                "UploadedTimeUtc": "2026-11-28T13:55:50Z" if one.complete and self.calls_uploaded else None,
                "State": "Available" if one.complete else "Pending",
            }
            for one in item.files.values()
        ]
        added = {"ResourceId": "1", "Name": "rendition.mp4", "UploadedTimeUtc": "2026-11-28T13:55:50Z"}
        return web.json_response([added, *told])

    async def _file_done(self, request: web.Request) -> web.Response:
        item, file = self._file(request)
        if file.complete:
            return web.json_response({"Message": "complete"}, status=409)
        async with self._session.head(self._url(f"/evidence-{item.id}/{file.id}")) as answer:
            if answer.status != 200 or "x-ms-meta-encryptiondata" not in answer.headers:
                return web.json_response({"Message": "nothing is there, or nothing that opens it"}, status=400)
        file.complete = True
        return web.Response(status=200)

    async def _item_done(self, request: web.Request) -> web.Response:
        item, told = self._item(request), await self._body(request)
        if self.stumbles and (status := self.stumbles.pop(0)) != 200:
            if status == 0 and request.transport is not None:
                request.transport.abort()
            return web.json_response({"Message": "not now"}, status=status or 500)
        if item.complete or self.takes_none:
            return web.json_response({"Message": "complete"}, status=409)
        named = {one["ResourceId"]: one["Checksum"] for one in told["CompleteEvidenceResources"]}
        if named.keys() != item.files.keys() or not all(one.complete for one in item.files.values()):
            return web.json_response({"Message": "not all files"}, status=400)
        for file in item.files.values():
            sealed, _ = await self.blob(item, file)
            found = hashlib.new(told["ChecksumAlgorithm"].lower(), sealed).hexdigest()
            if self.compares and named[file.id] != found:
                return web.json_response({"Message": "checksum"}, status=400)
            file.checksum = named[file.id]
        item.complete = True
        if not self.keeps:
            del self.items[item.id]
        return web.Response(status=200)

    # -- below --------------------------------------------------------------------------------------------------------

    def _item(self, request: web.Request) -> Item:
        item = self.items.get(request.match_info["item"])
        if item is None:
            raise web.HTTPNotFound
        return item

    def _file(self, request: web.Request) -> tuple[Item, File]:
        item = self._item(request)
        if request.match_info["file"] not in item.files:
            raise web.HTTPNotFound
        return item, item.files[request.match_info["file"]]

    async def _body(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        told = await request.json()
        self.bodies.append(told)
        return told

    def _address(self, item: Item, file: File) -> str:
        sas = blob_sas(f"evidence-{item.id}", file.id, permits=self.permits, seconds=self.sas_seconds)
        return f"http://127.0.0.1:{self._storage}/{ACCOUNT}/evidence-{item.id}/{file.id}?{sas}"

    def _url(self, path: str, more: str = "") -> str:
        return f"http://127.0.0.1:{self._azurite}/{ACCOUNT}{path}?{account_sas()}{more}"

    async def _azure(self, method: str, path: str, more: str) -> int:
        async with self._session.request(method, self._url(path, more)) as answer:
            return answer.status
