"""The bundled DAGs as Airflow's DAG processor reads them, and their structure."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, AssetAny, TriggerRule

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.bundles import ModelOpsDagBundle
from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.dag_builders import (
    build_blast_radius_dag,
    build_golden_dag,
    build_guard_dag,
    build_hold_dag,
    build_housekeeping_dag,
    build_quarantine_dag,
    build_release_dag,
    build_rollback_dag,
    build_watch_dag,
)
from airflow_model_ops.operators.base import ModelOperator, TrafficOperator
from airflow_model_ops.operators.traffic import ReleaseGuardOperator

DAGS = Path(__file__).parents[2] / "dags"
MODEL = """\
model: {model}
connections: {{target: {target}}}
canary: {{steps: [{{percent: 12.5}}, {{percent: 50}}]}}
checks:
  - {{name: errors, kind: error_rate, max: 0.05}}
{more}
"""
WAYS_BACK = [
    "model_abort",
    "model_blast_radius",
    "model_hold",
    "model_housekeeping",
    "model_lift",
    "model_pin_golden",
    "model_quarantine",
    "model_resume",
    "model_rollback",
    "model_watch",
]
"""The DAGs of models whose YAML file may have a mistake."""


def model(name: str = "digits", *, target: str = "fleet_eu", more: str = "") -> ModelFile:
    return parse_model_file(MODEL.format(model=name, target=target, more=more))


def models(*names: str) -> dict[str, ModelFile]:
    return {name: model(name) for name in names}


BUILDERS: dict[str, Callable[[], DAG]] = {
    "release": lambda: build_release_dag(model()),
    "watched release": lambda: build_release_dag(model(more="watch: {duration: 24h, hold_back: 5}")),
    "rollback": lambda: build_rollback_dag(models("digits", "letters")),
    "golden": lambda: build_golden_dag(models("digits", "letters")),
    "hold": lambda: build_hold_dag(models("digits", "letters")),
    "quarantine": lambda: build_quarantine_dag(models("digits", "letters")),
    "housekeeping": lambda: build_housekeeping_dag(models("digits", "letters")),
    "watch": lambda: build_watch_dag(models("digits", "letters")),
    "blast radius": lambda: build_blast_radius_dag(models("digits", "letters")),
    "guard": lambda: build_guard_dag({"digits": model(more="guard: {}")}),
}


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(tmp_path))
    return tmp_path


def write(models_dir: Path, *names: str, **more: str) -> None:
    for name in names:
        (models_dir / f"{name}.yaml").write_text(MODEL.format(model=name, target="fleet_eu", more=more.get(name, "")))


def read_bundle() -> Any:
    """Parse the bundle's directory as the DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag

    bundle = ModelOpsDagBundle(name="model-ops")
    return DagBag(dag_folder=bundle.path, safe_mode=False, bundle_path=bundle.path, bundle_name="model-ops")


def mistakes(bag: Any) -> dict[str, str]:
    return {Path(path).name: error for path, error in bag.import_errors.items()}


