"""The alert rules and the dashboard: PromQL that Prometheus' own tool understands, over metrics that exist."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.screen.dock import served
from tests.station.asking import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
RULES = FOLDER / "evidock.rules.yml"
PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not here: PromQL is not checked"
)
FOREIGN = {"up"}
"""What Prometheus makes itself."""


def dashboard() -> Iterator[str]:
    """Every PromQL expression of the dashboard, with its variables filled in."""
    told: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
    targets = [target["expr"] for panel in told["panels"] for target in panel["targets"]]
    assert len(targets) > 15
    for text in [*targets, *(one["expr"] for one in told["annotations"]["list"])]:
        yield text.replace("$__rate_interval", "5m").replace("$station", ".*")


def rules() -> Iterator[str]:
    for line in RULES.read_text("utf-8").splitlines():
        if found := re.fullmatch(r" +expr: (.+)", line):
            yield found[1]


async def promtool(*words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec("promtool", *words, stdout=-1, stderr=-2)
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_every_metric_and_label_that_is_asked_for_is_there(tmp_path: Path) -> None:
    async with served(tmp_path, 2) as dock:
        dock.put(1, "safe")
        dock.put(2, "help")
        dock.notice("it does not answer")
        _, _, text = await ask(dock.url, "/metrics")
    there: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        there.setdefault(family.name, set())
        for sample in family.samples:
            there.setdefault(sample.name, set()).update(sample.labels, {"job", "instance"})
    asked = [*dashboard(), *rules()]
    for expression in asked:
        for name, labels in re.findall(r"\b((?:evidock|process)_\w+|up\b)(\{[^}]*\})?", expression):
            assert name in there or name in FOREIGN, expression
            if name not in FOREIGN:
                assert set(re.findall(r"(\w+)=~?\"", labels)) <= there[name] | {"job", "instance"}, expression
    for metric in ("evidock_bay_state", "evidock_notices", "evidock_spool_usable_bytes", "evidock_link_up"):
        assert any(metric in expression for expression in rules())


@PROMTOOL
async def test_prometheus_takes_the_rules() -> None:
    code, said = await promtool("check", "rules", str(RULES))
    assert code == 0, said
    assert f"{len(list(rules()))} rules found" in said


@PROMTOOL
async def test_prometheus_understands_each_panel(tmp_path: Path) -> None:
    lines = ["groups:", "- name: panels", "  rules:"]
    for number, expression in enumerate(dashboard()):
        lines += [f"  - record: panel:{number}", f"    expr: {json.dumps(expression)}"]
    (tmp_path / "panels.yml").write_text("\n".join(lines) + "\n")
    code, said = await promtool("check", "rules", str(tmp_path / "panels.yml"))
    assert code == 0, said


@PROMTOOL
async def test_the_rules_call_at_the_right_time_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "test.yml").write_text(
        json.dumps(
            {
                "rule_files": [str(RULES)],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [
                            {"series": 'evidock_link_up{instance="dock-1",link="dems"}', "values": "1x5 0x30"},
                            {"series": 'evidock_bay_state{instance="dock-1",bay="b",state="help"}', "values": "0x40"},
                            {"series": 'evidock_log_contradictions{instance="dock-1"}', "values": "0x20 1x20"},
                        ],
                        "alert_rule_test": [
                            _calls("EvidockDestinationDown", "15m"),
                            _calls("EvidockDestinationDown", "22m", link="dems"),
                            _calls("EvidockBayAsksForHelp", "40m"),
                            _calls("EvidockHistoryContradicted", "20m"),
                            _calls("EvidockHistoryContradicted", "22m", severity="critical"),
                        ],
                    }
                ],
            }
        )
    )
    code, said = await promtool("test", "rules", str(tmp_path / "test.yml"))
    assert code == 0, said


def _calls(name: str, at: str, **labels: str) -> dict[str, Any]:
    """A rule calls with these labels, or, without any, does not."""
    summaries = {
        "EvidockDestinationDown": "dock-1 does not reach dems",
        "EvidockHistoryContradicted": "A witness knows another history of the log of dock-1",
    }
    found: dict[str, Any] = {"alertname": name, "eval_time": at, "exp_alerts": []}
    if labels:
        description = re.search(rf"alert: {name}\n.*?description: \"(.*?)\"\n", RULES.read_text("utf-8"), re.DOTALL)
        assert description is not None
        told = {"summary": summaries[name], "description": description[1]}
        every = {"instance": "dock-1", "severity": "warning", **labels}
        found["exp_alerts"] = [{"exp_labels": every, "exp_annotations": told}]
    return found
