"""What the demo shows while it runs: a live picture in a terminal, one line for each event elsewhere."""

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agent.cli.picture import bar
from agent.cli.telling import console, length, rate, shown

__all__ = ["View"]

_LINES = 12


class View:
    """Give it each look at the station; say what happens otherwise."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._began = time.monotonic()
        self._console = console()
        self._quiet = quiet
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(console=self._console, refresh_per_second=10, transient=False)
        self._said: list[str] = []
        self._stood: dict[str, str] = {}
        self._status: dict[str, Any] = {}
        self._captures: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """Something happened."""
        told = f"{time.monotonic() - self._began:5.1f} s  {sentence}"
        self._said.append(told)
        if self._live is not None:
            self._live.update(self._picture())
        elif not self._quiet:
            sys.stdout.write(told + "\n")
            sys.stdout.flush()

    def look(self, status: dict[str, Any], captures: Iterable[dict[str, Any]]) -> None:
        """A look at the station; in plain lines only what changed is told."""
        self._status, self._captures = status, list(reversed(list(captures)))
        for one in self._captures:
            if self._stood.get(one["id"]) != one["standing"]:
                self._stood[one["id"]] = one["standing"]
                if self._live is None:
                    self.say(_standing(one))
        if self._live is not None:
            self._live.update(self._picture())

    def _picture(self) -> Group:
        parts: list[Any] = [self._head(), Text("")]
        if self._captures or self._status.get("arrivals"):
            parts += [self._table(), Text("")]
        return Group(*parts, *(Text(told, style="dim") for told in self._said[-_LINES:]))

    def _head(self) -> Table:
        status = self._status
        grid = Table.grid(padding=(0, 2, 0, 0))
        devices = [one for one in status.get("devices", []) if one["present"]]
        names = ", ".join(
            f"{one['maker']} {one['model']} {one['serial']}, firmware {one['firmware']}" for one in devices
        )
        grid.add_row(Text("device", style="bold"), Text(names or "none"))
        links = status.get("links", [])
        up = all(link["up"] for link in links)
        grid.add_row(Text("DEMS", style="bold"), Text("up" if up else "down", style="green" if up else "red"))
        if "log" in status:
            log = status["log"]
            grid.add_row(Text("journal", style="bold"), Text(f"{log['size']} entries, root {log['root'][:16]}..."))
        return grid

    def _table(self) -> Table:
        made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in ("capture", "length", "sha-256", "under way", "rate", "receipt", "standing"):
            made.add_column(column, justify="right" if column in ("length", "rate") else "left", no_wrap=True)
        going = {one["capture"]: one for one in self._status.get("departures", [])}
        for one in self._captures:
            out = going.get(one["id"])
            receipt = one["receipt"]["strength"] if one["receipt"] else ""
            done, speed = (_bar(out["confirmed"], out["length"]), rate(out["rate"])) if out else (Text(""), "")
            name, digest = one["key"].rpartition("/")[2], one["sha256"][:12]
            made.add_row(
                shown(name), shown(length(one["length"])), shown(digest), done, shown(speed), shown(receipt),
                shown(one["standing"]),
            )  # fmt: skip
        for one in self._status.get("arrivals", []):
            done, speed = _bar(one["arrived"], one["length"] or 0), rate(one["rate"])
            name = one["key"].rpartition("/")[2]
            made.add_row(
                shown(name), shown(length(one["length"])), Text("..."), done, shown(speed), Text(""), Text("arriving")
            )
        return made


def _bar(done: int, whole: int) -> Text:
    return Text(bar(done, whole, 20), style="cyan")


def _standing(one: dict[str, Any]) -> str:
    receipt = f", {one['receipt']['strength']} receipt" if one["receipt"] else ""
    name = one["key"].rpartition("/")[2]
    return f"{name}  {one['standing']}  {length(one['length'])}  sha-256 {one['sha256'][:16]}...{receipt}"
