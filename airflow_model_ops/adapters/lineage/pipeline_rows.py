"""How pipelines write things down in ML Metadata, in all the layouts there are: states, events, properties, contexts.

Source: TFX 1.21 (portable layout, contexts ``pipeline``, ``pipeline_run``, ``node``), TFX's orchestration on Airflow (legacy
layout, contexts ``pipeline``, ``run``, ``component_run``, facts as properties of executions) and Kubeflow Pipelines (types
``system.*``). Takes messages of ML Metadata; imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_model_ops.adapters.lineage.pipeline_store import PIPELINE_CONTEXTS

RUN_CONTEXTS = ("pipeline_run", "run", "system.PipelineRun", "KfpRun")
MACHINERY_CONTEXTS = frozenset({"execution_cache"})
"""Contexts that say nothing about where something comes from."""
_UNKNOWN, _LIVE = 0, 2  # Artifact.State
_LEGACY_STATE, _LEGACY_LIVE = "state", "published"
_INPUTS = frozenset({2, 3, 5})  # Event.Type: DECLARED_INPUT, INPUT, INTERNAL_INPUT
_OUTPUTS = frozenset({1, 4, 6})  # DECLARED_OUTPUT, OUTPUT, INTERNAL_OUTPUT; PENDING_OUTPUT is no output yet
_YES = frozenset({"1", "1.0", "true"})
_LONGEST_TEXT = 2_000
_CUT_MARK = " … (cut)"


def is_live(artifact: Any) -> bool:
    """Whether an artifact is there: neither pending, nor abandoned, nor deleted."""
    if artifact.state == _UNKNOWN:  # TFX wrote its own word for it before ML Metadata had one
        return texts_of(artifact).get(_LEGACY_STATE) == _LEGACY_LIVE
    return bool(artifact.state == _LIVE)


def is_input(event: Any) -> bool:
    """Whether an execution read an artifact."""
    return event.type in _INPUTS


def is_output(event: Any) -> bool:
    """Whether an execution wrote an artifact."""
    return event.type in _OUTPUTS


def role_of(event: Any) -> str:
    """Return the first key of an event's path, whether it has one step ``{key}`` or two, ``[key, index]``."""
    return next((str(step.key) for step in event.path.steps if step.HasField("key")), "")


def flag(texts: dict[str, str], name: str) -> bool | None:
    """Return a property that means yes or no; ``None`` if there is none."""
    value = texts.get(name)
    return None if value is None else value.lower() in _YES


def texts_of(row: Any) -> dict[str, str]:
    """Return the properties of an artifact or execution that are plain values, custom ones last, sorted by name."""
    found: dict[str, str] = {}
    for properties in (row.properties, row.custom_properties):
        for name, value in properties.items():
            text = _text(value)
            if text is not None:
                found[str(name)] = text
    return dict(sorted(found.items()))


def pipeline_and_run(contexts: Iterable[Any], execution: Any | None) -> tuple[str, str]:
    """Return the names of the pipeline and of the run of an execution; empty if nothing tells."""
    rows = list(contexts)
    facts = texts_of(execution) if execution is not None else {}
    pipeline = next((str(row.name) for row in rows if row.type in PIPELINE_CONTEXTS), facts.get("pipeline_name", ""))
    run = next((str(row.name) for row in rows if row.type in RUN_CONTEXTS), facts.get("run_id", ""))
    return pipeline, run


def _text(value: Any) -> str | None:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        text = str(value.string_value)
        return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - len(_CUT_MARK)] + _CUT_MARK
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    return str(getattr(value, kind)) if kind in {"int_value", "double_value"} else None
