"""The daemon's socket: where it lies, who may do what, and what stands in the journal afterwards."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Standing
from agent.config import parse
from agent.errors import ConfigError
from agent.station import routes
from agent.station.control import PATH_MAX, Control
from agent.station.peers import Peer, me, peer_of
from agent.testing.uplinks import BenchUplink
from tests.station.conftest import TOML

if TYPE_CHECKING:
    from pathlib import Path

    from tests.station.conftest import Bench

STRANGER = Peer(54321, frozenset({54321}))


async def some_id(bench: Bench) -> str:
    return (await bench.station.holdings())[0].id


# -- the socket --------------------------------------------------------------------------------------------------------


async def test_its_mode_lets_owner_and_group_in_and_nobody_else(listening: Bench) -> None:
    found = listening.path.lstat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o660


async def test_its_group_is_the_one_that_may_act(bench: Bench) -> None:
    group = grp.getgrgid(os.getgroups()[-1] if os.getgroups() else os.getgid())
    async with Control(bench, group=group.gr_name):
        assert bench.path.lstat().st_gid == group.gr_gid
    async with Control(bench, group="no-such-group"):
        assert stat.S_IMODE(bench.path.lstat().st_mode) == 0o660


async def test_it_is_taken_away_at_the_end(bench: Bench) -> None:
    async with Control(bench):
        assert bench.path.exists()
    with pytest.raises(FileNotFoundError):
        bench.path.lstat()


async def test_what_a_killed_daemon_left_is_replaced(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(bench.path))
    assert bench.path.exists()
    async with Control(bench):
        assert (await bench.ask("/status"))[0] == 200


async def test_what_is_no_socket_is_left_alone(bench: Bench) -> None:
    bench.path.write_text("mine")
    with pytest.raises(ConfigError, match="is no socket"):
        async with Control(bench):
            pass
    assert bench.path.read_text() == "mine"
    bench.path.unlink()


async def test_a_link_in_its_place_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        bench.path.symlink_to(tmp_path / "other.sock")
        with pytest.raises(ConfigError, match="is no socket"):
            async with Control(bench):
                pass
    assert (tmp_path / "other.sock").exists()
    bench.path.unlink()


async def test_a_place_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    text = TOML.format(state=tmp_path / "state") + f'socket = "{tmp_path}/none/control.sock"\n'
    with pytest.raises(ConfigError, match=r"station\.socket"):
        async with Control(replace(bench, config=parse(text))):
            pass


@pytest.mark.parametrize(("length", "fits"), [(PATH_MAX, True), (PATH_MAX + 1, False)])
async def test_a_path_must_fit(bench: Bench, length: int, fits: bool) -> None:  # noqa: FBT001 - a case of the table
    folder = bench.station.folder
    path = folder / ("s" * (length - len(os.fsencode(folder)) - 1))
    text = TOML.format(state=folder) + f'socket = "{path}"\n'
    other = replace(bench, config=parse(text))
    if fits:
        async with Control(other):
            assert (await other.ask("/journal/head"))[0] == 200
        return
    with pytest.raises(ConfigError, match="at most 107"):
        async with Control(other):
            pass


# -- who asks ----------------------------------------------------------------------------------------------------------


def test_the_kernel_says_who_is_at_the_other_end(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        found = peer_of(ours)
    assert found.uid == os.getuid()
    assert found.groups >= set(os.getgroups())
    assert found.may_act()
    assert found.actor == me().actor


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses its groups")
@pytest.mark.parametrize("count", [1, 300])
def test_who_was_taken_into_a_group_is_known_by_it(count: int) -> None:
    """As `usermod --append` does it; whoever stands in a directory is in more groups than a kilobyte holds."""
    given, before = range(70_000, 70_000 + count), os.getgroups()
    os.setgroups([*given])
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
    finally:
        os.setgroups(before)
    with ours, theirs:
        assert peer_of(ours).groups == {os.getgid(), *given}


def test_members_of_the_group_may_act() -> None:
    group = grp.getgrall()[0]
    assert Peer(54321, frozenset({group.gr_gid})).may_act(group.gr_name)
    assert not STRANGER.may_act(group.gr_name)
    assert not STRANGER.may_act("no-such-group")
    assert STRANGER.actor == "user:?(54321)"


async def test_a_stranger_may_look_and_not_act(listening: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "peer_of", lambda _: STRANGER)
    name = await some_id(listening)
    before = await listening.ask("/journal/head")
    for verb in ("retry", "hold", "lift", "prioritise"):
        status, told = await listening.ask(f"/captures/{name}/{verb}", {"why": "because"})
        assert status == 409
        assert told["error"]["kind"] == "Refusal"
        assert "group evidock" in told["error"]["message"]
    assert await listening.ask("/journal/head") == before
    assert (await listening.ask(f"/captures/{name}"))[0] == 200


# -- acts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "command"),
    [("retry", "retry"), ("hold", "hold"), ("lift", "lift hold"), ("prioritise", "prioritise first")],
)
async def test_an_act_is_an_entry_with_the_kernels_word_for_who(listening: Bench, verb: str, command: str) -> None:
    name = await some_id(listening)
    status, told = await listening.ask(f"/captures/{name[:8]}/{verb}", {"why": " case 7 "})
    assert status == 200
    assert told["capture"]["id"] == name
    _, after = await listening.ask(f"/captures/{name}")
    said = after["story"][-1]["predicate"]
    assert (said["command"], said["why"], said["actor"]) == (command, "case 7", me().actor)


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("retry", {}),
        ("retry", {"why": ""}),
        ("retry", {"why": None}),
        ("retry", {"why": "a\nb"}),
        ("erase", {"why": "please"}),
        ("prioritise", {"why": "x", "priority": "highest"}),
        ("prioritise", {"why": "x", "priority": ["first"]}),
        ("retry", []),
        ("retry", "text"),
        ("retry", 7),
    ],
)
async def test_an_act_that_means_nothing_changes_nothing(listening: Bench, verb: str, body: Any) -> None:  # noqa: ANN401
    name, before = await some_id(listening), await listening.ask("/journal/head")
    status, told = await listening.ask(f"/captures/{name}/{verb}", body)
    assert status == 409, told
    assert told["error"]["todo"]
    assert await listening.ask("/journal/head") == before


async def test_a_body_that_is_no_json_is_refused(listening: Bench) -> None:
    name = await some_id(listening)
    reader, writer = await asyncio.open_unix_connection(str(listening.path))
    head = f"POST /captures/{name}/retry HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + b"{{{")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 409")


async def test_retry_is_tried_at_once(listening: Bench) -> None:
    listening.station.connect(BenchUplink())
    assert listening.station.forward is not None
    listening.station.forward.link.again_at = float("inf")
    await listening.ask(f"/captures/{await some_id(listening)}/retry", {"why": "the DEMS is back"})
    await listening.station.send()
    assert await listening.station.count(Standing.RECEIPTED) == 2


# -- looks -------------------------------------------------------------------------------------------------------------


async def test_status_while_something_arrives_and_leaves(listening: Bench) -> None:
    status, told = await listening.ask("/status")
    assert status == 200
    assert told["running"]
    assert told["drivers"] == [{"name": "bay-1", "use": "bench.device", "health": {"bay": "all is well"}}]
    assert told["devices"][0]["id"] == "usb:bench:1"
    assert told["arrivals"] == told["departures"] == told["links"] == []
    assert {one["what"] for one in told["problems"]} >= {"uplink", "driver"}  # none is configured


async def test_a_link_that_is_down_is_a_problem_with_what_to_do(listening: Bench) -> None:
    listening.station.connect(BenchUplink())
    assert listening.station.forward is not None
    link = listening.station.forward.link
    link.up, link.problem, link.todo = False, "it does not answer", "Wait."
    _, told = await listening.ask("/status")
    first = told["problems"][0]
    assert first.pop("since").endswith("Z")
    assert first == {
        "id": "uplink.down",
        "state": "problem",
        "what": "uplink",
        "detail": "dems: it does not answer",
        "todo": "Wait.",
    }


@pytest.mark.parametrize(
    "path",
    [
        "/captures?limit=0",
        "/captures?limit=1001",
        "/captures?limit=-1",
        "/captures?limit=x",
        "/captures?before=99999999999999999999",
        "/captures?standing=lost",
        "/journal/entries?limit=9999",
        "/captures/ffffffff",
        "/captures/%00%00%00%00",
    ],
)
async def test_questions_that_mean_nothing_are_refused(listening: Bench, path: str) -> None:
    status, told = await listening.ask(path)
    assert status == 409, told
    assert told["error"]["kind"] == "Refusal"


async def test_keepers_of_names_that_are_none(listening: Bench) -> None:
    digest = (await listening.station.holdings())[0].digest.sha256.hex()
    _, told = await listening.ask("/spool/keepers", [digest, "note.txt", ""])
    assert told["keepers"] == {digest: 1, "note.txt": 0, "": 0}
    assert (await listening.ask("/spool/keepers", {"a": 1}))[0] == 409
    assert (await listening.ask("/journal/dossiers", 7))[0] == 409
    assert (await listening.ask("/spool/keepers", ["a"] * 1001))[0] == 409


async def test_the_log_is_read_while_it_grows(listening: Bench) -> None:
    status, text = await listening.ask("/journal/verify")
    assert status == 200
    assert '"ok": true' in text.splitlines()[-1]
    _, leaves = await listening.ask("/journal/leaves")
    _, head = await listening.ask("/journal/head")
    assert len(leaves.splitlines()) == head["size"]
