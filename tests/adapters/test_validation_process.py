"""The rules of the blessing and the ends that a probe can come to, told with scripts in the probe's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_model_ops.adapters.validation.validate import ValidationReport, validate_candidate
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.policy import Validation
from tests.adapters.posix_children import is_alive
from tests.waits import until

SIGNATURE = {
    "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [None, 2]}},
    "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [None, 3]}},
}
Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes a "Python" that ignores the probe and runs these lines; ``job`` is what it was asked, ``say`` reports."""

    def make(body: str) -> str:
        path = tmp_path / "python"
        head = """\
            import json, os, signal, subprocess, sys, time
            job = json.load(sys.stdin)
            def say(part, **more):
                with open(job["report"], "a") as stream:
                    stream.write(json.dumps({"part": part, **more}) + "\\n")
        """
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(head)}{textwrap.dedent(body)}")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def examples(tmp_path: Path) -> str:
    """A file that only has to be there: the script never reads it."""
    path = tmp_path / "examples.npz"
    path.write_bytes(b"")
    return str(path)


def reporting(**models: Mapping[str, Any]) -> str:
    """Lines of a probe that comes to its end: per role, ``right`` of 100 and other signatures if they are given."""
    lines = ["say('examples', count=100)"]
    for role, found in models.items():
        parts = [
            {"part": "begin"},
            {"part": "signatures", "signatures": found.get("signatures", {"serving_default": SIGNATURE})},
            {"part": "loaded", "seconds": 0.25},
            {"part": "scored", "right": found["right"], "count": 100, "error": None},
            {"part": "end", "seconds": 0.5},
        ]
        lines += [f"say(**{json.loads(json.dumps({**part, 'role': role}))!r})" for part in parts]
    return "\n".join(lines)


def judged(python: str, *, stable: bool = True, **validation: Any) -> ValidationReport:
    return validate_candidate(
        candidate=Path("candidate"),
        stable=Path("stable") if stable else None,
        validation=Validation(**validation),
        python=python,
    )


def test_a_candidate_as_good_as_stable_is_blessed_with_the_numbers(script: Script, examples: str) -> None:
    python = script(reporting(candidate={"right": 95}, stable={"right": 96}))

    report = judged(python, examples=examples, min_accuracy=0.9, max_accuracy_drop=0.02)

    assert report.blessed
    assert (report.accuracy, report.stable_accuracy, report.examples) == (0.95, 0.96, 100)
    assert "accuracy 0.9500 on 100 examples, at least 0.9, stable 0.9600" in report.reason
    assert json.loads(json.dumps(report.details))["min_accuracy"] == 0.9


def test_every_failed_rule_is_in_the_reason(script: Script, examples: str) -> None:
    other = {"inputs": SIGNATURE["inputs"], "outputs": {}}
    python = script(reporting(candidate={"right": 80, "signatures": {"serving_default": other}}, stable={"right": 96}))

    report = judged(python, examples=examples, min_accuracy=0.9, max_accuracy_drop=0.02)

    assert not report.blessed
    assert "signature 'serving_default': output 'y' is gone" in report.reason
    assert "accuracy 0.8000 on 100 examples is below the 0.9 required" in report.reason
    assert "0.1600 below stable's 0.9600, more than the 0.02 allowed" in report.reason
    assert len(report.details["faults"]) == 3


@pytest.mark.parametrize(("right", "blessed"), [(85, True), (84, False)])
def test_a_drop_of_exactly_what_is_allowed_is_allowed(script: Script, examples: str, right: int, blessed: bool) -> None:
    python = script(reporting(candidate={"right": right}, stable={"right": 90}))

    assert judged(python, examples=examples, max_accuracy_drop=0.05).blessed is blessed


def test_a_signature_that_stable_answers_must_stay(script: Script) -> None:
    both = {"serving_default": SIGNATURE, "embed": SIGNATURE}
    python = script(reporting(candidate={"right": 1}, stable={"right": 1, "signatures": both}))

    report = judged(python)

    assert not report.blessed
    assert report.reason == "signature 'embed' is gone, which stable answers"


def test_a_model_without_any_signature_is_not_blessed(script: Script) -> None:
    report = judged(script(reporting(candidate={"right": 1, "signatures": {}})), stable=False)

    assert not report.blessed
    assert "no signature that a request could use" in report.reason


def test_a_segmentation_fault_is_the_candidates_fault_and_quotes_the_end_of_stderr(script: Script) -> None:
    python = script(
        """
        say("begin", role="candidate")
        print("x" * 5000, "op MatMul is broken", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        """
    )

    report = judged(python)

    assert not report.blessed
    assert "the candidate does not load: it was ended by SIGSEGV before it was loaded" in report.reason
    assert "op MatMul is broken" in report.reason
    assert "stable" not in report.reason
    assert len(report.details["stderr"]) <= 2000


def test_a_kill_for_memory_while_scoring_says_so(script: Script, examples: str) -> None:
    parts = reporting(candidate={"right": 1}).splitlines()[:4]
    python = script("\n".join([*parts, "os.kill(os.getpid(), signal.SIGKILL)"]))

    report = judged(python, examples=examples, min_accuracy=0.5)

    assert not report.blessed
    assert report.reason == (
        "the candidate does not run: it was ended by SIGKILL, probably for lack of memory while it was scored on the examples"
    )


