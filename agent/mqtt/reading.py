"""How much is read from a broker before what came is done with: bounded, whatever the broker does.

We say how many messages may come before the first is acknowledged (Receive Maximum). mosquitto 2.0.11 sends as many
again for each one that is acknowledged while more wait. To call that an error would mean to come back, after a pause,
for the few that were done with, each time anew; so what is too much stays in the socket until there is room for it.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from paho.mqtt.enums import MQTTErrorCode

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from paho.mqtt.client import Client as Paho

    from agent.mqtt.options import BrokerOptions

__all__ = ["Reading"]

_EACH: Final = 1024
"""Bytes that a message costs beside its payload."""
_ROOM: Final = 1 << 20
"""Bytes of messages in hand that are never too many."""


class Reading:
    """Reads packets for one connection of the library, none that is too large, and none while too much is in hand."""

    def __init__(
        self,
        paho: Paho,
        options: BrokerOptions,
        loop: asyncio.AbstractEventLoop,
        *,
        waits: Callable[[], bool],
        failed: Callable[[Exception], None],
    ) -> None:
        """`waits`: whether the broker owes us an answer, which comes behind what it sent before. `failed`: told why."""
        self._paho, self._loop, self._waits, self._failed = paho, loop, waits, failed
        self._largest, self._in_hand = options.max_packet, options.in_hand
        self._room = max(_ROOM, (self._in_hand + 2) * (self._largest + _EACH))
        self._weights: dict[int, int] = {}
        """Of the messages in hand, by the number of the packet."""
        self._weight = 0
        self._paused = False
        self.too_much: str | None = None
        """What the broker does that is more than we take, once it did."""
        self.tls_failed: ssl.SSLError | None = None
        """Why TLS ended, where it did: who does not believe our certificate says so after the handshake."""
        self._bounded()

    def refused(self, what: str) -> ConnectionError:
        """The error that ends this connection."""
        self.too_much = what
        return ConnectionError(what)

    def began(self) -> None:
        """There is a socket. The library's own reading would go on, of TLS, for as long as more comes."""
        if (socket := self._paho.socket()) is not None:
            self._loop.add_reader(socket.fileno(), self._readable)

    def came(self, packet: int, length: int) -> None:
        """A message is in hand. Raises `ConnectionError` where even those that came before an answer are too many."""
        weight = length + _EACH
        self._weights[packet] = self._weights.get(packet, 0) + weight
        self._weight += weight
        if self._weight > self._room:
            raise self.refused(f"sends far more than {self._in_hand} messages before the first is acknowledged")
        socket = self._paho.socket()
        if len(self._weights) > self._in_hand and not self._waits() and socket is not None:
            self._paused = True
            self._loop.remove_reader(socket.fileno())

    def done(self, packet: int) -> None:
        """A message is acknowledged."""
        self._weight -= self._weights.pop(packet, 0)
        self.go_on()

    def go_on(self) -> None:
        """Read again, where there is room or the broker owes us an answer."""
        socket = self._paho.socket()
        if self._paused and socket is not None and (len(self._weights) <= self._in_hand or self._waits()):
            self._paused = False
            self._loop.add_reader(socket.fileno(), self._readable)
            self._loop.call_soon(self._readable)  # of what TLS has decrypted already the socket tells nothing

    def _readable(self) -> None:
        """Read what is there."""
        try:
            while not self._paused and self._paho.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS:
                socket = self._paho.socket()
                if not isinstance(socket, ssl.SSLSocket) or not socket.pending():
                    return
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing is read any more
            self._failed(error)

    def _bounded(self) -> None:
        """Let no packet be read that is larger than we said we take, and none of QoS 2, which we never asked for."""
        paho, largest = self._paho, self._largest
        read, send = paho._sock_recv, paho._sock_send  # noqa: SLF001 - no public door exists

        def bounded(length: int) -> bytes:
            if length > largest:
                raise self.refused(f"sends a message of {length} bytes, and we said that we take {largest}")
            if paho._in_messages:  # noqa: SLF001 - the same
                raise self.refused("sends what must be acknowledged twice (QoS 2), which nobody asked for")
            try:
                return read(length)
            except ssl.SSLError as error:  # which the library writes into its log
                self.tls_failed = error
                raise

        def sent(buffer: bytes | bytearray) -> int:
            try:
                return send(buffer)
            except ssl.SSLError:  # it has closed the connection, and said why before: that is there to be read
                with suppress(OSError):
                    bounded(1)
                raise

        paho._sock_recv = bounded  # type: ignore[method-assign, assignment]  # noqa: SLF001 - the same
        paho._sock_send = sent  # type: ignore[method-assign, assignment]  # noqa: SLF001 - the same
