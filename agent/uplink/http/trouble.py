"""What aiohttp, TLS and the socket raise, and answers that no DEMS gives, each as a sentence and a hint."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from http.client import HTTPException
from typing import TYPE_CHECKING, Final

import aiohttp

from agent.capture import printable
from agent.errors import UplinkDown
from agent.uplink.http.answer import retry_after
from agent.uplink.http.pinning import NOT_PINNED

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink.http.answer import Answer

__all__ = ["Cut", "bounded", "broken", "explained", "said", "tls_trouble", "translated", "unmade", "unreachable"]

SENTENCE_MAX: Final = 200
"""Characters of a stranger's words that are repeated to a person."""


class Cut(UplinkDown):
    """The connection failed after it had been made: what the server kept of the request, only the server can say."""

    handed = 0
    """Bytes of the request's body that the socket had taken."""
    silent = False
    """We gave it up, for nothing went any more: its server may not know that yet, and keep more of it later."""


_ALERT: Final = re.compile(r"ALERT_(\w+)")
_CLOCK_HINT: Final = (
    "Compare the clock of this station with the real time (timedatectl): to a wrong clock good ones look bad."
)
_PORTAL_HINT: Final = (
    "A login page of the network (captive portal) stands in the way: open a browser on this station and log in."
)
_THREADS_HINT: Final = (
    "Sending resumes by itself. If this comes again: what else runs on this station, and is TasksMax= of the service "
    "as it was installed?"
)
_UNMADE: Final = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)
"""No connection, or no tunnel through a proxy, came about: of the request nothing was sent."""
_SOCKET: Final = {
    errno.ECONNREFUSED: ("refuses connections", "Is the DEMS running, and is the port in `url` right?"),
    errno.ENETUNREACH: ("cannot be reached from this network", "Look at the network of this station."),
    errno.EHOSTUNREACH: ("cannot be reached from this network", "Look at the network of this station."),
    errno.ENETDOWN: ("cannot be reached: the network is down", "Look at the network of this station."),
    errno.ETIMEDOUT: ("does not answer", "Look at the network and at firewalls between this station and the DEMS."),
}


def translated(error: BaseException, url: URL, *, proxy: URL | None) -> UplinkDown:
    """Return what happened while `url` was asked, as an `UplinkDown`; a `Cut` where bytes may have gone out."""
    down = _translated(error, url, proxy)
    down.way, down.unsent = True, isinstance(error, _UNMADE)
    return down


def _translated(  # noqa: PLR0911 - one line per thing that can fail
    error: BaseException, url: URL, proxy: URL | None
) -> UplinkDown:
    host = _place(url)
    if proxy is not None and _is_of(error, proxy):
        tls = tls_trouble(error, f"the proxy {_place(proxy)}", option="proxy")
    else:
        tls = tls_trouble(error, host)
    if tls is not None:
        return tls
    match error:
        case aiohttp.ClientHttpProxyError():
            return _proxy_said(error, proxy)
        case aiohttp.ClientProxyConnectionError():
            return UplinkDown(
                f"the proxy {_place(proxy or url)} cannot be reached", hint="Look at `proxy` in agent.toml."
            )
        case aiohttp.ClientConnectorError():
            return unreachable(error.os_error, url)
        case aiohttp.ConnectionTimeoutError():
            return unreachable(error, url)
        case aiohttp.ClientResponseError():
            hint = f"Does `url` name the DEMS? What listens there does not speak HTTP: {bounded(error.message)}."
            return Cut(f"{host} gave an answer that is no HTTP", hint=hint)
        case TimeoutError():
            return _silent(host)
        case OSError(errno=errno.ETIMEDOUT):  # the kernel gave it up, as `TCP_USER_TIMEOUT` says
            return _silent(host)
        case _:
            return Cut(f"the connection to {host} broke: {bounded(str(error) or type(error).__name__)}")


def _silent(host: str) -> Cut:
    cut = Cut(f"{host} took no byte and gave no answer for too long")
    cut.silent = True
    return cut


