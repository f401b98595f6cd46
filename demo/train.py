"""Train and export the demo's models: `python -m demo.train --out DIR`.

Writes, in one process, since importing TensorFlow costs more than training:

    DIR/good-1/  DIR/good-2/  DIR/bad/  DIR/slow/   SavedModels
    DIR/good-1.json ...                             metrics, hyperparameters, dataset_version: what a training run knows
    DIR/examples.npz                                x, y: held out for validation
    DIR/live.npz                                    x, y: held out for the live traffic
    DIR/summary.json                                accuracy of each model on both, which no training run could know
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.digits import Digits, load_digits
from demo.recipes import RUNS, TrainingRun

SPLIT_SEED = 20230601


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How an exported model fares: shares of right answers, from 0 to 1."""

    run: TrainingRun
    train_accuracy: float
    examples_accuracy: float
    live_accuracy: float

    def as_training_record(self) -> dict[str, Any]:
        """Return what the training run knows; `live_accuracy` is not among it."""
        return {
            "dataset_version": self.run.dataset_version,
            "hyperparameters": asdict(self.run.recipe),
            "metrics": {"accuracy": self.examples_accuracy, "train_accuracy": self.train_accuracy},
        }


def train_all(*, out: Path, digits: Digits) -> Iterator[Trained]:
    """Train and export each run, one after the other, with its JSON beside it; equal trainings are done once."""
    from demo import models  # noqa: PLC0415 - imports TensorFlow, after main() has set its log level

    models.limit_threads(threads=1)
    weights: dict[tuple[Any, ...], Any] = {}
    for run in RUNS:
        images = getattr(digits, run.images)
        key = (run.images, run.recipe)
        model = weights.get(key) or weights.setdefault(key, models.train(images, recipe=run.recipe))
        models.export(model, path=out / run.name, extra_latency_ms=run.extra_latency_ms)
        trained = Trained(
            run=run,
            train_accuracy=round(models.accuracy(model, images=images), 4),
            examples_accuracy=round(models.accuracy(model, images=digits.examples), 4),
            live_accuracy=round(models.accuracy(model, images=digits.live), 4),
        )
        _write_json(out / f"{run.name}.json", trained.as_training_record())
        yield trained


def write_images(*, out: Path, digits: Digits) -> None:
    """Write the images for validation and for the live traffic."""
    digits.examples.save(out / "examples.npz")
    digits.live.save(out / "live.npz")


def summarize(trained: Sequence[Trained]) -> dict[str, dict[str, float]]:
    """Return the accuracy of each model on the validation examples and on the live images."""
    return {t.run.name: {"examples_accuracy": t.examples_accuracy, "live_accuracy": t.live_accuracy} for t in trained}


def format_line(trained: Trained) -> str:
    """Return the model's line of the table on the terminal."""
    run = trained.run
    return f"{run.name:<8} {trained.examples_accuracy:>12.1%} {trained.live_accuracy:>8.1%}   {run.story}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description="Train and export the demo's models.")
    parser.add_argument("--out", type=Path, required=True, help="directory to write to; made if missing")
    out: Path = parser.parse_args(argv).out
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    out.mkdir(parents=True, exist_ok=True)
    digits = load_digits(seed=SPLIT_SEED)
    write_images(out=out, digits=digits)
    print(f"{'model':<8} {'on examples':>12} {'on live':>8}   story", flush=True)
    trained = []
    for one in train_all(out=out, digits=digits):
        print(format_line(one), flush=True)
        trained.append(one)
    _write_json(out / "summary.json", summarize(trained))
    return 0


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
