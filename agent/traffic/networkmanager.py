"""NetworkManager, asked over D-Bus which link the machine is on; told again whenever anything of that changes.

Properties and numbers: NetworkManager's D-Bus reference (org.freedesktop.NetworkManager, nm-dbus-types).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from jeepney import DBusAddress, DBusErrorResponse, HeaderFields, MatchRule, MessageType, Properties, message_bus
from jeepney.io.asyncio import DBusRouter, Proxy, open_dbus_router
from jeepney.io.common import RouterClosed
from jeepney.wrappers import unwrap_msg

from agent.traffic.links import LinkClass

if TYPE_CHECKING:
    from collections.abc import Callable, Container

__all__ = ["SILENT", "link_now", "watch"]

SILENT: Final = (DBusErrorResponse, RouterClosed, OSError, EOFError, ValueError, KeyError)
"""What it means that NetworkManager, or the bus, does not answer. `OSError` covers a time-out."""

_NAME: Final = "org.freedesktop.NetworkManager"
_ROOT: Final = "/org/freedesktop/NetworkManager"
_NONE: Final = "/"
_ANSWER: Final = 10.0
_ASK_AGAIN: Final = 60.0
"""Seconds after which it is asked without a signal: a bus that went away says nothing."""
_SETTLE: Final = 0.2
"""Seconds in which the many signals of one change are taken for one."""

_METERED: Final = frozenset({1, 3})  # NM_METERED_YES, NM_METERED_GUESS_YES
_PORTAL: Final = 2  # NM_CONNECTIVITY_PORTAL
_WIFI, _BLUETOOTH, _MODEM, _WIMAX = 2, 5, 8, 7  # NM_DEVICE_TYPE_*
_RADIO: Final = frozenset({_BLUETOOTH, _MODEM, _WIMAX})
_TUNNELS: Final = frozenset({16, 17, 29})  # TUN, IP_TUNNEL, WIREGUARD: what is below them nobody tells
_LOOPBACK: Final = 32  # since 1.42 among the active connections, also where there is no other
_RANK: Final = (
    LinkClass.WIRED,
    LinkClass.STATION_WIFI,
    LinkClass.OTHER_WIFI,
    LinkClass.METERED,
    LinkClass.LTE,
    LinkClass.UNKNOWN,
)
"""Which of several counts where none of them leads to everywhere."""


async def watch(tell: Callable[[LinkClass, bool], None], *, station_wifi: Container[str], bus: str = "SYSTEM") -> None:
    """Tell the link, and whether a login page stands before it, whenever it changes. Ends by raising `SILENT`."""
    changed: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    rule = MatchRule(type="signal", sender=_NAME, path_namespace=_ROOT)
    async with open_dbus_router(bus) as router:
        await Proxy(message_bus, router).AddMatch(rule)
        # The bus gives the sender's unique name, which a rule with the well-known one would not match here.
        told = MatchRule(type="signal", path_namespace=_ROOT)
        with router.filter(told, queue=changed):
            while True:
                async with asyncio.timeout(_ANSWER):
                    link, portal = await link_now(router, station_wifi=station_wifi)
                tell(link, portal)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ASK_AGAIN):
                        await changed.get()
                await asyncio.sleep(_SETTLE)
                while not changed.empty():
                    changed.get_nowait()


async def link_now(router: DBusRouter, *, station_wifi: Container[str]) -> tuple[LinkClass, bool]:
    """The link of the primary connection, and whether a login page stands before it. Raises `SILENT`."""
    manager = await _all(router, _ROOT, _NAME)
    portal = manager.get("Connectivity") == _PORTAL
    primary = manager.get("PrimaryConnection", _NONE)
    if primary != _NONE:
        return await _of_connection(router, primary, station_wifi) or LinkClass.UNKNOWN, portal
    # No default route, as in a station's own network without a gateway: the best of what is there.
    active = manager.get("ActiveConnections", [])
    found = [await _of_connection(router, path, station_wifi) for path in active]
    outward = [one for one in found if one is not None]
    return min(outward, key=_RANK.index, default=LinkClass.OFFLINE), portal


async def _of_connection(router: DBusRouter, path: str, station_wifi: Container[str]) -> LinkClass | None:
    """What it is worth; None for one that never leaves the machine."""
    connection = await _all(router, path, f"{_NAME}.Connection.Active")
    found = [await _of_device(router, device, station_wifi) for device in connection.get("Devices", [])]
    if found and not any(found):
        return None
    # A tunnel over several devices is worth what the dearest of them is.
    return max((one for one in found if one is not None), key=_RANK.index, default=LinkClass.UNKNOWN)


async def _of_device(router: DBusRouter, path: str, station_wifi: Container[str]) -> LinkClass | None:
    device = await _all(router, path, f"{_NAME}.Device")
    kind = device.get("DeviceType", 0)
    if kind == _LOOPBACK:
        return None
    if kind in _RADIO:
        return LinkClass.LTE  # paid by the byte, whatever NetworkManager guesses
    if device.get("Metered") in _METERED:
        return LinkClass.METERED
    if kind != _WIFI:
        return LinkClass.WIRED if kind and kind not in _TUNNELS else LinkClass.UNKNOWN
    wireless = await _all(router, path, f"{_NAME}.Device.Wireless")
    point = wireless.get("ActiveAccessPoint", _NONE)
    if point == _NONE:
        return LinkClass.OTHER_WIFI
    ssid = bytes((await _all(router, point, f"{_NAME}.AccessPoint")).get("Ssid", b""))
    return LinkClass.STATION_WIFI if ssid.decode("utf-8", "replace") in station_wifi else LinkClass.OTHER_WIFI


async def _all(router: DBusRouter, path: str, interface: str) -> dict[str, Any]:
    message = Properties(DBusAddress(path, bus_name=_NAME, interface=interface)).get_all()
    reply = await router.send_and_get_reply(message)
    if reply.header.message_type is MessageType.error and _gone(reply.header.fields.get(HeaderFields.error_name, "")):
        return {}  # it went away while we asked
    (properties,) = unwrap_msg(reply)
    return {name: value for name, (_, value) in properties.items()}


def _gone(error: str) -> bool:
    return error.endswith((".UnknownObject", ".UnknownMethod"))
