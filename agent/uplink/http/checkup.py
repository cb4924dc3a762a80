"""`evidock check` for one DEMS: name, connection, certificate, proxy, and the round trip of its protocol."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from agent.errors import UplinkDown
from agent.uplink import Finding
from agent.uplink.http.trouble import bounded, unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from yarl import URL

    from agent.uplink.http.door import Door

__all__ = ["checked"]

RENEW_DAYS: Final = 21
"""Days before the end of a certificate from which a person should see to it."""
_DAY: Final = 86400.0
_PROXY_TODO: Final = "Look at `proxy` in agent.toml, and ask the network's people whether that proxy works."
_NAMES_MOST: Final = 3
"""Names of a certificate that are repeated."""
_UNREAD: Final = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)
"""What a certificate that a stranger made may have, or lack; it need not follow any rule."""
_DER: Final = 2
"""`_ssl.ENCODING_DER`."""


async def checked(
    door: Door,
    greeted: Callable[[], Awaitable[list[Finding]]],
    *,
    wait: float,
    proxy_headers: dict[str, str] | None = None,
) -> list[Finding]:
    """Try one thing after the other until one fails; that one says what to do.

    `greeted` makes the round trip of the protocol, and says what the server can do; or it raises `UplinkDown`.
    """
    findings: list[Finding] = []
    # Behind a proxy only the proxy is reached from here; the certificate is then seen through a tunnel of our own.
    first = door.proxy or door.url
    try:
        findings.append(await _name(first))
        findings.extend(await _connection(door, first, wait))
        started = time.monotonic()
        able = await greeted()
    except UplinkDown as error:
        what = ("name", "connection", "round trip")[min(len(findings), 2)]
        detail, todo = str(error), error.what_to_do
        if door.proxy is not None and what != "round trip":
            detail, todo = f"the proxy, through which the DEMS is reached: {detail}", _PROXY_TODO
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            detail += await _shown(first, wait)
        return [*findings, Finding(what=what, state="problem", detail=detail, todo=todo)]
    milliseconds = (time.monotonic() - started) * 1000
    if door.proxy is None:
        findings.append(Finding(what="proxy", state="ok", detail="none is used"))
    else:
        place = f"{door.proxy.host}:{door.proxy.port}"
        findings.append(Finding(what="proxy", state="ok", detail=f"{place} brings us to {door.url.authority}"))
        findings += await _through(door, proxy_headers or {}, wait)
    said = f"{door.protocol} answered in {milliseconds:.0f} ms"
    return [*findings, Finding(what="round trip", state="ok", detail=said), *able]


async def _name(url: URL) -> Finding:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port)
    except OSError as error:
        raise unreachable(error, url) from error
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Finding(what="name", state="ok", detail=f"{url.host} is {', '.join(addresses)}")


async def _connection(door: Door, first: URL, wait: float) -> list[Finding]:
    context = door.tls if door.proxy is None else None
    started = time.monotonic()
    try:
        async with asyncio.timeout(wait):
            _, writer = await asyncio.open_connection(first.host, first.port, ssl=context)
    except (OSError, ssl.SSLError) as error:
        raise unreachable(error, first) from error
    try:
        milliseconds = (time.monotonic() - started) * 1000
        found = [
            Finding(what="connection", state="ok", detail=f"{first.host}:{first.port} in {milliseconds:.0f} ms"),
        ]
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        if tls is not None:
            found += [_certificate(tls), *_chain(tls)]
        return found
    finally:
        writer.close()


async def _through(door: Door, headers: dict[str, str], wait: float) -> list[Finding]:
    """The certificates of the DEMS, seen through a tunnel (CONNECT, RFC 9110 section 9.3.6) made for this alone."""
    if door.tls is None or door.proxy is None:
        return []
    place = f"{door.url.host}:{door.url.port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{name}: {value}" for name, value in headers.items())]
    try:
        async with asyncio.timeout(wait):
            # Where it speaks TLS itself its login would else go in the clear.
            reader, writer = await asyncio.open_connection(door.proxy.host, door.proxy.port, ssl=door.proxy_tls)
            try:
                writer.write("\r\n".join([*lines, "", ""]).encode())
                if b" 200" not in (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0]:
                    return []  # it was through the tunnel a moment ago: the round trip says what there is to say
                await writer.start_tls(door.tls, server_hostname=door.url.host)
                tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
                return [_certificate(tls), *_chain(tls)]
            finally:
                writer.close()
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return []


def _chain(tls: ssl.SSLObject) -> list[Finding]:
    """Every certificate from the one of the DEMS to the authority that we trust, in the order of signing."""
    told = [x509.load_der_x509_certificate(der) for der in _verified(tls)]
    if not told:
        return []
    words, now, soonest = [], datetime.now(UTC), min(told[1:] or told, key=lambda one: one.not_valid_after_utc)
    for number, one in enumerate(told, 1):
        words.append(f"{number} {_named(one)}, until {one.not_valid_after_utc:%Y-%m-%d}")
    ends = soonest is not told[0] and soonest.not_valid_after_utc - now < timedelta(days=RENEW_DAYS)
    return [
        Finding(
            what="chain",
            state="warning" if ends else "ok",
            detail=f"{'; '.join(words)}, whom we trust",
            todo=f"{_named(soonest)} ends soon: ask the administrator of the DEMS for the chain that comes after it, "
            "and put its authority into `ca_file`."
            if ends
            else None,
        )
    ]


def _verified(tls: ssl.SSLObject) -> list[bytes]:
    """The chain as OpenSSL verified it, DER. Public since Python 3.13; before it, what that is made of is asked."""
    ask = getattr(tls, "get_verified_chain", None)
    if ask is not None:
        return [bytes(one) for one in ask()]
    ask = getattr(getattr(tls, "_sslobj", None), "get_verified_chain", None)
    return [] if ask is None else [one.public_bytes(_DER) for one in ask() or ()]


async def _shown(url: URL, wait: float) -> str:
    """What is shown there though we do not believe it, so that a person can ask the administrator of the DEMS about it.

    Nothing is sent on that connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(wait):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=context, server_hostname=url.host)
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        writer.transport.abort()
        der = tls.getpeercert(binary_form=True) or b""
        return f"; it shows {_described(x509.load_der_x509_certificate(der))}"
    except (OSError, *_UNREAD, ValueError):
        return ""


