"""Between our values and the properties of MQTT 5 packets (section 2.2.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.mqtt.messages import Message

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

    from agent.mqtt.messages import Outgoing, Will
    from agent.mqtt.options import BrokerOptions

__all__ = ["connect_properties", "publish_properties", "read", "will_properties"]


def read(message: MQTTMessage) -> Message:
    """A message as it came. Raises `UnicodeDecodeError` where its topic is no text."""
    given = getattr(message, "properties", None)
    return Message(
        topic=message.topic,
        payload=bytes(message.payload),
        qos=message.qos,
        retained=bool(message.retain),
        expiry=getattr(given, "MessageExpiryInterval", None),
        content_type=getattr(given, "ContentType", None),
        response_topic=getattr(given, "ResponseTopic", None),
        correlation=getattr(given, "CorrelationData", None),
        user=tuple(getattr(given, "UserProperty", ())),
        packet=message.mid,
    )


def connect_properties(options: BrokerOptions) -> Properties:
    """What we ask of the broker (section 3.1.2.11)."""
    made = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    made.SessionExpiryInterval = int(options.session_expiry.total_seconds())
    made.ReceiveMaximum = options.in_hand
    made.MaximumPacketSize = options.max_packet
    return made


def publish_properties(message: Outgoing, made: Properties | None = None) -> Properties:
    """What is said of a message (section 3.3.2.3), added to `made` where that is given."""
    made = made or Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.expiry is not None:
        made.MessageExpiryInterval = message.expiry
    if message.content_type is not None:
        made.ContentType = message.content_type
    if message.response_topic is not None:
        made.ResponseTopic = message.response_topic
    if message.correlation is not None:
        made.CorrelationData = message.correlation
    if message.user:
        made.UserProperty = list(message.user)
    return made


def will_properties(will: Will) -> Properties:
    """Those of a will (section 3.1.3.2)."""
    made = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    made.WillDelayInterval = will.delay
    return publish_properties(will.message, made)
