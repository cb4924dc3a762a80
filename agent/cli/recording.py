"""`evidock device record`: what a real device gave, under a veil and without content, as a folder for a test."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import configuration
from agent.cli.logs import configure
from agent.cli.telling import AsJson, line, print_json
from agent.driver import Recorded
from agent.errors import AgentError, DeviceError, Refusal
from agent.journal.entry import agent_version
from agent.recorder import RecordingHand, Veil, write
from agent.registry import LoadedDriver, drivers_of

__all__ = ["record"]

_NOTHING = "Is the device plugged in, and is its driver in agent.toml? evidock device list tells what the daemon sees."


def record(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
    driver: Annotated[str | None, typer.Option("--driver", help="Only the driver of this name.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="How long to look.")] = 20.0,
    by: Annotated[str, typer.Option("--by", help="Who recorded it, for the file: an agency, no person.")] = "unknown",
    *,
    as_json: AsJson = False,
) -> None:
    """Write what the devices here give: names and sizes under a veil, no content. Nothing is taken or deleted."""
    if folder.exists():
        raise Refusal(f"{folder} is there already", hint="Name a folder that is not there yet.")
    configure()  # what drivers log goes where the daemon's goes, and not into what is printed
    loaded = [one for one in drivers_of(configuration(ctx)) if driver in (None, one.options.name)]
    if not loaded:
        raise Refusal(f"no driver is called {driver}", hint="List them: evidock driver list.")
    veil = Veil()
    hand = RecordingHand(veil)
    told = asyncio.run(_looked(loaded, hand, veil, seconds))
    if not hand.devices and not any(one["volumes"] for one in told.values()):
        raise Refusal("no device was seen", hint=_NOTHING)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    found = write(folder, hand, told, who=by, day=day, version=agent_version())
    if as_json:
        print_json({"folder": os.fspath(folder), "devices": found["devices"], "captures": len(found["captures"])})
        return
    line(f"wrote {folder}: {len(found['devices'])} devices, {len(found['captures'])} captures")
    line("Names, numbers and claims are under a veil. Look through it before you pass it on.", "yellow")


async def _looked(loaded: Sequence[LoadedDriver], hand: RecordingHand, veil: Veil, seconds: float) -> dict[str, Any]:
    """Run the drivers for a while; what each says of its own, by a number: its name may be a place's."""
    failed: dict[str, str] = {}

    async def one(number: int, driver: LoadedDriver) -> None:
        try:
            await driver.driver.run(hand)
        except AgentError as error:
            failed[str(number)] = type(error).__name__
            line(f"{driver.options.name}: {error}", "yellow")

    running = [asyncio.create_task(one(number, driver)) for number, driver in enumerate(loaded)]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*running)
    told = {str(number): await _said(driver, veil) for number, driver in enumerate(loaded)}
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    return {number: {**one, "failed": failed.get(number)} for number, one in told.items()}


async def _said(loaded: LoadedDriver, veil: Veil) -> dict[str, Any]:
    volumes: Sequence[Mapping[str, Any]] = ()
    if isinstance(loaded.driver, Recorded):
        try:
            volumes = await loaded.driver.recorded()
        except DeviceError as error:
            line(f"{loaded.options.name}: {error}", "yellow")
    return {"use": loaded.options.use, "volumes": [_veiled(one, veil) for one in volumes]}


def _veiled(volume: Mapping[str, Any], veil: Veil) -> dict[str, Any]:
    """Paths and texts under the veil; what the file system and the descriptor's numbers say stays."""
    listed = [
        {name: veil.name(value) if name in ("path", "text") else value for name, value in one.items()}
        for one in volume["listed"]
    ]
    return {**volume, "listed": listed}
