"""Who may come in: the password gets a token, and the token is shown with every request."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from typing import Final

__all__ = ["LIFE", "Tokens"]

LIFE: Final = 900.0
"""Seconds for which a token is good; a request that began with it goes on."""
_MOST: Final = 1000


class Tokens:
    """Tokens that were given out. A restart forgets them: the controller then authenticates again."""

    def __init__(self, user: str, password: str, *, life: float = LIFE) -> None:
        self._user, self._password, self._life = user.encode(), password.encode(), life
        self._until: OrderedDict[str, float] = OrderedDict()

    def give(self, user: str, password: str) -> str | None:
        """Return a new token, or None for who does not know both words."""
        # Both are compared in full, so that the time tells nothing.
        right = hmac.compare_digest(user.encode("utf-8", "replace"), self._user)
        right &= hmac.compare_digest(password.encode("utf-8", "replace"), self._password)
        if not right:
            return None
        token = secrets.token_urlsafe(32)
        self._until[token] = time.monotonic() + self._life
        while len(self._until) > _MOST:
            self._until.popitem(last=False)
        return token

    def good(self, token: str) -> bool:
        """Whether this token was given out and is not too old."""
        until = self._until.get(token)
        if until is None or time.monotonic() > until:
            self._until.pop(token, None)
            return False
        return True
