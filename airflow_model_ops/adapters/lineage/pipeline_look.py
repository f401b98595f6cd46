"""One look at a pipeline's store, as a process of its own.

ML Metadata waits in C++ and keeps Python's lock meanwhile: in the triggerer one store that hangs would stop every trigger.
So a look there is a short-lived process that may be killed. It reads its question from stdin as JSON, the store's password
included, which thus is in no list of processes; its answer is the last line of stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.core.errors import ModelOpsError

_PATHS = frozenset({"path", "ca_file"})


def question(settings: LedgerSettings, *, kind: CandidateKind, pipeline: str, limit: int, after: str) -> str:
    """Return what :func:`main` reads."""
    plain = {name: _plain(value) for name, value in asdict(settings).items()}
    return json.dumps({"settings": plain, "kind": kind.value, "pipeline": pipeline, "limit": limit, "after": after})


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Look, and return the answer in JSON's terms: what was found, or the error and whether asking again may help."""
    from airflow_model_ops.adapters.lineage.pipeline_candidates import newest_candidates
    from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore

    try:
        look = newest_candidates(
            PipelineStore(_settings(asked["settings"])),
            kind=CandidateKind(asked["kind"]),
            pipeline=asked["pipeline"],
            limit=asked["limit"],
            after=asked["after"],
        )
    except ModelOpsError as error:
        return {"error": str(error), "retryable": error.retryable}
    return {"candidates": [each.to_json() for each in look.candidates], "note": look.note}


def main() -> None:
    """Answer the question on stdin."""
    sys.stdout.write(f"{json.dumps(answer(json.load(sys.stdin)))}\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _settings(plain: Mapping[str, Any]) -> LedgerSettings:
    """Return the settings that :func:`question` wrote down."""
    given = dict(plain)
    given["kind"] = LedgerKind(given["kind"])
    for name in _PATHS & given.keys():
        given[name] = Path(given[name]) if given[name] else None
    return LedgerSettings(**given)


if __name__ == "__main__":
    main()
