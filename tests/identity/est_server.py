"""An EST server (RFC 7030) as small as can be, whose authority is openssl: our client meets somebody else's bytes."""

from __future__ import annotations

import base64
import http.server
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Self

from cryptography import x509

if TYPE_CHECKING:
    from pathlib import Path

LOGIN = "dock-7:open sesame"


def openssl(*words: object, content: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, words)], input=content, capture_output=True, check=True).stdout


def named(one: x509.Certificate | x509.CertificateSigningRequest) -> tuple[bytes, bytes]:
    """Subject and alternative names, byte by byte."""
    names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return one.subject.public_bytes(), names.public_bytes()


class Authority:
    """A certificate authority of openssl below a folder."""

    def __init__(self, folder: Path, name: str = "Agency CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.key, self.certificate = folder, folder / "ca.key", folder / "ca.pem"
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *("-keyout", self.key, "-out", self.certificate),
        )

    def sign(self, request: bytes, *, days: int = 90, kind: str = "PEM", subject: str | None = None) -> bytes:
        """The certificate (PEM) for a request, with the names that it asks for; `subject`: as the authority has it."""
        return openssl(
            *("x509", "-req", "-inform", kind, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial"),
            *("-days", days, "-copy_extensions", "copy", *(() if subject is None else ("-subj", subject))),
            content=request,
        )

    def server(self, name: str) -> Path:
        """Certificate and key of a server, in one file."""
        key, file = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        asked = openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"),
        )
        file.write_bytes(self.sign(asked) + key.read_bytes())
        return file


class EstServer:
    """Answers /simpleenroll by login and /simplereenroll by certificate, and remembers what it was asked."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.days = 90
        self.folded = False
        """Answers in lines, as RFC 7030 has it, or as RFC 8951 does."""
        self.subject: str | None = None
        """What the authority writes into the first certificate, whatever was asked for."""
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        """Given instead of a certificate."""
        self.seen: list[tuple[str, str | None]] = []
        """(path, common name of the certificate that was shown)"""

    def __enter__(self) -> Self:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                shown = self.connection.getpeercert()  # type: ignore[attr-defined]
                name = dict(pair for part in shown["subject"] for pair in part)["commonName"] if shown else None
                outer.seen.append((self.path, name))
                known = self.connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
                status, headers, content = outer.answer or outer.enrolled(self, body, known)
                self.send_response(status)
                for field, value in headers.items():
                    self.send_header(field, value)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(self.authority.server("localhost"))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"https://localhost:{self._server.server_address[1]}"

    def enrolled(
        self, asked: http.server.BaseHTTPRequestHandler, body: bytes, known: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        again = asked.path.endswith("/simplereenroll")
        login = "Basic " + base64.b64encode(LOGIN.encode()).decode()
        if asked.path.endswith("/simpleenroll") and asked.headers["Authorization"] != login:
            return 401, {"WWW-Authenticate": 'Basic realm="est"'}, b"who are you?"
        if again and known is None:
            return 403, {}, b"show the certificate that is renewed"
        if asked.headers["Content-Type"] != "application/pkcs10":
            return 415, {}, b"no request"
        wanted = base64.b64decode(body)
        if again and named(x509.load_der_x509_csr(wanted)) != named(x509.load_der_x509_certificate(known or b"")):
            return 400, {}, b"subject and names must be those of the certificate (RFC 7030 section 4.2.2)"
        made = self.authority.folder / "made.pem"
        subject = None if again else self.subject
        made.write_bytes(self.authority.sign(wanted, days=self.days, kind="DER", subject=subject))
        bag = openssl(
            "crl2pkcs7", "-nocrl", "-certfile", made, "-certfile", self.authority.certificate, "-outform", "DER"
        )
        told = {"Content-Type": "application/pkcs7-mime; smime-type=certs-only", "Content-Transfer-Encoding": "base64"}
        return 200, told, (base64.encodebytes if self.folded else base64.b64encode)(bag)
