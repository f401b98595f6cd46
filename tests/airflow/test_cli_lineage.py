"""Commands that ask the ledger: what a person types to learn what served, where it came from, and what else did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.core.log import FactKind, Origin
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.testing import ManualClock
from tests.airflow.command_line import CommandLine
from tests.airflow.descent_story import BAD, GOOD, YAML, Descent, file_of, name_of
from tests.airflow.release_story import AUTOMATION

pytestmark = pytest.mark.integration


class TypedDescent(Descent):
    """The same, in a repository on disk, asked by commands."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        root = directory / "repository"
        root.mkdir()
        super().__init__(directory=directory, repository=PosixRepository(root))  # type: ignore[arg-type]
        self.models_dir = directory / "yaml"
        self.models_dir.mkdir()
        self.connect(monkeypatch)
        connection = {"conn_type": "model_repository", "extra": {"root": str(root)}}
        monkeypatch.setenv("AIRFLOW_CONN_MODEL_REPOSITORY_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(self.models_dir))
        self.cli = CommandLine(fleet=None, models_dir=self.models_dir, monkeypatch=monkeypatch, capsys=capsys)  # type: ignore[arg-type]

    def knows(self, *models: str) -> None:
        super().knows(*models)
        for model in models:
            (self.models_dir / f"{model}.yaml").write_text(YAML.format(model=model))

    def judge(self, model: str, version: Version, *, n: int, bad: int) -> None:
        """Let a verdict on the canary be recorded."""
        numbers = {"canary": {"n": n, "bad": bad}, "stable": {"n": 10 * n, "bad": bad}}
        control = self.control(model)
        control.committer.record(
            FactKind.VERDICT,
            reason="shown safe",
            origin=control.origin,
            version=version,
            detail={"verdict": "SAFE", "assessments": [{"check": "errors", "verdict": "SAFE", "numbers": numbers}]},
        )


@pytest.fixture
def descent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[TypedDescent]:
    told = TypedDescent(tmp_path, monkeypatch, capsys)
    told.knows("digits", "letters")
    return told


class TestServed:
    def test_it_says_what_served_and_who_put_it_there(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD, BAD)
        descent.cli.run("record")

        row = descent.cli.run("served", "digits").row

        assert (row["traffic"], row["serves"]) == ("applied", f"{name_of(2)} 100 %")
        assert row["because"].startswith("promote: ")
        assert row["actor"] == "automation model_release_digits"
        assert row["recorded"].startswith("entry 10, ")

    def test_between_a_commit_and_its_application_it_is_changing(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.clock.advance(60)
        descent.control("digits").rollback(reason="to nothing else", to=name_of(1))
        fence = descent.start("digits", 2, dataset=GOOD, percent=10)
        descent.clock.advance(60)
        descent.control("digits").shift(fence=fence, percent=50)
        descent.cli.run("record")
        committed = descent.control("digits").committer.log.last()
        assert committed is not None

        row = descent.cli.run("served", "digits", "--at", committed.at).row

        assert row["traffic"] == "changing"
        assert row["serves"] == f"{name_of(1)} 90 %, {name_of(2)} 10 %"
        assert row["changing_to"] == f"{name_of(1)} 50 %, {name_of(2)} 50 %"
        shown = descent.cli.run("served", "digits", "--at", committed.at, output="table")
        assert "changing" in shown.out

    @pytest.mark.parametrize("at", ["", "last Tuesday"])
    def test_what_is_no_time_is_refused_and_not_taken_for_now(self, descent: TypedDescent, at: str) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")

        answer = descent.cli.run("served", "digits", "--at", at)

        assert answer.status == 1
        assert answer.err.strip() == (
            f"airflow model-ops: time {at!r} is not ISO 8601; write one such as '2026-03-03T14:00:00Z'"
        )

    def test_entries_whose_writers_clocks_differed_are_told(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.clock.advance(60)
        ahead = replace(descent.fleet, clock=ManualClock(start=descent.clock.now() + 86_400))
        ahead.control(file_of("digits"), origin=Origin(actor=AUTOMATION)).hold(reason="this clock is a day ahead")
        descent.push("digits", 2, dataset=GOOD)
        descent.cli.run("record")
        last = descent.control("digits").committer.log.last()
        assert last is not None

        answer = descent.cli.run("served", "digits", "--at", last.at)

        assert (answer.status, answer.row["serves"]) == (0, f"{name_of(1)} 100 %")
        assert "entries of the log whose times do not fit to this answer: 1, since" in answer.err

    def test_before_the_log_began_nothing_served(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")

        row = descent.cli.run("served", "digits", "--at", "2001-01-01").row

        assert (row["traffic"], row["serves"]) == ("nothing served", "nothing")

    def test_it_says_that_the_log_is_ahead_of_the_ledger(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")
        descent.push("digits", 2, dataset=GOOD)

        answer = descent.cli.run("served", "digits")

        assert answer.status == 0
        assert (
            "the ledger lacks the newest 1 entries of model 'digits'; run `airflow model-ops record digits`"
            in answer.err
        )

    def test_a_model_whose_yaml_file_is_gone_is_asked_for_by_the_ledgers_connection(
        self, descent: TypedDescent
    ) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")
        (descent.models_dir / "digits.yaml").unlink()

        assert descent.cli.run("served", "digits").status == 1
        row = descent.cli.run("served", "digits", "--connection", "mlmd_default").row
        assert row["serves"] == f"{name_of(1)} 100 %"

    def test_a_ledger_that_does_not_exist_is_one_line_and_status_1(self, descent: TypedDescent) -> None:
        answer = descent.cli.run("served", "digits")

        assert answer.status == 1
        assert "does not exist: nothing is recorded yet" in answer.err


class TestLineage:
    def test_it_shows_where_a_version_comes_from_and_what_it_led_to(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD, BAD)
        descent.cli.run("record")

        row = descent.cli.run("lineage", "digits", name_of(2)).row

        assert (row["dataset_version"], row["hyperparameters"], row["pipeline"]) == (BAD, {}, [])
        assert row["pushed"].endswith("by automation model_release_digits")
        assert row["led_to"] == {"applied": "2", "promote": "1", "pushed": "1", "start_canary": "1"}
        assert "promote" in row["newest"] or "applied" in row["newest"]

    def test_a_serving_number_will_do_and_people_get_a_line_per_field(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")
        number = str(descent.models["digits"].naming().parse(name_of(1)).number)

        shown = descent.cli.run("lineage", "digits", number, output="plain")

        assert [line.split()[-1] for line in shown.out.splitlines() if line.startswith("dataset_version")] == [GOOD]

    def test_an_unknown_version_is_named(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")

        answer = descent.cli.run("lineage", "digits", name_of(9))

        assert (answer.status, name_of(9) in answer.err) == (1, True)


class TestBlastRadius:
    def test_it_lists_each_version_who_is_live_and_the_way_out(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD, BAD)
        descent.serve("letters", BAD)
        descent.cli.run("record")

        answer = descent.cli.run("blast-radius", f"dataset:{BAD}")

        digits, letters = answer.rows
        assert (digits["model"], digits["version"], digits["live"]) == ("digits", name_of(2), ["stable"])
        assert digits["way_out"].startswith(f"back to {name_of(1)}: ")
        assert letters["way_out"].startswith("none: no version was stable before")
        assert f"2 versions of 2 models come from dataset:{BAD}; live in digits, letters" in answer.err
        assert descent.stable("digits") == name_of(2), "it only looks"

    def test_it_says_which_models_it_cannot_answer_for(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD, BAD)
        descent.cli.run("record")
        descent.serve("letters", BAD)
        odd = YAML.format(model="odd") + "connections: {ledger: null}\n"
        (descent.models_dir / "odd.yaml").write_text(odd)

        answer = descent.cli.run("blast-radius", f"dataset:{BAD}")

        assert [row["model"] for row in answer.rows] == ["digits"]
        assert "the ledger lacks the newest 5 entries of model 'letters'" in answer.err
        assert "model 'odd' has no ledger" in answer.err

    def test_what_nothing_comes_from_is_told_apart_from_what_is_not_known(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")

        unknown = descent.cli.run("blast-radius", "dataset:digits@99")
        wrong = descent.cli.run("blast-radius", "digits@7")

        assert (unknown.status, wrong.status) == (1, 1)
        assert "the ledger knows no artifact 'dataset:digits@99'" in unknown.err
        assert "write one of 'dataset:NAME'" in wrong.err


class TestCompare:
    def test_versions_stand_side_by_side_with_their_numbers(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.start("digits", 2, dataset=BAD)
        descent.judge("digits", descent.models["digits"].naming().parse(name_of(2)), n=1000, bad=12)
        descent.cli.run("record")

        for_programs = descent.cli.run("compare", "digits", name_of(1), name_of(2))
        for_people = descent.cli.run("compare", "digits", name_of(1), name_of(2), output="plain")

        canary, stable = for_programs.rows
        assert (canary["kind"], canary[name_of(1)]) == ("online canary", None)
        assert canary[name_of(2)] | {"at": ""} == {
            "value": "0.012",
            "n": "1000",
            "bad": "12",
            "at": "",
            "verdict": "SAFE",
            "beside": name_of(1),
        }
        assert stable[name_of(1)]["n"] == "10000"
        assert "0.012 (12 of 1000)" in for_people.out

    def test_versions_of_which_nothing_was_measured_say_so(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.cli.run("record")

        answer = descent.cli.run("compare", "digits", name_of(1))

        assert (answer.status, answer.rows) == (0, [])
        assert "nothing is recorded of how good" in answer.err


class TestRecord:
    def test_it_brings_every_ledger_up_to_the_logs_and_then_has_nothing_to_do(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.push("letters", 1, dataset=GOOD)

        assert {row["model"]: row["result"] for row in descent.cli.run("record").rows} == {
            "digits": "5 entries recorded",
            "letters": "1 entries recorded",
        }
        assert [row["result"] for row in descent.cli.run("record", "digits").rows] == ["0 entries recorded"]

    def test_another_ledger_is_filled_from_the_logs(
        self, descent: TypedDescent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        descent.serve("digits", GOOD, BAD)
        descent.cli.run("record")
        extra = {"path": str(descent.directory / "empty.sqlite")}
        monkeypatch.setenv("AIRFLOW_CONN_EMPTY", json.dumps({"conn_type": "mlmd", "extra": extra}))

        rows = descent.cli.run("record", "digits", "--connection", "empty").rows

        assert rows == [{"model": "digits", "ledger": "empty", "result": "10 entries recorded"}]
        same = [
            descent.cli.run("lineage", "digits", name_of(2), "--connection", it).row for it in ("empty", "mlmd_default")
        ]
        assert same[0] == same[1]

    def test_one_models_trouble_stops_no_other_and_an_unknown_model_is_refused(self, descent: TypedDescent) -> None:
        descent.serve("digits", GOOD)
        descent.serve("letters", GOOD)
        (descent.directory / "repository" / "digits" / "log" / f"{3:020d}.json").write_text("{")

        answer = descent.cli.run("record")

        assert answer.status == 1
        results = {row["model"]: row["result"] for row in answer.rows}
        assert results["digits"].startswith("not recorded: ")
        assert results["letters"] == "5 entries recorded"
        assert "not every model is recorded: digits" in answer.err
        assert "no YAML file describes nobody; there are digits, letters" in descent.cli.run("record", "nobody").err


class TestReconcile:
    @pytest.fixture
    def reconciled(self, descent: TypedDescent, monkeypatch: pytest.MonkeyPatch) -> TypedDescent:
        from airflow_model_ops.cli_commands import change

        monkeypatch.setattr(change, "fleet_at", lambda _: descent.fleet)
        return descent

    def test_it_catches_the_ledgers_up_too(self, reconciled: TypedDescent) -> None:
        reconciled.serve("digits", GOOD)

        answer = reconciled.cli.run("reconcile")

        assert answer.status == 0, answer.err
        assert {"fleet": "all", "model": "digits", "result": "5 entries recorded"} in answer.rows
        assert [row["result"] for row in reconciled.cli.run("reconcile").rows] == ["every model follows its head"]

    def test_a_ledger_that_is_away_does_not_fail_it(
        self, reconciled: TypedDescent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reconciled.serve("digits", GOOD)
        reconciled.connect(monkeypatch, path=reconciled.directory)

        answer = reconciled.cli.run("reconcile")

        assert answer.status == 0
        assert "mlmd_default is not recorded: ledger" in answer.err
        assert answer.err.count("is a directory") == 1, "it is waited for once, not once per model"
