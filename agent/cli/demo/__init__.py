"""`evidock demo`: the main job once, with a real daemon, real recordings, an emulated camera and an emulated DEMS."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from agent import durable
from agent.cli.demo.play import play
from agent.cli.telling import AsJson
from agent.errors import Refusal

app = typer.Typer(add_completion=False)

_MARK: Final = "evidock-demo"


@app.command()
def demo(
    *,
    faults: Annotated[
        bool, typer.Option("--faults", help="Pull the camera, kill the DEMS and kill the daemon, each in mid-way.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Where all of it lies; must be empty.", metavar="DIR")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Use a folder that the next demo does not replace.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the whole life of some captures, with an emulated camera and an emulated DEMS."""
    asyncio.run(play(_ground(folder, keep=keep), faults=faults, as_json=as_json))


def _ground(folder: Path | None, *, keep: bool) -> Path:
    """An empty folder, with a mark that says that a later demo may clear it."""
    if folder is None:
        prefix = f"evidock-demo-{os.getuid()}"
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-")) if keep else Path(tempfile.gettempdir()) / prefix
        _clear(folder)
    folder = folder.absolute()
    try:
        durable.make_folder(folder)
        empty = not any(folder.iterdir())
    except OSError as error:
        hint = "Name a folder: evidock demo --folder DIR."
        raise Refusal(f"{folder} cannot be used: {error.strerror}", hint=hint) from error
    if not empty:
        raise Refusal(f"{folder} is not empty", hint="Name an empty folder, or one that is not there yet.")
    if not keep:
        (folder / _MARK).touch()
    return folder


def _clear(folder: Path) -> None:
    """Take away what the last demo left; never what another user, or anything else, put there."""
    if not os.path.lexists(folder):
        return
    owner = folder.lstat().st_uid
    if folder.is_symlink() or owner != os.getuid():
        raise Refusal(f"{folder} is not yours", hint="Name a folder: evidock demo --folder DIR.")
    if (folder / _MARK).exists():
        shutil.rmtree(folder)
