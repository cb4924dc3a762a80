"""`evidock enotes`: notebooks and tablets: who is here, what is flagged, and a notebook for a reader."""

import base64
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agent.cli.asking import order, source
from agent.cli.telling import AsJson, line, moment, pairs, print_json, table
from agent.cli.writing import made
from agent.errors import Refusal

if TYPE_CHECKING:
    from drivers.enotes.reading import Looked

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Electronic notebooks, and the tablets that write them."
)

FAMILY: Final = "enotes."
_FLAGGED: Final = 4
_UNPLACED: Final = "unplaced"
_LATE: Final = 12 * 3600
_OTHER: Final = "Give another --out."
_INVITATION: Final = 256 * 1024
"""Bytes beyond any page of an invitation."""

Name = Annotated[
    str, typer.Argument(metavar="NOTEBOOK", help="A notebook, or a part of its name; `unplaced` for entries of none.")
]
Wanted = Annotated[str | None, typer.Argument(metavar="[NOTEBOOK]", help="A notebook, or a part of its name.")]
Driver = Annotated[str | None, typer.Option("--driver", help="Name of the driver, where there are several.")]
Why = Annotated[str, typer.Option("--why", help="Why; it stands in the custody log.")]
Files = Annotated[
    list[Path] | None, typer.Option("--file", help="Envelopes in files instead of the station's; with --keys.")
]
Keys = Annotated[
    Path | None, typer.Option("--keys", help="The register, as `evidock enotes keys --json` wrote it; with --file.")
]


@app.command("list")
def list_(ctx: typer.Context, *, driver: Driver = None, as_json: AsJson = False) -> None:
    """List notebooks and tablets: names and numbers, no text of any note."""
    told = order(ctx, FAMILY, "list", {}, driver=driver)
    told.pop("state", None)
    if as_json:
        print_json(told)
        return
    table(
        ("notebook", "officer", "badge", "entries", "last", "flagged", "new", "files awaited", "last received"),
        [
            (
                one["notebook"] or "none: unplaced entries", one["name"], one["badge"], one["entries"], one["last_seq"],
                one["flagged"] or "", one["unseen"] or "", one["attachments_missing"] or "",
                moment(one["last_received_at"]),
            )
            for one in told["notebooks"]
        ],
        right=("entries", "last", "flagged", "new", "files awaited"),
    )  # fmt: skip
    line("")
    table(
        ("tablet", "enrolled", "lost since", "why"),
        [(one["id"], moment(one["enrolled_at"]), moment(one["revoked_since"]), one["why"]) for one in told["tablets"]],
    )


@app.command()
def verify(
    ctx: typer.Context,
    notebook: Annotated[
        str | None,
        typer.Argument(metavar="[NOTEBOOK]", help="A notebook, or a part of its name; `unplaced` for entries of none."),
    ] = None,
    *,
    why: Annotated[str, typer.Option("--why", help="Why; it stands in the custody log.")] = "verified",
    file: Files = None,
    keys: Keys = None,
    driver: Driver = None,
    as_json: AsJson = False,
) -> None:
    """Check every signature, the chain and every note of a notebook from its bytes, and that the log holds each."""
    with _found(ctx, notebook, why=why, files=file, keys=keys, driver=driver) as (found, _):
        lost = [] if file else _not_held(ctx, found)
        told = {**_told(found), "not_in_the_log": lost}
        if as_json:
            print_json(told)
        else:
            _show(found, told)
    if told["flagged"] or told["missing"] or told["disagreeing"] or lost:
        raise typer.Exit(_FLAGGED)


