"""What a lineage tells about how a model was trained, where it tells it without doubt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_model_ops.core.upstream import UpstreamArtifact, UpstreamExecution, UpstreamLineage

_MODEL_TYPES = frozenset({"Model", "system.Model"})
_DATA_TYPES = frozenset({"Examples", "system.Dataset"})
_GIVEN_VERSION = ("dataset_version", "version")
_NO_SPAN = frozenset({"", "0"})
"""A span that a pipeline never set counts as 0."""
_PARAMETERS = ("train_args", "custom_config", "hyperparameters")
"""Properties of a Trainer's execution that hold a JSON object. Source: TFX's Trainer; the last is for components of your own."""


def dataset_version_of(lineage: UpstreamLineage) -> str | None:
    """Return which data the model was trained on: what the one source of examples calls itself.

    That is its ``dataset_version`` or ``version``, with its ``span`` before it if it has one. ``None`` if there are several
    sources, or the only one has no name: a guess would claim that two versions come from the same data.
    """
    sources = _sources(lineage)
    if len(sources) != 1:
        return None
    facts = sources[0].properties
    given = next((facts[name] for name in _GIVEN_VERSION if facts.get(name, "") not in _NO_SPAN), "")
    span = facts.get("span", "")
    named = [f"span-{span}" if span not in _NO_SPAN else "", given]
    return "-".join(part for part in named if part).strip() or None


def hyperparameters_of(lineage: UpstreamLineage) -> dict[str, Any]:
    """Return what the one Trainer was given; empty if nothing tells, or several trained what led here."""
    trainer = _trainer(lineage)
    found: dict[str, Any] = {}
    for name in _PARAMETERS if trainer is not None else ():
        value = _json_object(trainer.properties.get(name, "")) if trainer else {}
        if value:
            found[name] = value
    return found


def _trainer(lineage: UpstreamLineage) -> UpstreamExecution | None:
    """Return what made the model: the only execution that wrote one and read data, or wrote one at all."""
    models = {each.id for each in lineage.artifacts if each.type in _MODEL_TYPES}
    makers = {event.execution for event in lineage.events if event.output and event.artifact in models}
    found = [execution for execution in lineage.executions if execution.id in makers]
    return found[0] if len(found) == 1 else None


def _sources(lineage: UpstreamLineage) -> list[UpstreamArtifact]:
    """Return the data that was made from no other data, as far as the Trainer read what came from it."""
    trainer = _trainer(lineage)
    if trainer is None:
        return []
    data = {each.id: each for each in lineage.artifacts if each.type in _DATA_TYPES}
    reading = _inputs(lineage)
    found: dict[str, UpstreamArtifact] = {}
    seen, frontier = {trainer.id}, [trainer.id]
    makers = {event.artifact: event.execution for event in lineage.events if event.output}
    while frontier:
        execution = frontier.pop()
        for artifact in reading.get(execution, ()):
            maker = makers.get(artifact)
            if artifact in data and not any(each in data for each in reading.get(maker or "", ())):
                found[artifact] = data[artifact]
            if maker is not None and maker not in seen:
                seen.add(maker)
                frontier.append(maker)
    return list(found.values())


def _inputs(lineage: UpstreamLineage) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in lineage.events:
        if not event.output:
            found.setdefault(event.execution, []).append(event.artifact)
    return found


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=str)  # Python writes NaN and Infinity, which JSON has not
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
