"""The real commands with their options; `python -m tests.cli.commands` writes them into README's table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli import COMMANDS, FAMILIES, loaded

if TYPE_CHECKING:
    from collections.abc import Iterator


README = Path(__file__).parents[2] / "README.md"
MARK = "<!-- python -m tests.cli.commands writes this table -->"


def walk() -> Iterator[tuple[str, Any]]:
    """(words, command) of every command that does something."""
    for name in COMMANDS | FAMILIES:
        command = loaded(name)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            for word, one in inner.items():
                yield f"{name} {word}", one


def rows() -> Iterator[str]:
    yield "| Command | Options | |"
    yield "|---|---|---|"
    for words, command in walk():
        told = [param for param in command.params if param.name != "help"]
        arguments = [param.metavar or param.name.upper() for param in told if param.param_type_name == "argument"]
        options = [_shown(param) for param in told if param.param_type_name == "option"]
        usage = " ".join(("evidock", words, *arguments)).replace("|", "\\|")
        yield f"| `{usage}` | {' '.join(options)} | {command.help.splitlines()[0]} |"


def _shown(param: Any) -> str:  # noqa: ANN401 - typer keeps its types to itself
    longest = max(param.opts, key=len)
    return f"`{longest}`" if not param.secondary_opts else f"`{longest}/{param.secondary_opts[0]}`"


def write() -> None:
    """Put the table into README."""
    before, mark, rest = README.read_text().partition(MARK)
    after = rest.lstrip("\n").partition("\n\n")[2]
    README.write_text(f"{before}{mark}\n\n{chr(10).join(rows())}\n\n{after}")


if __name__ == "__main__":
    write()
