"""The share of custody in the whole life of many small captures: processor time in its calls, against all of it.

    python -m benchmarks share [--count N]

The daemon runs as it is, with a clock around each call that makes, proves or checks something of the custody log; the
time that is written down is that of the thread which made the call.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COMMAND", "share_table"]

COMMAND: Final = (sys.executable, "-m", "benchmarks.share", "{config}")
"""The daemon with the clocks; it writes `share.json` beside its configuration when it ends."""

CALLS: Final = {
    "leaf: the entry as canonical JSON": ("agent.journal.pen:statement",),
    "tree: the row of the leaf, its hash, tiles": ("agent.journal.leaves:Leaves.append",),
    "checkpoint: signed, kept, published": (
        "agent.journal.anchors:unsigned_head",
        "agent.anchor.room:sign_checkpoint",
        "agent.journal.anchors:keep_signed",
    ),
    "proof: made and checked before a release": ("agent.release.proof:Proving.prove",),
    "receipt: verified when it comes, and before a release": (
        "agent.forward.belief:check_receipt",
        "agent.release.room:check_receipt",
    ),
}


def share_table(told: dict[str, Any], count: int) -> str:
    """What `share.json` says, as Markdown."""
    whole = told["whole"]
    rows = [f"| {name} | {1e6 * spent / count:.0f} us | {100 * spent / whole:.1f} % |" for name, spent in told["in"]]
    custody = sum(spent for _, spent in told["in"])
    rows.append(f"| all of it | {1e6 * custody / count:.0f} us | {100 * custody / whole:.1f} % |")
    rows.append(f"| the daemon | {1e6 * whole / count:.0f} us | 100 % |")
    return "\n".join(["| custody | processor, each capture | of the daemon's |", "| --- | --- | --- |", *rows])


def _clocked(act: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    @wraps(act)
    def timed(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the call takes and gives
        began = time.thread_time()
        try:
            return act(*arguments, **named)
        finally:
            spent[name] += time.thread_time() - began

    return timed


def _main(config: Path) -> None:
    spent: dict[str, float] = defaultdict(float)
    for name, places in CALLS.items():
        for place in places:
            module, _, path = place.partition(":")
            *inner, last = path.split(".")
            owner: Any = import_module(module)
            for part in inner:
                owner = getattr(owner, part)
            setattr(owner, last, _clocked(getattr(owner, last), spent, name))
    from agent.cli.logs import configure  # noqa: PLC0415 - after the clocks
    from agent.config import load  # noqa: PLC0415
    from agent.daemon import Agent  # noqa: PLC0415

    configure()
    agent, began = Agent(load(config)), time.process_time()
    asyncio.run(agent.run())
    told = {"in": [(name, spent[name]) for name in CALLS], "whole": time.process_time() - began}
    config.with_name("share.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