def test_a_crash_of_stable_fails_only_the_rules_that_need_it(script: Script, examples: str) -> None:
    lines = reporting(candidate={"right": 95}, stable={"right": 0}).splitlines()[:-3]
    python = script("\n".join([*lines, "sys.exit(3)"]))

    alone = judged(python, examples=examples, min_accuracy=0.9)
    compared = judged(python, examples=examples, max_accuracy_drop=0.02)

    assert alone.blessed
    assert alone.stable_accuracy is None
    assert not compared.blessed
    assert "the stable version cannot be scored to compare with: it ended with status 3" in compared.reason


def test_a_time_out_kills_the_whole_process_group(script: Script, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    python = script(
        f"""
        say("begin", role="candidate")
        child = subprocess.Popen(["sleep", "600"])
        with open({str(pids)!r} + ".part", "w") as stream:
            stream.write(f"{{os.getpid()}} {{child.pid}}")
        os.rename(stream.name, {str(pids)!r})
        time.sleep(600)
        """
    )

    for seconds in (2, 8, 32):  # longer where a busy machine has not let it begin by then
        report = judged(python, timeout_seconds=seconds)
        if pids.exists():
            break

    assert not report.blessed
    assert f"it did not finish within {seconds} s and was killed before it was loaded" in report.reason
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: not is_alive(pid), what=f"process {pid} is not left behind")


def test_a_probe_that_its_killed_worker_left_behind_ends_itself(tmp_path: Path) -> None:
    """The worker's time-out dies with the worker; the probe's own alarm does not."""
    fifo = tmp_path / "examples.npz"
    os.mkfifo(fifo)  # reading it hangs for ever
    probe = Path(__file__).parents[2] / "airflow_model_ops/adapters/validation/probe.py"
    job = {"report": str(tmp_path / "report"), "seconds": 0.5, "examples": str(fifo), "models": {}}

    ended = subprocess.run([sys.executable, str(probe)], input=json.dumps(job).encode(), timeout=60, check=False)

    assert ended.returncode == -14  # SIGALRM


def test_a_python_without_tensorflow_is_nobodys_failed_validation(script: Script) -> None:
    python = script("say('setup', error='TensorFlow cannot be imported by /opt/python: No module named tensorflow')")

    with pytest.raises(InvalidConfig, match="TensorFlow cannot be imported"):
        judged(python)


def test_a_probe_that_dies_before_it_begins_is_nobodys_failed_validation(script: Script) -> None:
    python = script("print('Descriptors cannot be created directly', file=sys.stderr); sys.exit(1)")

    with pytest.raises(InvalidConfig, match=r"status 1.*Descriptors cannot be created directly"):
        judged(python)


def test_a_python_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no-such-python"):
        judged(str(tmp_path / "no-such-python"))


@pytest.mark.parametrize("limit", [{"min_accuracy": 0.9}, {"max_accuracy_drop": 0.1}])
def test_an_accuracy_limit_without_examples_is_a_mistake_of_the_configuration(limit: Mapping[str, float]) -> None:
    with pytest.raises(InvalidConfig, match=r"need validation\.examples"):
        judged(sys.executable, **limit)


def test_missing_examples_are_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"gone\.npz' is not a file"):
        judged(sys.executable, examples=str(tmp_path / "gone.npz"))


def test_unreadable_examples_are_told_before_tensorflow_costs_its_seconds(
    examples: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "tensorflow.py").write_text(f"open({str(imported)!r}, 'w')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(InvalidConfig, match=r"cannot be read as \.npz"):
        judged(sys.executable, examples=examples)

    assert not imported.exists()


def test_the_probe_is_told_what_to_do_and_sees_no_gpu(script: Script, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    python = script(
        f"open({str(seen)!r}, 'w').write(json.dumps([job, dict(os.environ)]))\n{reporting(candidate={'right': 1})}"
    )

    judged(python, stable=False, timeout_seconds=7)

    job, environment = json.loads(seen.read_text())
    assert job["models"] == {"candidate": str(Path("candidate").resolve())}
    assert job["seconds"] > 7
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "2"


def test_the_probe_sees_nothing_of_the_workers_connections_and_keys(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen.json"
    python = script(
        f"open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))\n{reporting(candidate={'right': 1})}"
    )
    secrets = ("AIRFLOW_CONN_PROMETHEUS_DEFAULT", "AIRFLOW__CORE__FERNET_KEY", "AWS_SECRET_ACCESS_KEY")
    for name in (*secrets, "LD_LIBRARY_PATH", "PYTHONPATH", "TF_NUM_INTRAOP_THREADS", "LC_ALL"):
        monkeypatch.setenv(name, "C")

    judged(python, stable=False)

    environment = json.loads(seen.read_text())
    assert not set(secrets) & set(environment)
    assert {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "TF_NUM_INTRAOP_THREADS", "LC_ALL"} <= set(environment)


def test_validation_imports_no_tensorflow_and_no_numpy_here() -> None:
    code = (
        "import sys, airflow_model_ops.adapters.validation.validate; print({'tensorflow', 'numpy'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "set()"
