"""The training as the demo runs it, once for all tests here: it imports TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.digits import Images
from demo.recipes import RUNS, SLOW_EXTRA_MS

pytestmark = pytest.mark.integration

REPO = Path(__file__).resolve().parents[2]
ALLOWED_DROP = 0.02

# Loads two exports as a server does, by their signature alone, and compares their scores and their fastest of five answers.
COMPARE = """
import json, sys, time
import numpy, tensorflow as tf
images = numpy.load(sys.argv[1])["x"]
scores, seconds = [], []
for path in sys.argv[2:]:
    predict = tf.saved_model.load(path).signatures["serving_default"]
    scores.append(predict(images=images)["scores"].numpy())
    times = []
    for _ in range(5):
        started = time.perf_counter()
        predict(images=images[:1])["scores"].numpy()
        times.append(time.perf_counter() - started)
    seconds.append(min(times))
print(json.dumps({"shape": scores[0].shape, "difference": float(abs(scores[0] - scores[1]).max()), "seconds": seconds}))
"""


def run_python(*arguments: str) -> str:
    env = os.environ | {"PYTHONPATH": str(REPO), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained")
    run_python("-m", "demo.train", "--out", str(path))
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_run_leaves_a_saved_model_and_what_it_knows_about_it(out: Path) -> None:
    for run in RUNS:
        assert (out / run.name / "saved_model.pb").is_file()
        record = read(out / f"{run.name}.json")
        assert record["dataset_version"] == run.dataset_version
        assert record["hyperparameters"]["hidden"] == run.recipe.hidden
        assert record["metrics"]["accuracy"] > 0.9
    assert len(Images.load(out / "examples.npz")) == 250


def test_the_bad_model_passes_validation_and_fails_on_live_images(out: Path) -> None:
    good, bad = (read(out / "summary.json")[name] for name in ("good-2", "bad"))

    assert bad["examples_accuracy"] >= good["examples_accuracy"] - ALLOWED_DROP
    assert bad["live_accuracy"] < 0.65
    assert good["live_accuracy"] > 0.9


def test_the_second_good_model_is_better_than_the_first_on_both(out: Path) -> None:
    first, second = (read(out / "summary.json")[name] for name in ("good-1", "good-2"))

    assert second["examples_accuracy"] > first["examples_accuracy"]
    assert second["live_accuracy"] > first["live_accuracy"] > 0.85


def test_the_slow_model_gives_the_same_scores_later(out: Path) -> None:
    compared = json.loads(run_python("-c", COMPARE, str(out / "live.npz"), str(out / "good-2"), str(out / "slow")))

    assert compared["shape"] == [500, 10]
    assert compared["difference"] == 0
    good, slow = compared["seconds"]
    assert slow >= SLOW_EXTRA_MS / 1000
    assert slow > 2 * good
