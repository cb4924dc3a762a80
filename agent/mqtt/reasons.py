"""What a broker's reason codes mean for us (MQTT 5, section 2.4): for whom, for how long, and what a person does."""

from __future__ import annotations

from typing import Final

from agent.errors import UplinkDown, UplinkRefused

__all__ = ["IDENTITY", "TAKEN_OVER", "BrokerDown", "BrokerRefused", "refusal"]

_MEANINGS: Final = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "refused by its own rules",
    0x84: "it does not speak MQTT 5",
    0x85: "the client id is not permitted",
    0x86: "wrong user or password",
    0x87: "not authorised",
    0x88: "it is unavailable",
    0x89: "it is busy",
    0x8A: "we are banned",
    0x8B: "it is shutting down",
    0x8C: "this way of authentication is not permitted",
    0x8D: "we were silent for too long",
    0x8E: "another client with our client id took over",
    0x8F: "the topic filter is not valid",
    0x90: "the topic is not permitted",
    0x91: "a packet number was used twice",
    0x93: "too many messages at once",
    0x95: "the packet is too large",
    0x96: "messages come too fast",
    0x97: "its quota is used up",
    0x98: "by its administrator",
    0x99: "the payload has not the format that was said",
    0x9A: "it keeps no messages",
    0x9B: "it does not offer this quality of service",
    0x9C: "it asks us to use another server",
    0x9D: "it has moved",
    0x9E: "it offers no shared subscriptions",
    0x9F: "connections come too fast",
    0xA2: "it offers no wildcards",
}

IDENTITY: Final = frozenset({0x85, 0x86, 0x87, 0x8C})
"""Who we are is not believed: a person must look, and asking often does not help."""
TAKEN_OVER: Final = 0x8E
_BANNED: Final = 0x8A

_WAITS: Final = {
    0x89: 60.0,
    0x96: 60.0,
    0x97: 60.0,
    0x9F: 60.0,
    TAKEN_OVER: 120.0,
    _BANNED: 300.0,
    0x9C: 300.0,
    0x9D: 300.0,
}
"""Seconds that we stay away at least."""
_LATER: Final = frozenset({0x80, 0x83, 0x88, 0x89, 0x8B, 0x8D, TAKEN_OVER, 0x93, 0x96, 0x97, 0x98, 0x9F})
"""The same may succeed later without a person."""

_HINTS: Final = {
    TAKEN_OVER: "Two clients use one client id: is this station's configuration on another machine too?",
    0x84: "The broker must speak MQTT 5.",
    0x9A: "A station's birth and death are kept by the broker: let it permit that (mosquitto: `retain_available`).",
    0x9B: "Nearly all that a station says is acknowledged: the broker must offer QoS 1 (mosquitto: `max_qos`).",
    0x9C: "Ask the broker's administrator for the new address, and write it into `host`.",
    0x9D: "Ask the broker's administrator for the new address, and write it into `host`.",
}


class BrokerDown(UplinkDown):
    """The broker, or the way to it, does not answer, or asks us to come back later."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        alone: bool = False,
        reason: int | None = None,
        ours: bool = False,
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after, alone=alone)
        self.reason = reason
        """The broker's reason code, where it gave one."""
        self.ours = ours
        """Our side of the network failed: others do not come back at the same moment."""


class BrokerRefused(UplinkRefused):
    """The broker said no to one message or one subscription."""

    def __init__(self, message: str, *, hint: str | None = None, reason: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        """The broker's reason code."""


def refusal(code: int, what: str, *, ended: bool = False) -> BrokerDown | BrokerRefused:
    """The error for a code of 0x80 or more. `ended`: the connection is no more."""
    said = f"{what}: {_MEANINGS.get(code, 'reason')} (0x{code:02X})"
    if code in IDENTITY:
        hint = "The broker's administrator must permit this: look at its accounts and access rules (ACL)."
    else:
        hint = _HINTS.get(code, "Ask the broker's administrator. Nothing is lost meanwhile.")
    wait = 300.0 if ended and code in IDENTITY else _WAITS.get(code)
    if ended or code in _LATER:
        return BrokerDown(said, retry_after=wait, alone=not ended, hint=hint, reason=code)
    return BrokerRefused(said, hint=hint, reason=code)
