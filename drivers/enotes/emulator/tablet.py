"""A tablet on the wire: invited, enrolled, offline for as long as it likes; then it sends. A fault is one letter.

wire    a letter for each request, in turn; what follows the last is well
.       well
t       torn: the body breaks off half-way
l       lost: all of it is sent, and the connection is closed before the answer is read
d       doubled: sent once more after the answer
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import ssl
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import jcs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jwcrypto import jwk, jws

from drivers.enotes.emulator.notebook import File, Notebook, Signer, stamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["Refused", "Tablet", "Torn"]

LINES = 1000
BYTES = 4 << 20
_PATIENCE = aiohttp.ClientTimeout(total=120)


class Torn(Exception):
    """The connection broke, as `wire` asked or by itself."""


class Refused(Exception):
    """The station answered with something that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class Tablet:
    """One tablet of one officer. Its folder holds key and certificate; `restart` is a new one of the same folder."""

    def __init__(self, folder: Path, *, name: str = "TAB-0117", badge: str = "4471", wire: str = "") -> None:
        self.folder, self.name, self.wire = folder, name, wire
        folder.mkdir(parents=True, exist_ok=True)
        self.signer = Signer(badge, "PC A. Sample")
        self.notebook = Notebook(self.signer, device=name)
        self.said: list[dict[str, Any]] = []
        """Every result of every entry, as the station gave it."""
        self.receipts: list[dict[str, Any]] = []
        self.sent = 0
        """Bytes of attachments that went out."""
        self.part = 1 << 30
        """Bytes of one request of an attachment."""
        self._url, self._next = "", b""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close every connection."""
        if self._session is not None:
            session, self._session = self._session, None
            await asyncio.shield(_closed(session))

    # -- who I am ------------------------------------------------------------------------------------------------------

    def csr(self) -> str:
        """A request for a certificate, of a key that is made for it and stays here."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.Encoding.PEM
        self._next = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return made.public_bytes(pem).decode()

    def statement(self, typ: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """What is said of a key."""
        return {
            "device": {"app": "enote-emulator", "app_version": "1.0.0", "id": self.name},
            "key": self.signer.public,
            "recorded_at": stamp(self.notebook.now()),
            "typ": typ,
            "v": 1,
            **more,
        }

    async def enrol(self, invitation: dict[str, Any]) -> dict[str, Any]:
        """Use an invitation, as the QR code has it."""
        ca = ssl.DER_cert_to_PEM_cert(base64.b64decode(invitation["ca"]))
        (self.folder / "ca.pem").write_text(ca)
        author = {"badge": self.signer.badge, "name": self.signer.name}
        said = self.statement("enote-enrol", code=invitation["code"], csr=self.csr(), author=author)
        signed = self.signer.sign(said, "enote-enrol+jws", "enote-enrol+json")
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.post(f"{invitation['enrol'][0]}/enotes/v1/enrol", json=signed) as answer,
        ):
            text = await answer.text()
            if answer.status != 201:  # noqa: PLR2004
                raise Refused(answer.status, text)
        told: dict[str, Any] = json.loads(text)
        self._settle(invitation["url"][0], told)
        return told

    def _settle(self, url: str, told: dict[str, Any]) -> None:
        self.wear(told["certificate"])
        self._url, self._receipt_key = url, jwk.JWK(**told["receipt_key"])

    def wear(self, certificate: str) -> None:
        """From now on this certificate is shown, with the key of the request before."""
        (self.folder / "tls.key").write_bytes(self._next)
        (self.folder / "tls.pem").write_text(certificate)

    async def rotate(self, *, csr: bool = True) -> dict[str, Any]:
        """A new signing key, said with the old one and the new one; with a new certificate too, where asked for."""
        await asyncio.sleep(0.002)  # the new key begins after the last entry of the old one, and not in its millisecond
        old, new = self.signer, Signer(self.signer.badge, self.signer.name)
        said = self.statement("enote-key", key=new.public)
        if csr:
            said["csr"] = self.csr()
        parts = [one.sign(said, "enote-key+jws", "enote-key+json") for one in (old, new)]
        body = {"payload": parts[0]["payload"], "signatures": [_half(one) for one in parts]}
        answer = await self._ask("POST", "/enotes/v1/keys", json.dumps(body).encode(), {})
        if csr:
            self.wear(answer["certificate"])
            await self.hang_up()
        self.signer = self.notebook.signer = new
        return answer

    # -- the wire ------------------------------------------------------------------------------------------------------

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
            context.load_cert_chain(self.folder / "tls.pem", self.folder / "tls.key")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context), timeout=_PATIENCE, auto_decompress=False
            )
        return self._session

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request with the next fault of the wire. Raises `Torn`."""
        fault, self.wire = self.wire[:1] or ".", self.wire[1:]
        told = dict(headers or {})
        if fault == "t" and body:
            told["Content-Length"] = str(len(body))

        def data() -> Any:  # noqa: ANN401 - aiohttp's own
            return _half_of(body) if fault == "t" and body else None if body is None else io.BytesIO(body)

        try:
            if fault == "d":
                async with self._connected().request(method, self._url + path, data=data(), headers=told) as first:
                    await first.read()
            async with self._connected().request(method, self._url + path, data=data(), headers=told) as answer:
                if fault == "l":
                    answer.close()
                    raise Torn("the answer was lost")
                await answer.read()
                yield answer
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            await self.hang_up()
            raise Torn(str(error)) from error

    async def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
        async with self.request(method, path, body, headers) as answer:
            text = await answer.text()
            if answer.status != 200:  # noqa: PLR2004
                raise Refused(answer.status, text)
            told: dict[str, Any] = json.loads(text)
            return told

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(self, lines: list[bytes]) -> dict[str, Any]:
        """One upload, whatever is in it; what a valid receipt names leaves the outbox."""
        body = b"".join(line + b"\n" for line in lines)
        told = await self._ask("POST", "/enotes/v1/entries", body, {"Content-Type": "application/x-ndjson"})
        self.said += told["results"]
        receipt = self.opened(told["receipt"])
        self.receipts.append(receipt)
        held = {entry["sha-256"] for entry in receipt["entries"] if entry.get("remove", True)}
        book = self.notebook
        book.outbox = [line for line in book.outbox if _digest(line) not in held]
        return told

    def opened(self, receipt: dict[str, str]) -> dict[str, Any]:
        """What a receipt says, its signature checked with the key that came with the enrolment."""
        token = jws.JWS()
        token.deserialize(json.dumps(receipt), self._receipt_key)
        told: dict[str, Any] = json.loads(token.payload)
        return told

    async def sync(self, *, patience: float = 30.0) -> None:
        """Send everything that waits, entries first; begin again after whatever broke."""
        async with asyncio.timeout(patience):
            while self.notebook.outbox:
                await self._again(self._batch)
            while self.notebook.files:
                await self._again(self._file)

    async def _again(self, act: Any) -> None:  # noqa: ANN401
        try:
            await act()
        except Torn:
            await asyncio.sleep(0.02)
        except Refused as error:
            if error.status not in (408, 423, 460, 503, 507):
                raise
            await asyncio.sleep(0.05)

    async def _batch(self) -> None:
        lines, length = list[bytes](), 0
        for line in self.notebook.outbox[:LINES]:
            length += len(line) + 1
            if length > BYTES:
                break
            lines.append(line)
        await self.send(lines)

    async def _file(self) -> None:
        await self.upload(self.notebook.files[0])
        del self.notebook.files[0]

    async def upload(self, file: File) -> None:
        """Announce a file, ask where it stands, and send the rest of it."""
        place = await self.announce(file)
        tus = {"Tus-Resumable": "1.0.0"}
        async with self.request("HEAD", place, None, tus) as answer:
            if answer.status != 200:  # noqa: PLR2004
                raise Refused(answer.status, await answer.text())
            offset = int(answer.headers["Upload-Offset"])
        while offset < len(file.data):
            headers = {**tus, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            part = file.data[offset : offset + self.part]
            async with self.request("PATCH", place, part, headers) as answer:
                if answer.status != 204:  # noqa: PLR2004
                    raise Refused(answer.status, await answer.text())
                self.sent += len(part)
                offset = int(answer.headers["Upload-Offset"])

    async def announce(self, file: File) -> str:
        """Say what will come; the place that it gets."""
        told = file.told
        said = {
            "blake3": told["blake3"],
            "name": file.name,
            "notebook": file.notebook,
            "seq": str(file.seq),
            "sha256": told["sha256"],
            "type": told["media_type"],
        }
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items())
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(file.data)), "Upload-Metadata": metadata}
        async with self.request("POST", "/enotes/v1/attachments", b"", headers) as answer:
            if answer.status != 201:  # noqa: PLR2004
                raise Refused(answer.status, await answer.text())
            return answer.headers["Location"]


async def _closed(session: aiohttp.ClientSession) -> None:
    await session.close()
    await asyncio.sleep(0.01)  # TLS says goodbye a moment later


def _half(one: dict[str, str]) -> dict[str, str]:
    return {name: one[name] for name in ("protected", "signature")}


def _digest(line: bytes) -> str:
    return sha256(jcs.canonicalize(json.loads(line))).hexdigest()


async def _half_of(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    await asyncio.sleep(0.02)
    raise ConnectionResetError("torn, as a test asked")
