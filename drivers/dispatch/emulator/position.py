"""A call-taking position that drops a document for each call, the way exports do: in place, and sometimes twice."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["Position"]


@dataclass
class Position:
    """Writes EIDO documents (NENA-STA-021.1) into a folder."""

    folder: Path
    faults: str = ""
    pause: float = 0.1
    """Seconds between two halves of a document that is written slowly, and before it is rewritten."""
    _count: int = 0

    def drop(self, incident: str, call: str, at: datetime) -> bytes:
        """Write the document of a call; its bytes as they are in the end."""
        told = {
            "$id": incident,
            "lastUpdateTimeStamp": at.isoformat(),
            "issuingElementIdentification": "psap.example",
            "callComponent": [{"$id": call, "callStartTimestamp": at.isoformat(), "direction": "incoming"}],
        }
        content = json.dumps(told, indent=1).encode()
        fault = self.faults[self._count : self._count + 1]
        path = self.folder / f"call-{self._count:06d}.json"
        self._count += 1
        if fault == "r":
            path.write_bytes(content)
            time.sleep(self.pause)
            content = json.dumps({**told, "eidoVersion": "1.0"}, indent=1).encode()
        half = len(content) // 2 if fault == "s" else 0
        with path.open("wb") as file:
            file.write(content[:half])
            file.flush()
            time.sleep(self.pause if half else 0)
            file.write(content[half:])
        return content
