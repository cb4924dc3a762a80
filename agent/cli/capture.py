"""`evidock capture`: what was taken, where it stands, its story, and what people order of it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from agent.capture import Priority, Standing, printable, rfc3339
from agent.cli import belonging, story
from agent.cli.asking import source
from agent.cli.export import export
from agent.cli.telling import AsJson, length, line, moment, pairs, print_json, table
from agent.cli.words import sentence
from agent.errors import Refusal

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="What was taken of the devices, and what people order."
)

_LAST: Final = (1 << 53) - 1
"""No log has a place beyond it (RFC 8785, section 3.2.2.3)."""

Id = Annotated[str, typer.Argument(metavar="ID", help="A capture's id, or its first characters (4 or more).")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Captures' ids, or their first characters.")]
Before = Annotated[
    int | None, typer.Option(min=0, max=_LAST, help="Only those below this place in the log: the next page.")
]
Why = Annotated[str, typer.Option("--why", help="The reason; it stands in the custody log.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    standing: Annotated[Standing | None, typer.Option(help="Only those that stand here.")] = None,
    device: Annotated[str | None, typer.Option(help="Only those of this device.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many.")] = 100,
    before: Before = None,
    drills: Annotated[bool, typer.Option("--drills", help="Drills of this station, and no evidence.")] = False,
    as_json: AsJson = False,
) -> None:
    """List captures, the newest first."""
    with source(ctx) as station:
        told = station.captures(standing=standing, device=device, limit=limit, before=before, drills=drills)
    _list(told, as_json=as_json)


@app.command()
def find(  # noqa: PLR0913 - one option for each thing that people know of a capture
    ctx: typer.Context,
    *,
    officer: Annotated[
        str | None, typer.Option(help="Name, badge or user number, as the device says it or as it was assigned.")
    ] = None,
    incident: Annotated[
        str | None, typer.Option(help="Incident, case or call number, as the device or the dispatch says it.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Unit that the device belonged to, as it was assigned.")] = None,
    device: Annotated[str | None, typer.Option(help="Id or serial number of the device.")] = None,
    since: Annotated[
        str | None, typer.Option(help='Taken since: "2026-11-22", "2026-11-22T07:00:00Z" or "3 d" (h, min).')
    ] = None,
    standing: Annotated[Standing | None, typer.Option(help="Only those that stand here.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many.")] = 100,
    before: Before = None,
    as_json: AsJson = False,
) -> None:
    """Find captures by what people know of them, the newest first."""
    if not any((officer, incident, unit, device, since)):
        raise Refusal(
            "nothing was said to look for",
            hint="Add --officer, --incident, --unit, --device or --since; or: capture list.",
        )
    with source(ctx) as station:
        told = station.captures(
            officer=officer,
            incident=incident,
            unit=unit,
            device=device,
            since=None if since is None else _moment(since),
            standing=standing,
            limit=limit,
            before=before,
        )
    _list(told, as_json=as_json)


def _moment(since: str) -> str:
    """`3 d` as the time that it was then; everything else as it is, for the journal to read."""
    found = re.fullmatch(r"(\d{1,5})\s*(d|h|min)", since.strip())
    if found is None:
        try:
            datetime.fromisoformat(since)
        except ValueError:
            hint = 'Write it like "3 d", "2026-11-22" or "2026-11-22T07:00:00Z".'
            raise Refusal(f"{since!r} is no time", hint=hint) from None
        return since
    ago = timedelta(**{{"d": "days", "h": "hours", "min": "minutes"}[found[2]]: int(found[1])})
    return rfc3339(datetime.now(UTC) - ago)


def _list(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    if not told["captures"]:
        line("No capture fits.")
        return
    table(
        ("id", "device", "capture", "length", "sha-256", "receipt", "standing", "held at"),
        [
            (
                one["id"][:8],
                one["device"],
                one["key"],
                length(one["length"]),
                one["sha256"][:12],
                one["receipt"]["strength"] if one["receipt"] else "",
                one["standing"],
                moment(one["held_at"]),
            )
            for one in told["captures"]
        ],
        right=("length",),
        below=("device", "capture"),
    )
    if told["next"] is not None:
        line(f"more: --before {told['next']}")


@app.command()
def show(ctx: typer.Context, capture: Id, *, as_json: AsJson = False) -> None:
    """Show one capture: its digests and receipt, between which times it was taken, its whole story, what proves it."""
    with source(ctx) as station:
        found = station.capture(capture)
        signed = station.status()["checkpoint"]
    told = found["capture"]
    if as_json:
        print_json(told)
        return
    receipt, around, clips = told["receipt"], told.pop("witnessed"), told.pop("recording")
    context = told.pop("context")
    pairs(
        {
            **told,
            "length": f"{told['length']} ({length(told['length'])})",
            "receipt": f"{receipt['strength']}, by {receipt['destination']}" if receipt else "none yet",
            "written after": _bound(around["after"], "nobody outside the station has said so yet"),
            "and before": _bound(around["before"], "nobody outside the station has said so yet"),
        }
    )
    if len(clips) > 1:
        line("")
        line(f"{len(clips)} captures are of this recording:")
        rows = [(one["id"][:8], one["clip"], one["key"], one["standing"]) for one in clips]
        table(("id", "clip", "capture", "standing"), rows, right=("clip",))
    line("")
    line("What belongs to it", "bold")
    for sentence_ in belonging.told(context):
        line(sentence_)
    line("")
    line("What happened", "bold")
    for entry in found["story"]:
        line(story.told(entry))
    line("")
    line("What proves it", "bold")
    for proof in _proofs(told, signed):
        line(proof)


def _proofs(told: dict[str, Any], signed: dict[str, Any]) -> Iterator[str]:
    """What of it can be checked by others, in a person's words."""
    receipt, index = told["receipt"], told["index"]
    yield f"Bytes: SHA-256 {told['sha256']}" + ("; the file is in the spool under that name" if told["spooled"] else "")
    if index < signed["size"]:
        yield f"Entry {index} stands under a checkpoint of {signed['size']} entries that the station signed"
    else:
        yield f"Entry {index} stands under no checkpoint yet: the daemon signs one while it runs"
    if index < signed["cosigned_size"]:
        at = moment(signed["cosigned_at"])
        yield f"and under one of {signed['cosigned_size']} entries that witnesses cosigned at {at}"
    if receipt:
        yield f"Receipt: {receipt['strength']}, by {receipt['destination']}"
    export = f"evidock capture export {told['id'][:8]} --to FOLDER"
    yield f"To check it without Evidock: {export}, then sh verify.sh in there"


