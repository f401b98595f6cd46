"""The probe with the real TensorFlow. Importing it takes seconds, so one process probes all models of this module."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_model_ops.adapters.validation import probe
from airflow_model_ops.adapters.validation.process import ProbeRun, run_probe
from airflow_model_ops.adapters.validation.validate import validate_candidate
from airflow_model_ops.core.policy import Validation

BUILD = Path(__file__).with_name("build_validated_models.py")
LABELS = [0, 1, 2, 2, 1, 0, 0, 0, 0]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("validated_models")
    subprocess.run([sys.executable, str(BUILD), str(out)], check=True, timeout=240)
    return out


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine examples: not a multiple of any batch size here. Two carry a wrong label, so that a perfect 1 proves nothing."""
    path = tmp_path_factory.mktemp("examples") / "examples.npz"
    y = np.array(LABELS)
    y[:2] = [2, 2]
    np.savez(path, x=np.eye(3)[LABELS], y=y)
    return path


@pytest.fixture(scope="module")
def probed(models: Path, examples: Path) -> ProbeRun:
    job = {
        "models": {path.name: str(path) for path in sorted(models.iterdir())},
        "examples": str(examples),
        "signature": "serving_default",
        "output": None,
        "batch_size": 2,
        "threads": 1,
    }
    return run_probe(job, python=sys.executable, timeout_seconds=240)


def scored(run: ProbeRun, name: str) -> Mapping[str, Any]:
    part = run.part("scored", role=name)
    assert part is not None, run
    return part


@pytest.mark.integration
def test_the_probe_goes_on_after_models_that_do_not_load_or_run(probed: ProbeRun, models: Path) -> None:
    assert probed.ending is None, probed.stderr
    assert {part["role"] for part in probed.parts if part["part"] == "end"} == {path.name for path in models.iterdir()}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "right"),
    [("good", 7), ("labels", 7), ("renamed", 7), ("batches_of_four", 7), ("mirrored", 2), ("nan", 0)],
)
def test_right_labels_are_counted_over_all_batches(probed: ProbeRun, name: str, right: int) -> None:
    assert (scored(probed, name)["right"], scored(probed, name)["count"]) == (right, 9)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("failing", "refuses everything"),
        ("whole_numbers", "x is float64, which the input's type int32 cannot hold"),
        ("one_score", "one score per example"),
        ("two_outputs", "gives the outputs ['label', 'scores']; name the one"),
        ("total", "not one entry per example"),
    ],
)
def test_a_model_that_cannot_be_scored_says_why(probed: ProbeRun, name: str, error: str) -> None:
    assert error in scored(probed, name)["error"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("garbage", "graph file cannot be read"),
        ("empty", "graph file cannot be read"),
        ("without_weights", "variables"),
    ],
)
def test_a_model_that_does_not_load_says_why(probed: ProbeRun, name: str, error: str) -> None:
    failed = probed.part("failed", role=name)

    assert failed is not None
    assert error in failed["error"]
    assert probed.part("loaded", role=name) is None


@pytest.mark.integration
def test_signatures_are_read_as_requests_see_them(probed: ProbeRun) -> None:
    told = probed.part("signatures", role="labels")

    assert told is not None
    assert told["signatures"] == {
        "serving_default": {
            "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [None, 3]}},
            "outputs": {"label": {"dtype": "DT_INT64", "shape": [None]}},
        }
    }


@pytest.mark.integration
def test_a_lost_output_and_a_lost_accuracy_cost_the_blessing_and_the_output_to_score_can_be_named(
    models: Path, examples: Path
) -> None:
    validation = Validation(examples=str(examples), min_accuracy=0.7, max_accuracy_drop=0.1)
    before = {"tensorflow"} & set(sys.modules)  # other tests of this process may have needed it

    report = validate_candidate(
        candidate=models / "mirrored", stable=models / "two_outputs", validation=validation, output="scores"
    )

    assert not report.blessed
    assert report.stable_accuracy == pytest.approx(7 / 9)
    assert "output 'label' is gone" in report.reason
    assert "accuracy 0.2222 on 9 examples is below the 0.7 required" in report.reason
    assert "0.5556 below stable's 0.7778" in report.reason
    assert {"tensorflow"} & set(sys.modules) == before


@pytest.mark.integration
def test_without_examples_stable_is_read_and_not_loaded(models: Path) -> None:
    report = validate_candidate(candidate=models / "good", stable=models / "without_weights", validation=Validation())

    assert report.blessed, report.reason
    assert "serving_default" in report.reason


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"x": np.zeros((2, 3))}, "has no array y"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(3)}, "one entry per example"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "at least one"),
        ({"x": np.zeros((1, 3)), "y": np.array([{"pickled": os.sep}], dtype=object)}, "allow_pickle=False"),
    ],
)
def test_examples_that_fit_nothing_are_refused_and_never_unpickled(
    tmp_path: Path, arrays: Mapping[str, Any], error: str
) -> None:
    path = tmp_path / "examples.npz"
    np.savez(path, **arrays)

    with pytest.raises(probe.Unusable, match=error):
        probe.Examples(path)


@pytest.mark.parametrize(
    ("answer", "y", "right"),
    [
        ([[0.1, 0.9], [0.8, 0.2]], [1, 1], [True, False]),
        ([[0.1, 0.9], [0.8, 0.2]], [[1], [1]], [True, False]),
        ([1, 0], [1, 1], [True, False]),
        ([[1], [0]], [1, 1], [True, False]),
        ([1.0, 0.0], [1, 1], [True, False]),
        ([[float("nan"), 0.0], [1.0, 0.0]], [0, 0], [False, True]),
        ([[[0.1, 0.9], [0.8, 0.2]]], [[1, 1]], [[True, False]]),
    ],
)
def test_scores_and_labels_are_told_apart(answer: Any, y: Any, right: Any) -> None:
    assert probe.right_labels(np.array(answer), np.array(y)).tolist() == right


def test_words_are_compared_with_words() -> None:
    answer = np.array([b"seven", "größe".encode()], dtype=object)  # what a session answers for strings

    assert probe.right_labels(answer, np.array(["seven", "größe"])).tolist() == [True, True]
    assert probe.right_labels(answer, np.array([b"seven", b"nine"])).tolist() == [True, False]


def test_labels_of_another_form_than_the_answer_are_no_accuracy_of_zero() -> None:
    with pytest.raises(probe.Unusable, match=r"shape \(2,\), and those of the examples \(2, 2\)"):
        probe.right_labels(np.eye(2), np.eye(2))
