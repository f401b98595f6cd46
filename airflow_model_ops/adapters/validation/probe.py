"""Loads SavedModels with TensorFlow and scores them on examples, in a process of its own; ``validate.py`` starts it.

It imports nothing of this package, so that it also runs under a Python that has TensorFlow and nothing else. It reads a
job from stdin as JSON (see :func:`main`) and appends what it finds to the file ``job["report"]``, one JSON object a line,
as soon as it is known: whatever kills it, the lines so far tell how far it came. TensorFlow writes to stdout and stderr
as it likes.

A session, not ``tf.saved_model.load``: it accepts every SavedModel that TF Serving's C++ loader accepts.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVE_TAG = "serve"
NO_SIGNATURE = "__saved_model_init_op"
"""TensorFlow keeps its initialisation under this name among the signatures."""


class Unusable(Exception):
    """What was asked cannot be done; the message is for people."""


def main() -> None:
    """Run the job on stdin.

    Its keys: ``report``, ``models`` (role to directory, in order), ``examples`` (path or null), ``signature``, ``output``
    (name or null), ``batch_size``, ``threads``, ``seconds`` (longest this process may live).
    """
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["seconds"])  # SIGALRM ends it even if whoever started it was killed
    with Path(job["report"]).open("a", encoding="utf-8", buffering=1) as stream:
        run(job, report=lambda part: stream.write(json.dumps(part) + "\n"))


def run(job: Mapping[str, Any], *, report: Callable[[Mapping[str, Any]], object]) -> None:
    """Report on the examples, then on each model."""
    examples = None
    if job["examples"] is not None:
        try:
            examples = Examples(Path(job["examples"]))
        except Unusable as error:
            report({"part": "setup", "error": str(error)})
            return
        report({"part": "examples", "count": examples.count})
    try:
        import tensorflow  # noqa: F401, ICN001 - tells apart a missing TensorFlow and a bad model
    except ImportError as error:
        report({"part": "setup", "error": f"TensorFlow cannot be imported by {sys.executable}: {error}"})
        return
    for position, (role, directory) in enumerate(job["models"].items()):
        # Of a model that is only compared with, the weights are not worth their loading time unless they are scored.
        must_load = position == 0 or examples is not None
        for part in probe_model(Path(directory), examples=examples, job=job, must_load=must_load):
            report({**part, "role": role})


def probe_model(
    directory: Path, *, examples: Examples | None, job: Mapping[str, Any], must_load: bool
) -> Iterator[dict[str, Any]]:
    """Yield the parts ``begin``, ``signatures``, ``loaded``, ``scored`` and ``end`` of one model; ``failed`` cuts it short."""
    started = time.monotonic()
    yield {"part": "begin"}
    try:
        definitions = read_signatures(directory)
        yield {"part": "signatures", "signatures": {n: signature_json(d) for n, d in sorted(definitions.items())}}
        if must_load:
            with loaded(directory, threads=job["threads"]) as session:
                yield {"part": "loaded", "seconds": seconds_since(started)}
                if examples is not None:
                    yield {"part": "scored", **score_or_error(session, definitions, examples=examples, job=job)}
    except Unusable as error:
        yield {"part": "failed", "error": str(error)}
    yield {"part": "end", "seconds": seconds_since(started)}


def score_or_error(
    session: Any, definitions: Mapping[str, Any], *, examples: Examples, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how many labels are right of how many, or why the model could not be scored."""
    try:
        runner = Runner(session, definitions, signature=job["signature"], output=job["output"])
        return {**runner.score(examples, batch_size=job["batch_size"]), "error": None}
    except Unusable as error:
        return {"right": None, "count": None, "error": str(error)}


def seconds_since(started: float) -> float:
    """Return seconds, to the millisecond."""
    return round(time.monotonic() - started, 3)