def _described(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [bounded(str(one.value)) for one in found][:_NAMES_MOST]
    except (*_UNREAD, ValueError):
        names = []
    issuer = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    signer = bounded(str(issuer[0].value) if issuer else certificate.issuer.rfc4514_string())
    days = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
    digest = certificate.fingerprint(SHA256()).hex(":").upper()
    return f"one for {', '.join(names) or _named(certificate)}, signed by {signer}, from {days}, SHA-256 {digest}"


def _named(certificate: x509.Certificate) -> str:
    """Who holds it: the common name, else all that it says."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return bounded(str(names[0].value) if names else certificate.subject.rfc4514_string() or "without a name")


def _signed_by(certificate: Mapping[str, Any]) -> str:
    """Who signed it, in the certificate's own words."""
    names = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    return bounded(str(names.get("commonName") or names.get("organizationName") or "?"))


def _certificate(tls: ssl.SSLObject) -> Finding:
    certificate = tls.getpeercert() or {}
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = int((until - datetime.now(UTC)).total_seconds() // _DAY)
    soon = days < RENEW_DAYS
    return Finding(
        what="certificate",
        state="warning" if soon else "ok",
        detail=f"{tls.version()}, the certificate of the DEMS is good for {days} more days; signed by "
        f"{_signed_by(certificate)}, whom we trust",
        todo="Ask the administrator of the DEMS to renew its certificate." if soon else None,
    )
