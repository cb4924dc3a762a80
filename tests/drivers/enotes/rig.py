"""A listener for tablets and emulated tablets: for the conformance suite, and for the driver's own tests."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

from agent.testing.ports import free_port
from drivers.enotes import EnoteTablets

if TYPE_CHECKING:
    from pathlib import Path

    from agent.driver import Enrolment


def table(folder: Path, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """The `[[driver]]` table of a listener below a folder; `enrol` makes what it needs."""
    listen = {"address": "127.0.0.1", "port": free_port(), "certificate": str(folder / "tls.pem")}
    listen |= {"key": str(folder / "tls.key"), "client_ca": str(folder / "ca.pem"), "grace": 0.2}
    return {
        "use": "enotes.tablets",
        "name": "enotes",
        "rescan": 0.05,
        "listen": listen | more.pop("listen", {}),
        "enrol_port": free_port(),
        "state": str(folder / "enotes"),
        "service": "Example Police Service",
        **more,
    }


def options(folder: Path, **more: Any) -> EnoteTablets.Options:  # noqa: ANN401
    return EnoteTablets.Options.model_validate(table(folder, **more))


def scanned(page: Enrolment | bytes) -> dict[str, Any]:
    """What stands in the QR code, as the page gives it in letters too."""
    content = page if isinstance(page, bytes) else page.content
    (text,) = re.findall(r'<p class="text">(.*?)</p>', content.decode(), re.DOTALL)
    told: dict[str, Any] = json.loads(html.unescape(text))
    return told
