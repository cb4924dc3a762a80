"""MQTT 5 for all who speak it: drivers whose devices report to a broker, and the station's own announcements.

A driver listens like this; it is called for one message at a time, and reconnecting is not its business:

    class Options(DriverOptions):
        broker: BrokerOptions                       # [driver.broker] host = "10.0.0.5", ca_file = ...

    class Camera:
        def __init__(self, options: Options) -> None:
            topics = [Subscription("onvif-ej/+/VideoSource/#")]
            self._session = Session(options.broker, name=options.name, topics=topics)

        async def run(self, intake: Intake) -> None:
            await self._session.listen(lambda message: self._one(intake, message))

        async def _one(self, intake: Intake, message: Message) -> None:
            await intake.take(offer_of(message))    # returns when it is held; only then is the broker told

A message of QoS 1 is acknowledged when the handler returns, and not before: what was not held when the power failed,
the broker sends again. A handler that raises an error of which `again` is true (`SpoolFull`) leaves it with the broker,
and the session comes back after a pause; any other `AgentError` is logged, and the message is done with. `trouble` and
`todo` say in a sentence each why there is no connection (for `RaisesNotices` and `ReportsHealth`).

In tests, `agent.testing.broker.Mosquitto` (and the fixture `mosquitto`) is a real broker.

`door` is the only file that imports aiomqtt, and is imported by whoever first asks for a session or a connection: on
most stations nobody does, and their options are models of this package all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.mqtt.messages import Message, Outgoing, Subscription, Will, fits
from agent.mqtt.options import BrokerOptions, StationOptions

if TYPE_CHECKING:
    from agent.mqtt.door import Connection
    from agent.mqtt.session import Session

__all__ = [
    "BrokerOptions",
    "Connection",
    "Message",
    "Outgoing",
    "Session",
    "StationOptions",
    "Subscription",
    "Will",
    "fits",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class, or an error
    if name == "Connection":
        from agent.mqtt.door import Connection  # noqa: PLC0415 - see above

        return Connection
    if name == "Session":
        from agent.mqtt.session import Session  # noqa: PLC0415 - see above

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
