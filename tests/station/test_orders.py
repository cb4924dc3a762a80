"""What a person says to a driver: who may, what stands in the log, and what a family's own command is made with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from agent import cli
from agent.driver import DriverOptions, Notice, RaisesNotices, TakesOrders
from agent.errors import DeviceGone, Refusal
from agent.station import routes
from agent.station.peers import Peer, me
from agent.station.troubles import told_by
from tests.station.conftest import Loaded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.driver import Record
    from tests.station.conftest import Bench


class Room:
    """Takes orders; `mark` is one, `look` changes nothing."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    async def run(self, intake: object, /) -> None:
        raise NotImplementedError

    async def order(self, word: str, arguments: Mapping[str, Any], /, *, actor: str, record: Record) -> Any:  # noqa: ANN401
        match word:
            case "look":
                return {"marks": len(self.done)}
            case "mark":
                await record({"at": str(arguments.get("at"))})
                self.done.append((word, actor))
                return {"marked": True}
            case "break":
                raise DeviceGone("the recorder is gone")
        raise Refusal(f"{word!r} is no order")

    def notices(self) -> Sequence[Notice]:
        return [Notice(f"test.{number}", "warning", "room", "no tape", "Put a tape in.") for number in range(100)]


@pytest.fixture
def room(listening: Bench) -> Room:
    made = Room()
    listening.equipment.drivers.append(Loaded(DriverOptions(use="bench.room", name="room-1"), made))
    return made


def test_a_driver_has_these_abilities_by_having_the_methods() -> None:
    assert isinstance(Room(), TakesOrders)
    assert isinstance(Room(), RaisesNotices)


async def test_an_order_is_an_entry_with_what_the_driver_lets_be_known(listening: Bench, room: Room) -> None:
    status, told = await listening.ask("/drivers/room-1/mark", {"arguments": {"at": "door", "secret": "x"}})
    assert (status, told) == (200, {"told": {"marked": True}})
    assert room.done == [("mark", me().actor)]
    _, entries = await listening.ask("/journal/entries?limit=1")
    said = entries["entries"][-1]["predicate"]
    assert said["event"] == "driver.ordered"
    assert said["actor"] == me().actor
    assert said["order"] == {"detail": {"at": "door"}, "driver": "room-1", "word": "mark"}


async def test_who_only_looks_leaves_no_entry(listening: Bench, room: Room) -> None:
    before = await listening.ask("/journal/head")
    assert await listening.ask("/drivers/room-1/look", {"arguments": {}}) == (200, {"told": {"marks": 0}})
    assert await listening.ask("/journal/head") == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/drivers/room-1/erase", {"arguments": {}}, 409),
        ("/drivers/room-2/mark", {"arguments": {}}, 409),
        ("/drivers/bay-1/mark", {"arguments": {}}, 409),
        ("/drivers/room-1/mark", {}, 409),
        ("/drivers/room-1/mark", [], 409),
        ("/drivers/room-1/mark", {"arguments": "x"}, 409),
        ("/drivers/room-1/break", {"arguments": {}}, 503),
    ],
)
async def test_what_cannot_be_ordered_changes_nothing(
    listening: Bench, room: Room, path: str, body: object, status: int
) -> None:
    before = await listening.ask("/journal/head")
    found, told = await listening.ask(path, body)
    assert found == status
    assert told["error"]["todo"]
    assert room.done == []
    assert await listening.ask("/journal/head") == before


async def test_a_stranger_orders_nothing(listening: Bench, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "peer_of", lambda _: Peer(54321, frozenset({54321})))
    assert (await listening.ask("/drivers/room-1/look", {"arguments": {}}))[0] == 409
    assert (await listening.ask("/drivers/room-1/mark", {"arguments": {}}))[0] == 409
    assert room.done == []


def test_notices_of_drivers_are_bounded_and_told_as_they_are() -> None:
    told = list(told_by([Loaded(DriverOptions(use="bench.room", name="room-1"), Room())]))
    assert len(told) == 64
    assert told[0] == {
        "id": "test.0",
        "state": "warning",
        "what": "room",
        "detail": "no tape",
        "todo": "Put a tape in.",
    }


def test_a_package_brings_a_command_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def mark() -> None:
        typer.echo(json.dumps({"marked": True}))

    class Entry:
        module = "their_package.cli"

        def load(self) -> typer.Typer:
            return app

    monkeypatch.setattr(cli, "_brought", lambda: {"theirs": Entry(), "version": Entry()})
    run = CliRunner()
    assert "Brought by their_package.cli." in run.invoke(cli.app, ["--help"]).output
    assert json.loads(run.invoke(cli.app, ["theirs"]).output) == {"marked": True}
    assert "marked" not in run.invoke(cli.app, ["version"]).output, "no package takes a command of ours over"
    assert run.invoke(cli.app, ["nonsense"]).exit_code == 2
