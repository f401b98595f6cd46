"""The rules and the dashboard in docker/ ask for what is there, and the alerts come when they should and not before."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_model_ops.adapters.metrics import prometheus_queries
from airflow_model_ops.metrics import PERFORMANCE, PERFORMANCE_TIME, PREDICTIONS

_ROOT = Path(__file__).resolve().parents[2]
_RULES = _ROOT / "docker" / "prometheus" / "rules" / "model_ops.yml"
_DASHBOARD = _ROOT / "docker" / "grafana" / "dashboards" / "model_ops.json"
_STORIES = Path(__file__).with_name("model_ops_rules_test.yml")

EXPORTED = {
    *(getattr(prometheus_queries, name) for name in ("COMPLETED", "BY_CLASS", "BUCKET")),
    *(PERFORMANCE, PERFORMANCE_TIME, PREDICTIONS),
    *("up", "ALERTS"),  # Prometheus' own
    *("envoy_cluster_manager_cds_update_rejected", "envoy_http_rds_update_rejected"),  # Envoy's own
}
"""The series that something exports."""
_WORDS = {"sum", "by", "label_replace", "rate", "increase", "histogram_quantile", "count", "on", "or", "and", "time"}
_WORDS |= {"group_left"}


def _rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(_RULES.read_text(encoding="utf-8"))["groups"]:
        yield from group["rules"]


def _asked() -> dict[str, str]:
    """Every expression of the dashboard, by where it is, as Grafana would send it."""
    dashboard = json.loads(_DASHBOARD.read_text(encoding="utf-8"))
    asked = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    asked |= {f"annotation {each['name']}": each["expr"] for each in dashboard["annotations"]["list"]}
    return {where: expression.replace("$model", "digits|letters") for where, expression in asked.items()}


def _series_in(expression: str) -> set[str]:
    without_labels = re.sub(r"\{[^}]*\}|\"[^\"]*\"|\[[^\]]*\]|(?:by|on|group_left) \([^)]*\)", "", expression)
    return set(re.findall(r"[A-Za-z_:][\w:]*", without_labels)) - _WORDS


def _promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert "SUCCESS" in _promtool("check", "rules", str(_RULES))


def test_each_alert_comes_in_its_story_and_not_before(tmp_path: Path) -> None:
    stories = tmp_path / "stories.yml"
    stories.write_text(_STORIES.read_text(encoding="utf-8").replace("RULES", str(_RULES)), encoding="utf-8")
    assert "SUCCESS" in _promtool("test", "rules", str(stories))


def test_every_alert_has_a_story_and_says_what_to_do() -> None:
    stories = _STORIES.read_text(encoding="utf-8")
    alerts = [rule for rule in _rules() if "alert" in rule]
    assert [rule["alert"] for rule in alerts if rule["alert"] not in stories] == []
    assert {rule["labels"]["severity"] for rule in alerts} == {"page", "ticket"}
    for rule in alerts:
        assert {"summary", "description"} == set(rule["annotations"]), rule["alert"]


def test_rules_and_dashboard_ask_only_for_series_that_something_exports_or_records() -> None:
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    asked = _asked() | {rule.get("record", rule.get("alert")): rule["expr"] for rule in _rules()}
    unknown = {where: _series_in(expression) - EXPORTED - recorded for where, expression in asked.items()}
    assert {where: names for where, names in unknown.items() if names} == {}
    assert recorded <= set().union(*(_series_in(expression) for expression in asked.values()))


def test_prometheus_takes_every_question_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"asked_{number}", "expr": each} for number, each in enumerate(_asked().values())]
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in _promtool("check", "rules", str(file))


@pytest.mark.parametrize("part", ["panels", "annotations"])
def test_the_dashboard_names_no_installations_own_data_source(part: str) -> None:
    text = json.dumps(json.loads(_DASHBOARD.read_text(encoding="utf-8"))[part])
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}"}
