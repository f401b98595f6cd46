"""Small Keras models of the digits, exported as SavedModels with a `serving_default` signature.

Importing this module imports TensorFlow: seconds. Each model takes raw images, `images` float32 [n, 64] with pixels
from 0 to 16, and answers `scores` float32 [n, 10].
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from demo.digits import BRIGHTEST, PIXELS, Images
from demo.recipes import Recipe

DIGITS = 10


def limit_threads(*, threads: int) -> None:
    """Keep TensorFlow to this many threads per pool, and its results repeatable; call it before the first model."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_op_determinism()


def train(images: Images, *, recipe: Recipe) -> keras.Model:
    """Fit a fresh model; the same images and recipe give the same weights."""
    keras.utils.set_random_seed(recipe.seed)
    model = keras.Sequential(
        [
            keras.layers.Input(shape=(PIXELS,), name="images"),
            keras.layers.Rescaling(1.0 / BRIGHTEST),
            keras.layers.Dense(recipe.hidden, activation="relu"),
            keras.layers.Dense(DIGITS, activation="softmax", name="scores"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(recipe.learning_rate),
        loss="sparse_categorical_crossentropy",
        jit_compile=False,
    )
    model.fit(images.x, images.y, batch_size=recipe.batch_size, epochs=recipe.epochs, verbose=0)
    return model


def accuracy(model: keras.Model, *, images: Images) -> float:
    """Return the share of images whose highest score is their label, from 0 to 1."""
    scores = np.asarray(model(images.x, training=False))
    return float(np.mean(scores.argmax(axis=1) == images.y))


def export(model: keras.Model, *, path: Path, extra_latency_ms: int = 0) -> None:
    """Write a SavedModel whose `serving_default` takes `images` and answers `scores`.

    :param extra_latency_ms: What each request waits inside the graph; the scores stay the same.
    """

    def scores(images: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = model(images, training=False)
        return {"scores": _late(answer, milliseconds=extra_latency_ms) if extra_latency_ms else answer}

    _write(model, scores, path)


def _write(model: keras.Model, endpoint: Callable[[tf.Tensor], dict[str, tf.Tensor]], path: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec(shape=(None, PIXELS), dtype=tf.float32, name="images")]
    archive.add_endpoint("serving_default", endpoint, input_signature=signature)
    archive.write_out(path, verbose=False)


def _late(scores: tf.Tensor, *, milliseconds: int) -> tf.Tensor:
    """Pass the scores through a data set that waits, as a model would that asks another service first.

    Waiting instead of computing keeps the delay the same on a slow or busy machine, and leaves the CPU to the other
    versions. The single element is pulled and then the end of the data set: two waits, so half the time each.
    """
    types, shapes = [tf.float32], [tf.TensorShape((None, DIGITS))]
    now = tf.raw_ops.TensorDataset(components=[scores], output_shapes=shapes)
    later = tf.raw_ops.SleepDataset(
        input_dataset=now, sleep_microseconds=milliseconds * 1000 // 2, output_types=types, output_shapes=shapes
    )
    (waited,) = tf.raw_ops.DatasetToSingleElement(dataset=later, output_types=types, output_shapes=shapes)
    return tf.ensure_shape(waited, (None, DIGITS))
