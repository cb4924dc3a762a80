"""The one place that talks MQTT: one connection, whose acknowledgements mean what they say. Alone in importing aiomqtt.

What the library leaves open is closed here: it hides the reason code of a PUBACK, acknowledges what nobody looked at
yet, queues without bound, reads a packet of any size, and looks at its clock every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.mqtt.packets import connect_properties, publish_properties, read, will_properties
from agent.mqtt.reading import Reading
from agent.mqtt.reasons import BrokerDown, BrokerRefused, refusal
from agent.mqtt.trouble import OUR_SIDE, hint, told

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from types import TracebackType

    from paho.mqtt.client import Client as Paho
    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from agent.mqtt.messages import Message, Outgoing, Subscription, Will
    from agent.mqtt.options import BrokerOptions

__all__ = ["ANSWER", "IN_FLIGHT", "Connection"]

IN_FLIGHT: Final = 20
"""Most publishes that wait for their PUBACK at once; a broker may ask for fewer (Receive Maximum)."""

ANSWER: Final = 20.0
"""Seconds in which a broker must answer a publish or a subscription."""

REFUSED: Final = 0x80
"""From this reason code on it is a refusal (section 2.4). The code itself is also what the library calls any loss."""

NOBODY: Final = 0x10
"""PUBACK: no matching subscribers (MQTT 5, section 3.4.2.1)."""

_OVERFLOW: Final = 1000
"""Messages of QoS 0 that wait at most; what comes beyond is counted and dropped, which QoS 0 permits."""


class Connection:
    """One connection to one broker. `UplinkDown` and `UplinkRefused` say why it ended or did not come about."""

    def __init__(
        self, options: BrokerOptions, *, client_id: str, will: Will | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        """`context`: of `options`, made once for many connections. Raises `ConfigError` where a file cannot be used."""
        self._options, self._client_id, self._will = options, client_id, will
        self._context = context if context is not None else options.context()
        self._client: _Client | None = None
        self._places = asyncio.Semaphore(IN_FLIGHT)
        self._unacknowledged: dict[int, bool] = {}
        """Numbers of the packets of QoS 1 in hand, in the order in which they came, and whether each is done with."""
        self.session_present = False
        """The broker remembered us: subscriptions stand, and what came meanwhile follows."""

    async def __aenter__(self) -> Self:
        client = self._client = _Client(self._options, self._client_id, self._will, self._context)
        entering = asyncio.ensure_future(client.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The library connects in a thread: a connection that still comes about must not live on without us.
            await _left(client, entering)
            raise
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            client.cut()
            raise self._explained(error, "cannot be reached") from error
        self.session_present = client.session_present
        self._places = asyncio.Semaphore(min(IN_FLIGHT, client.receive_maximum))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye, where the broker still listens: a will is then not published."""
        if self._client is None:
            return
        try:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                await self._client.__aexit__(None, None, None)
        finally:
            self._client.cut()

    def cut(self) -> None:
        """Go without a word: the broker publishes our will."""
        if self._client is not None:
            self._client.cut()

    async def subscribe(self, *wanted: Subscription) -> None:
        """Listen to these. Raises `UplinkRefused` where the broker says no; a silent no is seen only by trying."""
        client = self._opened()
        for one in wanted:
            options = SubscribeOptions(
                one.qos,
                noLocal=not one.own and not one.filter.startswith("$share/"),  # section 3.8.3.1 forbids both at once
                retainAsPublished=True,
                retainHandling=1 if one.retained else 2,
            )
            try:
                (code,) = await client.subscribe(one.filter, options=options, timeout=ANSWER)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                raise self._explained(error, "did not take the subscription") from error
            if (value := _value(code)) >= REFUSED:
                raise refusal(value, f"{self._options.at} refuses that we listen to {one.filter}")

    async def publish(self, message: Outgoing) -> bool:
        """Return once the broker took it: whether anybody listens, as far as the broker tells. It is no receipt.

        Raises `UplinkRefused` where the broker refuses this message, `UplinkDown` where the connection is no more: then
        it may or may not have arrived.
        """
        client = self._opened()
        if len(message.payload) + len(message.topic) + 512 > client.max_packet:
            raise BrokerRefused(f"{self._options.at} takes no message of {len(message.payload)} bytes")
        async with self._places:
            try:
                code = await client.publish_seen(message)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                # A publish that timed out may still be sent by the library: this connection cannot be trusted any more.
                client.cut()
                raise self._explained(error, "was lost while a message was published") from error
        if code >= REFUSED:
            raise refusal(code, f"{self._options.at} refuses a message to {message.topic}")
        return code != NOBODY

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Messages as they come. Raises `UplinkDown` when the connection is lost."""
        while True:
            yield await self.receive()

    async def receive(self) -> Message:
        """Wait for the next message. Raises `UplinkDown` when the connection is lost."""
        client = self._opened()
        message = await client.received()
        if message is None:
            raise self._explained(client.why, "was lost")
        if message.qos:
            self._unacknowledged[message.packet] = False
        return message

    def acknowledge(self, message: Message) -> None:
        """Say that a message is done with. The broker is told in the order in which they came (section 4.6)."""
        if self._client is None or message.packet not in self._unacknowledged:
            return
        self._unacknowledged[message.packet] = True
        while self._unacknowledged and self._unacknowledged[first := next(iter(self._unacknowledged))]:
            del self._unacknowledged[first]
            self._client.acknowledge(first)

    @property
    def dropped(self) -> int:
        """Messages of QoS 0 that were dropped because nobody took them out."""
        return 0 if self._client is None else self._client.dropped

    def _opened(self) -> _Client:
        if self._client is None:
            raise BrokerDown(f"there is no connection to {self._options.at}")
        return self._client

    def _explained(self, error: BaseException | None, what: str) -> BrokerDown | BrokerRefused:
        """The library's error in our words. What its connecting raised it hides behind its own."""
        cause = error
        if isinstance(error, aiomqtt.MqttError) and isinstance(error.__context__, OSError):
            cause = error.__context__
        elif self._client is not None and self._client.tls_failed is not None:
            cause = self._client.tls_failed
        if self._client is not None and self._client.too_much is not None:
            return BrokerDown(f"{self._options.at} {self._client.too_much}", hint="Ask the broker's administrator.")
        if isinstance(cause, aiomqtt.MqttCodeError) and cause.rc is not None:
            value = _value(cause.rc)
            # The library tells its own errors by small numbers, and those of the broker by their codes.
            if self._client is not None and self._client.said is not None:
                return refusal(self._client.said, f"{self._options.at} closed the connection", ended=True)
            if value > REFUSED:
                return refusal(value, f"{self._options.at} refuses the connection", ended=True)
            return BrokerDown(f"the connection to {self._options.at} was closed")
        ours = isinstance(cause, OSError) and cause.errno in OUR_SIDE
        return BrokerDown(f"{self._options.at} {what}: {told(cause)}", hint=hint(cause), ours=ours)


