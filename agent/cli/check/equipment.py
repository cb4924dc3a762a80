"""What agent.toml connects: each driver with its devices and their firmware, each destination from name to receipt."""

from typing import TYPE_CHECKING, Any

from agent.cli.asking import daemon_of
from agent.cli.check.lines import Line, Lines, ok, warning
from agent.driver.screening import unscreened
from agent.errors import AgentError, UnknownFirmware
from agent.ingest.screening import unwanted

if TYPE_CHECKING:
    from agent.config import Config
    from agent.registry import Equipment

__all__ = ["destinations", "devices"]


def _told(config: "Config") -> dict[str, Any] | None:
    """What the daemon says; None where none runs, or it may not be asked, which was told already."""
    try:
        daemon = daemon_of(config)
        return None if daemon is None else daemon.status()
    except AgentError:
        return None


def devices(config: "Config", equipment: "Equipment") -> Lines:
    """Each driver with what is docked there now, and what is known of the firmware of each device."""
    told = _told(config)
    health = {} if told is None else {one["name"]: one["health"] for one in told["drivers"]}
    docked = [] if told is None else [one for one in told["devices"] if one["present"]]
    for loaded in equipment.drivers:
        name = loaded.options.name
        here = [one for one in docked if one["driver"] == name]
        said = [f"{place}: {word}" for place, word in health.get(name, {}).items()]
        count = "no device" if not here else "1 device" if len(here) == 1 else f"{len(here)} devices"
        words = "loaded; what is docked is known while the daemon runs" if told is None else "; ".join((count, *said))
        yield ok("driver", f"{name} ({loaded.options.use})", words)
    if told is None:  # else its own notice says so
        for family in unscreened(one.driver for one in equipment.drivers):
            yield warning("driver", f"family {family}", *unwanted(family))
    yield from _bays(config)
    for one in docked:
        yield _firmware(one)
    if not docked:
        words = "is told of docked devices while the daemon runs" if told is None else "no device is docked"
        yield ok("firmware", "firmware", words)


def _bays(config: "Config") -> Lines:
    """Bays that want somebody, in the words of the dock's screen."""
    try:
        daemon = daemon_of(config)
        found = [] if daemon is None else daemon.bays()["bays"]
    except AgentError:
        return  # it was told already that the daemon may not be asked
    for one in found:
        if one["state"] == "help":
            yield warning("driver", one["name"], one["detail"] or one["reason"], one["todo"] or AgentError.hint)


def _firmware(one: dict[str, Any]) -> Line:
    name = " ".join(filter(None, (one["maker"], one["model"]))) or "unknown make"
    place = one["place"] or one["driver"]
    if one["spec"] is None:
        detail = f"{name} at {place}: no device spec describes it, nothing is known of its firmware"
        return warning("firmware", one["id"], detail, UnknownFirmware.hint)
    told = "does not tell its firmware" if one["firmware"] is None else f"firmware {one['firmware']}"
    return ok("firmware", one["id"], f"{name} at {place}, by the spec {one['spec']}: {told}")


async def destinations(config: "Config", equipment: "Equipment") -> list[Line]:
    """Try each destination: name, proxy, TLS, round trip, abilities; a broker in the same way."""
    found: list[Line] = []
    if not config.uplink:
        found.append(warning("uplink", "uplink", "no destination is configured", "Add an [[uplink]] table."))
    for loaded in equipment.uplinks:
        try:
            lines = await loaded.uplink.check()
        finally:
            await loaded.uplink.aclose()
        name = loaded.options.name
        found.extend(("uplink", one.model_copy(update={"what": f"{name}: {one.what}"})) for one in lines)
    return found
