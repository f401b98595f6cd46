"""``forecast`` and ``replay`` on the command line: what people read, and the status that scripts look at."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_model_ops.control.past_days import DAY_SECONDS
from airflow_model_ops.core.checks import Check, Evidence
from airflow_model_ops.core.errors import MetricsUnavailable
from tests.airflow.command_line import Answer, CommandLine
from tests.control.test_past_days import RecordedDays
from tests.control.test_replay import on_disk
from tests.control.watched_release import WatchedRelease

YAML = """
model: digits
versions: {scheme: semantic, prefix: digits}
canary: {interval: 5m, deadline: 6h}
checks:
  - {name: errors, kind: error_rate, max: 0.2}
"""


class Stage:
    """A command line for a release on disk, whose fleet is only described and whose Prometheus is a fake."""

    def __init__(self, line: CommandLine, watch: WatchedRelease, root: Path) -> None:
        self.line, self.watch, self.root = line, watch, root
        self.source: Any = RecordedDays()

    def describe(self, yaml: str = YAML) -> None:
        self.line.models_dir.mkdir(exist_ok=True)
        (self.line.models_dir / "digits.yaml").write_text(yaml)

    @property
    def now(self) -> float:
        """The commands' clock is this machine's."""
        return time.time()

    def settle(self) -> None:
        """Let the canary be gone, so that stable has all the traffic since long ago."""
        self.watch.control().abort(reason="over", fence=self.watch.fence)
        self.watch.apply()

    def run(self, *words: str, output: str = "json") -> Answer:
        return self.line.run(*words, output=output)


def last_line(answer: Answer) -> str:
    """Return what is told last; Airflow may log before it."""
    return answer.err.splitlines()[-1]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stage:
    addresses = SimpleNamespace(
        replicas=[("127.0.0.1:9", 9)],
        config_dir=str(tmp_path / "live"),
        admin_url="http://127.0.0.1:9",
        route_timeout_seconds=5,
        root=str(tmp_path / "models"),
    )
    described: Any = SimpleNamespace(addresses=addresses)
    line = CommandLine(fleet=described, models_dir=tmp_path / "yaml", monkeypatch=monkeypatch, capsys=capsys)
    stage = Stage(line, WatchedRelease(repository=on_disk(tmp_path)), tmp_path)
    stage.describe()
    line.connect()
    monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(line.models_dir))
    monkeypatch.setenv("AIRFLOW_CONN_PROMETHEUS_DEFAULT", json.dumps({"conn_type": "prometheus", "host": "prometheus"}))
    monkeypatch.setattr("airflow_model_ops.cli_commands.judge.source_at", lambda *_: stage.source)
    return stage


class TestReplayOfARelease:
    def test_its_verdicts_follow_and_its_id_is_found_in_the_history(self, stage: Stage) -> None:
        stage.watch.traffic.harmful()
        stage.watch.ticks(3)
        (release,) = {row["release"] for row in stage.run("history", "digits").rows if row["what"] == "verdict"}

        answer = stage.run("replay", "digits", release)

        assert answer.status == 0, answer.err
        assert last_line(answer) == "airflow model-ops: 1 of 1 verdicts follow from the kept evidence, bit for bit"
        assert (answer.row["recorded"], answer.row["replayed"], answer.row["attempt"]) == ("HARM", "HARM", "1")

    def test_one_altered_count_ends_it_with_status_1_and_a_sentence(self, stage: Stage) -> None:
        stage.watch.traffic.harmful()
        stage.watch.ticks(3)
        (page,) = (stage.root / "models/digits/evidence").rglob("attempt-1-evidence-1*")
        data = json.loads(page.read_bytes())
        data["entries"][1]["evidence"][0]["canary"]["bad"] = 10
        page.write_text(json.dumps(data))

        answer = stage.run("replay", "digits", "r")

        assert answer.status == 1
        assert last_line(answer).startswith(
            "airflow model-ops: 1 of 1 verdicts do not follow from the kept evidence, by which entry "
        )
        assert "errors of digits-v2.0.0 1.0 % (10 of 1,000)" in answer.err
        assert answer.row["replayed"] == "UNDECIDED"

    def test_a_page_that_is_gone_is_told_without_a_traceback(self, stage: Stage) -> None:
        stage.watch.ticks(20)
        (page,) = (stage.root / "models/digits/evidence").rglob("attempt-1-evidence-1*")
        page.unlink()

        answer = stage.run("replay", "digits", "r")

        assert (answer.status, answer.out) == (1, "")
        assert "page 1 of the kept evidence is missing" in answer.err

    def test_a_release_that_is_not_known_is_told_with_those_that_are(self, stage: Stage) -> None:
        stage.watch.ticks(20)

        answer = stage.run("replay", "digits", "x")

        assert answer.status == 1
        assert "no judged verdict of release 'x'; it has 'r'" in answer.err

    @pytest.mark.parametrize("words", [(), ("r", "--days", "2")])
    def test_either_a_release_or_days_is_wanted(self, stage: Stage, words: tuple[str, ...]) -> None:
        answer = stage.run("replay", "digits", *words)

        assert answer.status == 1
        assert "give either a release, as history shows it, or --days" in answer.err

    def test_it_needs_no_fleet_no_prometheus_and_no_right_policy(self, stage: Stage) -> None:
        stage.watch.ticks(20)
        stage.source = None
        stage.describe(YAML.replace("kind: error_rate", "kind: error_rates"))

        answer = stage.run("replay", "digits", "r")

        assert answer.status == 0, answer.err
        assert "goes on, but correct this" in answer.err


class TestReplayOfDays:
    def test_quiet_days_come_to_one_line(self, stage: Stage) -> None:
        answer = stage.run("replay", "digits", "--days", "3")

        assert answer.status == 0, answer.err
        assert last_line(answer) == (
            "airflow model-ops: the policy would have rolled back digits-v1.0.0 for nothing on 0 of 3 days"
        )
        assert [row["rolled_back"] for row in answer.rows] == ["no"] * 3

    def test_days_without_data_are_told_and_not_counted(self, stage: Stage) -> None:
        stage.source = RecordedDays(since=stage.now - 0.5 * DAY_SECONDS)

        answer = stage.run("replay", "digits", "--days", "2")

        assert answer.status == 0, answer.err
        assert "on 0 of 1 days; 1 more without data tell nothing" in answer.err
        assert [row["rolled_back"] for row in answer.rows] == ["no data", "no"]

    def test_days_that_are_all_without_data_prove_nothing(self, stage: Stage) -> None:
        stage.source = RecordedDays(since=stage.now + 1)

        answer = stage.run("replay", "digits", "--days", "2")

        assert answer.status == 1
        assert "none of the 2 days has data of stable's two groups; nothing was judged" in answer.err

    def test_a_false_rollback_ends_it_with_status_1(self, stage: Stage) -> None:
        worse = stage.now - 40_000
        stage.source = RecordedDays(lambda at: (0.01, 0.05) if worse < at < worse + 7200 else (0.01, 0.01))

        answer = stage.run("replay", "digits", "--days", "2")

        assert answer.status == 1
        assert "would have rolled back digits-v1.0.0 for nothing on 1 of 2 days" in answer.err
        assert [row["rolled_back"] for row in answer.rows] == ["no", "yes"]
        assert "errors of the control group" in answer.rows[1]["reason"]

    def test_people_get_a_table(self, stage: Stage) -> None:
        answer = stage.run("replay", "digits", "--days", "1", output="table")

        assert answer.status == 0, answer.err
        assert "rolled_back" in answer.out

    @pytest.mark.parametrize("days", ["0", "-1", "many"])
    def test_no_number_of_days_is_wrong_usage(self, stage: Stage, days: str) -> None:
        assert stage.run("replay", "digits", "--days", days).status == 2


class TestForecast:
    def test_it_tells_how_long_each_check_takes_at_each_step(self, stage: Stage) -> None:
        stage.settle()

        answer = stage.run("forecast", "digits")

        assert answer.status == 0, answer.err
        assert last_line(answer) == (
            "airflow model-ops: everything that could be forecast is decided within canary.deadline of 6 h"
        )
        assert [row["about"] for row in answer.rows] == ["forecast"] * 4
        assert answer.rows[0]["text"].startswith(
            "errors at 10 %: a canary that is worse than stable is found, at 2 times"
        )

    def test_what_cannot_be_decided_is_told_with_what_would_help(self, stage: Stage) -> None:
        stage.settle()
        stage.describe(YAML.replace("max: 0.2", "margin: 1.12, dispersion: 10"))

        answer = stage.run("forecast", "digits")

        assert answer.status == 1
        assert last_line(answer).startswith(
            "airflow model-ops: this policy cannot be decided within canary.deadline of 6 h: "
        )
        problem = answer.rows[-1]
        assert problem["about"] == "problem"
        assert "raise canary.deadline to" in problem["text"]

    def test_a_model_without_traffic_is_no_success(self, stage: Stage) -> None:
        stage.source = RecordedDays(since=stage.now + 1)

        answer = stage.run("forecast", "digits")

        assert answer.status == 1
        assert "nothing can be forecast: no requests of stable were counted lately" in answer.err

    def test_a_prometheus_that_is_away_is_told(self, stage: Stage) -> None:
        class Away(RecordedDays):
            def history(self, check: Check, **question: Any) -> tuple[Evidence, ...]:
                raise MetricsUnavailable("http://prometheus: connection refused")

        stage.source = Away()

        answer = stage.run("forecast", "digits")

        assert answer.status == 1
        assert "nothing can be forecast: http://prometheus: connection refused" in answer.err

    def test_a_latency_bound_that_no_router_counts_is_told_before_a_release_stumbles_over_it(
        self, stage: Stage
    ) -> None:
        stage.describe(f"{YAML}  - {{name: slow, kind: latency, latency_bound_ms: 60}}\n")

        answer = stage.run("forecast", "digits")

        assert answer.status == 1
        assert "cannot count for the latency checks 'slow' (60 ms)" in answer.err

    def test_a_policy_with_mistakes_is_told_to_be_corrected(self, stage: Stage) -> None:
        stage.describe(YAML.replace("kind: error_rate", "kind: error_rates"))

        answer = stage.run("forecast", "digits")

        assert answer.status == 1
        assert "has mistakes, so it has no policy; correct it first" in answer.err