class _Client(aiomqtt.Client):
    """The library's client, with what it hides."""

    def __init__(
        self, options: BrokerOptions, client_id: str, will: Will | None, context: ssl.SSLContext | None
    ) -> None:
        login = options.login()
        super().__init__(
            options.host,
            options.number,
            username=None if login is None else login[0],
            password=None if login is None else login[1],
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            # The library's default wipes, at the first connection of each process, what the broker kept for us.
            clean_start=False,
            keepalive=int(options.keep_alive.total_seconds()),
            timeout=options.connect_timeout.total_seconds(),
            properties=connect_properties(options),
            will=None if will is None else _will(will),
            tls_context=context,
            max_inflight_messages=IN_FLIGHT,
            socket_options=_kernel_watches(options.keep_alive.total_seconds()),
        )
        self.pending_calls_threshold = IN_FLIGHT + 10
        self._paho: Paho = self._client
        self._paho.connect_timeout = options.connect_timeout.total_seconds()
        self._paho.manual_ack_set(on=True)
        self._keep_alive = int(options.keep_alive.total_seconds())
        self._reading = Reading(
            self._paho, options, self._loop, waits=lambda: bool(self._codes), failed=self._reading_failed
        )
        self._disconnected.add_done_callback(self._gone)
        self._codes: dict[int, asyncio.Future[int]] = {}
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self.session_present = False
        self.receive_maximum = IN_FLIGHT
        self.max_packet = 268_435_455
        self.said: int | None = None
        """The reason that the broker gave when it closed the connection, where it gave one."""
        self.why: BaseException | None = None
        self.dropped = 0

    @property
    def tls_failed(self) -> BaseException | None:
        """Why TLS ended, where it did."""
        return self._reading.tls_failed

    @property
    def too_much(self) -> str | None:
        """What the broker does that is more than we take, once it did."""
        return self._reading.too_much

    # -- what comes in ------------------------------------------------------------------------------------------------

    def _on_message(self, client: Paho, userdata: object, message: MQTTMessage) -> None:  # noqa: ARG002 - the library's
        if message.qos == 0 and self._messages.qsize() >= _OVERFLOW:
            self.dropped += 1
            return
        try:
            made = read(message)
        except UnicodeDecodeError:
            raise self._reading.refused("sends a topic that is no text") from None
        if message.qos:
            self._reading.came(made.packet, len(made.payload))
        self._messages.put_nowait(made)

    def _on_socket_open(self, client: Paho, userdata: object, sock: socket.socket) -> None:
        super()._on_socket_open(client, userdata, sock)
        self._loop.call_soon_threadsafe(self._reading.began)

    def _reading_failed(self, error: Exception) -> None:
        if not self._disconnected.done():
            self._disconnected.set_exception(error)

    async def received(self) -> Message | None:
        """The next message; None once the connection is no more."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)  # for whoever asks again
        return message

    def acknowledge(self, packet: int) -> None:
        """Send a PUBACK."""
        if not self._disconnected.done():
            self._paho.ack(packet, 1)
        self._reading.done(packet)

    # -- what goes out ------------------------------------------------------------------------------------------------

    async def publish_seen(self, message: Outgoing) -> int:
        """The reason code of the PUBACK; 0 for QoS 0."""
        info = self._paho.publish(
            message.topic, message.payload, message.qos, message.retain, publish_properties(message)
        )
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "the message was not taken")
        if message.qos == 0:
            return 0
        code = self._codes[info.mid] = self._loop.create_future()
        self._reading.go_on()
        try:
            async with asyncio.timeout(ANSWER):
                taken: int = await code
                return taken
        except TimeoutError:
            raise aiomqtt.MqttError(f"no answer in {ANSWER:.0f} s") from None
        finally:
            self._codes.pop(info.mid, None)

    def _on_publish(
        self, client: Paho, userdata: object, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if (waiting := self._codes.get(mid)) is not None and not waiting.done():
            waiting.set_result(_value(reason_code))
        super()._on_publish(client, userdata, mid, reason_code, properties)

    # -- coming and going ---------------------------------------------------------------------------------------------

    def _on_connect(
        self,
        client: Paho,
        userdata: object,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.session_present = bool(flags.session_present)
        self.receive_maximum = int(getattr(properties, "ReceiveMaximum", IN_FLIGHT))
        self.max_packet = int(getattr(properties, "MaximumPacketSize", self.max_packet))
        # The broker may want signs of life more often than we offered (section 3.2.2.3.14); never less often, for we
        # want to know as well.
        paho = self._paho
        paho._keepalive = min(self._keep_alive, paho.keepalive or self._keep_alive)  # noqa: SLF001 - no public door
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Paho,
        userdata: object,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.said = _value(reason_code)
        if not self._connected.done():  # the library would wait for an answer that cannot come any more
            self._connected.set_exception(aiomqtt.MqttError("it closed the connection without a word"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _gone(self, disconnected: asyncio.Future[None]) -> None:
        """Tell everybody who waits."""
        self.why = disconnected.exception()
        if self.why is not None and not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(str(self.why)))
        self._messages.put_nowait(None)
        for waiting in self._codes.values():
            if not waiting.done():
                waiting.set_exception(self.why or aiomqtt.MqttError("we said goodbye"))

    async def _misc_loop(self) -> None:
        """Ask for a sign of life when it is due; the library's own loop wakes every second to see that it is not."""
        paho = self._paho
        await asyncio.wait({self._connected})  # only then does the broker say how long we may be silent
        while paho.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            silent = min(paho._last_msg_out, paho._last_bytes_received)  # noqa: SLF001 - the library's own clock
            await asyncio.sleep(max(1.0, silent + paho.keepalive - monotonic()))

    def cut(self) -> None:
        """Close the socket, whatever the library thinks of its state."""
        self._paho._sock_close()  # noqa: SLF001 - its own end leaves the socket open where the broker went first
        if self._connected.done() and not self._connected.exception() and not self._disconnected.done():
            self._disconnected.set_result(None)


async def _left(client: _Client, entering: asyncio.Future[Any]) -> None:
    """Wait for a connection that nobody wants any more, which is bounded by `connect_timeout`, and close it."""
    with contextlib.suppress(aiomqtt.MqttError, OSError, ValueError):
        await entering
    client.cut()


def _will(will: Will) -> aiomqtt.Will:
    said = will.message
    return aiomqtt.Will(said.topic, said.payload, said.qos, said.retain, will_properties(will))


def _kernel_watches(keep_alive: float) -> list[tuple[int, int, int]]:
    """Let the kernel notice that what we sent is acknowledged by nobody: without it, a dead link looks well."""
    return [
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(keep_alive * 1000)),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]


def _value(code: int | ReasonCode) -> int:
    value: int = code if isinstance(code, int) else code.value
    return value