def _bound(bound: dict[str, Any] | None, nobody: str) -> str:
    """A time around the entry, and whose word it is: never the station's own clock."""
    if bound is None:
        return nobody
    return f"{moment(bound['at'])}, by the clock of {bound['by']} (log of {bound['size']} entries)"


@app.command()
def history(ctx: typer.Context, capture: Id, *, as_json: AsJson = False) -> None:
    """Tell a capture's story: every entry about it, as it stands in the custody log."""
    with source(ctx) as station:
        told = station.capture(capture)
    if as_json:
        print_json(told)
        return
    line(f"{told['capture']['key']} of {told['capture']['device']}", "bold")
    for entry in told["story"]:
        line(sentence(entry))


app.command()(export)


@app.command()
def retry(ctx: typer.Context, captures: Ids, *, why: Why, as_json: AsJson = False) -> None:
    """Send again: after a refusal, out of quarantine, or at once instead of later."""
    _act(ctx, "retry", captures, why, as_json=as_json)


@app.command()
def hold(
    ctx: typer.Context,
    captures: Ids,
    *,
    why: Why,
    lift: Annotated[bool, typer.Option("--lift", help="Lift the order instead of giving it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Order that captures be kept on device and station, whatever the policy says; or lift that order."""
    _act(ctx, "lift" if lift else "hold", captures, why, as_json=as_json)


@app.command()
def prioritise(
    ctx: typer.Context,
    captures: Ids,
    *,
    why: Why,
    priority: Annotated[
        str,
        typer.Option(
            "--as",
            help=f"One of: {', '.join(one.name.lower().replace('_', '-') for one in Priority)}.",
            metavar="PRIORITY",
        ),
    ] = "first",
    as_json: AsJson = False,
) -> None:
    """Send captures before, or after, others."""
    _act(ctx, "prioritise", captures, why, priority=priority, as_json=as_json)


def _act(
    ctx: typer.Context, verb: str, captures: list[str], why: str, *, priority: str | None = None, as_json: bool
) -> None:
    """Do it for each; one that is refused keeps none of the others from being done, and how many were is raised."""
    done: list[dict[str, Any]] = []
    refused: list[Refusal] = []
    with source(ctx) as station:
        for capture in captures:
            try:
                done.append(station.act(verb, capture, why=why, priority=priority)["capture"])
            except Refusal as error:
                if len(captures) > 1:
                    typer.secho(printable(f"{capture}: {error}"), fg="red", err=True)
                refused.append(error)
    if as_json:
        print_json({"captures": done})
    else:
        for one in done:
            line(f"{one['id']}  {one['key']}  {_outcome(verb, one)}")
    if refused and len(captures) == 1:
        raise refused[0]
    if refused:
        raise Refusal(f"refused: {len(refused)} of {len(captures)}; done: {len(done)}", hint=refused[-1].what_to_do)


def _outcome(verb: str, one: dict[str, Any]) -> str:
    match verb:
        case "retry":
            return f"stands {one['standing']} and is sent again"
        case "hold":
            return "is kept until the order is lifted"
        case "lift":
            return "may be released and purged again"
    return f"has priority {one['priority'].replace('_', '-')}"
