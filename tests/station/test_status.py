"""The status service: what it tells, to whom, and what it does not tell anybody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.capture import Capture, Device
from agent.config import parse
from agent.errors import ConfigError
from agent.ingest.copying import Arrival
from agent.repairs import repair
from agent.station import status as status_module
from agent.station.status import EVENTS, HEADERS, StatusService
from tests.cli.catalogues import repairs
from tests.screen.dock import served
from tests.station.asking import TOKEN, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

from tests.screen.dock import Dock

STATION = '[station]\nname = "bench-1"\nagency = "example.org"\n'


@pytest.fixture
async def dock(tmp_path: Path) -> AsyncIterator[Dock]:
    async with served(tmp_path, 4) as made:
        made.put(1, "safe")
        made.put(2, "copying")
        made.put(3, "help")
        yield made


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ('address = "0.0.0.0"', "token_file"),
        ('address = "192.0.2.7"\ntoken_file = "/t"', "cert_file"),
        ('address = "::"\nclient_ca_file = "/c"', "cert_file"),
        ('client_ca_file = "/c"', "cert_file"),
        ('key_file = "/k"', "cert_file"),
        ('address = "dock.example.org"', "IP"),
        ("port = 0", "greater"),
    ],
)
def test_who_can_be_reached_by_others_asks_who_they_are_and_says_nothing_in_clear(lines: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse(f"{STATION}[status]\n{lines}\n")


def test_loopback_needs_no_more_than_the_table_and_without_it_there_is_none() -> None:
    assert parse(STATION).status is None
    found = parse(STATION + "[status]\n").status
    assert found is not None
    assert (str(found.address), found.port) == ("127.0.0.1", 8470)
    assert parse(STATION + '[status]\naddress = "::1"\n').status is not None
    both = '[status]\naddress = "0.0.0.0"\ntoken_file = "/t"\ncert_file = "/c"\n'
    assert parse(STATION + both).status is not None


@pytest.mark.parametrize(("text", "mode"), [("short", 0o600), (TOKEN + " x", 0o600), ("é" * 40, 0o600), (TOKEN, 0o604)])
async def test_a_token_that_is_none_stops_the_start(tmp_path: Path, text: str, mode: int) -> None:
    token = tmp_path / "token"
    token.write_text(text)
    token.chmod(mode)
    with pytest.raises(ConfigError, match=r"status\.token_file"):
        async with served(tmp_path, 1, status=f'token_file = "{token}"'):
            pass


async def test_a_port_that_is_taken_stops_the_start(dock: Dock, tmp_path: Path) -> None:
    assert dock.config.status is not None
    with pytest.raises(ConfigError, match=r"status\.port"):
        async with StatusService(dock, None, dock.config.status):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"name": 7}', '{"name": "x", "y": "' + "z" * 70_000 + '"}'])
async def test_a_language_that_is_none_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "lang").mkdir()
    (tmp_path / "lang" / "es.json").write_text(content)
    with pytest.raises(ConfigError, match=r"es\.json"):
        async with served(tmp_path, 1, status=f'language_folder = "{tmp_path / "lang"}"'):
            pass


async def test_a_further_language_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "lang").mkdir()
    (tmp_path / "lang" / "es.json").write_text('{"name": "Español"}')
    async with served(tmp_path, 1, status=f'language_folder = "{tmp_path / "lang"}"') as dock:
        _, _, known = await ask(dock.url, "/languages.json")
        assert [one["code"] for one in known] == ["en", "es", "fr"]
        assert (await ask(dock.url, "/languages/es.json"))[2] == {"name": "Español"}


def test_every_language_has_every_word(request: pytest.FixtureRequest) -> None:
    folder = request.config.rootpath / "agent" / "station" / "web" / "lang"

    def keys(words: dict[str, Any], before: str = "") -> set[str]:
        return {
            name
            for key, value in words.items()
            for name in (keys(value, f"{before}{key}.") if isinstance(value, dict) else {before + key})
        }

    def gaps(words: dict[str, Any]) -> dict[str, list[str]]:
        text = json.dumps(words)
        return {name: re.findall(rf"{{{name}}}", text) for name in set(re.findall(r"{(\w+)}", text))}

    found = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    assert set(found) >= {"en", "fr"}
    # One that has no words yet is shown by what it is about; words for one that is gone are dead.
    assert set(found["en"]["notices"]) <= {id_.replace(".", "_") for id_ in repairs()}
    for words in found.values():
        assert keys(words) == keys(found["en"])
        assert set(gaps(words)) == set(gaps(found["en"]))


# -- what it tells -----------------------------------------------------------------------------------------------------


async def test_status_and_bays(dock: Dock) -> None:
    code, headers, told = await ask(dock.url, "/v1/status")
    assert code == 200
    assert headers["Content-Type"].startswith("application/json")
    assert told["backlog"]["captures"] == told["tally"]["held"]["captures"] == 3
    assert told["backlog"]["oldest_at"]
    assert told["links"][0]["up"]
    _, _, told = await ask(dock.url, "/v1/bays")
    assert [bay["state"] for bay in told["bays"]] == ["safe", "copying", "help", "empty"]
    assert told["bays"][0]["index"] == {"listed": 42, "held": 42, "aside": 0, "refused": 0, "unexplained": 0}


async def test_every_answer_forbids_what_the_page_does_not_need(dock: Dock) -> None:
    for path in ("/", "/screen.js", "/v1/status", "/metrics", "/nothing", "/health"):
        _, headers, _ = await ask(dock.url, path)
        for name, value in HEADERS.items():
            assert headers[name] == value, (path, name)


async def test_the_page_names_no_other_address(dock: Dock) -> None:
    for path in ("/", "/screen.css", "/screen.js", "/words.js"):
        _, _, text = await ask(dock.url, path)
        outside = set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not outside, (path, outside)
        assert "style=" not in text
        assert "onclick" not in text
        assert "innerHTML" not in text


async def test_health_and_readiness_are_two_things(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await ask(dock.url, "/health"))[::2] == (200, {"ok": True})
    assert (await ask(dock.url, "/ready"))[0] == 200
    dock.spool.watermark = 1 << 60
    code, headers, told = await ask(dock.url, "/ready")
    assert (code, headers["Content-Type"]) == (503, "application/problem+json; charset=utf-8")
    assert "no room" in told["detail"]
    assert (await ask(dock.url, "/health"))[0] == 200
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: object) -> None:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()

    hanging = asyncio.create_task(dock.desk.read(hang))
    with monkeypatch.context() as patch:
        patch.setattr(status_module, "_ANSWERS_WITHIN", 0.1)
        assert (await ask(dock.url, "/health"))[0] == 503
    gate.set()
    await hanging
    assert (await ask(dock.url, "/health"))[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/languages/../screen.js",
        "//",
        "/v1/captures",
        "/%00",
    ],
)
async def test_what_is_not_in_the_table_is_not_there(dock: Dock, path: str) -> None:
    port = dock.url.rpartition(":")[2]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] in (b"404", b"400")
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_it_can_only_be_looked_at(dock: Dock, method: str) -> None:
    before = await dock.desk.read(lambda journal: journal.leaves.size)
    for path in ("/", "/v1/status", EVENTS, "/metrics"):
        code, headers, _ = await ask(dock.url, path, method)
        assert (code, headers["Allow"]) == (405, "GET, HEAD")
    assert await dock.desk.read(lambda journal: journal.leaves.size) == before


async def test_head_is_answered_without_a_body(dock: Dock) -> None:
    for path in ("/", "/v1/status", EVENTS):
        code, _, text = await ask(dock.url, path, "HEAD")
        assert (code, text) == (200, "")


# -- to whom -----------------------------------------------------------------------------------------------------------


async def test_a_page_of_a_stranger_that_was_led_here_is_told_nothing(dock: Dock) -> None:
    for host in ("evil.example", "evil.example:8470", "127.0.0.1.evil.example", ""):
        code, _, told = await ask(dock.url, "/v1/status", headers={"Host": host})
        assert code == 421, host
        assert "tally" not in told
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1"):
        assert (await ask(dock.url, "/v1/status", headers={"Host": host}))[0] == 200


# -- what it does not tell ---------------------------------------------------------------------------------------------


async def test_no_plate_no_name_and_no_note_is_in_any_label_and_no_capture_in_any_answer(tmp_path: Path) -> None:
    roster = tmp_path / "roster.json"
    roster.write_text(json.dumps({"SN-BWC-1007": "Zebulon Quist"}))
    async with served(tmp_path, 2, status=f'roster_file = "{roster}"') as dock:
        dock.put(1, "safe")
        dock.bays["bay-01"] = type(dock.bays["bay-01"])(
            "bay-01", dock.bays["bay-01"].device, complete=True, listed=1, safe=1
        )
        camera = Device("alpr:1", "alpr", "front")
        plate = Capture(camera, "PLATE-CXKQ417.jpg", None, 100, claims={"plate": "CXKQ417", "note": "a red van"})
        dock.ingest.arrivals[b"x"] = Arrival(plate, 10)
        dock.notice("PLATE-CXKQ417.jpg: it cannot be read", "captures.not_taken")
        _, _, metrics = await ask(dock.url, "/metrics")
        _, _, told = await ask(dock.url, "/v1/bays")
        _, _, status = await ask(dock.url, "/v1/status")
        dock.told += [
            repair(
                "recording.incomplete", "warning", "recording Interview Zoe Quill", "Zoe Quill: 1 stands refused", "x"
            ),
            repair("room.unsettled", "warning", "room east", "not complete for too long: Zoe Quill.mp4: it grows", "x"),
            repair("room.contradicts", "problem", "room east", "not as their side-cars say: Zoe Quill.mp4", "x"),
        ]
        _, _, later = await ask(dock.url, "/v1/status")
        dock.ingest.arrivals.clear()
        assert told["bays"][0]["officer"] == "Zebulon Quist"
        for word in ("CXKQ417", "red van", "Zoe Quill"):
            assert word not in json.dumps([told, status, later])
        assert {"recording.incomplete", "room.unsettled"} <= {one["id"] for one in later["problems"]}
        for word in ("CXKQ417", "red van", "Zebulon", "Quist", "SN-BWC", "CLIP", "alpr:1"):
            assert word not in metrics
        allowed = {"standing", "version", "bay", "state", "link", "notice"}
        for family in text_string_to_metric_families(metrics):
            for sample in family.samples:
                assert set(sample.labels) <= allowed, sample


async def test_a_roster_is_read_again_and_one_that_breaks_leaves_the_last(tmp_path: Path) -> None:
    roster = tmp_path / "roster.json"
    roster.write_text('{"SN-BWC-1007": "A\\u202e. Roy", "SN-BWC-1014": 7}')

    async def officers(dock: Dock) -> list[str | None]:
        for number in (1, 2):
            dock.put(number, "charging")
            bay = dock.bays[f"bay-{number:02d}"]
            dock.bays[bay.name] = type(bay)(bay.name, bay.device)
        return [bay["officer"] for bay in (await ask(dock.url, "/v1/bays"))[2]["bays"]]

    async with served(tmp_path, 2, status=f'roster_file = "{roster}"') as dock:
        assert await officers(dock) == ["A. Roy", None]
        roster.write_text('{"usb:0951:1666:SN-BWC-1014": "B. Chen"}')
        assert await officers(dock) == [None, "B. Chen"]
        roster.write_text("[1, 2")
        assert await officers(dock) == [None, "B. Chen"]
        roster.unlink()
        assert await officers(dock) == [None, "B. Chen"]


# -- metrics -----------------------------------------------------------------------------------------------------------


async def test_metrics_in_both_formats(dock: Dock) -> None:
    _, headers, text = await ask(dock.url, "/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert found["evidock_captures"].type == "gauge"
    assert {s.labels["standing"]: s.value for s in found["evidock_captures"].samples}["held"] == 3
    assert {s.labels["state"]: s.value for s in found["evidock_bays"].samples}["safe"] == 1
    assert found["evidock_taken_bytes"].type == "counter"
    assert "process_resident_memory_bytes" in found
    accept = "application/openmetrics-text; version=1.0.0"
    _, headers, text = await ask(dock.url, "/metrics", headers={"Accept": accept})
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not here")
async def test_prometheus_own_tool_finds_nothing_to_say_about_the_metrics(dock: Dock) -> None:
    _, _, text = await ask(dock.url, "/metrics")
    process = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"), stdin=asyncio.subprocess.PIPE, stdout=-1, stderr=-2, env={**os.environ}
    )
    printed, _ = await process.communicate(text.encode())
    complaints = [line for line in printed.decode().splitlines() if line.startswith("evidock")]
    assert (process.returncode, complaints) == (0, []), printed.decode()
