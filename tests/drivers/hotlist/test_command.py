"""`evidock hotlist` as a person uses it, against a real daemon; and the audit report, counted again by hand."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from agent import cli
from agent.testing.process import BARE
from drivers.alpr.emulator import MESSAGES
from drivers.alpr.hotlist.auditing import audited, page
from drivers.alpr.hotlist.emulator import invented
from tests.drivers.hotlist.rig import LISTED
from tests.drivers.hotlist.test_secrecy import Car, passage

if TYPE_CHECKING:
    from pathlib import Path


async def said(car: Car, *words: str, code: int = 0) -> str:
    """What a command prints, in this process: it starts in no time."""
    asked = ["--config", str(car.daemon.config), "hotlist", *words]
    done = await asyncio.to_thread(CliRunner().invoke, cli.app, asked)
    if code == 0:
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output
    assert done.exception is not None
    return f"{done.output}{done.exception}"


async def test_the_commands(tmp_path: Path) -> None:
    car = Car(tmp_path)
    car.daemon._command = BARE
    drop = car.folder / "drop"
    drop.rename(car.folder / "later")
    drop.mkdir()
    assert "no daemon runs" in await said(car, "status", code=3)
    async with car.daemon as daemon:
        await daemon.ready(within=120)
        assert "region is not searched (it is missing)" in await said(car, "explain", "EVDK042")
        for name in ("list.jws", "list"):
            (car.folder / "later" / name).rename(drop / name)
        await car.has_list()
        status = await said(car, "status")
        assert re.search(r"region +4 +2026-\d\d-\d\d .*fresh|unknown", status)
        path = car.publisher.publish(iter([*LISTED, *invented(50)]))
        assert "a person must confirm" in await said(car, "import", str(path), code=3)
        told = await said(car, "import", str(path), "--confirm", "--why", "more towns")
        assert "54 plates" in told
        for number, plate in enumerate(["EVDK042", "EVDKD42", "AAAA111", "AAAA112", "EVDK701"]):
            assert await car.sender("openalpr").once(MESSAGES["openalpr"](passage(number, plate), "")) == 200
        listed = json.loads(await said(car, "hits", "--json"))["hits"]
        assert [one["rule"] for one in listed] == ["exact", "ocr(1)", "exact"]
        shown = await said(car, "hits")
        assert "EVDKD42" in shown
        assert "pending" in shown
        assert "is misread" in await said(car, "outcome", listed[1]["capture"][:8], "misread", "--why", "a bolt")
        assert "no hit" in await said(car, "explain", "ZZZZ999")
        assert "ocr(1)" in await said(car, "explain", "EVDKD42", "--why", "phone")
        assert "not kept here" in await said(car, "search", "EVDK042", "--why", "x", code=3)
        assert "is no day" in await said(car, "export-audit", "--since", "yesterday", code=3)
        never = ("--since", "2026-12-01", "--until", "2026-11-01")
        assert "there is no day" in await said(car, "export-audit", *never, code=3)
        report = json.loads(await said(car, "export-audit", "--html", str(tmp_path / "audit.html")))
        assert "3 hits wait" not in await said(car, "status")
    assert report["totals"] == {
        "reads": 5,
        "unread": 0,
        "passed_by": 2,
        "sealed": 0,
        "not_sealed": 0,
        "hits": 3,
        "degraded": report["totals"]["degraded"],
    }
    assert report["hits_by_rule"] == {"region": {"exact": 2, "ocr(1)": 1}}
    assert report["outcomes"] == {"misread": 1}
    assert [one["plates"] for one in report["lists"]] == [4, 54]
    assert report["orders"] == {"explain": 3, "hits": 2, "import": 1, "outcome": 1}
    html = (tmp_path / "audit.html").read_text()
    assert "<td>ocr(1)</td>" in html
    assert "EVDK" not in html + json.dumps(report)
    await daemon.verify([], at_rest=False)


def leaf(event: str, at: str = "2026-11-22T07:30:00.000Z", **more: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps({"predicate": {"event": event, "recorded_at": at, **more}}, separators=(",", ":")).encode()


def observed(kind: str, detail: dict[str, Any], at: str = "2026-11-22T07:30:00.000Z") -> bytes:
    return leaf("observed", at, observation={"kind": kind, "device": "<camera>", "detail": detail})


HOUR = {
    "reads": 10,
    "unread": 1,
    "passed_by": 6,
    "sealed": 2,
    "hits": 1,
    "degraded": 1,
    "by_rule": {"region": {"exact": 1}},
    "outcomes": {},
    "lists": {"region": {"state": "stale", "age_s": 100_000}},
    "policy": "p-1",
}


def test_the_report_counts_what_stands_in_the_log_and_nothing_else() -> None:
    leaves = [
        leaf("held", capture={"claims": {"alpr.count": "not an observation"}}),
        observed("alpr.count", HOUR),
        observed("alpr.count", HOUR, at="2026-12-22T07:30:00.000Z"),
        observed("alpr.purged", {"count": 2, "span": "1-a"}),
        observed("alpr.purged", {"count": 2, "span": "1-a"}),
        observed("position", {"latitude": "42.9876543"}),
        leaf("driver.ordered", order={"word": "import", "driver": "room", "detail": {"tape": 1}}),
        leaf("driver.ordered", order={"word": "outcome", "driver": "hotlists", "detail": {"outcome": "confirmed"}}),
    ]
    report = audited(leaves, log="edge.example.org/dock-1/log1", until=datetime(2026, 12, 1, tzinfo=UTC))
    assert report["totals"]["reads"] == 10
    assert report["count_entries"] == [1]
    assert report["purges"] == {"spans": 1, "reads": 2, "entries": [4]}
    assert report["sealed_and_not_yet_forgotten"] == 0
    assert report["orders"] == {"outcome": 1}
    assert report["outcomes"] == {"confirmed": 1}
    assert report["list_ages"]["region"] == {"oldest_s": 100_000, "hours_by_state": {"stale": 1}}
    assert report["log_size"] == 8
    assert "42.9876543" not in json.dumps(report)
    assert "07:30" not in json.dumps({**report, "made_at": ""}), "no hour of a read"
    shown = page(report)
    assert "&lt;camera&gt;" in shown
    assert "<camera>" not in shown


def test_an_empty_log_has_a_report_too() -> None:
    report = audited([], log="edge.example.org/dock-1/log1")
    assert report["totals"]["reads"] == 0
    assert "none" in page(report)
