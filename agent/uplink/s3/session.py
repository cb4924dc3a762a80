"""The client's HTTP session with our TLS: 1.2 or newer, and only with a store that shows a key that is pinned."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from aiobotocore.httpsession import AIOHTTPSession

from agent.uplink.http.pinning import pinned

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["session_with"]


def session_with(pins: Iterable[str]) -> type[AIOHTTPSession]:
    """For `http_session_cls` of the client's configuration. Without pins, any key that an authority signed for."""
    known = tuple(pins)

    class Session(AIOHTTPSession):  # type: ignore[misc]  # it carries no types
        # The client's public `ssl_context` is refused beside the context that it makes by itself.
        def _get_ssl_context(self) -> ssl.SSLContext:
            context: ssl.SSLContext = super()._get_ssl_context()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if known:
                context.sslobject_class, _ = pinned(known)
            return context

    return Session
