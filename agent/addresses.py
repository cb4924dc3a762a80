"""Addresses as they may be shown, logged and written down: without the login that stands in some."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["shown"]

_LOGIN: Final = re.compile(r"(?<=://)[^/?#\s]*@")
"""User and password before the host (RFC 3986 section 3.2.1), up to the last `@`: some passwords have one unescaped."""


def shown(text: str) -> str:
    """The same text; where it has an address with a login, `***` stands in its place."""
    return _LOGIN.sub("***@", text)
