"""The files of deploy/ name only metrics that there are; `promtool` checks rules and exposition where it is installed.

Debian has it in the package `prometheus`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from docs.panels import Line, draw_dashboard
from tests.unit.observe.test_metrics import do_everything, serving

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "toolbridge.json"
DOCS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
OPERATE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
METRIC = r"\b(?:toolbridge_|gen_ai_client_|process_)\w+"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")


def promtool(*arguments: str, stdin: str = "", folder: Path = RULES) -> str:
    ran = subprocess.run(
        ["promtool", *arguments], cwd=folder, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


async def exposition() -> str:
    async with serving() as world:
        do_everything(world)
        return (await world.get()).text


async def unknown(text: str) -> set[str]:
    """Return the names of metrics in the text that are not served."""
    known = set(re.findall(rf"^({METRIC})", await exposition(), flags=re.MULTILINE))
    labels = {"gen_ai_request_model", "gen_ai_token_type"}
    return set(re.findall(METRIC, text)) - known - labels


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]


async def test_alerts_ask_only_for_metrics_that_there_are() -> None:
    text = (RULES / "alerts.yml").read_text(encoding="utf-8")
    assert await unknown(text) == set()


async def test_the_dashboard_asks_only_for_metrics_that_there_are() -> None:
    queries = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    assert len(queries) > 20
    assert await unknown("\n".join(queries)) == set()


async def test_the_dashboard_shows_every_metric_that_the_docs_list() -> None:
    queries = "\n".join(target["expr"] for panel in panels() for target in panel.get("targets", []))
    listed = re.findall(r"^\| `((?:toolbridge|gen_ai)_\w+)`", DOCS, flags=re.MULTILINE)
    assert [name for name in listed if name not in queries] == ["toolbridge_store_up"]  # an alert has it


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    cells = [
        (x, y)
        for panel in panels()
        for box in (panel["gridPos"],)
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels()}) == len(panels())


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_picture_of_the_dashboard_has_every_panel_with_what_it_shows(look: str) -> None:
    picture = ET.parse(ROOT / "docs" / f"dashboard-{look}.svg")
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    missing = [panel["title"] for panel in panels() if panel["title"] not in texts]
    assert missing == [], "draw it again: python -m docs.dashboard_picture"
    assert "No data" not in texts


def test_a_panel_of_the_picture_stacks_its_lines_and_says_where_there_is_no_data() -> None:
    lines = [Line(name="one", points={0: 1.0, 1: 3.0, 5: 2.0}), Line(name="two", points={0: 4.0, 1: 5.0, 5: 6.0})]
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    stacked = {panel["title"]: panel["id"] for panel in panels()}["Questions that ended"]
    drawn = draw_dashboard(board, {stacked: lines}, start_at=0, end_at=60, look="light")
    texts = [text.text for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if (text or "").endswith("ops/s")] == [f"{n} ops/s" for n in (0, 2, 4, 6, 8)]
    assert {"one", "two", "0:00", "1:00"} <= set(texts)
    assert texts.count("No data") == sum("targets" in panel for panel in panels()) - 1


def test_the_docs_say_what_every_alert_means_and_what_to_do() -> None:
    rules = (RULES / "alerts.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"^ +- alert: (\w+).*?severity: (\w+)", rules, flags=re.MULTILINE | re.DOTALL)
    section = OPERATE.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert alerts == [(name.strip("`"), severity) for name, severity, _, _ in rows]
    assert all(len(text) > 40 for _, _, *texts in rows for text in texts)


@needs_promtool
def test_promtool_takes_the_rules_and_their_tests() -> None:
    assert "10 rules found" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


@needs_promtool
def test_promtool_takes_the_configuration_of_compose() -> None:
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", "prometheus.yml")


@needs_promtool
async def test_promtool_finds_nothing_to_say_of_the_metrics() -> None:
    assert promtool("check", "metrics", stdin=await exposition()) == ""


@needs_promtool
def test_promtool_takes_the_configuration_of_the_docs(tmp_path: Path) -> None:
    (config,) = re.findall(r"^```yaml\n(.*?)^```", DOCS, flags=re.MULTILINE | re.DOTALL)
    token = tmp_path / "token"
    token.write_text("x")
    (tmp_path / "prometheus.yml").write_text(config.replace("/etc/prometheus/toolbridge-token", str(token)))
    shutil.copy(RULES / "alerts.yml", tmp_path)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", folder=tmp_path)


@needs_promtool
async def test_promtool_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    shown = [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in queries]
    rules = [{"record": f"panel:query:{number}", "expr": query} for number, query in enumerate(shown)]
    file = tmp_path / "queries.yml"  # JSON is YAML, too
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))