@app.command()
def render(
    ctx: typer.Context,
    notebook: Annotated[
        str | None, typer.Argument(metavar="[NOTEBOOK]", help="A notebook, or a part of its name.")
    ] = None,
    *,
    why: Annotated[str | None, typer.Option("--why", help="Why; it stands in the custody log.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write, or `-`; default: named for it.")] = None,
    language: Annotated[str, typer.Option("--language", help="en or fr.")] = "en",
    file: Files = None,
    keys: Keys = None,
    driver: Driver = None,
) -> None:
    """Write a notebook as one HTML file for a reader, to be printed too: struck text visible, flags explained."""
    from drivers.enotes.rendering import LANGUAGES, rendered  # noqa: PLC0415 - only here

    if language not in LANGUAGES:
        raise Refusal(f"there are no words in {language!r}", hint=f"Give one of: {', '.join(LANGUAGES)}.")
    if why is None and not file:
        raise Refusal("say why it is read: --why", hint="It stands in the custody log, with who read it.")
    if notebook == _UNPLACED:
        raise Refusal("entries of no notebook are no notebook", hint="See them: evidock enotes verify unplaced.")
    with _found(ctx, notebook, why=why or "", files=file, keys=keys, driver=driver) as (found, service):
        page = rendered(found, language=language, service=service)
        if out == Path("-"):
            sys.stdout.buffer.writelines(page)
            return
        path = out or Path(f"{str(found.notebook).removeprefix('urn:uuid:')}.{language}.html")
        with made(path, other=_OTHER) as target:
            target.writelines(page)
    line(f"wrote {path}")


@app.command()
def keys(ctx: typer.Context, *, driver: Driver = None, as_json: AsJson = False) -> None:
    """Show the register: whose key is whose, and from when until when it is believed."""
    told = order(ctx, FAMILY, "keys", {}, driver=driver)
    if as_json:
        print_json({"keys": told})
        return
    table(
        ("key", "badge", "officer", "tablet", "since", "until", "how"),
        [
            (
                one["kid"],
                one["badge"],
                one["name"],
                one["tablet"],
                moment(one["since"]),
                moment(one["until"]),
                one["how"],
            )
            for one in told
        ],
    )


