"""A bad dataset: the tasks that find what was made of it, take each model off it, ban it, and say what is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.dag_builders import build_blast_radius_dag
from airflow_model_ops.hooks.wiring import standing_in
from airflow_model_ops.operators.blast_radius import (
    CheckBlastRadiusOperator,
    FindBlastRadiusOperator,
    QuarantineVersionOperator,
)
from airflow_model_ops.operators.rollback import RollbackModelOperator
from tests.airflow.descent_story import BAD, GOOD, Descent, file_of, name_of
from tests.airflow.release_story import context_of

pytestmark = pytest.mark.integration

REASON = "digits@7 is mislabelled"


@pytest.fixture
def descent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Descent]:
    told = Descent(directory=tmp_path)
    told.connect(monkeypatch)
    with standing_in(told.fleet):
        yield told


def find(descent: Descent, artifact: str = f"dataset:{BAD}") -> list[dict[str, Any]]:
    task = FindBlastRadiusOperator(task_id="find", models=descent.models, artifact=artifact)
    return task.execute(context_of())


def roll_back(descent: Descent, model: str, affected: list[str], *, context: Any = None, **more: Any) -> dict[str, Any]:
    task = RollbackModelOperator(
        task_id="rollback", model=descent.models, choose=model, affected=affected, reason=REASON, **more
    )
    return task.execute(context or context_of(dag_id="model_blast_radius"))


def quarantine(descent: Descent, model: str, versions: Any, **more: Any) -> dict[str, Any]:
    task: Any = QuarantineVersionOperator(
        task_id="quarantine", model=descent.models, choose=model, versions=versions, reason=REASON, **more
    )
    return task.execute(context_of())


def check(descent: Descent, found: Any, artifact: str = f"dataset:{BAD}") -> dict[str, list[str]]:
    task = CheckBlastRadiusOperator(task_id="check", models=descent.models, artifact=artifact, found=found)
    return task.execute(context_of())


class TestFind:
    def test_it_catches_the_ledgers_up_first_so_that_nothing_new_is_missed(self, descent: Descent) -> None:
        descent.knows("digits", "letters", "clean")
        descent.serve("digits", GOOD, BAD)
        assert [item["model"] for item in find(descent)] == ["digits"]
        descent.start("letters", 1, dataset=BAD)
        descent.serve("clean", GOOD)

        assert find(descent) == [
            {"model": "digits", "versions": [name_of(2)], "live": {"stable": name_of(2)}, "trouble": None},
            {"model": "letters", "versions": [name_of(1)], "live": {"canary": name_of(1)}, "trouble": None},
        ]

    def test_a_ledger_that_is_away_fails_it_by_name(self, descent: Descent, monkeypatch: pytest.MonkeyPatch) -> None:
        descent.knows("digits")
        descent.serve("digits", BAD)
        descent.connect(monkeypatch, path=descent.directory)

        with pytest.raises(AirflowException, match=rf"ledger '{descent.directory}' is a directory"):
            find(descent)

    def test_a_slip_of_the_pen_is_no_good_news(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", BAD)

        with pytest.raises(AirflowFailException, match="the ledger knows no artifact 'dataset:digits@77'"):
            find(descent, "dataset:digits@77")
        with pytest.raises(AirflowFailException, match=r"'digits@7' is none; write one of 'dataset:NAME'"):
            find(descent, "digits@7")

    def test_a_model_without_a_ledger_is_named_and_stops_no_other(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD, BAD)
        descent.models["odd"] = file_of("odd", more="connections: {ledger: null}\n")

        digits, odd = find(descent)

        assert (digits["versions"], digits["trouble"]) == ([name_of(2)], None)
        assert "it has no ledger" in odd["trouble"]

    def test_a_model_whose_log_was_exchanged_is_in_trouble_and_stops_no_other(self, descent: Descent) -> None:
        descent.knows("digits", "letters")
        descent.serve("digits", GOOD, BAD)
        descent.serve("letters", BAD)
        find(descent)
        descent.repository.log("letters")._stored.pop()

        digits, letters = find(descent)

        assert (digits["trouble"], letters["versions"]) == (None, [name_of(1)])
        assert "another log of model 'letters'" in letters["trouble"]

    def test_a_live_model_without_a_yaml_file_is_in_the_list_and_a_dead_one_is_not(self, descent: Descent) -> None:
        descent.knows("digits", "gone", "dead")
        descent.serve("digits", GOOD, BAD)
        descent.serve("gone", BAD)
        descent.serve("dead", BAD, GOOD)
        find(descent)
        del descent.models["gone"], descent.models["dead"]

        assert [item["model"] for item in find(descent)] == ["digits", "gone"]


class TestWayBack:
    def test_the_model_goes_to_the_newest_clean_version_and_touches_its_asset(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD, BAD, BAD)
        context = context_of(dag_id="model_blast_radius")

        done = roll_back(descent, "digits", [name_of(2), name_of(3)], context=context)

        assert done["version"] == name_of(1)
        assert descent.target.observe("digits").split == {descent.state("digits").stable.number: 100.0}  # type: ignore[union-attr]
        ((asset, extra),) = context["outlet_events"][ROLLBACK_ALIAS].added
        assert (asset, extra["version"]) == (model_asset("digits"), name_of(1))
        assert REASON in extra["reason"]

    def test_a_version_whose_files_are_gone_is_passed_over(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD, GOOD, GOOD, BAD)
        loaded = descent.target._passes_left["server-1"]["digits"]
        for version in descent.state("digits").earlier[1:]:
            descent.repository.delete("digits", version)
            loaded.pop(version.number)  # as a server does that was restarted

        assert roll_back(descent, "digits", [name_of(4)])["version"] == name_of(1)

    def test_an_affected_canary_ends_while_stable_is_clean(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD)
        descent.start("digits", 2, dataset=BAD)
        context = context_of(dag_id="model_blast_radius")

        done = roll_back(descent, "digits", [name_of(2)], context=context)

        assert (done["version"], list(done["split"].values())) == (name_of(1), [100.0])
        assert not context["outlet_events"][ROLLBACK_ALIAS].added, "stable is what it was"

    def test_without_an_affected_version_in_service_nothing_is_touched(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", BAD, GOOD)
        before = descent.repository.log("digits").last()
        descent.target.unavailable_servers = set(descent.target.servers)

        assert "no affected version serves" in roll_back(descent, "digits", [name_of(1)])["reason"]
        assert descent.repository.log("digits").last() == before

    def test_a_first_release_with_nothing_to_go_back_to_goes_on_and_fails_by_name(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.start("digits", 1, dataset=BAD, percent=100)

        with pytest.raises(AirflowFailException, match="no version was stable before"):
            roll_back(descent, "digits", [name_of(1)])

        assert list(descent.target.observe("digits").split.values()) == [100.0]

    def test_a_retry_whose_first_try_committed_waits_for_the_fleet_again(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD, BAD)
        descent.target.unavailable_servers = set(descent.target.servers)
        context = context_of(dag_id="model_blast_radius")
        with pytest.raises(AirflowException):
            roll_back(descent, "digits", [name_of(2)], context=context)
        descent.target.unavailable_servers = set()

        roll_back(descent, "digits", [name_of(2)], context=context)

        assert descent.target.observe("digits").split == {descent.state("digits").stable.number: 100.0}  # type: ignore[union-attr]
        assert len(context["outlet_events"][ROLLBACK_ALIAS].added) == 1

    def test_a_persons_pin_stops_the_automation_and_not_a_person(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD, BAD)
        from airflow_model_ops.operators.rollback import PinGoldenOperator

        PinGoldenOperator(task_id="pin", model=descent.models["digits"]).execute(context_of())
        scheduled = context_of(dag_id="model_blast_radius", run_type="asset_triggered", user=None)

        with pytest.raises(AirflowFailException, match="only a person may go past a pin"):
            roll_back(descent, "digits", [name_of(2)], context=scheduled)
        assert roll_back(descent, "digits", [name_of(2)])["version"] == name_of(1)


class TestQuarantine:
    def test_every_version_is_banned_and_what_is_deleted_is_left_out(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", BAD, GOOD)
        waiting = descent.push("digits", 3, dataset=BAD)
        old = descent.push("digits", 4, dataset=BAD)
        descent.repository.delete("digits", old)

        done = quarantine(descent, "digits", [name_of(1), waiting.name, old.name])

        assert done == {"quarantined": [name_of(1), waiting.name], "gone": [old.name]}
        assert [version.name for version in descent.state("digits").quarantined] == [name_of(1), waiting.name]

    def test_what_serves_alone_stays_and_keeps_no_other_from_it(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", BAD, BAD)

        with pytest.raises(AirflowFailException, match=rf"model 'digits': not every version.*{name_of(2)} is stable"):
            quarantine(descent, "digits", [name_of(1), name_of(2)])

        assert [version.name for version in descent.state("digits").quarantined] == [name_of(1)]
        assert quarantine(descent, "digits", name_of(2), force=True)["quarantined"] == [name_of(2)]

    @pytest.mark.parametrize("wanted", [False, "False"])
    def test_it_is_skipped_unless_it_is_wanted(self, descent: Descent, wanted: Any) -> None:
        descent.knows("digits")
        descent.serve("digits", BAD, GOOD)

        with pytest.raises(AirflowSkipException):
            quarantine(descent, "digits", [name_of(1)], wanted=wanted)

        assert descent.state("digits").quarantined == ()


class TestCheck:
    def test_it_names_each_model_that_is_not_off_it_and_why(self, descent: Descent) -> None:
        descent.knows("digits", "stuck", "gone", "odd")
        descent.serve("digits", GOOD, BAD)
        descent.serve("stuck", BAD, BAD)
        descent.serve("gone", BAD)
        find(descent)
        del descent.models["gone"]
        descent.models["odd"] = file_of("odd", more="connections: {ledger: null}\n")
        found = find(descent)
        roll_back(descent, "digits", [name_of(2)])

        with pytest.raises(AirflowException) as failed:
            check(descent, found)

        told = str(failed.value)
        assert "model 'digits'" not in told
        assert f"model 'stuck': stable {name_of(2)} still serves" in told
        assert "model 'gone': no YAML file describes it, so nothing was done: stable m-v1.0.0, by the ledger" in told
        assert "model 'odd': it has no ledger" in told

    def test_it_passes_once_all_are_off_it(self, descent: Descent) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD, BAD)
        found = find(descent)
        roll_back(descent, "digits", [name_of(2)])

        assert check(descent, found) == {"clean": ["digits"]}

    def test_what_was_pushed_and_promoted_meanwhile_is_named_too(self, descent: Descent) -> None:
        descent.knows("digits", "letters")
        descent.serve("digits", GOOD, BAD)
        descent.serve("letters", GOOD)
        found = find(descent)
        roll_back(descent, "digits", [name_of(2)])
        descent.start("letters", 2, dataset=BAD)

        with pytest.raises(AirflowException) as failed:
            check(descent, found)

        told = f"model 'letters': canary {name_of(2)} still serves; {name_of(2)} was pushed meanwhile: run again"
        assert str(failed.value).endswith(f"off the affected versions: {told}")

    def test_a_ledger_that_went_away_meanwhile_leaves_it_open(
        self, descent: Descent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        descent.knows("digits")
        descent.serve("digits", GOOD, BAD)
        found = find(descent)
        roll_back(descent, "digits", [name_of(2)])
        descent.connect(monkeypatch, path=descent.directory)

        with pytest.raises(AirflowException, match=r"whether more was pushed from it meanwhile is not known: ledger"):
            check(descent, found)

    def test_if_nothing_was_found_out_nothing_is_well(self, descent: Descent) -> None:
        with pytest.raises(AirflowFailException, match="was not found out"):
            check(descent, None)


class TestDag:
    def test_each_model_has_its_own_way_back_and_the_check_decides_how_the_run_ends(self) -> None:
        dag = build_blast_radius_dag({"digits": file_of("digits")})

        assert dag.get_task("rollback").upstream_task_ids == {"find"}
        assert dag.get_task("quarantine").upstream_task_ids == {"find", "rollback"}
        assert dag.get_task("check").upstream_task_ids == {"find", "quarantine"}
        assert dag.get_task("check").trigger_rule == "all_done"
        assert dag.get_task("record").is_teardown
        assert dag.get_task("rollback").outlets == [ROLLBACK_ALIAS]

    def test_its_form_asks_for_artifact_and_reason(self) -> None:
        from airflow.sdk.exceptions import ParamValidationError

        params = build_blast_radius_dag({"digits": file_of("digits")}).params

        with pytest.raises(ParamValidationError):
            params.validate()
        params["artifact"], params["reason"] = "dataset:digits@7", "mislabelled"
        assert params.validate()["quarantine"] is True

    @pytest.mark.slow
    @pytest.mark.timeout(240)
    def test_airflow_takes_one_model_back_while_another_has_no_way_out(self, tmp_path: Path) -> None:
        run = subprocess.run(
            [sys.executable, "-m", "tests.airflow.blast_radius_run", str(tmp_path)],
            env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-3000:]
        told = json.loads(run.stdout.splitlines()[-1])

        assert told["run"] == "failed"
        assert told["stable"] == {"digits": name_of(1), "letters": name_of(2), "stuck": name_of(2)}
        assert told["quarantined"] == {"digits": [name_of(2)], "letters": [name_of(1)], "stuck": [name_of(1)]}
        tasks = {name: states for name, states in told["tasks"].items() if name != "find"}
        assert tasks == {
            "rollback": ["success", "success", "failed"],
            "quarantine": ["success", "success", "failed"],
            "check": ["failed"],
            "record": ["success"],
        }
        assert told["assets"] == ["digits_stable"]
