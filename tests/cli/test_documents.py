"""README and docs/commands.md against what the program really does."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import errors
from agent.cli import COMMANDS, UNEXPECTED, loaded
from agent.cli.check import WARNED
from agent.station import routes
from agent.testing.conformance import DriverConformance, Rig
from tests.cli.commands import rows, walk

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS_MD = (ROOT / "docs" / "commands.md").read_text()


def test_the_command_table_is_that_of_the_program() -> None:
    assert "\n".join(rows()) in README, "run: python -m tests.cli.commands"


def test_the_summaries_are_those_of_the_commands() -> None:
    for name, summary in COMMANDS.items():
        assert loaded(name).help.splitlines()[0] == summary


def test_every_exit_code_is_documented() -> None:
    found = {
        kind.exit_code: name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.AgentError)
    }
    told = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", COMMANDS_MD, re.MULTILINE))
    assert {int(code): name for code, name in told.items()} == found
    for code in (0, WARNED, UNEXPECTED):
        assert f"\n| {code} | | " in COMMANDS_MD


def test_the_keys_of_every_command_that_prints_json_are_documented() -> None:
    told = set(re.findall(r"^\| `([a-z -]+)` \| `", COMMANDS_MD, re.MULTILINE))
    assert told | {"device watch"} == {
        words for words, command in walk() if any("--json" in param.opts for param in command.params)
    }


def test_every_request_to_the_socket_is_documented() -> None:
    source = inspect.getsource(routes)
    found = re.findall(r'router\.add_(?:get|post)\("([^"]+)"', source)
    told = re.findall(r"^\| `(?:GET|POST) ([^?`]+)[^`]*` \|", COMMANDS_MD, re.MULTILINE)
    assert {re.sub(r"\{\w+\}", "{}", path) for path in told} == {re.sub(r"\{\w+\}", "{}", path) for path in found}


def test_every_module_of_the_life_of_a_capture_is_there() -> None:
    life = README.partition("## Life of a capture")[2].partition("\n## ")[0]
    places = re.findall(r"^\| `(agent/[^`]+)` \|", life, re.MULTILINE)
    assert len(places) >= 10
    for place in places + re.findall(
        r"`(agent/[a-z_/.]+|drivers/[a-z_/]+)`", README.partition("## Reading the code")[2]
    ):
        assert (ROOT / place).exists() or (ROOT / f"{place}.py").exists(), place


@pytest.mark.fresh
def test_help_is_quick() -> None:
    """Nothing heavy is imported for it; completion takes the same way."""
    took = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-m", "agent.cli", "--help"], capture_output=True, text=True, check=True)
        after = os.times()
        took.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert all(name in done.stdout for name in COMMANDS)
    heavy = "import sys, agent.cli; print(sorted({'aiohttp', 'pydantic', 'apsw', 'structlog'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert min(took) < 1.0, took  # of the processor: 0.2 s; how long it takes depends on who else runs


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """A shell is given the commands, those of a group too."""
    for typed, word in (("evidock st", "status"), ("evidock capture hi", "history")):
        environment = {
            "PATH": "/usr/bin:/bin",
            "_EVIDOCK_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": typed,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(typed.count(" ")),
        }
        script = "import sys; sys.argv[0] = 'evidock'; from agent.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
        )
        assert word in done.stdout, done.stderr


# -- the driver in README ----------------------------------------------------------------------------------------------


def driver() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return str(code)


def test_the_driver_is_as_short_as_it_says() -> None:
    lines = [line for line in driver().splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith(("import ", "from ", '"""'))]) <= 40


SPACE: dict[str, Any] = {"__name__": "my_room"}
exec(compile(driver(), "README.md", "exec", dont_inherit=True), SPACE)  # noqa: S102 - the snippet is ours


class RoomRig(Rig):
    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.away, self.new = tmp_path / "room", tmp_path / "away", tmp_path / "new"
        self.folder.mkdir()

    def driver(self) -> Any:  # noqa: ANN401 - a class of the snippet
        options = SPACE["Room"].Options(use="my_room.folder", name="room-1", rescan=0.05, folder=self.folder)
        return SPACE["Room"](options)

    def record(self, name: str, data: bytes) -> str:
        """The recorder moves a film into the folder when it is finished."""
        self.new.write_bytes(data)
        film = self.folder / Path(name).with_suffix(".mp4")
        self.new.rename(film)
        return film.name

    def holds(self, key: str) -> bool:
        return (self.folder / key).exists()

    def unplug(self) -> None:
        self.folder.rename(self.away)

    def plug_in(self) -> None:
        self.away.rename(self.folder)


class TestRoom(DriverConformance):
    def rig(self, tmp_path: Path) -> RoomRig:
        return RoomRig(tmp_path)


def test_the_page_says_which_tables_a_reload_takes_up() -> None:
    """Every table stands there, on the right side."""
    from agent.config import Config  # noqa: PLC0415
    from agent.reload import NOW  # noqa: PLC0415

    page = (ROOT / "docs/install.md").read_text()
    text = page[page.index("## Changing the configuration") : page.index("## Upgrade, downgrade")]
    at_once, _, later = text.partition("count at once.")
    for name, field in Config.model_fields.items():
        if name in ("driver", "uplink"):
            continue
        word = f"`[[{name}]]`" if "tuple" in str(field.annotation) else f"`[{name}]`"
        assert word in (at_once if name in NOW else later), word
        assert word not in (later if name in NOW else at_once), word
