"""The blessing: what a version must show before it gets traffic. TensorFlow is never imported in the calling process."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.validation.process import ProbeRun, run_probe
from airflow_model_ops.adapters.validation.signatures import Signature, incompatibilities, missing_signatures
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.policy import Validation

SERVING_DEFAULT = "serving_default"
"""The signature of requests that name none."""

CANDIDATE, STABLE = "candidate", "stable"
_THREADS = 2
_BATCH_SIZE = 64
_QUOTED = 400
"""How many characters of stderr the reason quotes; the details have more."""
_EXACT = 1e-9
"""Differences of accuracies below this come from rounding: 0.9 - 0.85 is more than 0.05 in binary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """Whether a version earned its blessing.

    :param reason: One sentence with the numbers; names every failure.
    :param accuracy: Share of right labels, 0 to 1; ``None`` if it was not measured.
    :param stable_accuracy: That of the stable version on the same examples.
    :param examples: How many examples there were.
    :param details: Everything the rules looked at; JSON.
    """

    blessed: bool
    reason: str
    accuracy: float | None = None
    stable_accuracy: float | None = None
    examples: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What one model showed.

    :param fault: Why it did not come to its end.
    :param signatures: ``None`` if it did not get as far as telling them.
    :param load_seconds: ``None`` if it was not loaded.
    """

    fault: str | None
    signatures: Mapping[str, Signature] | None
    load_seconds: float | None
    score_fault: str | None
    accuracy: float | None


def validate_candidate(
    *,
    candidate: Path,
    stable: Path | None,
    validation: Validation,
    python: str = sys.executable,
    signature: str = SERVING_DEFAULT,
    output: str | None = None,
    batch_size: int = _BATCH_SIZE,
) -> ValidationReport:
    """Load a version in a process of its own, compare its signatures with stable's, and score it on the examples.

    The process protects against crashes and leaks of a model, not against a malicious one.

    :param stable: The directory of the stable version; ``None`` if the model has none.
    :param python: A Python that has TensorFlow; this package need not be installed there.
    :param signature: The signature to score; all signatures of stable are compared.
    :param output: The output to compare with the labels; ``None``: the only one.
    :param batch_size: Examples per run, unless the signature fixes it.
    :raises InvalidConfig: if the examples cannot be used, or there is no TensorFlow: no version's fault.
    """
    _check_config(validation)
    models = {CANDIDATE: candidate} | ({STABLE: stable} if stable is not None else {})
    job = {
        "models": {role: str(directory.resolve()) for role, directory in models.items()},
        "examples": str(Path(validation.examples).resolve()) if validation.examples is not None else None,
        "signature": signature,
        "output": output,
        "batch_size": batch_size,
        "threads": _THREADS,
    }
    run = run_probe(job, python=python, timeout_seconds=validation.timeout_seconds)
    _check_setup(run)
    return _report(run, validation=validation, has_stable=stable is not None)


def _check_config(validation: Validation) -> None:
    if validation.examples is None and (validation.min_accuracy, validation.max_accuracy_drop) != (None, None):
        raise InvalidConfig(
            "validation.min_accuracy and max_accuracy_drop need validation.examples: an .npz with x and y"
        )
    if validation.examples is not None and not Path(validation.examples).is_file():
        raise InvalidConfig(
            f"validation.examples {validation.examples!r} is not a file; give the path of an .npz with arrays x and y"
        )


def _check_setup(run: ProbeRun) -> None:
    """Refuse to judge a version when it never got its turn, unless time or memory ran out meanwhile."""
    setup = run.part("setup")
    if setup is not None:
        raise InvalidConfig(
            f"validation cannot start: {setup['error']}; correct validation.examples, or install tensorflow there"
        )
    if run.part("begin", role=CANDIDATE) is None and run.status is not None and run.status >= 0:
        raise InvalidConfig(
            f"validation could not start: {run.ending or 'its process reported nothing'}; it said: {run.stderr or 'nothing'!r}"
        )


def _report(run: ProbeRun, *, validation: Validation, has_stable: bool) -> ValidationReport:
    candidate = _shown(run, CANDIDATE)
    stable = _shown(run, STABLE) if has_stable else None
    examples = run.part("examples")
    count = int(examples["count"]) if examples else 0
    faults = list(_faults(candidate, stable, validation=validation, count=count))
    reason = "; ".join(faults) if faults else "; ".join(_merits(candidate, stable, validation=validation, count=count))
    return ValidationReport(
        blessed=not faults,
        reason=reason,
        accuracy=candidate.accuracy,
        stable_accuracy=stable.accuracy if stable else None,
        examples=count,
        details={
            "faults": faults,
            "examples": count,
            "min_accuracy": validation.min_accuracy,
            "max_accuracy_drop": validation.max_accuracy_drop,
            "parts": [dict(part) for part in run.parts],
            "ending": run.ending,
            "stderr": run.stderr if run.ending else "",
        },
    )


def _shown(run: ProbeRun, role: str) -> _Shown:
    failed, told, loaded, scored = (run.part(kind, role=role) for kind in ("failed", "signatures", "loaded", "scored"))
    score = scored or {"right": None, "count": 0, "error": None}
    return _Shown(
        fault=failed["error"] if failed else _early_end(run, role=role, loaded=loaded is not None),
        signatures={n: Signature.from_json(data) for n, data in told["signatures"].items()} if told else None,
        load_seconds=loaded["seconds"] if loaded else None,
        score_fault=score["error"],
        accuracy=score["right"] / score["count"] if score["count"] else None,
    )


def _early_end(run: ProbeRun, *, role: str, loaded: bool) -> str | None:
    if run.part("end", role=role) is not None:
        return None
    where = "while it was scored on the examples" if loaded else "before it was loaded"
    said = f" (stderr ends {run.stderr[-_QUOTED:]!r})" if run.stderr else ""
    return f"{run.ending or 'its process stopped'} {where}{said}"


def _faults(candidate: _Shown, stable: _Shown | None, *, validation: Validation, count: int) -> Iterator[str]:
    if candidate.fault is not None:
        yield f"the candidate does not {'load' if candidate.load_seconds is None else 'run'}: {candidate.fault}"
    if candidate.signatures is not None:
        had_its_turn = stable is not None and (stable.signatures is not None or candidate.fault is None)
        yield from _signature_faults(candidate.signatures, stable if had_its_turn else None)
    if validation.examples is not None and candidate.fault is None:
        yield from _accuracy_faults(candidate, validation=validation, count=count)
        if stable is not None and validation.max_accuracy_drop is not None:
            yield from _drop_faults(candidate, stable, allowed=validation.max_accuracy_drop, count=count)


def _signature_faults(candidate: Mapping[str, Signature], stable: _Shown | None) -> Iterator[str]:
    if not candidate:
        yield "the candidate has no signature that a request could use; export it with one"
    if stable is None:
        return
    if stable.signatures is None:
        yield f"the stable version cannot be read to compare with: {stable.fault}"
        return
    for name in missing_signatures(candidate=candidate, stable=stable.signatures):
        yield f"signature {name!r} is gone, which stable answers"
    for name in sorted(set(candidate) & set(stable.signatures)):
        found = incompatibilities(candidate=candidate[name], stable=stable.signatures[name])
        yield from (f"signature {name!r}: {fault}" for fault in found)


def _accuracy_faults(candidate: _Shown, *, validation: Validation, count: int) -> Iterator[str]:
    if candidate.accuracy is None:
        yield f"the candidate cannot be scored on the {count} examples: {candidate.score_fault}"
    elif validation.min_accuracy is not None and candidate.accuracy < validation.min_accuracy - _EXACT:
        yield f"accuracy {candidate.accuracy:.4f} on {count} examples is below the {validation.min_accuracy:g} required"


def _drop_faults(candidate: _Shown, stable: _Shown, *, allowed: float, count: int) -> Iterator[str]:
    if stable.accuracy is None:
        yield f"the stable version cannot be scored to compare with: {stable.fault or stable.score_fault}"
    elif candidate.accuracy is not None and stable.accuracy - candidate.accuracy > allowed + _EXACT:
        drop = stable.accuracy - candidate.accuracy
        yield (
            f"accuracy {candidate.accuracy:.4f} on {count} examples is {drop:.4f} below stable's {stable.accuracy:.4f}, more "
            f"than the {allowed:g} allowed"
        )


def _merits(candidate: _Shown, stable: _Shown | None, *, validation: Validation, count: int) -> Iterator[str]:
    yield "it loads" + (f" in {candidate.load_seconds:.1f} s" if candidate.load_seconds is not None else "")
    if stable is not None:
        yield f"its signatures ({', '.join(sorted(candidate.signatures or ()))}) keep stable's clients working"
    if candidate.accuracy is not None:
        bound = f", at least {validation.min_accuracy:g}" if validation.min_accuracy is not None else ""
        against = f", stable {stable.accuracy:.4f}" if stable is not None and stable.accuracy is not None else ""
        yield f"accuracy {candidate.accuracy:.4f} on {count} examples{bound}{against}"
