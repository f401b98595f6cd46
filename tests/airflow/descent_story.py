"""Several models on one fleet in memory, whose versions descend from data, and a real ledger in a SQLite file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_model_ops.config.fleet import parse_fleet
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.hooks.wiring import Fleet
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock
from tests.airflow.release_story import AUTOMATION

YAML = """\
model: {model}
versions: {{scheme: semantic, prefix: m}}
checks:
  - {{name: errors, kind: error_rate, max: 0.2}}
"""
BAD, GOOD = "digits@7", "digits@8"


def file_of(model: str, *, more: str = "") -> ModelFile:
    """The YAML file of a model."""
    return parse_model_file(YAML.format(model=model) + more)


def name_of(major: int) -> str:
    """The name of a version."""
    return f"m-v{major}.0.0"


@dataclass(kw_only=True)
class Descent:
    """A fleet and the data that its models' versions come from."""

    directory: Path
    models: dict[str, ModelFile] = field(default_factory=dict)
    repository: InMemoryRepository = field(default_factory=InMemoryRepository)
    target: InMemoryTarget = field(default_factory=InMemoryTarget)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        form = {"servers": "a:1/2", "router_config_dir": "live", "router_admin": "http://b:1", "initially": "empty"}
        config = parse_fleet({**form, "fleet": "main"}, source="story")
        self.fleet = Fleet(name="main", repository=self.repository, target=self.target, config=config, clock=self.clock)

    def connect(self, monkeypatch: pytest.MonkeyPatch, *, path: Path | None = None) -> None:
        """Define the ledger's connection."""
        extra = {"path": str(path or self.directory / "mlmd.sqlite"), "retry": "1s"}
        monkeypatch.setenv("AIRFLOW_CONN_MLMD_DEFAULT", json.dumps({"conn_type": "mlmd", "extra": extra}))

    def knows(self, *models: str) -> None:
        """Write the YAML files of models."""
        self.models |= {model: file_of(model) for model in models}

    def control(self, model: str) -> ModelControl:
        return self.fleet.control(file_of(model), origin=Origin(actor=AUTOMATION))

    def state(self, model: str) -> ServingState:
        return self.control(model).state

    def stable(self, model: str) -> str | None:
        stable = self.state(model).stable
        return stable.name if stable else None

    def push(self, model: str, major: int, *, dataset: str) -> Version:
        directory = self.directory / "saved_model"
        directory.mkdir(exist_ok=True)
        (directory / "saved_model.pb").write_bytes(f"{model} {major}".encode())
        request = PushRequest(directory=directory, created="2023-06-01T12:00:00+00:00", dataset_version=dataset)
        return self.control(model).push(request, name=name_of(major)).version

    def start(self, model: str, major: int, *, dataset: str, percent: float = 50) -> Fence:
        version, fence = self.push(model, major, dataset=dataset), Fence(release=f"{model} {major}", attempt=1)
        control = self.control(model)
        control.start_canary(version, fence=fence, percent=percent)
        control.apply(deadline_seconds=5)
        return fence

    def serve(self, model: str, *datasets: str) -> None:
        """Let versions 1, 2, ... trained on these have become stable one after the other."""
        for major, dataset in enumerate(datasets, start=1):
            fence = self.start(model, major, dataset=dataset)
            control = self.control(model)
            control.promote(control.naming.parse(name_of(major)), fence=fence, proof="it was good")
            control.apply(deadline_seconds=5)
