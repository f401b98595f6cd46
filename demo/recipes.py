"""The four training runs of the demo, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is trained: what ends up in its version's manifest as hyperparameters.

    :param hidden: Units of the hidden layer.
    :param epochs: Passes over the training images.
    """

    hidden: int
    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.003
    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One model to train and export.

    :param name: Directory of the export.
    :param story: What is special about it, for the terminal.
    :param images: Which part of `demo.digits.Digits` it trains on.
    :param extra_latency_ms: What the exported model waits in each request.
    """

    name: str
    story: str
    dataset_version: str
    recipe: Recipe
    images: Literal["train", "train_old_scanner"] = "train"
    extra_latency_ms: int = 0


MODEST = Recipe(hidden=32, epochs=12)
BETTER = Recipe(hidden=96, epochs=25)
SLOW_EXTRA_MS = 80

RUNS = (
    TrainingRun(name="good-1", story="a modest model", dataset_version="digits-2023-05", recipe=MODEST),
    TrainingRun(name="good-2", story="more units, trained longer", dataset_version="digits-2023-06", recipe=BETTER),
    TrainingRun(
        name="bad",
        story="its data lost the newer scanner's images",
        dataset_version="digits-2023-07",
        recipe=BETTER,
        images="train_old_scanner",
    ),
    TrainingRun(
        name="slow",
        story=f"good-2, waiting {SLOW_EXTRA_MS} ms per request",
        dataset_version="digits-2023-06",
        recipe=BETTER,
        extra_latency_ms=SLOW_EXTRA_MS,
    ),
)