def read_signatures(directory: Path) -> dict[str, Any]:
    """Return the signatures that the graph file defines, without loading any weights."""
    from google.protobuf import message, text_format
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    binary, text = directory / "saved_model.pb", directory / "saved_model.pbtxt"
    try:
        if binary.is_file():
            saved_model.ParseFromString(binary.read_bytes())
        else:
            text_format.Parse(text.read_text(encoding="utf-8"), saved_model)
    except (OSError, ValueError, message.DecodeError, text_format.ParseError) as error:
        raise Unusable(f"its graph file cannot be read: {error}") from error
    for graph in saved_model.meta_graphs:
        if set(graph.meta_info_def.tags) == {SERVE_TAG}:
            return {name: value for name, value in graph.signature_def.items() if name != NO_SIGNATURE}
    raise Unusable(f"it has no graph tagged {SERVE_TAG!r} alone, which is the one that TF Serving loads")


def signature_json(definition: Any) -> dict[str, Any]:
    """Return a ``SignatureDef`` as JSON."""
    return {
        kind: {name: tensor_json(info) for name, info in sorted(getattr(definition, kind).items())}
        for kind in ("inputs", "outputs")
    }


def tensor_json(info: Any) -> dict[str, Any]:
    """Return a ``TensorInfo`` as JSON."""
    from tensorflow.core.framework import types_pb2

    known = not info.tensor_shape.unknown_rank
    shape = [None if axis.size < 0 else axis.size for axis in info.tensor_shape.dim] if known else None
    return {"dtype": types_pb2.DataType.Name(info.dtype), "shape": shape}


@contextmanager
def loaded(directory: Path, *, threads: int) -> Iterator[Any]:
    """Give a session with the model's graph and weights."""
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    graph = tf.Graph()
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        try:
            with graph.as_default():
                tf.compat.v1.saved_model.loader.load(session, [SERVE_TAG], str(directory))
        except Exception as error:  # whatever it raises, this model does not load; the words are TensorFlow's
            raise Unusable(words_of(error)) from error
        yield session


class Examples:
    """Arrays ``x`` and ``y`` of an ``.npz`` file, checked.

    :raises Unusable: naming the file and what is wrong with it.
    """

    def __init__(self, path: Path) -> None:
        arrays = arrays_of(path)
        missing = [name for name in ("x", "y") if name not in arrays]
        if missing:
            raise Unusable(f"{str(path)!r} has no array {' and '.join(missing)}, only {sorted(arrays)}")
        self.x, self.y = arrays["x"], arrays["y"]
        if self.x.ndim == 0 or self.y.ndim == 0 or len(self.x) != len(self.y) or len(self.x) == 0:
            raise Unusable(
                f"{str(path)!r}: x has the shape {self.x.shape} and y {self.y.shape}; both need one entry per example, "
                "and at least one"
            )

    @property
    def count(self) -> int:
        """How many examples there are."""
        return len(self.x)


