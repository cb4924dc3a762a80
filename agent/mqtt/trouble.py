"""What the network and TLS raised, in a clause for people, and what they do about it."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

from agent.capture import printable

__all__ = ["OUR_SIDE", "hint", "told"]

OUR_SIDE: Final = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})
"""Errors of this station's own network: other stations do not meet them at the same moment."""


def told(error: BaseException | None) -> str:
    """What happened, as the end of a sentence."""
    match error:
        case None:
            said = "we said goodbye"
        case socket.gaierror():
            said = "no name service knows this name"
        case ssl.SSLCertVerificationError():
            said = f"its certificate is not believed ({error.verify_message})"
        case ssl.SSLError():
            said = f"TLS failed ({error.reason or error})"
        case ConnectionRefusedError():
            said = "nobody listens there"
        case TimeoutError():
            said = "no answer in time"
        case OSError() if error.strerror:
            said = error.strerror
        case _:
            said = str(error) or type(error).__name__
    return printable(said)[:200]


def hint(error: BaseException | None) -> str:
    """What a person should do."""
    match error:
        case socket.gaierror():
            return "Is `host` spelt right, and does this station reach its name server? Nothing is lost meanwhile."
        case ssl.SSLCertVerificationError():
            return "Look at `ca_file`, at `server_name`, and at this station's clock: evidock check tells more."
        case ssl.SSLError():
            return "Does the broker speak TLS at this port, and believe `client_cert`? It may have expired."
        case ConnectionRefusedError():
            return "Does the broker run, and is `port` right? Nothing is lost meanwhile."
        case _:
            return "Nothing to do at the dock: it is tried again. Nothing is lost meanwhile."
