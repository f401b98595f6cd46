"""The command line: what a person at 3 a.m. types, against a small real fleet and without any Airflow running."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.control.heads import read_head
from airflow_model_ops.core.state import Fence
from tests.adapters.envoy_rig import eventually
from tests.adapters.serving_rig import Fleet, serving_fleet, version
from tests.airflow.command_line import CommandLine

COMMANDS = {
    *("models", "status", "history", "verify"),
    *("served", "lineage", "blast-radius", "compare", "record"),
    *("forecast", "replay"),
    *("rollback", "abort", "end-hold-back", "hold", "resume", "pin", "quarantine", "lift", "reconcile"),
    *("adopt", "envoy-bootstrap"),
}
ME = pwd.getpwuid(os.getuid()).pw_name
N1, N2 = version(1).number, version(2).number


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    """A command line for a fleet on which ``digits`` may be released."""
    # The longest that an answer may take: a busy machine must not make a failed request of a slow one.
    with serving_fleet(tmp_path, route_timeout_seconds=10) as fleet:
        models_dir = tmp_path / "yaml"
        line = CommandLine(fleet=fleet, models_dir=models_dir, monkeypatch=monkeypatch, capsys=capsys)
        line.describe("digits")
        line.connect()
        monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(models_dir))
        yield line


def released(fleet: Fleet, *majors: int) -> None:
    fleet.release(*majors)
    assert fleet.split() == {version(majors[-1]).number: 100.0}


def test_every_command_is_there_and_its_help_tells_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    from airflow_model_ops.cli import get_commands

    (group,) = get_commands()
    assert {command.name for command in group.subcommands} == COMMANDS
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            get_parser().parse_args(["model-ops", name, "--help"])
        assert end.value.code == 0
        assert "Exit status: 0 done; 1 refused or failed" in capsys.readouterr().out


def test_defining_the_commands_imports_nothing_that_they_need_later() -> None:
    """Every ``airflow`` command imports the definitions, so they must cost next to nothing."""
    code = (
        "import sys, airflow.cli.cli_config; before = set(sys.modules); import airflow_model_ops.cli as c; c.get_commands();"
        "print([m for m in set(sys.modules) - before if m not in ('airflow_model_ops', 'airflow_model_ops.cli')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.integration
def test_rollback_goes_back_at_once_says_what_serves_and_names_who_did_it(cli: CommandLine) -> None:
    released(cli.fleet, 1, 2)
    with cli.fleet.traffic() as traffic:
        answer = cli.run("rollback", "digits", "--reason", "wrong answers since noon [T-1]")
        assert cli.fleet.split() == {N1: 100.0}
        before = traffic.total
        assert eventually(lambda: traffic.total > before + 20)
    assert traffic.failures == []
    assert answer.status == 0, answer.err
    assert answer.row["serves"] == "m-v1.0.0 100 %"
    assert 0 < float(answer.row["seconds"]) < 60
    head = read_head(cli.fleet.control().repository.log("digits"))
    assert head is not None
    assert head.applied_at is not None
    assert str(head.entry.origin.actor) == f"person {ME}"
    assert head.entry.reason == "rolled back from m-v2.0.0 to m-v1.0.0: wrong answers since noon [T-1]"


@pytest.mark.integration
def test_rollback_to_a_version_golden_or_a_number_and_a_refusal_in_one_line(cli: CommandLine) -> None:
    released(cli.fleet, 1, 2, 3)
    assert cli.run("rollback", "digits", "--to", str(N1), "--reason", "r").row["serves"] == "m-v1.0.0 100 %"
    assert cli.run("pin", "digits", "m-v3.0.0").status == 0
    assert cli.run("rollback", "digits", "--to", "golden", "--reason", "r").row["serves"] == "m-v3.0.0 100 %"
    assert cli.run("rollback", "digits", "--to", "m-v2.0.0", "--reason", "r").row["serves"] == "m-v2.0.0 100 %"
    refused = cli.run("rollback", "digits", "--to", "m-v9.0.0", "--reason", "r")
    assert refused.status == 1
    assert refused.out == ""
    assert refused.err.count("\n") == 1
    assert "m-v9.0.0" in refused.err
    assert "Traceback" not in refused.err
    assert cli.fleet.split() == {N2: 100.0}


@pytest.mark.integration
def test_a_mistake_in_another_models_file_does_not_stop_a_rollback(cli: CommandLine) -> None:
    released(cli.fleet, 1, 2)
    (cli.models_dir / "broken.yaml").write_text("model: [")
    assert cli.run("rollback", "digits", "--reason", "r").status == 0
    unknown = cli.run("rollback", "faces", "--reason", "r")
    assert unknown.status == 1
    assert "no file in" in unknown.err
    assert "it has digits" in unknown.err
    assert "broken.yaml" in unknown.err


@pytest.mark.integration
def test_a_rollback_that_the_routers_do_not_confirm_is_committed_and_says_so(cli: CommandLine) -> None:
    released(cli.fleet, 1, 2)
    cli.connect(router_admin="http://127.0.0.1:9")
    answer = cli.run("rollback", "digits", "--reason", "r", "--wait", "0.5")
    assert answer.status == 1
    assert "committed as generation" in answer.err
    assert "airflow model-ops reconcile" in answer.err
    cli.connect()
    done = cli.run("reconcile")
    assert done.status == 0, done.err
    assert cli.fleet.split() == {N1: 100.0}
    assert cli.run("reconcile").rows == [{"fleet": "all", "model": "all", "result": "every model follows its head"}]


@pytest.mark.integration
def test_abort_ends_the_canary_and_stable_goes_on(cli: CommandLine) -> None:
    released(cli.fleet, 1)
    cli.fleet.start(2, percent=50)
    assert cli.fleet.split() == {N2: 50.0, N1: 50.0}
    answer = cli.run("abort", "digits", "--reason", "wrong build")
    assert answer.row["serves"] == "m-v1.0.0 100 %"
    assert cli.fleet.split() == {N1: 100.0}
    assert cli.run("abort", "digits", "--reason", "again").row["changed"] == "no"


@pytest.mark.integration
def test_hold_holds_even_while_the_fleet_is_down_and_resume_ends_it(cli: CommandLine) -> None:
    released(cli.fleet, 1)
    cli.connect(router_admin="http://127.0.0.1:9")
    held = cli.run("hold", "digits", "--reason", "freeze", "--wait", "0.2")
    assert held.status == 0
    assert held.row["serves"].startswith("changing: ")
    cli.connect()
    assert cli.run("status", "digits").row["hold"] == f"person {ME}: freeze"
    assert cli.run("resume", "digits", "--wait", "60").row["serves"] == "m-v1.0.0 100 %"
    assert cli.run("status", "digits").row["hold"] == "None" or cli.run("status", "digits").row["hold"] is None


@pytest.mark.integration
def test_quarantine_bans_a_version_until_it_is_lifted_and_stable_only_by_force(cli: CommandLine) -> None:
    released(cli.fleet, 1, 2)
    assert cli.run("quarantine", "digits", "m-v1.0.0", "--reason", "leaks").status == 0
    assert cli.run("status", "digits").row["quarantined"] == ["m-v1.0.0"]
    assert "no version to roll back to" in cli.run("rollback", "digits", "--reason", "r").err
    assert cli.run("lift", "digits", str(N1), "--reason", "it was the load").status == 0
    assert "use force" in cli.run("quarantine", "digits", "m-v2.0.0", "--reason", "r").err
    assert cli.run("quarantine", "digits", "m-v2.0.0", "--reason", "r", "--force").status == 0


@pytest.mark.integration
def test_status_and_models_tell_what_should_serve_and_what_does(cli: CommandLine) -> None:
    fresh = cli.run("status", "digits").row
    assert (fresh["head"], fresh["traffic"]) == ("none: nothing was ever released or adopted", "none yet")
    released(cli.fleet, 1)
    cli.fleet.start(2, percent=10)
    cli.fleet.push(3, model="faces")
    status = cli.run("status", "digits").row
    assert (status["traffic"], status["stable"], status["canary"]) == ("applied", "m-v1.0.0", "m-v2.0.0")
    assert status["observed"] == "m-v2.0.0 10 %, m-v1.0.0 90 %"
    assert set(status["loaded"].values()) == {f"{N1}, {N2}"}
    assert status["release"] == "r2 attempt 1 of m-v2.0.0"
    rows = {row["model"]: row for row in cli.run("models").rows}
    assert (rows["digits"]["canary"], rows["digits"]["traffic"], rows["digits"]["yaml"]) == (
        "m-v2.0.0 10 %",
        "applied",
        "yes",
    )
    assert (rows["faces"]["traffic"], rows["faces"]["yaml"]) == ("none yet", "no")
    cli.connect(router_admin="http://127.0.0.1:9")
    blind = cli.run("status", "digits")
    assert blind.status == 0
    assert blind.row["observed"].startswith("unknown: ")


@pytest.mark.integration
def test_a_hold_back_is_shown_until_a_person_ends_it(cli: CommandLine) -> None:
    released(cli.fleet, 1)
    cli.fleet.start(2, percent=50)
    control = cli.fleet.control()
    control.promote(version(2), fence=Fence(release="r2", attempt=1), proof="safe", hold_back=5, hold_back_seconds=3600)
    control.apply(deadline_seconds=20)
    status = cli.run("status", "digits").row
    assert status["split"] == "m-v2.0.0 95 %, m-v1.0.0 5 %"
    assert status["holdback"].startswith("m-v1.0.0 5 % held back until 20")
    (row,) = cli.run("models").rows
    assert (row["stable"], row["holdback"]) == ("m-v2.0.0", "m-v1.0.0 5 %")
    ended = cli.run("end-hold-back", "digits", "--reason", "enough")
    assert (ended.status, ended.row["serves"]) == (0, "m-v2.0.0 100 %")
    assert cli.run("status", "digits").row["holdback"] in {None, "None"}
    newest = cli.run("history", "digits").rows[1]
    assert (newest["what"], newest["actor"]) == ("end_hold_back", f"person {ME}")
    assert newest["reason"] == "m-v1.0.0 is no longer held back, m-v2.0.0 gets all traffic: enough"


@pytest.mark.integration
def test_status_says_changing_while_a_head_is_not_applied(cli: CommandLine) -> None:
    released(cli.fleet, 1, 2)
    cli.fleet.control().rollback(reason="committed, and the worker died")
    status = cli.run("status", "digits").row
    assert (status["traffic"], status["stable"], status["observed"]) == ("changing", "m-v1.0.0", "m-v2.0.0 100 %")


@pytest.mark.integration
def test_history_is_newest_first_and_limited_and_readable_as_a_table(cli: CommandLine) -> None:
    released(cli.fleet, 1)
    cli.run("hold", "digits", "--reason", "see [T-7] and [bold]this[/bold]", "--wait", "60")
    rows = cli.run("history", "digits", "--limit", "3").rows
    assert [row["what"] for row in rows] == ["applied", "hold", "applied"]
    assert int(rows[0]["entry"]) > int(rows[1]["entry"]) > int(rows[2]["entry"])
    assert "see [T-7] and [bold]this[/bold]" in " ".join(cli.run("history", "digits", output="table").out.split())
    assert "what: hold" in cli.run("history", "digits", output="yaml").out


@pytest.mark.integration
def test_verify_finds_an_altered_file_and_an_edited_log(cli: CommandLine) -> None:
    released(cli.fleet, 1, 2)
    good = cli.run("verify", "digits")
    assert good.status == 0
    assert [(row["checked"], row["result"]) for row in good.rows] == [
        *(("log", "ok"), ("m-v1.0.0", "ok"), ("m-v2.0.0", "ok"), ("verdicts", "ok"), ("ledger", "not checked"))
    ]
    root = Path(cli.fleet.addresses.root) / "digits"
    altered = root / "versions" / str(N1) / "saved_model.pb"
    altered.chmod(0o644)
    altered.write_text("changed")
    assert cli.run("verify", "digits", "m-v2.0.0").status == 0
    entry = root / "log" / f"{2:020d}.json"
    entry.chmod(0o644)
    entry.write_text(entry.read_text().replace("start", "stole", 1))
    bad = cli.run("verify", "digits")
    assert bad.status == 1
    assert "log, m-v1.0.0" in bad.err
    assert [row["result"] for row in bad.rows] == ["wrong", "wrong", "ok", "not checked", "not checked"]


@pytest.mark.integration
def test_verify_compares_the_ledger_with_the_log(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
    from airflow_model_ops.adapters.lineage.settings import LedgerSettings

    released(cli.fleet, 1, 2)
    path = tmp_path / "mlmd.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_MLMD_DEFAULT", json.dumps({"conn_type": "mlmd", "extra": {"path": str(path)}}))
    away = cli.run("verify", "digits")
    assert (away.status, away.rows[-1]["result"]) == (1, "unknown")
    assert "could not be checked: ledger" in away.err

    repository = cli.fleet.control().repository
    MlmdLedger(LedgerSettings(path=path)).catch_up(
        "digits", repository.log("digits"), lambda version: repository.manifest("digits", version)
    )
    good = cli.run("verify", "digits")
    assert (good.status, good.rows[-1]["detail"]) == (0, "holds the log, entry by entry")

    with sqlite3.connect(path) as database:
        database.execute("UPDATE ExecutionProperty SET string_value = 'eve' WHERE name = 'actor' AND execution_id = 2")
    bad = cli.run("verify", "digits")
    assert bad.status == 1
    assert "is not as it was written: ledger" in bad.err
    assert bad.rows[-1]["detail"].startswith("entry 2: edited: property 'actor'")


@pytest.mark.integration
def test_an_envoy_starts_from_the_bootstrap_that_the_command_writes(cli: CommandLine, tmp_path: Path) -> None:
    out, fresh = tmp_path / "bootstrap.json", tmp_path / "fresh"
    fresh.mkdir()
    cli.connect(router_config_dir=str(fresh), latency_buckets_ms="10,20")
    answer = cli.run("envoy-bootstrap", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--out", str(out))
    assert answer.status == 0, answer.err
    written = json.loads(out.read_text())
    assert written["stats_config"]["histogram_bucket_settings"][0]["buckets"] == [10.0, 20.0]
    assert sorted(path.name for path in fresh.iterdir()) == ["clusters.json", "routes.json"]
    from airflow_model_ops.adapters.serving.envoy_process import find_envoy

    check = subprocess.run(
        [str(find_envoy()), "--mode", "validate", "-c", str(out)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert check.returncode == 0, check.stderr
    wrong = cli.run("envoy-bootstrap", "--listen", "8080", "--admin", "127.0.0.1:0", "--out", str(out))
    assert (wrong.status, "is not host:port" in wrong.err) == (1, True)


def test_a_missing_connection_is_one_line_that_says_what_to_define(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = CommandLine(fleet=None, models_dir=tmp_path, monkeypatch=monkeypatch, capsys=capsys)  # type: ignore[arg-type]
    line.describe("digits")
    (tmp_path / "digits.yaml").write_text(
        (tmp_path / "digits.yaml").read_text() + "connections: {repository: nowhere_to_be_found}\n"
    )
    answer = line.run("rollback", "digits", "--reason", "r", "--models-dir", str(tmp_path))
    assert answer.status == 1
    assert "connection 'nowhere_to_be_found' is not defined" in answer.err
    assert "AIRFLOW_CONN_NOWHERE_TO_BE_FOUND" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("words", [("rollback", "digits"), ("history", "digits", "--limit", "0"), ("status",)])
def test_wrong_usage_ends_with_status_2(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = CommandLine(fleet=None, models_dir=tmp_path, monkeypatch=monkeypatch, capsys=capsys)  # type: ignore[arg-type]
    assert line.run(*words).status == 2