def arrays_of(path: Path) -> dict[str, Any]:
    """Return the arrays of an ``.npz`` file; never unpickles."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zip, header and pickle faults come as half a dozen classes
        raise Unusable(f"{str(path)!r} cannot be read as .npz: {words_of(error)}") from error


class Runner:
    """One signature of a loaded model, from its single input to one output."""

    def __init__(self, session: Any, definitions: Mapping[str, Any], *, signature: str, output: str | None) -> None:
        if signature not in definitions:
            raise Unusable(f"it has no signature {signature!r}, only {sorted(definitions)}")
        definition = definitions[signature]
        if len(definition.inputs) != 1:
            raise Unusable(f"{signature!r} takes the inputs {sorted(definition.inputs)}; the examples feed exactly one")
        self._session = session
        self._input = next(iter(definition.inputs.values()))
        self._output = definition.outputs[self._output_name(definition, signature=signature, asked=output)]

    @staticmethod
    def _output_name(definition: Any, *, signature: str, asked: str | None) -> str:
        names = sorted(definition.outputs)
        if asked is None and len(names) == 1:
            return str(names[0])
        if asked is None:
            raise Unusable(f"{signature!r} gives the outputs {names}; name the one to compare with the labels")
        if asked not in names:
            raise Unusable(f"{signature!r} has no output {asked!r}, only {names}")
        return asked

    def score(self, examples: Examples, *, batch_size: int) -> dict[str, Any]:
        """Count right labels; per example, or per pixel where labels are maps."""
        right = count = 0
        size = self._batch_size(batch_size)
        x = self._as_input(examples.x)
        for start in range(0, examples.count, size):
            y = examples.y[start : start + size]
            hits = right_labels(self._run(x[start : start + size], size=size), y)
            right, count = right + int(hits.sum()), count + int(hits.size)
        return {"right": right, "count": count}

    def _batch_size(self, asked: int) -> int:
        axes = [] if self._input.tensor_shape.unknown_rank else list(self._input.tensor_shape.dim)
        return int(axes[0].size) if axes and axes[0].size > 0 else asked

    def _as_input(self, x: Any) -> Any:
        import numpy as np
        import tensorflow as tf

        dtype = tf.as_dtype(self._input.dtype).as_numpy_dtype
        if not np.can_cast(x.dtype, dtype, casting="same_kind"):
            raise Unusable(f"the examples' x is {x.dtype}, which the input's type {np.dtype(dtype)} cannot hold")
        return x.astype(dtype)

    def _run(self, x: Any, *, size: int) -> Any:
        """Run one batch; one that is too short for a fixed batch size is filled up with its last example."""
        import numpy as np

        is_fixed = self._batch_size(0) > 0
        fed = np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)]) if is_fixed else x
        try:
            answer = np.asarray(self._session.run(self._output.name, {self._input.name: fed}))
        except Exception as error:  # shapes, types and anything inside the graph; the words are TensorFlow's
            raise Unusable(f"it fails on the examples: {words_of(error)}") from error
        if answer.ndim == 0 or len(answer) != len(fed):
            raise Unusable(f"it answers {len(fed)} examples with the shape {answer.shape}, not one entry per example")
        return answer[: len(x)]


def right_labels(answer: Any, y: Any) -> Any:
    """Return where the answer is the label, as booleans.

    An answer of integers or text, or of one number per example, is labels; else it is scores, and the highest on the last
    axis counts. Scores that are not a number are wrong.
    """
    import numpy as np

    labels = y[..., 0] if y.ndim > 1 and y.shape[-1] == 1 else y
    if answer.ndim > 1 and answer.shape[-1] == 1 and not is_scores(answer):
        answer = answer[..., 0]
    if not is_scores(answer) or answer.ndim == 1:
        chosen, valid = answer, np.True_
    elif answer.shape[-1] == 1:
        raise Unusable("it gives one score per example; let a signature give a score per label, or the label")
    else:
        chosen, valid = answer.argmax(axis=-1), ~np.isnan(answer).any(axis=-1)
    if chosen.shape != labels.shape:
        raise Unusable(f"its labels have the shape {chosen.shape}, and those of the examples {labels.shape}")
    if chosen.dtype == object:
        chosen, labels = as_text(chosen), as_text(labels)
    return (chosen == labels) & valid


def is_scores(answer: Any) -> bool:
    """Whether the numbers are fractions: labels are whole numbers or text."""
    return bool(answer.dtype.kind not in "iubOSU")


def as_text(values: Any) -> Any:
    """Return text for bytes, which is what TensorFlow calls a string."""
    import numpy as np

    texts = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values.ravel()]
    return np.array(texts, dtype=object).reshape(values.shape)


def words_of(error: BaseException) -> str:
    """Return an error's own words on one line, not endless."""
    text = " ".join(str(getattr(error, "message", "") or error).split())
    return f"{type(error).__name__}: {text[:600]}"


if __name__ == "__main__":
    main()
