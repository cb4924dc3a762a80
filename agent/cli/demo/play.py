"""What happens in the demo, in order; with faults: the plug, the DEMS and the daemon are pulled away in mid-way."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.cli.demo.clips import longer, recordings
from agent.cli.demo.proof import Proof, prove
from agent.cli.demo.stage import Cast
from agent.cli.demo.view import View
from agent.cli.demo.watch import Watch
from agent.cli.telling import console, length, line, print_json, table
from agent.errors import AgentError

__all__ = ["play"]

_LINE: Final = "PATCH:*:delay=0.15"
"""The emulated DEMS takes its time for each part: else nobody would see an upload, and nothing could interrupt one."""
_OUT: Final = 1.0
"""Seconds that something stays away."""
_LONG_DIGEST: Final = 150
"""Columns that a terminal must have for whole digests."""


async def play(folder: Path, *, faults: bool, as_json: bool) -> None:
    """Play it, show the outcome, and raise where anything is not as promised."""
    began = time.monotonic()
    with View(quiet=as_json) as view:
        cast = Cast(folder)
        watch = Watch(cast, view)
        try:
            proof = await _acts(cast, watch, view, faults=faults)
        finally:
            await cast.close()
    _tell(proof, folder, time.monotonic() - began, as_json=as_json)


async def _acts(cast: Cast, watch: Watch, view: View, *, faults: bool) -> Proof:
    view.say("making recordings")
    shelf = cast.folder / "recordings"
    shelf.mkdir()
    await cast.record(await recordings(shelf))
    whole = sum(size for _, size in cast.originals.values())
    view.say(f"the camera holds {len(cast.originals)} captures, {length(whole)}")
    await cast.open()
    view.say(f"the DEMS listens at {cast.dems.url}, the daemon runs with {cast.daemon.config}")
    await cast.dems.add_fault(_LINE)
    watching = asyncio.create_task(watch.run())
    try:
        cast.camera.plug()
        view.say("the camera is in the dock")
        if faults:
            await _trouble(cast, watch, view)
        await watch.until(
            "everything is released",
            lambda: (
                len(watch.captures) >= len(cast.originals)
                and all(one["standing"] == "released" for one in watch.captures)
            ),
        )
        view.say("everything is held, sent, receipted and released; now it is checked")
        return await prove(cast, watch, faults=faults)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _trouble(cast: Cast, watch: Watch, view: View) -> None:
    """Three faults, each while a long capture is half-way through something."""
    key = await _pulled(cast, watch, view)
    size, name = cast.originals[key][1], key.rpartition("/")[2]
    await watch.until("the daemon has noticed", lambda: not watch.status["arrivals"])
    await asyncio.sleep(_OUT)
    cast.camera.plug()
    view.say("the camera is put back")

    await watch.until("the longest capture is partly sent", lambda: (watch.departure(key) or 0) > size // 5)
    cast.dems.kill()
    view.say(f"FAULT: the DEMS is killed, {length(watch.departure(key))} into {name}")
    await asyncio.sleep(_OUT)
    await cast.dems.restart()
    await cast.dems.add_fault(_LINE)
    view.say("the DEMS is back")

    await watch.until(
        "the longest capture is mostly sent",
        lambda: (
            len(watch.captures) == len(cast.originals)
            and not watch.status["arrivals"]
            and (watch.departure(key) or 0) > size * 3 // 5
        ),
    )
    await cast.daemon.kill()
    view.say(f"FAULT: the daemon gets SIGKILL, {length(watch.departure(key))} into sending {name}")
    await asyncio.sleep(_OUT)
    await cast.daemon.start()
    view.say("the daemon is back")


async def _pulled(cast: Cast, watch: Watch, view: View) -> str:
    """Pull the camera while its longest capture is copied; where it was too quick, record a longer one. Its key."""
    for times in (2, 4, 8):
        key, (_, size) = max(cast.originals.items(), key=lambda item: item[1][1])
        await watch.until(
            "the longest capture is half copied",
            lambda key=key, size=size: (watch.arrival(key) or 0) > size // 4 or watch.standing(key) is not None,  # type: ignore[misc]
        )
        if watch.standing(key) is None:
            cast.camera.pull()
            view.say(f"FAULT: the camera is pulled out, {length(watch.arrival(key))} into {key.rpartition('/')[2]}")
            return key
        view.say(f"{key.rpartition('/')[2]} was copied too quickly: the camera records a longer one")
        await cast.record([await longer(cast.folder / "recordings", times)])
    raise AgentError("nothing was long enough to be interrupted while it was copied")


def _tell(proof: Proof, folder: Path, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({**proof.told(), "folder": str(folder), "seconds": round(seconds, 1)})
    else:
        digits = 64 if console().width >= _LONG_DIGEST else 16
        line("")
        table(
            ("capture", "size", "sha-256", "receipt", "standing", "copy resumed at", "upload resumed at"),
            [
                (
                    one["key"],
                    length(one["length"]),
                    one["sha256"][:digits],
                    one["receipt"]["strength"] if one["receipt"] else "none",
                    one["standing"],
                    ", ".join(map(length, one["copy_resumed_at"])),
                    ", ".join(map(length, one["upload_resumed_at"])),
                )
                for one in proof.captures
            ],
            right=("size",),
        )
        line("")
        table(("check", "", "detail"), [(one.what, "ok" if one.ok else "problem", one.detail) for one in proof.checks])
        line("")
        line(f"{seconds:.0f} s. Everything lies in {folder}:")
        line("  agent.toml, daemon.log, state/ (journal and spool), dems/ (what the DEMS stored), journal.jsonl")
        line(f"  check it again without Evidock: cd {folder}/stored && sha256sum --check ../SHA256SUMS")
    if failed := [one.what for one in proof.checks if not one.ok]:
        raise AgentError(
            f"the demo did not keep its promise: {'; '.join(failed)}", hint=f"Everything lies in {folder}."
        )
