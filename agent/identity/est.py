"""Enrolment over Secure Transport (RFC 7030): the agency's server makes the certificate, and renews it.

The first time we are known by a login that the agency gave (HTTP Basic, section 3.2.3), afterwards by the certificate
itself (simplereenroll, section 4.2.2). Whom we trust is said beforehand, by file or by the system: nothing is taken on
first use, so /cacerts is not asked.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from agent.errors import ConfigError, Problem, UplinkDown, UplinkRefused, in_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509

__all__ = ["enrol"]

_WELL_KNOWN: Final = "/.well-known/est"
_PATIENCE: Final = 60.0
_ANSWER_MAX: Final = 256 * 1024
_OK: Final = 200
_ACCEPTED: Final = 202
_WHO: Final = 401
_ANSWER_TODO: Final = "Nothing was changed. Does identity.est_url name the agency's EST server? Ask those who run it."


def enrol(
    url: str,
    asked: x509.CertificateSigningRequest,
    *,
    ca_file: Path | None = None,
    login_file: Path | None = None,
    certificate: Path | None = None,
) -> Sequence[x509.Certificate]:
    """Send a request and return what the server made. `certificate`: the one that is renewed, with its key.

    Raises `UplinkDown` (try again: also where a person at the authority must agree first), `UplinkRefused`, or
    `ConfigError` where a file of ours cannot be used.
    """
    parsed = urlsplit(url)
    if parsed.scheme != "https" or not parsed.hostname or parsed.username:
        raise ConfigError([Problem("identity.est_url", "must be an https address without a login in it")])
    path = parsed.path.rstrip("/")
    path = path if _WELL_KNOWN in path else _WELL_KNOWN + path  # a label of the authority follows it, section 3.2.2
    act = "simpleenroll" if certificate is None else "simplereenroll"
    headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
    if login_file is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(_login(login_file)).decode()
    body = base64.encodebytes(asked.public_bytes(Encoding.DER))
    connection = http.client.HTTPSConnection(
        parsed.hostname, parsed.port or 443, timeout=_PATIENCE, context=_context(ca_file, certificate)
    )
    try:
        connection.request("POST", f"{path}/{act}", body, headers)
        with connection.getresponse() as answer:  # closed here too where it is longer than anybody reads
            content = answer.read(_ANSWER_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise _unanswered(error, parsed.hostname) from error
    finally:
        connection.close()
    return _certificates(answer, content)


def _unanswered(error: Exception, host: str | None) -> UplinkDown:
    """Nothing came back, or nothing that is HTTP."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "Nothing was changed. Name its authority as identity.est_ca_file, and compare the clock: timedatectl."
        return UplinkDown(f"the certificate of {host} is not accepted: {error.verify_message}", hint=hint)
    hint = "Nothing was changed. Look at identity.est_url and at the network; the same request is sent again."
    return UplinkDown(f"{host} did not answer: {in_words(error) or type(error).__name__}", hint=hint)


def _certificates(answer: http.client.HTTPResponse, content: bytes) -> Sequence[x509.Certificate]:
    if answer.status == _ACCEPTED:
        later = answer.getheader("Retry-After", "later")
        hint = "Run the same command again later; the same request is sent."
        raise UplinkDown(f"the authority has not agreed yet; it asks us to come back ({later})", hint=hint)
    if answer.status != _OK:
        said = content[:200].decode("utf-8", "replace").strip()
        sentence = f"the authority said no ({answer.status} {answer.reason}): {said}"
        kind = UplinkDown if answer.status >= 500 else UplinkRefused  # noqa: PLR2004 - RFC 9110 section 15.6
        known = "Look at identity.est_login_file, or ask" if answer.status == _WHO else "Ask"
        raise kind(sentence, hint=f"Nothing was changed. {known} the agency's certificate authority.")
    if len(content) > _ANSWER_MAX:
        raise UplinkRefused("the authority's answer is too long for a certificate", hint=_ANSWER_TODO)
    try:
        return pkcs7.load_der_pkcs7_certificates(base64.b64decode(content))
    except (binascii.Error, ValueError) as error:
        told = "the authority's answer is no certificate (RFC 7030 section 4.2.3)"
        raise UplinkRefused(told, hint=_ANSWER_TODO) from error


def _context(ca_file: Path | None, certificate: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        where = "identity.est_ca_file" if certificate is None else str(certificate)
        raise ConfigError([Problem(where, f"cannot be used: {in_words(error)}")]) from error
    return context


def _login(path: Path) -> bytes:
    try:
        login = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError([Problem("identity.est_login_file", f"{path}: {error.strerror}")]) from error
    if b":" not in login or b"\n" in login:
        raise ConfigError([Problem("identity.est_login_file", "the file must hold `user:password`")])
    return login