def unmade(error: OSError | RuntimeError, url: URL) -> UplinkDown:
    """Return why no connection came about for a body that a thread was to send."""
    if isinstance(error, OSError):
        down = unreachable(error, url)
        down.way = True
    else:
        down = UplinkDown(f"this station has no thread left to send to {_place(url)}", hint=_THREADS_HINT)
    down.unsent = True
    return down


def broken(error: Exception, url: URL, *, handed: int) -> Cut:
    """Return what ended a request that a thread sent, of whose body the socket had taken so many bytes."""
    host = _place(url)
    if isinstance(error, TimeoutError):
        down = _silent(host)
    elif isinstance(error, ssl.SSLError) and (refused := _ALERT.search(error.reason or "")):
        down = _alert(refused, host)
    elif isinstance(error, HTTPException):
        hint = f"Does `url` name the DEMS? What listens there does not speak HTTP: {bounded(str(error))}."
        down = Cut(f"{host} gave an answer that is no HTTP", hint=hint)
    else:
        down = Cut(f"the connection to {host} broke: {bounded(str(error) or type(error).__name__)}")
    down.way, down.handed = True, handed
    return down


def unreachable(error: OSError, url: URL) -> UplinkDown:
    """Return why no connection came about."""
    if isinstance(error, ssl.SSLError):
        return _tls(error, _place(url), "url")
    if isinstance(error, socket.gaierror):
        hint = "Look at the network of this station, its name servers, and the name in `url`."
        return UplinkDown(f"the name {printable(url.host or '')} cannot be resolved", hint=hint)
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
    what, hint = _SOCKET.get(number, (f"cannot be reached: {bounded(str(error))}", UplinkDown.hint))
    return UplinkDown(f"{_place(url)} {what}", hint=hint)


def explained(  # noqa: PLR0911 - one line per thing that answers instead of a DEMS
    answer: Answer, protocol: str = "HTTP", sign: str = "the sign of its protocol"
) -> UplinkDown:
    """Return why this answer is not the one that its protocol prescribes; `sign` is what each of its answers bears."""
    host, status = _place(answer.url), answer.status
    asked = f"{answer.method} at {host}"
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    server = bounded(answer.headers.get("Server", "")) or "unknown"
    match status:
        case 401:
            return UplinkDown(
                f"{host} does not accept who we are (401)",
                hint="Renew the token in token_file, or the client certificate.",
            )
        case 407:
            return UplinkDown("the proxy wants a login (407)", hint="Put `user:password` into proxy_login_file.")
        case 429 | 503:
            return UplinkDown(f"{host} asks us to come back later ({status})", retry_after=retry_after(answer))
        case 507:
            return UplinkDown(f"{host} has no room left (507)", hint="The administrator of the DEMS must make room.")
        case 511:
            return UplinkDown(f"the network wants a login before it lets us through to {host} (511)", hint=_PORTAL_HINT)
        case _ if 300 <= status < 400:  # noqa: PLR2004 - redirects
            where = bounded(answer.headers.get("Location", "").partition("?")[0]) or "nowhere"
            hint = f"If that is the DEMS, put it into `url`; if not: {_PORTAL_HINT}"
            return UplinkDown(f"{asked} was sent elsewhere ({status}): {where}", hint=hint)
        case _ if not answer.spoken and kind == "text/html" and status < 400:  # noqa: PLR2004 - what looks like success
            return UplinkDown(f"{asked} gave a web page instead of a {protocol} answer ({status})", hint=_PORTAL_HINT)
        case _ if not answer.spoken:
            hint = f"A proxy or another program answers in its place (Server: {server}). Does `url` name the DEMS?"
            return UplinkDown(f"{asked} gave {status} without {sign}: no {protocol} server said that", hint=hint)
        case _:
            return UplinkDown(f"{asked} gave {status}{said(answer)}")


def said(answer: Answer) -> str:
    """Return `: ` and the server's own sentence, bounded and harmless to show; nothing where it said none."""
    if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
        return ""
    text = bounded(answer.body.decode("utf-8", "surrogateescape"))
    return f": {text}" if text else ""


