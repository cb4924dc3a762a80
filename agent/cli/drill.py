"""`evidock drill`: the whole way tried with a capture of the station's own, from a device to the DEMS and back."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from agent import errors
from agent.cli import configuration
from agent.cli.asking import START, daemon_of
from agent.cli.telling import AsJson, line, print_json
from agent.errors import AgentError, Refusal
from agent.quantities import Length

app = typer.Typer(add_completion=False)

_PROVEN = {
    "bytes": "the DEMS gave every byte back, and all are equal",
    "receipt": "the DEMS signed for exactly these bytes; it gives none back",
    "digest": "the DEMS names their digest; it gives none back",
    "length": "the DEMS says that so many bytes arrived: that proves little",
    "nothing": "nothing",
}


@app.command()
def drill(
    ctx: typer.Context,
    *,
    length: Annotated[str, typer.Option(help='So long, such as "20 MiB" (1 KiB to 256 MiB).')] = "1 MiB",
    patience: Annotated[int, typer.Option(min=1, max=3600, help="Seconds that the DEMS has to confirm it.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Try the whole way with a capture that is no evidence; the result is an entry of the custody log."""
    daemon = daemon_of(configuration(ctx))
    if daemon is None:
        raise Refusal("no daemon runs: a drill goes the way that evidence goes", hint=START)
    report: dict[str, Any] | None = None
    failed: dict[str, Any] | None = None
    for told in daemon.drill(length=_bytes(length), patience=patience):
        if "report" in told:
            report = told["report"]
            continue
        failed = failed if told["ok"] else told
        if not as_json:
            mark, style = ("ok", "green") if told["ok"] else ("failed", "red")
            line(f"{mark:7}{told['step']:10} {told['ms']:6} ms  {told['detail']}", style if not told["ok"] else None)
    if report is None:
        raise AgentError("the daemon ended while the drill was under way")
    if as_json:
        print_json(report)
    else:
        line(f"capture {report['capture']}, {report['length']} bytes, SHA-256 {report['sha256']}")
        line(f"proven: {_PROVEN[report['proven']]}", "green" if report["passed"] else "yellow")
    if failed is not None:
        kind = getattr(errors, failed["kind"], AgentError)
        raise kind(f"the drill failed: {failed['step']}", hint=failed["todo"])


def _bytes(text: str) -> int:
    try:
        count: int = TypeAdapter(Length).validate_python(text)
    except ValidationError as error:
        raise Refusal(f"{text!r} is no length", hint='Write a length such as "20 MiB".') from error
    return count