@app.command()
def invite(
    ctx: typer.Context,
    *,
    tablet: Annotated[str, typer.Option("--tablet", help="Name of the tablet, such as TAB-0117.")],
    badge: Annotated[str, typer.Option("--badge", help="Badge of the officer who will sign on it.")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the officer.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The page to write; default: named for the tablet.")] = None,
    driver: Driver = None,
) -> None:
    """Write a page with a QR code by which one tablet of one officer is taken in, once."""
    path = out or Path(f"{tablet.replace(':', '_')}.invitation.html")
    with made(path, room=_INVITATION, other=_OTHER) as page:  # first: nobody sees an invitation without its page
        told = order(ctx, FAMILY, "invite", {"badge": badge, "name": name, "tablet": tablet}, driver=driver)
        page.write(base64.b64decode(told["page"]))
    line(f"wrote {path}")
    for advice in told["todo"]:
        line(advice, "yellow")


@app.command()
def revoke(
    ctx: typer.Context,
    tablet: Annotated[str, typer.Argument(metavar="TABLET", help="Its name.")],
    *,
    why: Why,
    since: Annotated[str | None, typer.Option("--since", help="RFC 3339; when it was lost. Default: now.")] = None,
    driver: Driver = None,
) -> None:
    """Give a tablet up as lost: what it signed from then on is kept and flagged."""
    told = order(ctx, FAMILY, "revoke", {"since": since, "tablet": tablet, "why": why}, driver=driver)
    line(f"{tablet} is not believed from {moment(told['since'])} on; keys that ended: {len(told['keys'])}")


@app.command()
def seen(ctx: typer.Context, notebook: Name, *, why: Why, driver: Driver = None) -> None:
    """Say that a person looked at what is flagged: the notice goes, the flags stay."""
    name = None if notebook == _UNPLACED else _one(ctx, notebook, driver)
    told = order(ctx, FAMILY, "seen", {"notebook": name, "why": why}, driver=driver)
    line(f"{told['seen']} entries were looked at")


@app.command("give-up")
def give_up(
    ctx: typer.Context,
    notebook: Annotated[str, typer.Argument(metavar="NOTEBOOK", help="A notebook, or a part of its name.")],
    *,
    why: Why,
    driver: Driver = None,
) -> None:
    """Say that attachments which are awaited will not come: the notice goes. Those that come are held all the same."""
    told = order(ctx, FAMILY, "give-up", {"notebook": _one(ctx, notebook, driver), "why": why}, driver=driver)
    line(f"{told['given_up']} attachments are awaited no longer")


# -- what they share ---------------------------------------------------------------------------------------------------


def _one(ctx: typer.Context, wanted: str, driver: str | None) -> str:
    told = order(ctx, FAMILY, "list", {}, driver=driver)
    names = [one["notebook"] for one in told["notebooks"] if one["notebook"]]
    found = [name for name in names if name == wanted] or [name for name in names if wanted in name]
    if len(found) != 1:
        how = "no notebook" if not found else f"{len(found)} notebooks"
        raise Refusal(f"{how} known here under {wanted!r}", hint="List them: evidock enotes list.")
    return str(found[0])


@contextmanager
def _found(
    ctx: typer.Context, wanted: str | None, *, why: str, files: list[Path] | None, keys: Path | None, driver: str | None
) -> Iterator[tuple["Looked", str]]:
    """(the notebook that is meant, whose service it is); it can be read again as long as this is open."""
    from drivers.enotes.reading import from_files, from_index, register_of  # noqa: PLC0415 - not for --help

    if files:
        if keys is None:
            raise Refusal(
                "signatures are checked with registered keys: give --keys",
                hint="Write them at the station: evidock enotes keys --json > FILE.",
            )
        with from_files(files, register_of(keys), late_after=timedelta(seconds=_LATE)) as all_of_them:
            found = [one for one in all_of_them if wanted is None or wanted in (one.notebook or _UNPLACED)]
            if len(found) != 1:
                names = ", ".join(one.notebook or _UNPLACED for one in all_of_them)
                raise Refusal(f"say which notebook is meant: {names}")
            yield found[0], ""
        return
    if wanted is None:
        raise Refusal("say which notebook is meant", hint="List them: evidock enotes list.")
    name = None if wanted == _UNPLACED else _one(ctx, wanted, driver)
    told = order(ctx, FAMILY, "read", {"notebook": name, "why": why}, driver=driver)
    state = Path(told["state"])
    if not os.access(state / "enotes.db", os.R_OK):
        raise Refusal(
            f"you may not read {state}",
            hint="Notes are read by root and by the daemon's user.",
        )
    with from_index(state, name, late_after=timedelta(seconds=told["late_after_s"])) as one:
        yield one, str(told["service"])


def _not_held(ctx: typer.Context, found: "Looked") -> list[str]:
    """Digests of envelopes that the custody log does not know."""
    wanted = {act.received_sha256 for act in found.acts}
    with source(ctx) as station:
        for device in sorted({f"enotes:{act.tablet}" for act in found.acts}):
            before = None
            while wanted:
                page = station.captures(limit=1000, before=before, device=device)
                wanted -= {bytes.fromhex(one["sha256"]) for one in page["captures"]}
                if (before := page["next"]) is None:
                    break
    return sorted(digest.hex() for digest in wanted)


def _told(found: "Looked") -> dict[str, Any]:
    head = found.chain.head_digest
    return {
        "notebook": found.notebook,
        "entries": len(found.acts),
        "head": found.chain.head,
        "head_sha256": None if head is None else head.hex(),
        "missing": [list(one) for one in found.missing],
        "flagged": [
            {
                "envelope": act.digest.hex(),
                "flags": list(act.flags),
                "seq": act.seq,
                "status": act.status.value,
                "why": list(act.why),
            }
            for act in found.flagged
        ],
        "attachments_missing": [{"seq": seq, "sha256": sha256} for seq, sha256 in found.source.awaited()],
        "disagreeing": [{"found": act.status.value, "seq": act.seq, "told": act.told} for act in found.disagreeing],
    }


def _show(found: "Looked", told: dict[str, Any]) -> None:
    lost = told["not_in_the_log"]
    pairs({name: told[name] for name in ("notebook", "entries", "head", "head_sha256")})
    for first, last in found.missing:
        line(f"missing: {first}" if first == last else f"missing: {first} to {last}", "red")
    for act in found.flagged:
        line(f"entry {act.seq}: {act.status.value} {' '.join(act.flags)} {'; '.join(act.why)}", "yellow")
    for act in found.disagreeing:
        line(f"entry {act.seq}: the index says {act.told}, it is found to be {act.status.value}", "red")
    for one in told["attachments_missing"]:
        line(f"entry {one['seq']}: an attachment did not come, SHA-256 {one['sha256']}", "yellow")
    for digest in lost:
        line(f"an envelope stands in the index and not in the custody log: {digest}", "red")
    if not (found.missing or found.flagged or found.disagreeing or lost):
        line("every signature, the chain and every note are good", "green")