class TestBundle:
    def test_it_brings_the_dags_of_every_model(self, models_dir: Path) -> None:
        write(models_dir, "digits", "letters")

        bag = read_bundle()

        assert mistakes(bag) == {}
        assert sorted(bag.dags) == sorted([*WAYS_BACK, "model_release_digits", "model_release_letters"])

    @pytest.mark.parametrize("schedule", ["@dayly", "61 * * * *", "0 25 * * *"])
    def test_a_schedule_that_airflow_refuses_takes_no_other_models_dag_and_is_told(
        self, models_dir: Path, schedule: str
    ) -> None:
        write(models_dir, "digits")
        source = f"source: {{export_dir: /exports, schedule: '{schedule}'}}\n"
        (models_dir / "letters.yaml").write_text(
            f"model: letters\n{source}checks:\n  - {{name: errors, kind: error_rate, max: 0.05}}\n"
        )

        bag = read_bundle()

        assert {"model_release_digits", "model_rollback", "model_watch"} <= set(bag.dags)
        assert "model_release_letters" not in bag.dags
        assert schedule in mistakes(bag)["model_files.py"]

    def test_models_whose_names_become_one_id_keep_their_tasks_apart(self) -> None:
        """A dot may not stand in a task's id; and a model may be called as a task is."""
        dag = build_housekeeping_dag(models("a.b", "a__b", "reconcile_fleet_eu"))
        records = [task for task in dag.task_ids if task.endswith(".record")]
        assert len(records) == 3

    def test_fleets_whose_connections_become_one_id_are_both_watched(self) -> None:
        fleets = {"a": model("a", target="eu/west"), "b": model("b", target="eu_west")}
        assert len(build_watch_dag(fleets).task_ids) == 2

    def test_a_mistake_in_one_models_file_leaves_the_others_and_is_told_with_file_and_line(
        self, models_dir: Path
    ) -> None:
        write(models_dir, "digits", "letters")
        (models_dir / "broken.yaml").write_text("model: broken\nchecks:\n  - {name: errors, kind: error_rat, max: 1}\n")

        bag = read_bundle()

        assert {"model_release_digits", "model_release_letters", "model_rollback"} <= set(bag.dags)
        assert "model_release_broken" not in bag.dags
        for way_back in ("model_rollback", "model_pin_golden", "model_abort"):
            assert bag.dags[way_back].params.get_param("model").schema["enum"] == ["broken", "digits", "letters"]
        assert "broken.record" in bag.dags["model_housekeeping"].task_ids
        assert "broken.cleanup" not in bag.dags["model_housekeeping"].task_ids
        told = mistakes(bag)
        assert set(told) == {"model_files.py"}
        assert f"{models_dir}/broken.yaml:3: checks.0.kind: " in told["model_files.py"]

    def test_a_mistake_in_the_only_models_file_leaves_its_way_back_and_the_watcher(self, models_dir: Path) -> None:
        (models_dir / "digits.yaml").write_text("model: digits\nchecks:\n  - {name: errors, kind: error_rat, max: 1}\n")

        bag = read_bundle()

        assert sorted(bag.dags) == WAYS_BACK
        assert "reconcile_tf_serving_default" in bag.dags["model_watch"].task_ids

    @pytest.mark.parametrize("text", ["", "model: [", "model: x\x00", "a: &a [*a]", "- 1", "model: 2023-02-31"])
    def test_no_mistake_in_a_file_breaks_the_dags_of_the_others(self, models_dir: Path, text: str) -> None:
        write(models_dir, "digits")
        (models_dir / "broken.yaml").write_text(text)

        bag = read_bundle()

        assert {"model_release_digits", "model_rollback", "model_watch", "model_housekeeping"} <= set(bag.dags)
        assert set(mistakes(bag)) == {"model_files.py"}

    def test_a_schedule_that_airflow_refuses_takes_away_that_one_release_only(self, models_dir: Path) -> None:
        write(models_dir, "digits", "letters", letters='source: {export_dir: /exports, schedule: "61 * * * *"}')

        bag = read_bundle()

        assert {"model_release_digits", "model_rollback", "model_housekeeping"} <= set(bag.dags)
        assert set(mistakes(bag)) == {"model_files.py"}

    def test_two_files_for_one_model_are_told_and_the_first_is_used(self, models_dir: Path) -> None:
        write(models_dir, "digits")
        (models_dir / "other.yaml").write_text((models_dir / "digits.yaml").read_text())

        bag = read_bundle()

        assert "model_release_digits" in bag.dags
        assert "is described by" in mistakes(bag)["model_files.py"]

    def test_without_a_directory_of_models_it_says_which_setting_to_make(
        self, models_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", "")

        bag = read_bundle()

        assert not bag.dags
        assert "AIRFLOW__MODEL_OPS__MODELS_DIR" in mistakes(bag)["model_files.py"]

    def test_an_empty_directory_brings_no_dags_and_no_errors(self, models_dir: Path) -> None:
        bag = read_bundle()

        assert not bag.dags
        assert mistakes(bag) == {}

    def test_it_reads_the_checkouts_dags_when_the_wheel_brought_none(self) -> None:
        assert ModelOpsDagBundle(name="model-ops").path == DAGS


class TestAllDags:
    @pytest.mark.parametrize("name", BUILDERS)
    def test_each_survives_the_trip_through_airflows_database(self, name: str) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        dag = BUILDERS[name]()
        stored = DagSerialization.to_dict(dag)
        DagSerialization.validate_schema(stored)
        again = DagSerialization.from_dict(stored)

        assert set(again.task_ids) == set(dag.task_ids)
        assert (
            DagSerialization.to_dict(BUILDERS[name]()) == stored
        )  # the same every time, or each parse is a new version

    @pytest.mark.parametrize("name", BUILDERS)
    def test_every_task_that_changes_traffic_is_retried_three_times_a_second_apart(self, name: str) -> None:
        made = {task: getattr(task, "operator_class", type(task)) for task in BUILDERS[name]().tasks}
        tasks = [task for task, operator in made.items() if issubclass(operator, TrafficOperator)]

        assert all(task.retries == 3 and task.retry_delay == timedelta(seconds=1) for task in tasks)
        assert bool(tasks) == (name not in {"golden", "housekeeping", "watch"})

    @pytest.mark.parametrize("name", BUILDERS)
    def test_every_argument_that_its_class_calls_templated_is_a_template_field(self, name: str) -> None:
        for task in BUILDERS[name]().tasks:
            made = getattr(task, "operator_class", type(task))  # a mapped task makes its operators at run time
            fields = set(task.template_fields)
            assert made is not type(task) or all(hasattr(task, field) for field in fields), task.task_id
            documented = {
                line.split(":param ")[1].split(":")[0]
                for line in _paragraphs(made.__doc__ or "")
                if line.startswith(":param ") and "(templated)" in line
            }
            assert documented <= fields, task.task_id
            assert ("choose" in fields) == issubclass(made, ModelOperator)

    def test_a_name_with_a_dot_is_a_name(self) -> None:
        dotted = models("vision.eu", "vision_eu")

        assert "vision__eu.cleanup" in build_housekeeping_dag(dotted).task_ids
        assert build_release_dag(dotted["vision.eu"]).dag_id == "model_release_vision.eu"


def _paragraphs(text: str) -> list[str]:
    """Return each ``:param:`` with its continuation lines as one line."""
    joined: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(":") or not joined or not stripped:
            joined.append(stripped)
        else:
            joined[-1] = f"{joined[-1]} {stripped}"
    return joined


class TestRelease:
    @pytest.fixture
    def dag(self) -> DAG:
        return build_release_dag(model())

    def test_it_has_a_task_per_move_and_a_group_per_step(self, dag: DAG) -> None:
        assert set(dag.task_ids) == {
            "push",
            "validate",
            "load",
            "step_1_12_5_percent.shift",
            "step_1_12_5_percent.check",
            "step_2_50_percent.shift",
            "step_2_50_percent.check",
            "promote",
            "abort",
            "release_guard",
            "cleanup",
            "record",
        }

    def test_it_goes_step_by_step(self, dag: DAG) -> None:
        path = ["push", "validate", "load"]
        path += [f"step_{step}_percent.{task}" for step in ("1_12_5", "2_50") for task in ("shift", "check")]
        path += ["promote", "cleanup"]

        for before, after in itertools.pairwise(path):
            assert after in dag.get_task(before).downstream_task_ids, (before, after)

    def test_any_failure_of_the_release_leads_to_the_abort(self, dag: DAG) -> None:
        abort = dag.get_task("abort")

        assert abort.trigger_rule == TriggerRule.ONE_FAILED
        before = {task.task_id for task in dag.get_task("abort").get_flat_relatives(upstream=True)}
        assert {"push", "validate", "load", "step_1_12_5_percent.check", "promote"} <= before

    def test_a_run_that_is_ended_from_outside_leaves_the_teardown(self, dag: DAG) -> None:
        guard = dag.get_task("release_guard")

        assert guard.is_teardown
        assert dag.get_task("load").is_setup
        assert isinstance(guard, ReleaseGuardOperator)
        assert guard.on_failure_fail_dagrun  # else a run that was marked failed would end as a success
        assert dag.on_failure_callback is not None

    def test_a_release_that_was_not_promoted_makes_the_run_fail(self, dag: DAG) -> None:
        """Airflow judges a run by its leaves; one that runs whatever happened would make every run a success."""
        leaves = {
            task.task_id: task.trigger_rule
            for task in dag.tasks
            if not task.is_teardown and all(down.is_teardown for down in task.downstream_list)
        }

        assert leaves == {"cleanup": TriggerRule.ALL_SUCCESS, "abort": TriggerRule.ONE_FAILED}
        assert "promote" in dag.get_task("cleanup").upstream_task_ids

    def test_the_record_is_written_whatever_happened(self, dag: DAG) -> None:
        record = dag.get_task("record")

        assert record.is_teardown, "else it would decide how the run ends"
        assert record.retries == 2

    def test_the_promotion_alone_touches_the_stable_asset(self, dag: DAG) -> None:
        assert {task.task_id: task.outlets for task in dag.tasks if task.outlets} == {
            "promote": [model_asset("digits")]
        }

    def test_its_form_asks_for_nothing_that_a_scheduled_run_lacks(self, dag: DAG) -> None:
        dag.params.validate()

        expected = {"saved_model", "upstream", "version", "dataset_version", "hyperparameters", "metrics"}
        assert set(dag.params) == expected

    @pytest.mark.parametrize("typed", ["2024", "2024_06", "1e5", "None", "v-20230601-120000", "[1]"])
    def test_what_a_person_types_reaches_the_push_as_it_was_typed(self, dag: DAG, typed: str) -> None:
        from types import SimpleNamespace

        push = dag.get_task("push")
        conf = {"dataset_version": typed, "version": typed, "hyperparameters": {"depth": "3"}}
        context: Any = {
            "dag_run": SimpleNamespace(conf=conf),
            "params": {**dag.params.dump(), **conf},
            "dag": dag,
        }

        push.render_template_fields(context)

        assert (push.dataset_version, push.version, push.saved_model) == (typed, typed, None)
        assert push.hyperparameters == {"depth": "3"}

    def test_its_schedule_is_that_of_the_models_source(self) -> None:
        scheduled = model(more='source: {export_dir: /exports, schedule: "@daily"}')

        assert build_release_dag(scheduled).schedule == "@daily"
        assert build_release_dag(model()).schedule is None

    def test_further_arguments_reach_the_dag(self) -> None:
        dag = build_release_dag(model(), dag_id="mine", dagrun_timeout=timedelta(hours=2))

        assert (dag.dag_id, dag.dagrun_timeout) == ("mine", timedelta(hours=2))

    def test_a_path_will_do_for_the_model(self, tmp_path: Path) -> None:
        (tmp_path / "digits.yaml").write_text(MODEL.format(model="digits", target="fleet_eu", more=""))

        assert build_release_dag(tmp_path / "digits.yaml").dag_id == "model_release_digits"


class TestWatch:
    """The watch after the promotion, of models that ask for one."""

    @pytest.fixture
    def dag(self) -> DAG:
        return build_release_dag(model(more="watch: {duration: 24h, hold_back: 5}"))

    def test_it_comes_after_the_promotion_and_is_not_there_unless_asked_for(self, dag: DAG) -> None:
        assert dag.get_task("watch").upstream_task_ids == {"promote", "load"}
        assert "watch" not in build_release_dag(model()).task_ids

    def test_neither_clean_up_nor_record_nor_teardown_of_the_release_waits_for_it(self, dag: DAG) -> None:
        assert dag.get_task("watch").downstream_task_ids == {"tell_rollback", "record_watch"}

    def test_its_failure_makes_the_run_fail(self, dag: DAG) -> None:
        leaves = {
            task.task_id
            for task in dag.tasks
            if not task.is_teardown and all(down.is_teardown for down in task.downstream_list)
        }

        assert leaves == {"watch", "cleanup", "abort"}

    def test_it_cannot_undo_the_release_by_being_cleared(self, dag: DAG) -> None:
        """Airflow clears the setup of a task's teardowns with it: then a new attempt would load the promoted version."""
        cleared = dag.partial_subset("watch", include_upstream=False, include_downstream=True)

        assert set(cleared.task_ids) == {"watch", "tell_rollback", "record_watch"}

    def test_a_rollback_of_its_own_touches_the_stable_asset(self, dag: DAG) -> None:
        assert {task.task_id: task.outlets for task in dag.tasks if task.outlets} == {
            "promote": [model_asset("digits")],
            "tell_rollback": [ROLLBACK_ALIAS],
        }


class TestRollback:
    def test_the_way_back_is_one_task_and_its_record_comes_after(self) -> None:
        dag = build_rollback_dag(models("digits", "letters"))

        assert dag.get_task("rollback").upstream_task_ids == set()
        assert dag.get_task("rollback").downstream_task_ids == {"record"}
        assert dag.get_task("rollback").outlets == [ROLLBACK_ALIAS]

    def test_its_form_asks_for_model_and_reason_and_knows_the_models(self) -> None:
        from airflow.sdk.exceptions import ParamValidationError

        params = build_rollback_dag(models("digits", "letters")).params

        assert params.get_param("model").schema["enum"] == ["digits", "letters"]
        with pytest.raises(ParamValidationError):
            params.validate()  # neither has a default
        params["model"], params["reason"] = "digits", "it smells"
        assert params.validate()["target"] == "previous"

    def test_with_one_model_there_is_nothing_to_choose(self) -> None:
        assert build_rollback_dag(models("digits")).params["model"] == "digits"


class TestHousekeepingAndWatch:
    def test_each_fleet_is_reconciled_once(self) -> None:
        files = {"a": model("a"), "b": model("b"), "c": model("c", target="fleet_us")}

        for build in (build_housekeeping_dag, build_watch_dag):
            reconciled = sorted(task for task in build(files).task_ids if task.startswith("reconcile"))
            assert reconciled == ["reconcile_fleet_eu", "reconcile_fleet_us"]

    def test_connection_ids_that_no_task_may_be_named_after_are_spelled_otherwise(self) -> None:
        files = {"a": model("a", target='"fleet/eu (old)"')}

        assert build_watch_dag(files).task_ids == ["reconcile_fleet_eu__old_"]

    def test_one_connection_used_with_two_repositories_is_two_fleets(self) -> None:
        other = parse_model_file(MODEL.format(model="b", target="fleet_eu, repository: models_b", more=""))

        assert build_watch_dag({"a": model("a"), "b": other}).task_ids == [
            "reconcile_fleet_eu_model_repository_default",
            "reconcile_fleet_eu_models_b",
        ]

    def test_any_fleet_that_needs_a_hand_starts_the_watch(self) -> None:
        dag = build_watch_dag({"a": model("a"), "c": model("c", target="fleet_us")})

        assert isinstance(dag.schedule, AssetAny)
        watchers = [watcher for asset in dag.schedule.objects for watcher in asset.watchers]
        assert [_ids(each.trigger.place) for each in watchers] == [
            ("model_repository_default", "fleet_eu"),
            ("model_repository_default", "fleet_us"),
        ]

    def test_a_fleet_that_cannot_be_mended_takes_no_run_of_the_watch_from_another(self) -> None:
        dag = build_watch_dag({"a": model("a"), "c": model("c", target="fleet_us")})

        again, paused = 0.0, 15.0  # when the watcher fires for what stays as it is, later each time
        fired = []
        while again < 600:
            fired.append(again)
            again, paused = again + paused, 2 * paused
        task = dag.get_task("reconcile_fleet_eu")
        lasts = (task.retries + 1) * (task.apply_seconds + task.retry_delay.total_seconds())
        active = max(sum(start <= at < start + lasts for start in fired) for at in fired)
        assert active * 2 <= dag.max_active_runs

    def test_the_upkeep_of_one_model_does_not_wait_for_anothers(self) -> None:
        dag = build_housekeeping_dag(models("digits", "letters"))

        assert dag.get_task("digits.cleanup").upstream_task_ids == set()
        assert dag.get_task("letters.record").upstream_task_ids == {"letters.cleanup"}


def _ids(place: str) -> tuple[str, str]:
    found = FleetPlace.of(place)
    return found.repository, found.target
