"""Writes tiny SavedModels to validate: ``build_validated_models.py OUT``. Each takes ``x`` [?, 3] unless it says otherwise."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

ANY = tf.TensorSpec([None, 3], tf.float32, name="x")


class Model(tf.Module):
    """Its weights are the unit matrix, so the scores are the input."""

    def __init__(self, answer: Callable[[Any], dict[str, Any]], spec: tf.TensorSpec) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.eye(3))
        name = spec.name

        def serve(**inputs: Any) -> dict[str, Any]:
            return answer(tf.linalg.matmul(tf.cast(inputs[name], tf.float32), self.weights))

        self.signature = tf.function(serve).get_concrete_function(**{name: spec})


def failing(x: Any) -> dict[str, Any]:
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_sum(x) < 0, ["refuses everything"])]):
        return {"scores": tf.identity(x)}


MODELS: dict[str, tuple[Callable[[Any], dict[str, Any]], tf.TensorSpec]] = {
    "good": (lambda x: {"scores": x}, ANY),
    "mirrored": (lambda x: {"scores": x[:, ::-1]}, ANY),
    "labels": (lambda x: {"label": tf.argmax(x, axis=-1)}, ANY),
    "nan": (lambda x: {"scores": x * float("nan")}, ANY),
    "one_score": (lambda x: {"score": x[:, :1]}, ANY),
    "two_outputs": (lambda x: {"scores": x, "label": tf.argmax(x, axis=-1)}, ANY),
    "total": (lambda x: {"total": tf.reduce_sum(x)}, ANY),
    "failing": (failing, ANY),
    "whole_numbers": (lambda x: {"scores": x}, tf.TensorSpec([None, 3], tf.int32, name="x")),
    "batches_of_four": (lambda x: {"scores": x}, tf.TensorSpec([4, 3], tf.float32, name="x")),
    "renamed": (lambda x: {"scores": x}, tf.TensorSpec([None, 3], tf.float32, name="pixels")),
}


def main(out: Path) -> None:
    for name, (answer, spec) in MODELS.items():
        model = Model(answer, spec)
        tf.saved_model.save(model, str(out / name), signatures={"serving_default": model.signature})
    shutil.copytree(out / "good", out / "without_weights", ignore=lambda *_: ["variables.data-00000-of-00001"])
    shutil.copytree(out / "good", out / "garbage")
    (out / "garbage" / "saved_model.pb").write_bytes(b"\x00garbage")
    (out / "empty").mkdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
