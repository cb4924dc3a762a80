"""Who is told of a hit beyond this process: a broker and a desktop, both real; and a broker that announces lists."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from jeepney import HeaderFields, MatchRule, MessageType, message_bus, new_method_return
from jeepney.io.asyncio import Proxy, open_dbus_router

from agent.capture import Standing
from agent.mqtt import Outgoing, Session, Subscription
from drivers.alpr.hotlist import alerts
from drivers.alpr.hotlist.options import AlertOptions
from tests.drivers.hotlist.rig import LISTED, Bench, read_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.mqtt import Connection, Message
    from agent.testing.broker import Mosquitto
    from drivers.alpr.hotlist.hits import Hit


def table(broker: Mosquitto) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": broker.port, "tls": False}


async def test_a_broker_is_told_within_a_second_and_what_waits_for_it_is_bounded(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    heard: list[dict[str, Any]] = []
    came: list[float] = []

    async def listen(message: Message) -> None:
        heard.append(json.loads(message.payload))
        came.append(asyncio.get_running_loop().time())
        assert message.topic == "cars/42/hit"

    listener = Session(mosquitto.options(), name="listener", topics=[Subscription("cars/#")])
    listening = asyncio.create_task(listener.listen(listen))
    alert = {"kind": "mqtt", "broker": table(mosquitto), "topic": "cars/42/hit"}
    bench = Bench(tmp_path / "bench", alert=[alert], quiet="0 s")
    try:
        async with bench.open() as driver:
            way = driver.alerts._ways[0]
            await until(lambda: way._session.up and listener.up)  # type: ignore[attr-defined]
            sent = asyncio.get_running_loop().time()
            assert await bench.station.take(read_of("EVDK042")) is Standing.HELD
            await until(lambda: bool(heard))
            assert heard[0]["listed"] == "EVDK042"
            assert came[0] - sent < 10, "a second on a machine that does nothing else"
            await mosquitto.kill()
            for number in range(40):
                await bench.station.take(read_of("EVDK042", number + 2))
            await until(lambda: any(one.id == "hotlist.alert_failed" for one in driver.notices()))
            await mosquitto.start()
            await bench.station.take(read_of("EVDK701", 99))  # a hit asks for a connection at once
            listener.nudge()
            await until(lambda: not way._line, within=90)
            assert way.missed >= 40 - 32 - 1
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_broker_announces_that_there_is_a_newer_list(tmp_path: Path, mosquitto: Mosquitto) -> None:
    bench = Bench(tmp_path / "bench")
    publisher = bench.publisher
    publisher.publish(iter(LISTED))
    async with publisher.serving() as url:
        bench.list |= {"url": url, "every": "1 h", "folder": None, "broker": table(mosquitto), "topic": "lists/region"}
        async with bench.open(()) as driver:
            shelf, session = driver.shelves["region"], driver.arrivals["region"]._session
            assert session is not None
            await until(lambda: bool(shelf.find("EVDK042")) and session.up)
            publisher.publish(iter([*LISTED, "EVDK901"]))

            async def announce(connection: Connection) -> None:
                await connection.publish(Outgoing("lists/region", b"whatever it says proves nothing"))
                await asyncio.Event().wait()

            announcing = asyncio.create_task(Session(mosquitto.options(), name="publisher").run(announce))
            await until(lambda: bool(shelf.find("EVDK901")))
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)


@asynccontextmanager
async def session_bus(folder: Path) -> AsyncIterator[str]:
    """A real dbus-daemon of a session of its own."""
    program = shutil.which("dbus-daemon")
    if program is None:
        pytest.skip("dbus-daemon is not installed (make system)")
    address = f"unix:path={folder / 'bus'}"
    process = await asyncio.create_subprocess_exec(
        program, "--session", "--nofork", f"--address={address}", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until((folder / "bus").exists)
        yield address
    finally:
        process.terminate()
        await process.wait()


async def test_a_desktop_shows_a_hit_until_somebody_closes_it(tmp_path: Path) -> None:
    async with session_bus(tmp_path) as address:
        shown: list[tuple[Any, ...]] = []
        async with open_dbus_router(address) as talking:
            await Proxy(message_bus, talking).RequestName("org.freedesktop.Notifications")
            rule = MatchRule(type="method_call", member="Notify")
            with talking.filter(rule) as calls:

                async def answer() -> None:
                    while True:
                        call = await calls.get()
                        assert call.header.message_type is MessageType.method_call
                        assert call.header.fields[HeaderFields.member] == "Notify"
                        shown.append(call.body)
                        await talking.send(new_method_return(call, "u", (1,)))

                answering = asyncio.create_task(answer())
                bench = Bench(tmp_path / "bench", alert=[{"kind": "desktop", "bus": address}])
                async with bench.open() as driver:
                    await bench.station.take(read_of("EVDKD42"))
                    await until(lambda: bool(shown))
                    await until(lambda: not driver.alerts.troubles)
                answering.cancel()
    (told,) = shown
    assert told[0] == "Evidock"
    assert "EVDK042" in told[3]
    assert "read EVDKD42" in told[4]
    assert told[6]["urgency"] == ("y", 2)
    assert told[7] == 0, "it stays"


async def test_an_alert_whose_library_swallows_its_end_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """jeepney did, once in a hundred runs: the driver ran on, and the daemon waited for it."""
    begun = asyncio.Event()

    async def swallow(*_: object) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    monkeypatch.setattr(alerts, "_run", swallow)
    told = alerts.Alerts((AlertOptions(kind="command", command=("/bin/true",)),))
    running = asyncio.create_task(told.run())
    told.tell(cast("Hit", SimpleNamespace(told=lambda *, plate: {"plate": plate})))
    await begun.wait()
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.cancelled()
