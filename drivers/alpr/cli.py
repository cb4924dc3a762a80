"""`evidock hotlist`: bring a list, see how old it is, ask what a plate would be, answer a hit, report in numbers."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli import configuration
from agent.cli.asking import daemon_of, order, source
from agent.cli.telling import AsJson, duration, line, moment, pairs, print_json, table
from agent.durable import replace_file
from agent.errors import Refusal
from drivers.alpr.hotlist.auditing import audited, page
from drivers.alpr.hotlist.hits import OUTCOMES

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Lists of plates that are looked for, and hits.")

_FAMILY: Final = "alpr.hotlist"
_Driver = Annotated[str | None, typer.Option(help="Which driver is meant, where agent.toml has several.")]
_Why = Annotated[str, typer.Option(help="The reason; it stands in the custody log. Write no plate into it.")]


@app.command()
def status(ctx: typer.Context, *, driver: _Driver = None, as_json: AsJson = False) -> None:
    """Show each list: how many plates, how old, whether it is searched, and why a newer one was not taken."""
    told = order(ctx, _FAMILY, "status", {}, driver=driver)
    if as_json:
        print_json(told)
        return
    columns = ("list", "plates", "as of", "age", "state", "searched", "proof")
    table(columns, [_row(one) for one in told["lists"]], right=("plates",))
    for one in told["lists"]:
        if one["trouble"]:
            line(f"{one['list']}: {one['trouble']}", "yellow")
        if one["building"]:
            line(f"{one['list']}: a newer one is being made ready")
    waiting = told["hits"]
    if waiting["pending"]:
        count = "1 hit waits" if waiting["pending"] == 1 else f"{waiting['pending']} hits wait"
        line(f"{count} for an answer, the first since {moment(waiting['oldest_at'])}", "yellow")
    for name, why in told["alerts"].items():
        line(f"alert {name}: {why}", "red")


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    age = "" if one["age_s"] is None else duration(one["age_s"])
    return (one["list"], one["plates"], moment(one["as_of"]), age, one["state"], one["searched"], one["proof"])


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The list. Its manifest lies beside it, as FILE.jws or FILE.sha256.")
    ],
    *,
    name: Annotated[str | None, typer.Option("--list", help="Which list it is, where there are several.")] = None,
    confirm: Annotated[bool, typer.Option(help="It became much shorter or longer, and that is right.")] = False,
    why: _Why = "",
    driver: _Driver = None,
    as_json: AsJson = False,
) -> None:
    """Put a list to use: it is verified, made ready beside the old one, and exchanged in one step, or not at all."""
    arguments = {"file": str(file.absolute()), "list": name, "confirm": confirm, "why": why}
    told = order(ctx, _FAMILY, "import", arguments, driver=driver)
    if as_json:
        print_json(told)
        return
    skipped, bad = sum(told["skipped"].values()), sum(told["bad"].values())
    line(f"{told['list']}: {told['plates']} plates of {moment(told['as_of'])} are in use", "green")
    line(f"{told['lines']} lines, of them {skipped} without a plate to look for and {bad} that cannot be read")
    line(f"SHA-256 {told['sha256']}")


@app.command()
def explain(
    ctx: typer.Context,
    plate: Annotated[
        str, typer.Argument(metavar="PLATE", help="As a camera would read it; - reads it from standard input.")
    ],
    *,
    why: _Why = "",
    driver: _Driver = None,
    as_json: AsJson = False,
) -> None:
    """Show what a read of this plate would be, by which list and rule. That it was asked becomes an entry."""
    asked = sys.stdin.readline().strip() if plate == "-" else plate
    told = order(ctx, _FAMILY, "explain", {"plate": asked, "why": why}, driver=driver)
    if as_json:
        print_json(told)
        return
    pairs({name: told[name] for name in ("normalised", "folded", "max_confusable")})
    columns = ("rule", "plate", "list", "list is", "category", "region", "reference", "vehicle")
    names = ("rule", "plate", "list", "list_state", "category", "region", "reference", "vehicle")
    if told["matches"]:
        table(columns, [tuple(one[name] for name in names) for one in told["matches"]])
    else:
        line("no hit: a read of it would be passed by")
    for one in told["lists"]:
        if not one["searched"]:
            line(f"{one['list']} is not searched ({_age(one)}): what stands in it is no hit", "yellow")
        elif one["degraded"]:
            line(f"{one['list']}: {_age(one)}, so a hit by it is marked as degraded", "yellow")
    if told["beyond_policy"]:
        line("Listed, and no hit, for more characters differ than max_confusable permits:")
        table(columns, [tuple(one[name] for name in names) for one in told["beyond_policy"]])


@app.command()
def hits(ctx: typer.Context, *, driver: _Driver = None, as_json: AsJson = False) -> None:
    """Show the last hits, with the plates that this run of the daemon has seen. That they were shown is an entry."""
    told = order(ctx, _FAMILY, "hits", {}, driver=driver)
    if as_json:
        print_json(told)
        return
    columns = ("hit", "at", "camera", "read", "listed", "rule", "sure", "list", "list is", "category", "state")
    rows = [
        (
            one["capture"][:8],
            moment(one["at"]),
            one["camera"],
            one["plate"],
            one["listed"],
            one["rule"],
            one["sureness"],
            one["list"],
            one["list_state"],
            one["category"],
            one["state"],
        )
        for one in told["hits"]
    ]
    table(columns, rows)
    if not rows:
        line("no hit yet")


@app.command()
def outcome(
    ctx: typer.Context,
    hit: Annotated[str, typer.Argument(metavar="HIT", help="The beginning of its id.")],
    word: Annotated[str, typer.Argument(metavar="WORD", help=f"One of {', '.join(OUTCOMES)}.")],
    *,
    why: _Why = "",
    driver: _Driver = None,
    as_json: AsJson = False,
) -> None:
    """Say what a hit turned out to be; an entry with who, when and why."""
    told = order(ctx, _FAMILY, "outcome", {"capture": hit, "outcome": word, "why": why}, driver=driver)
    if as_json:
        print_json(told)
    else:
        line(f"{told['capture'][:8]} is {told['state']}", "green")


@app.command()
def search(
    ctx: typer.Context,
    plate: Annotated[str, typer.Argument(metavar="PLATE", help="The plate; - reads it from standard input.")],
    *,
    why: _Why = "",
    driver: _Driver = None,
    as_json: AsJson = False,
) -> None:
    """Search reads that the policy keeps for a while; only with a reason, which stands in the custody log."""
    asked = sys.stdin.readline().strip() if plate == "-" else plate
    told = order(ctx, _FAMILY, "search", {"plate": asked, "why": why}, driver=driver)
    if as_json:
        print_json(told)
    else:
        rows = [(one["camera"], moment(one["captured_at"]), one["plate"]) for one in told["reads"]]
        table(("camera", "at", "read"), rows)
        if not rows:
            line("no read of it is kept")


@app.command("export-audit")
def export_audit(
    ctx: typer.Context,
    *,
    since: Annotated[str | None, typer.Option(help="Day from which on, such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Day before which.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as a page, too.")] = None,
    driver: _Driver = None,
) -> None:
    """Print the audit report as JSON: numbers alone, made from the custody log, with the entries that they rest on."""
    first, last = _day(since), _day(until)
    if first is not None and last is not None and first >= last:
        raise Refusal("there is no day from --since on and before --until", hint="Say a later --until.")
    if daemon_of(configuration(ctx)) is not None:
        order(ctx, _FAMILY, "count", {}, driver=driver)
    with source(ctx) as asked:
        report = audited(asked.leaves(), log=str(asked.head()["origin"]), since=first, until=last)
    if html is not None:
        try:
            replace_file(html.absolute(), page(report).encode(), mode=0o644)
        except OSError as error:
            hint = "Nothing was written. Make room there, or name another file: --html FILE."
            raise Refusal(f"{html} cannot be written: {error.strerror}", hint=hint) from error
    print_json(report)


def _age(one: dict[str, Any]) -> str:
    return "nobody knows how old it is" if one["state"] == "unknown" else f"it is {one['state']}"


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Refusal(f"{text!r} is no day", hint="Write a day such as 2026-11-22.") from None
