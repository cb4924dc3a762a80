"""Until when a server keeps the place of an upload, and when it is to be asked again.

tus 1.0.0, Expiration: `Upload-Expires`, a date by the server's clock. The IETF's draft, section 4.1.4: `max-age` in
`Upload-Limit`, seconds from the answer on. A date is read against the answer's own `Date`, for clocks differ.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.uplink.http.answer import moment

if TYPE_CHECKING:
    from agent.uplink.http.answer import Answer

__all__ = ["kept_for", "renew_at"]

SOONEST: Final = 60.0
"""Seconds before which no place is renewed: a server that keeps uploads for less does not mean them to wait."""
LONGEST: Final = 365 * 86400.0
_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age=([0-9]{1,12})\s*(?=[,;]|$)")


def kept_for(answer: Answer) -> float | None:
    """Return for how many seconds from now the upload is kept; None where the server says nothing that can be read."""
    found = _MAX_AGE.search(answer.headers.get("Upload-Limit", ""))
    if found is not None:
        return min(float(found[1]), LONGEST)
    until = moment(answer.headers.get("Upload-Expires"))
    if until is None:
        return None
    now = moment(answer.headers.get("Date")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST)


def renew_at(answer: Answer) -> datetime | None:
    """Return when to ask again: when half of the time is over."""
    seconds = kept_for(answer)
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=max(seconds / 2, SOONEST))
