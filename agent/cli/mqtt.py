"""`evidock mqtt`: keys and commands of operators, for administrators, and the description of all messages."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.telling import line, pairs, print_json
from agent.errors import ConfigError, Problem, Refusal

if TYPE_CHECKING:
    from agent.note import Signer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Messages to and from the agency's broker: operators' keys and commands, and what is said.",
)

KeyFile = Annotated[Path, typer.Option("--key", help="File of the operator's private key.")]


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Who signs, such as alice.example.org; it stands in the custody log.")],
    file: Annotated[Path, typer.Argument(help="Where the private key is written; it must not be there yet.")],
) -> None:
    """Make an operator's key; print the public half, for `mqtt.operator_keys` in agent.toml."""
    from agent.anchor.keys import load_key, make_key  # noqa: PLC0415 - cryptography takes its time
    from agent.note import BadNote, check_name  # noqa: PLC0415

    try:
        check_name(name)
    except BadNote as error:
        raise Refusal(f"{name!r} cannot be the name of a key: {error}", hint="Nothing was written.") from error
    if file.exists():
        raise Refusal(f"{file} is there already", hint="Nothing was written. Give another name.")
    make_key(file, name)
    pairs({"private key": str(file), "operator_keys": load_key(file, name).vkey})
    line("Keep the private key where no station can read it: whoever has it commands them all.")


@app.command()
def sign(
    station: Annotated[str, typer.Argument(help="Whom it is for, as in topics: agency/site/station.")],
    command: Annotated[str, typer.Argument(help="report, prioritise, hold, resume or reload-hotlist.")],
    capture: Annotated[str | None, typer.Argument(help="Id of the capture, for prioritise, hold and resume.")] = None,
    *,
    key: KeyFile,
    why: Annotated[str, typer.Option("--why", help="The reason; it stands in the custody log.")],
    priority: Annotated[str | None, typer.Option(help="For prioritise: first, use-of-force, flagged, ...")] = None,
    hours: Annotated[float, typer.Option(min=0.02, max=24, help="How long the command holds from now on.")] = 1.0,
) -> None:
    """Sign a command and print the payload to publish; nothing is sent."""
    import uuid  # noqa: PLC0415

    from pydantic import ValidationError  # noqa: PLC0415 - takes its time

    from agent.broker.messages import CommandGiven, Order, topic  # noqa: PLC0415
    from agent.broker.orders import signed  # noqa: PLC0415
    from agent.config import problems_of  # noqa: PLC0415

    now = datetime.now(UTC)
    told = {
        "id": str(uuid.uuid4()),
        "station": station,
        "command": command,
        "capture": capture,
        "priority": priority or ("first" if command == "prioritise" else None),
        "why": why,
        "not_before": _written(now),
        "not_after": _written(now + timedelta(hours=hours)),
    }
    try:
        order = Order.model_validate(told)
    except ValidationError as error:
        wrong = "; ".join(f"{problem.path}: {problem.message}" for problem in problems_of(error, Order))
        raise Refusal(f"no station would take this command: {wrong}", hint="Nothing was signed.") from error
    payload = CommandGiven(note=signed(order, _signer(key)))
    line(payload.encoded().decode())
    typer.echo(
        f"Publish that with QoS 1, without retain, and with a Message Expiry Interval, to {topic(station, 'cmd')}:\n"
        f"  ... | mosquitto_pub -V 5 -q 1 -s -D publish message-expiry-interval {int(hours * 3600)}"
        f" -t {topic(station, 'cmd')}\n"
        f"The answer comes to {topic(station, 'resp')} with the id {order.id}.",
        err=True,
    )


@app.command()
def describe(
    *, schema: Annotated[str | None, typer.Option(help="Only the JSON Schema of one message: capture/1.")] = None
) -> None:
    """Print the AsyncAPI document of all messages, or the JSON Schema of one."""
    from agent.broker.asyncapi import document, schemas  # noqa: PLC0415 - pydantic takes its time

    if schema is None:
        print_json(document())
        return
    known = schemas()
    if schema not in known:
        raise Refusal(f"{schema!r} is no message; there are: {', '.join(known)}", hint="Nothing was printed.")
    print_json(known[schema])


def _signer(path: Path) -> "Signer":
    from agent.anchor.keys import load_key  # noqa: PLC0415 - cryptography takes its time

    try:
        name = path.read_text("utf-8").strip().removeprefix("PRIVATE+KEY+").partition("+")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), "the private key cannot be read")]) from error
    return load_key(path, name)


def _written(moment: datetime) -> str:
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
