"""`evidock check` at the broker: name, TLS, login, and a message that must come back; in plain words what does not."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agent.broker.hearing import Hearing
from agent.broker.messages import CONTENT_TYPE, EchoTold, prefix, topic
from agent.errors import ConfigError, UplinkDown, UplinkError, UplinkRefused
from agent.mqtt import Connection, Outgoing, Subscription, Will
from agent.uplink import Finding

if TYPE_CHECKING:
    from agent.config import Config
    from agent.mqtt import StationOptions

__all__ = ["findings", "usable"]

_BACK_WITHIN: Final = 10.0


def usable(config: Config) -> None:
    """Raise `ConfigError` where the table `[mqtt]` cannot be used."""
    options = config.mqtt
    if options is None:
        return
    prefix(config, options)
    options.context()
    options.login()
    Hearing.verifiers(options)


async def findings(config: Config) -> list[Finding]:
    """One line for each step that was tried. A client id of its own: the daemon's connection is not disturbed."""
    options = config.mqtt
    if options is None:
        return []
    try:
        usable(config)
        return await _tried(config, options)
    except ConfigError as error:
        return [_problem(f"mqtt.{one.path}", one.message, error.what_to_do) for one in error.problems]


async def _tried(config: Config, options: StationOptions) -> list[Finding]:
    mine = options.model_copy(update={"session_expiry": timedelta(0)})
    name = f"{options.client_id or f'evidock-{config.station.name}'}-check"
    place = topic(prefix(config, options), EchoTold.kind)
    # The daemon has a will that is kept, and a broker may not let in who has one; nobody misses this one.
    last = EchoTold(id="gone")
    will = Will(Outgoing(place, last.encoded(), retain=True, expiry=last.expiry, content_type=CONTENT_TYPE))
    try:
        async with Connection(mine, client_id=name, will=will) as connection:
            how = "TLS, " if options.tls else "no TLS, "
            who = "our certificate" if options.client_cert else "a password" if options.login_file else "no name"
            found = [Finding(what=options.at, state="ok", detail=f"it lets us in: MQTT 5, {how}{who}")]
            return [*found, await _round_trip(connection, place)]
    except UplinkError as error:
        return [_problem(options.at, str(error), error.what_to_do)]


async def _round_trip(connection: Connection, place: str) -> Finding:
    """What was published must come back: a broker may take both and deliver nothing."""
    sent = EchoTold(id=os.urandom(8).hex())
    rules = f"Let this station write and read {place} in the broker's rules (ACL): see docs/mqtt.md."
    try:
        await connection.subscribe(Subscription(place, own=True, retained=False))
        await connection.publish(Outgoing(place, sent.encoded(), expiry=sent.expiry, content_type=CONTENT_TYPE))
    except UplinkRefused as error:
        return Finding(what="round trip", state="warning", detail=str(error), todo=rules)
    try:
        async with asyncio.timeout(_BACK_WITHIN):
            async for message in connection:
                connection.acknowledge(message)
                if message.topic == place and message.payload == sent.encoded():
                    return Finding(what="round trip", state="ok", detail="a message went to the broker and came back")
    except TimeoutError:
        told = f"the broker took a message and gave nothing back in {_BACK_WITHIN:.0f} s: its rules do not let us read"
        return Finding(what="round trip", state="warning", detail=told, todo=rules)
    raise UplinkDown("the connection was lost while we waited for our own message")


def _problem(what: str, detail: str, todo: str) -> Finding:
    return Finding(what=what, state="problem", detail=detail, todo=todo)
