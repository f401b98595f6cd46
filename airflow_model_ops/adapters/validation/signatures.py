"""Signatures of SavedModels, and whether clients of one can go on with another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_model_ops.core.errors import InvalidState

Shape = tuple[int | None, ...] | None
"""The size per axis, ``None`` for any size; ``None`` as a whole for any number of axes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output, under the name that requests use for it.

    :param dtype: TensorFlow's name of the type, such as ``DT_FLOAT``.
    """

    name: str
    dtype: str
    shape: Shape

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any shape"
        return f"{self.dtype} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a request may ask of a model under one signature name.

    :raises InvalidState: if two inputs or two outputs share a name.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        for kind, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [spec.name for spec in specs]
            if len(set(names)) != len(names):
                raise InvalidState(f"signature has two {kind} of one name: {names!r}")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """Read what the probe wrote: per kind, name to ``{"dtype": ..., "shape": ...}``."""
        return cls(inputs=_specs(data["inputs"]), outputs=_specs(data["outputs"]))

    def to_json(self) -> dict[str, Any]:
        """Return the form that :meth:`from_json` reads."""
        return {"inputs": _specs_json(self.inputs), "outputs": _specs_json(self.outputs)}


def incompatibilities(*, candidate: Signature, stable: Signature) -> list[str]:
    """Return what would break clients of ``stable`` that are served by ``candidate``; empty if nothing would.

    Every request that ``stable`` takes must be taken, and every answer must be one that ``stable`` could have given.
    A SavedModel's signature has no optional inputs, so an additional one breaks every client. An additional output
    breaks REST clients of a single-output model: TF Serving leaves the name out of such answers only.
    """
    return [*_input_faults(candidate, stable), *_output_faults(candidate, stable)]


def missing_signatures(*, candidate: Iterable[str], stable: Iterable[str]) -> list[str]:
    """Return the signature names that ``stable`` answers and ``candidate`` does not, sorted."""
    return sorted(set(stable) - set(candidate))


def _input_faults(candidate: Signature, stable: Signature) -> Iterator[str]:
    new, old = _by_name(candidate.inputs), _by_name(stable.inputs)
    for name, was in old.items():
        now = new.get(name)
        if now is None:
            yield f"input {name!r} is gone"
        elif now.dtype != was.dtype or not _covers(now.shape, was.shape):
            yield f"input {name!r} takes {now}, where stable takes {was}"
    yield from (f"input {name!r} is new, and stable's clients do not send it" for name in new if name not in old)


def _output_faults(candidate: Signature, stable: Signature) -> Iterator[str]:
    new, old = _by_name(candidate.outputs), _by_name(stable.outputs)
    for name, was in old.items():
        now = new.get(name)
        if now is None:
            yield f"output {name!r} is gone"
        elif now.dtype != was.dtype or not _covers(was.shape, now.shape):
            yield f"output {name!r} gives {now}, where stable gives {was}"
    added = sorted(set(new) - set(old))
    if len(old) == 1 and added:
        yield (
            f"output {', '.join(map(repr, added))} is added to a single output, which changes the form of REST answers; "
            "put it into a signature of its own"
        )


def _covers(wide: Shape, narrow: Shape) -> bool:
    """Whether every tensor of the narrow shape is one of the wide shape."""
    if wide is None:
        return True
    if narrow is None or len(narrow) != len(wide):
        return False
    return all(most is None or most == least for most, least in zip(wide, narrow, strict=True))


def _by_name(specs: Iterable[TensorSpec]) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}


def _specs(data: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, dtype=spec["dtype"], shape=None if spec["shape"] is None else tuple(spec["shape"]))
        for name, spec in sorted(data.items())
    )


def _specs_json(specs: Iterable[TensorSpec]) -> dict[str, Any]:
    return {
        spec.name: {"dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)} for spec in specs
    }
