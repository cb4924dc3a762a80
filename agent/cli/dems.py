"""`evidock dems`: the emulated DEMS by itself, for whoever tries out an agent or writes an uplink."""

import asyncio
from pathlib import Path
from typing import Annotated

import apsw
import typer
from pydantic import ValidationError

from agent.config import problems_of
from agent.errors import ConfigError, Refusal, in_words
from agent.mqtt import BrokerOptions
from agent.testing.dems import DemsOptions, serve

app = typer.Typer(add_completion=False, no_args_is_help=True, help="An emulated DEMS, for trying things out.")


@app.callback()
def _group() -> None:
    """Keep `serve` a command of its own, although it is the only one."""


@app.command("serve")
def serve_(  # noqa: PLR0913 - each is an option of the command
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where it keeps files, receipts key and certificates.")
    ],
    *,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 0,
    tls: Annotated[bool, typer.Option(help="HTTPS, with a certificate made for the folder.")] = True,
    receipts: Annotated[bool, typer.Option(help="Sign receipts.")] = True,
    checksums: Annotated[bool, typer.Option(help="Verify the checksum of each part.")] = True,
    faults: Annotated[bool, typer.Option("--faults", help="Let anybody who reaches the port inject faults.")] = False,
    broker: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="MQTT broker where it listens, and sends receipts.")
    ] = None,
    broker_ca: Annotated[Path | None, typer.Option(help="Authorities of the broker; without it, no TLS.")] = None,
    broker_cert: Annotated[Path | None, typer.Option(help="Certificate and key to show there, in one file.")] = None,
) -> None:
    """Serve until interrupted. The first line is JSON: url, ca_file, receipt_vkey, folder, pid."""
    options = DemsOptions(
        folder.absolute(), host=host, port=port, tls=tls, receipts=receipts, checksums=checksums, faults=faults
    )
    at = None if broker is None else _broker(broker, broker_ca, broker_cert)
    try:
        asyncio.run(serve(options, broker=at))
    except (OSError, apsw.Error) as error:
        raise Refusal(f"it cannot serve: {in_words(error)}", hint="Name another --host, --port or folder.") from error


def _broker(place: str, authorities: Path | None, certificate: Path | None) -> BrokerOptions:
    host, _, port = place.rpartition(":")
    told = {"host": host, "port": port, "tls": authorities is not None}
    files = {"ca_file": authorities, "client_cert": certificate} if authorities is not None else {}
    try:
        return BrokerOptions.model_validate(told | files)
    except ValidationError as error:
        hint = "Nothing was started. Write it like --broker broker.example.org:8883."
        raise ConfigError(problems_of(error, BrokerOptions, "broker."), hint=hint) from error
