"""The emulated DEMS as a time stamping authority (RFC 3161): `openssl ts` answers, with certificates of this folder."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from aiohttp import web

from agent import durable

__all__ = ["TSA_PATH", "Authority"]

TSA_PATH: Final = "/tsa"

# `certs` is left out: with a chain OpenSSL 3.0 writes the certificates in an order that strict readers refuse.
_CONFIG: Final = """\
[ tsa ]
default_tsa = tsa1
[ tsa1 ]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[ usage ]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ authority ]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[ req ]
distinguished_name = name
[ name ]
"""


class Authority:
    """An authority below one folder; made at the first start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._turn = asyncio.Lock()  # openssl counts its serial numbers in a file
        self.ca_file = self._folder / "ca.pem"
        """What a client must trust."""
        if not self.ca_file.exists():
            self._make()

    def add_routes(self, app: web.Application) -> None:
        """Put the resource in place."""
        app.router.add_post(TSA_PATH, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        query = await request.read()
        async with self._turn:
            token = await asyncio.to_thread(self._stamp, query)
        if token is None:
            return web.Response(status=400, text="This is not a time-stamp query.\n")
        return web.Response(body=token, content_type="application/timestamp-reply")

    def _stamp(self, query: bytes) -> bytes | None:
        with tempfile.TemporaryDirectory() as temporary:
            asked, answered = Path(temporary) / "query", Path(temporary) / "reply"
            asked.write_bytes(query)
            words = ("ts", "-reply", "-config", str(self._folder / "tsa.cnf"), "-queryfile", str(asked))
            done = subprocess.run((_openssl(), *words, "-out", str(answered)), capture_output=True, check=False)  # noqa: S603
            return answered.read_bytes() if done.returncode == 0 else None

    def _make(self) -> None:
        folder = self._folder
        durable.make_folder(folder)
        (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.new",
                  "-days", "3650", "-subj", "/CN=Evidock test TSA root", "-config", "tsa.cnf",
                  "-extensions", "authority")  # fmt: skip
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr",
                  "-subj", "/CN=Evidock test TSA", "-config", "tsa.cnf")  # fmt: skip
        self._run("x509", "-req", "-in", "tsa.csr", "-CA", "ca.new", "-CAkey", "ca.key", "-set_serial", "2",
                  "-days", "3650", "-extfile", "tsa.cnf", "-extensions", "usage", "-out", "tsa.pem")  # fmt: skip
        (folder / "ca.new").rename(self.ca_file)  # last: it says that all is there

    def _run(self, *words: str) -> None:
        subprocess.run((_openssl(), *words), cwd=self._folder, check=True, capture_output=True)  # noqa: S603


def _openssl() -> str:
    return shutil.which("openssl") or "/usr/bin/openssl"
