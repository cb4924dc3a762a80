"""`evidock mqtt`: keys and commands of operators, for administrators, and the description of all messages."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.keyfile import key_made, key_read
from agent.cli.telling import line, print_json
from agent.errors import Refusal

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Messages to and from the agency's broker: operators' keys and commands, and what is said.",
)

_SIGNED = "Nothing was signed. How it is written: evidock mqtt sign --help."

KeyFile = Annotated[Path, typer.Option("--key", help="File of the operator's private key.")]


@app.command()
def key(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who signs, such as alice.example.org; it stands in the custody log.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key is written; it must not be there yet.")
    ],
) -> None:
    """Make an operator's key; print the public half, for `mqtt.operator_keys` in agent.toml."""
    made = key_made(file, name)
    line(f"{file} holds the private key. What the stations know stands under [mqtt] in their agent.toml:")
    line(f'operator_keys = ["{made.vkey}"]')
    line("Keep the private key where no station can read it: whoever has it commands them all.")


@app.command()
def sign(
    station: Annotated[
        str, typer.Argument(metavar="STATION", help="Whom it is for, as in topics: agency/site/station.")
    ],
    command: Annotated[
        str, typer.Argument(metavar="COMMAND", help="report, prioritise, hold, resume or reload-hotlist.")
    ],
    capture: Annotated[
        str | None, typer.Argument(metavar="CAPTURE", help="Id of the capture, for prioritise, hold and resume.")
    ] = None,
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

    signer = key_read(key, make="evidock mqtt key NAME FILE")
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
        wrong = "; ".join(f"{problem.path} {problem.message}" for problem in problems_of(error, Order))
        raise Refusal(f"no station would take this command: {wrong}", hint=_SIGNED) from error
    try:
        payload = CommandGiven(note=signed(order, signer))
    except Refusal as error:
        raise Refusal(str(error), hint=_SIGNED) from error
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


def _written(moment: datetime) -> str:
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
