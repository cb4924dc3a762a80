"""A dispatch system that posts what it knows of its units, and corrects itself."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Dispatch"]


@dataclass
class Dispatch:
    """Posts to `POST /incidents`. What was refused or cut off is posted again with the next one, as real ones do."""

    url: str
    """Such as `https://station:8444/incidents`."""
    token: str
    faults: str = ""
    answers: list[int | None] = field(default_factory=list)
    """Status of each request; None: no answer."""
    _owed: list[dict[str, Any]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def tell(self, unit: str, incident: str, since: datetime, until: datetime | None = None, **more: Any) -> str:  # noqa: ANN401 - JSON
        """A unit is on an incident, or was; the id of the interval. Give it as `id` to correct it."""
        id_ = str(more.pop("id", f"{incident}/{unit}/{since.isoformat()}"))
        row: dict[str, Any] = {"id": id_, "incident": incident, "unit": unit, "from": since.isoformat(), **more}
        if until is not None:
            row["until"] = until.isoformat()
        fault = self.faults[number : number + 1] if (number := next(self._numbers)) < len(self.faults) else "."
        if fault == "l":
            self._owed.append(row)
            return id_
        rows = [*self._owed, row]
        if fault == "b":
            rows.insert(0, {"unit": unit, "from": "no time"})
        body = json.dumps({"intervals": rows}).encode()
        answer = await self._post(body[: len(body) // 2] if fault == "c" else body)
        if fault == "t":
            answer = await self._post(body)
        self._owed = [] if answer in (200, 422) else rows
        return id_

    async def settle(self) -> None:
        """Post what is still owed."""
        if self._owed:
            await self._post(json.dumps(self._owed).encode())
            self._owed = []

    async def _post(self, body: bytes) -> int | None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        status: int | None = None
        try:
            async with aiohttp.ClientSession(headers=headers) as session, session.post(self.url, data=body) as answer:
                status = answer.status
        except aiohttp.ClientError:
            status = None
        self.answers.append(status)
        return status
