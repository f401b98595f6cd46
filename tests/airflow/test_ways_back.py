"""A model's way back while its YAML file has a mistake, and what a command tells of a fleet that is not as it should be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.cli_commands import session
from airflow_model_ops.operators.rollback import PinGoldenOperator, RollbackModelOperator
from airflow_model_ops.operators.traffic import AbortReleaseOperator
from airflow_model_ops.operators.upkeep import CleanupVersionsOperator
from tests.airflow.command_line import CommandLine
from tests.airflow.release_story import YAML, Story, context_of

BROKEN = YAML.replace("error_rate", "error_rat")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The YAML file of ``digits`` with a mistake in a check."""
    path = tmp_path / "digits.yaml"
    path.write_text(BROKEN)
    return path


@pytest.fixture
def cli(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """A command line for the story's fleet, whose YAML files are in ``tmp_path``."""
    monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(session, "fleet_at", lambda _: story.fleet)
    (tmp_path / "digits.yaml").write_text(YAML)
    return CommandLine(fleet=None, models_dir=tmp_path, monkeypatch=monkeypatch, capsys=capsys)  # type: ignore[arg-type]


class TestTasks:
    def test_a_model_whose_checks_have_a_mistake_is_rolled_back_and_its_golden_version_pinned(
        self, story: Story, broken: Path
    ) -> None:
        story.serve(1, 2)

        back = RollbackModelOperator(task_id="rollback", model=broken, reason="it smells")
        assert back.execute(context_of())["version"] == "digits-v1.0.0"
        assert PinGoldenOperator(task_id="pin", model=broken).execute(context_of())["version"] == "digits-v1.0.0"

        assert story.split == {1: 100}

    def test_a_rollback_of_what_another_one_took_back_since_it_was_looked_at_changes_nothing(
        self, story: Story
    ) -> None:
        story.serve(1, 2, 3)
        seen = story.entries[-1].generation
        first = RollbackModelOperator(task_id="rollback", model=story.model, reason="it harms", seen=str(seen))
        second = RollbackModelOperator(task_id="rollback", model=story.model, reason="it harms!", seen=str(seen))
        assert first.execute(context_of(run_id="first"))["version"] == story.v(2).name

        told = second.execute(context_of(run_id="second"))

        assert told["reason"] == "another way back was faster: the model is back already"
        assert story.control().state.stable == story.v(2)

    def test_its_running_release_is_aborted(self, story: Story, broken: Path) -> None:
        story.serve(1)
        release = story.start(2)

        AbortReleaseOperator(task_id="abort", model=broken, release=release).execute(context_of())

        assert story.split == {1: 100}

    def test_what_needs_the_whole_file_says_where_the_mistake_is(self, story: Story, broken: Path) -> None:
        story.serve(1)
        cleanup: Any = CleanupVersionsOperator(task_id="cleanup", model=broken)

        with pytest.raises(AirflowFailException, match=r"digits\.yaml:9: checks\.0\.kind"):
            cleanup.execute(context_of())

    def test_what_was_given_a_way_back_only_does_not_release(self, story: Story, broken: Path) -> None:
        from airflow_model_ops.config.model_file import load_for_way_back

        story.serve(1)
        cleanup: Any = CleanupVersionsOperator(task_id="cleanup", model=load_for_way_back(broken))

        with pytest.raises(AirflowFailException, match="can only be taken back; mend the file"):
            cleanup.execute(context_of())


class TestCommands:
    @pytest.mark.parametrize("words", [("rollback", "--reason", "r"), ("abort", "--reason", "r"), ("hold",), ("pin",)])
    def test_a_mistake_in_the_models_own_file_is_told_and_stops_no_command(
        self, story: Story, cli: CommandLine, words: tuple[str, ...]
    ) -> None:
        story.serve(1, 2)
        (cli.models_dir / "digits.yaml").write_text(BROKEN)

        answer = cli.run(words[0], "digits", *words[1:])

        assert answer.status == 0, answer.err
        assert f"goes on, but correct this: {cli.models_dir}/digits.yaml:9: checks.0.kind: " in answer.err
        assert story.split == ({1: 100} if words[0] == "rollback" else {2: 100})

    def test_of_two_files_for_one_model_the_one_that_the_dags_use_counts(self, story: Story, cli: CommandLine) -> None:
        story.serve(1, 2)
        (cli.models_dir / "other.yaml").write_text(YAML)

        answer = cli.run("rollback", "digits", "--reason", "r")

        assert answer.status == 0, answer.err
        assert f"other.yaml:1: model 'digits' is described by {cli.models_dir}/digits.yaml too" in answer.err

    def test_a_file_that_does_not_say_which_model_it_is_is_named(self, cli: CommandLine) -> None:
        (cli.models_dir / "digits.yaml").write_text("model: [")

        answer = cli.run("rollback", "digits", "--reason", "r")

        assert answer.status == 1
        assert f"{cli.models_dir}/digits.yaml:1: this is not YAML" in answer.err

    def test_the_watcher_is_promised_only_for_what_it_can_mend(self, story: Story, cli: CommandLine) -> None:
        story.serve(1, 2, 3)
        story.target.broken_versions = {story.v(1).number}
        broken = cli.run("rollback", "digits", "--to", "digits-v1.0.0", "--reason", "r")
        story.target.broken_versions = set()
        story.target.unavailable_servers = set(story.target.servers)
        silent = cli.run("rollback", "digits", "--to", "digits-v1.0.0", "--reason", "r", "--wait", "0")

        assert (broken.status, silent.status) == (1, 1)
        assert "the watcher cannot mend that; once you have, run `airflow model-ops reconcile`" in broken.err
        assert "the watcher goes on" in silent.err


class TestLooking:
    def test_a_share_of_a_number_that_is_no_version_is_shown_as_such(
        self, story: Story, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        story.serve(1)
        seen = replace(story.target.observe("digits"), split={story.v(1).number: 90.0, 10**15: 10.0})
        monkeypatch.setattr(story.target, "observe", lambda _: seen)

        shown = cli.run("status", "digits").row["observed"]

        assert shown == "digits-v1.0.0 90 %, 1000000000000000 (no version of this model) 10 %"

    def test_verify_takes_a_version_by_its_number_too(self, story: Story, cli: CommandLine) -> None:
        story.serve(1, 2)

        answer = cli.run("verify", "digits", str(story.v(2).number))

        assert [row["checked"] for row in answer.rows] == ["log", "digits-v2.0.0"]

    def test_a_log_that_cannot_be_read_hides_no_other_model(
        self, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = tmp_path / "repository"
        log = root / "digits" / "log"
        log.mkdir(parents=True)
        (log / f"{1:020d}.json").write_text("{")
        (cli.models_dir / "letters.yaml").write_text(YAML.replace("model: digits", "model: letters"))
        connection = json.dumps({"conn_type": "model_repository", "extra": {"root": str(root)}})
        monkeypatch.setenv("AIRFLOW_CONN_MODEL_REPOSITORY_DEFAULT", connection)

        answer = cli.run("models")

        assert answer.status == 0, answer.err
        digits, letters = answer.rows
        assert digits["traffic"].startswith("unknown: ")
        assert letters["traffic"] == "none yet"
