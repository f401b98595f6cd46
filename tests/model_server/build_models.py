"""Writes tiny SavedModels: ``build_models.py OUT`` makes OUT/1, OUT/2 and OUT/3, each multiplying by its number."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf


class Scale(tf.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 2], tf.float32, name="image")])
    def scale(self, image):
        return {"scores": tf.reshape(image, [-1, 4]) * self.factor}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int64, name="number"), tf.TensorSpec([None], tf.string, name="word")]
    )
    def echo(self, number, word):
        return {"number": number + 1, "word": word, "raw_bytes": word}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="steps")])
    def slow(self, steps):
        def step(i, matrix):
            return i + 1, tf.linalg.matmul(matrix, matrix) * 0.001

        last = tf.cast(steps[0], tf.int32)
        _, matrix = tf.while_loop(lambda i, _: i < last, step, [tf.constant(0), tf.ones([200, 200])])
        return {"value": steps + tf.reduce_sum(matrix) * 0}


def main(out: Path) -> None:
    for factor in (1, 2, 3):
        model = Scale(float(factor))
        signatures = {"serving_default": model.scale, "echo": model.echo, "slow": model.slow}
        tf.saved_model.save(model, str(out / str(factor)), signatures=signatures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
