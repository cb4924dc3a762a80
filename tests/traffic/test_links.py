"""Which link NetworkManager's words mean, where they are not the usual ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.traffic import LinkClass, networkmanager

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "/org/freedesktop/NetworkManager"
LOOPBACK, TUN, WIREGUARD, VLAN, MODEM = 32, 16, 29, 11, 8  # nm-dbus-types: NM_DEVICE_TYPE_*


async def link(monkeypatch: pytest.MonkeyPatch, kinds: Mapping[str, list[int]], primary: str = "/") -> LinkClass:
    """Of a machine with these active connections, each over devices of these kinds."""
    objects: dict[str, dict[str, Any]] = {ROOT: {"PrimaryConnection": primary, "ActiveConnections": list(kinds)}}
    for name, devices in kinds.items():
        objects[name] = {"Devices": [f"{name}/{number}" for number in range(len(devices))]}
        objects |= {f"{name}/{number}": {"DeviceType": kind} for number, kind in enumerate(devices)}

    async def told(_: object, path: str, __: str) -> dict[str, Any]:
        return objects.get(path, {})

    monkeypatch.setattr(networkmanager, "_all", told)
    found, _ = await networkmanager.link_now(None, station_wifi=())  # type: ignore[arg-type]
    return found


async def test_a_machine_with_nothing_but_itself_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since 1.42 NetworkManager names the loopback device as a connection of its own."""
    assert await link(monkeypatch, {}) is LinkClass.OFFLINE
    assert await link(monkeypatch, {"/lo": [LOOPBACK]}) is LinkClass.OFFLINE
    assert await link(monkeypatch, {"/lo": [LOOPBACK], "/gsm": [MODEM]}) is LinkClass.LTE
    assert await link(monkeypatch, {"/gone": []}) is LinkClass.UNKNOWN


@pytest.mark.parametrize("kind", [TUN, WIREGUARD])
async def test_a_tunnel_is_no_ethernet(monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    assert await link(monkeypatch, {"/vpn": [kind], "/lo": [LOOPBACK]}, "/vpn") is LinkClass.UNKNOWN
    assert await link(monkeypatch, {"/vpn": [kind], "/gsm": [MODEM]}) is LinkClass.LTE
    assert await link(monkeypatch, {"/vlan": [VLAN]}, "/vlan") is LinkClass.WIRED