def bounded(text: str) -> str:
    """Return a stranger's words on one line, short, without anything that moves a cursor."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= SENTENCE_MAX else shown[:SENTENCE_MAX] + "…"


def _place(url: URL) -> str:
    return printable(url.authority)


def _is_of(error: BaseException, proxy: URL) -> bool:
    """Whether it was the connection with the proxy itself that failed."""
    return (getattr(error, "host", None), getattr(error, "port", None)) == (proxy.raw_host, proxy.port)


def tls_trouble(error: BaseException, host: str, *, option: str = "url") -> UplinkDown | None:
    """Return what OpenSSL had against `host`, which agent.toml names in `option`; None where it was not OpenSSL."""
    cause = _tls_cause(error)
    return None if cause is None else _tls(cause, host, option)


def _tls_cause(error: BaseException) -> ssl.SSLError | None:
    """Find what OpenSSL said: aiohttp hands it on as an attribute, a cause or an argument, depending on the moment."""
    seen: list[object] = [error]
    while seen:
        one = seen.pop()
        if isinstance(one, ssl.SSLError) and not isinstance(one, aiohttp.ClientError):
            return one
        if isinstance(one, BaseException):
            inner = (getattr(one, "certificate_error", None), getattr(one, "os_error", None), one.__cause__)
            seen += [other for other in inner if other is not None and other is not one]
    return None


def _tls(error: ssl.SSLError, host: str, option: str) -> UplinkDown:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, host, option)
    reason = error.reason or str(error)
    if refused := _ALERT.search(reason):
        return _alert(refused, host)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"}:
        return UplinkDown(
            f"{host} does not speak TLS there", hint=f"Is it http instead of https in `{option}`, or another port?"
        )
    return UplinkDown(f"no TLS connection with {host}: {bounded(reason)}")


def _alert(refused: re.Match[str], host: str) -> Cut:
    """A refused client certificate is only told after the handshake, so the request may have gone out."""
    hint = "The DEMS wants a certificate of this station that it knows: look at client_cert and client_key."
    alert = refused[1].replace("_", " ").lower()
    about = "CERT" in refused.string or "CA" in refused.string
    return Cut(f"{host} refused the TLS connection: {alert}", hint=hint if about else None)


def _certificate(error: ssl.SSLCertVerificationError, host: str, option: str) -> UplinkDown:
    match error.verify_code:
        case _ if error.verify_code == NOT_PINNED:
            hint = (
                "Something between this station and the DEMS opens the encryption; or the DEMS has a new key: then add "
                "it to `pins`, after its administrator has told it to you in another way."
            )
            return UplinkDown(f"{host} shows a key that is none of those in `pins`", hint=hint)
        case 9:  # X509_V_ERR_CERT_NOT_YET_VALID
            return UplinkDown(f"the certificate of {host} is not valid yet", hint=_CLOCK_HINT)
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            hint = f"{_CLOCK_HINT} If it is right, the administrator of the DEMS must renew the certificate."
            return UplinkDown(f"the certificate of {host} has expired", hint=hint)
        case 2 | 18 | 19 | 20 | 21:  # no issuer found, self-signed, in some order
            hint = (
                "Name the file of the authority that signed it in `ca_file`. If it worked before, ask the "
                "administrator of the DEMS, by another way, whether its authority is another one now; if not, "
                "something between this station and the DEMS opens the encryption."
            )
            return UplinkDown(f"nobody whom we trust signed the certificate of {host}", hint=hint)
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            hint = f"Use in `{option}` a name that the certificate names, or have it renewed with this one."
            return UplinkDown(f"the certificate shown by {host} is for another name", hint=hint)
        case _:
            return UplinkDown(f"the certificate of {host} is not accepted: {bounded(error.verify_message)}")


def _proxy_said(error: aiohttp.ClientHttpProxyError, proxy: URL | None) -> UplinkDown:
    place = _place(proxy) if proxy is not None else "in between"
    if error.status == 407:  # noqa: PLR2004 - Proxy Authentication Required
        return UplinkDown(f"the proxy {place} wants a login (407)", hint="Put `user:password` into proxy_login_file.")
    return UplinkDown(
        f"the proxy {place} refused to connect us ({error.status}): {bounded(error.message)}",
        hint="The proxy must permit CONNECT to the DEMS.",
    )
