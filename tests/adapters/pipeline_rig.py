"""Stores as pipelines write them, made with the real ML Metadata: TFX's portable and legacy layouts, Kubeflow Pipelines."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.lineage.settings import LedgerSettings, load_ml_metadata

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tfx_1_21_metadata.sqlite"
"""Written by a real TFX 1.21 pipeline with its real Pusher."""
LIVE, PENDING, ABANDONED = "LIVE", "PENDING", "ABANDONED"
COMPLETE = 3
Ends = Sequence[tuple[str, int]]


class Layout(StrEnum):
    """How a pipeline writes down what belongs together."""

    PORTABLE = "portable"
    LEGACY = "legacy"
    KFP = "kfp"


_CONTEXTS = {
    Layout.PORTABLE: ("pipeline", "pipeline_run", "node"),
    Layout.LEGACY: ("pipeline", "run", "component_run"),
    Layout.KFP: ("system.Pipeline", "system.PipelineRun", None),
}


def copy_of_fixture(directory: Path) -> Path:
    """Return a copy of the database that a real TFX wrote."""
    return Path(shutil.copy(FIXTURE, directory / "tfx.sqlite"))


def dump(path: Path) -> list[str]:
    """Return everything in a SQLite file."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return list(database.iterdump())


@dataclass
class Pipeline:
    """Writes what runs of one pipeline leave behind."""

    path: Path
    name: str = "taxi"
    layout: Layout = Layout.PORTABLE
    run: str = "run-1"
    _types: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module = load_ml_metadata()
        self._pb2 = module.proto.metadata_store_pb2
        config = self._pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.path)
        config.sqlite.connection_mode = 3
        self.store = module.MetadataStore(config)

    @property
    def settings(self) -> LedgerSettings:
        return LedgerSettings(path=self.path, retry_seconds=1)

    def artifact(self, kind: str, uri: str = "", *, state: str = LIVE, **custom: Any) -> int:
        """Register an artifact; return its id."""
        row = self._pb2.Artifact(type_id=self._type("artifact", kind), uri=uri)
        if self.layout is Layout.LEGACY:  # TFX's own word, from before ML Metadata had states
            custom = {**custom, "state": {LIVE: "published"}.get(state, state.lower())}
        else:
            row.state = self._pb2.Artifact.State.Value(state)
        _fill(row.custom_properties, custom)
        return int(self.store.put_artifacts([row])[0])

    def execution(self, kind: str, *, inputs: Ends = (), outputs: Ends = (), **custom: Any) -> int:
        """Register what an execution read and wrote, in this run; return its id."""
        type_id = self._type("execution", kind, properties=("pipeline_name", "run_id", "component_id"))
        row = self._pb2.Execution(type_id=type_id, last_known_state=COMPLETE)
        if self.layout is Layout.LEGACY:
            _fill(row.properties, {"pipeline_name": self.name, "run_id": self.run, "component_id": kind})
        _fill(row.custom_properties, custom)
        pairs = [self._event(role, each, output=False) for role, each in inputs]
        pairs += [self._event(role, each, output=True) for role, each in outputs]
        execution, _, _ = self.store.put_execution(
            row, pairs, self._contexts(kind), reuse_context_if_already_exist=True
        )
        return int(execution)

    def trained(self, uri: str, *, data: Ends = (), state: str = LIVE, **custom: Any) -> int:
        """A Trainer wrote a model."""
        model = self.artifact("Model", uri, state=state)
        self.execution("tfx.components.trainer.component.Trainer", inputs=data, outputs=[("model", model)], **custom)
        return model

    def evaluated(
        self, model: int, *, blessed: int = 1, state: str = LIVE, baseline: int | None = None, **custom: Any
    ) -> int:
        """An Evaluator said whether it blesses a model; return its blessing."""
        custom = {"current_model_id": model, "current_model": f"/m/{model}", "blessed": blessed, **custom}
        blessing = self.artifact("ModelBlessing", f"/blessing/{model}", state=state, **custom)
        inputs = [("model", model), *([("baseline_model", baseline)] if baseline else [])]
        self.execution("tfx.components.evaluator.component.Evaluator", inputs=inputs, outputs=[("blessing", blessing)])
        return blessing

    def validated(self, model: int, *, blessed: int) -> int:
        """An InfraValidator said whether it blesses a model."""
        blessing = self.artifact("InfraBlessing", f"/infra/{model}", blessed=blessed)
        self.execution("InfraValidator", inputs=[("model", model)], outputs=[("blessing", blessing)])
        return blessing

    def pushed(self, model: int, uri: str, *, blessing: int | None = None, state: str = LIVE, **custom: Any) -> int:
        """A Pusher ended; ``pushed=0`` without pushing."""
        custom = {"pushed": 1, "pushed_version": "1700000000", **custom}
        artifact = self.artifact("PushedModel", uri, state=state, **custom)
        inputs = [("model", model), *([("model_blessing", blessing)] if blessing else [])]
        self.execution("tfx.components.pusher.component.Pusher", inputs=inputs, outputs=[("pushed_model", artifact)])
        return artifact

    def _contexts(self, kind: str) -> list[Any]:
        pipeline, run, node = _CONTEXTS[self.layout]
        run_name = f"{self.name}.{self.run}" if self.layout is Layout.LEGACY else self.run
        names = [(pipeline, self.name), (run, run_name)]
        if node:
            names += [(node, f"{run_name}.{kind}"), ("execution_cache", f"{self.run}/{kind}")]
        return [self._pb2.Context(type_id=self._type("context", type_name), name=name) for type_name, name in names]

    def _event(self, role: str, artifact: int, *, output: bool) -> tuple[Any, Any]:
        event = self._pb2.Event(type=self._pb2.Event.OUTPUT if output else self._pb2.Event.INPUT)
        event.path.steps.add().key = role
        if self.layout is not Layout.KFP:
            event.path.steps.add().index = 0
        (row,) = self.store.get_artifacts_by_id([artifact])
        return row, event

    def _type(self, kind: str, name: str, *, properties: Sequence[str] = ()) -> int:
        if (kind, name) not in self._types:
            message = getattr(self._pb2, f"{kind.title()}Type")(name=name)
            for each in properties:
                message.properties[each] = self._pb2.STRING
            put = getattr(self.store, f"put_{kind}_type")
            self._types[kind, name] = int(put(message, can_add_fields=True, can_omit_fields=True))
        return self._types[kind, name]


def saved_model(directory: Path, content: bytes = b"graph") -> Path:
    """Return a directory that looks like a SavedModel."""
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(content)
    (directory / "variables" / "variables.index").write_bytes(content[::-1])
    return directory


def _fill(properties: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, int):
            properties[name].int_value = value
        elif isinstance(value, float):
            properties[name].double_value = value
        else:
            properties[name].string_value = value
