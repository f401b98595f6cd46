from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_model_ops.model_server.lifecycle import Lifecycle
from airflow_model_ops.model_server.model_list import ModelEntry
from airflow_model_ops.model_server.path_source import PathSource
from airflow_model_ops.model_server.servable import Servable, Signature, Tensor
from airflow_model_ops.model_server.server_core import ServerCore
from airflow_model_ops.model_server.state_board import StateBoard
from airflow_model_ops.model_server.status import Code, StatusError
from tests.waits import until

BUILD_MODELS = Path(__file__).with_name("build_models.py")


@dataclass(slots=True, kw_only=True)
class FakeServable:
    """Adds its version number to every input."""

    version: int
    closed: bool = False
    signatures: Mapping[str, Signature] = field(
        default_factory=lambda: {
            "serving_default": Signature(inputs={"x": "DT_FLOAT"}, outputs={"y": "DT_FLOAT"}),
            "pair": Signature(inputs={"a": "DT_INT64", "b": "DT_FLOAT"}, outputs={"a": "DT_INT64", "b": "DT_FLOAT"}),
        }
    )
    signature_defs: Any = None

    def predict(
        self, inputs: Mapping[str, Tensor], *, signature_name: str, output_filter: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        if self.closed:
            raise StatusError(Code.INTERNAL, "used after it was closed")
        names = self.signatures[signature_name].outputs
        return {
            name: np.asarray(t + self.version, dtype=t.dtype) for name, t in zip(names, inputs.values(), strict=True)
        }

    def close(self) -> None:
        self.closed = True


class NoticedSource(PathSource):
    """Says when it was given a list."""

    def __init__(self, *, aspire: Callable[..., None]) -> None:
        super().__init__(aspire=aspire)
        self.listed = threading.Event()

    def update(self, entries: Sequence[ModelEntry]) -> None:
        super().update(entries)
        self.listed.set()


@dataclass(slots=True)
class Rig:
    """A server without TensorFlow, sockets, threads or clock: the test polls and ticks."""

    root: Path
    allow_labels_for_unavailable: bool = False
    board: StateBoard = field(default_factory=StateBoard)
    loads: list[tuple[str, int]] = field(default_factory=list)
    servables: dict[tuple[str, int], FakeServable] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=8))
    lifecycle: Lifecycle[Servable] = field(init=False)
    source: NoticedSource = field(init=False)
    core: ServerCore[Servable] = field(init=False)

    def __post_init__(self) -> None:
        self.lifecycle = Lifecycle(load=self._load, board=self.board)
        self.source = NoticedSource(aspire=self.lifecycle.aspire)
        self.core = ServerCore(
            lifecycle=self.lifecycle,
            board=self.board,
            source=self.source,
            allow_labels_for_unavailable=self.allow_labels_for_unavailable,
        )

    def _load(self, model: str, version: int, path: Path) -> Servable:
        self.loads.append((model, version))
        if version in self.broken or not path.is_dir():
            raise StatusError(Code.NOT_FOUND, f"no SavedModel in {path.name}")
        self.servables[model, version] = FakeServable(version=version)
        return self.servables[model, version]

    def base_path(self, model: str) -> Path:
        return self.root / model / "versions"

    def add(self, model: str, *versions: int | str) -> None:
        for version in versions:
            (self.base_path(model) / str(version)).mkdir(parents=True)

    def entry(self, model: str, **options: Any) -> ModelEntry:
        return ModelEntry(name=model, base_path=str(self.base_path(model)), **options)

    def turn(self) -> None:
        """One poll, then everything that follows from it."""
        self.source.poll()
        self.lifecycle.settle()

    def begin_reload(self, *entries: ModelEntry) -> Future[None]:
        return self.pool.submit(self.core.reload, entries)

    def reload(self, *entries: ModelEntry) -> None:
        """Reload and turn until it is done. No turn comes before the list is taken: it would follow the list before."""
        self.source.listed.clear()
        pending = self.begin_reload(*entries)
        until(lambda: self.source.listed.is_set() or pending.done(), what="the reload takes its list, or refuses it")

        def done() -> bool:
            self.turn()
            return pending.done()

        until(done, what="the reload ends, turn after turn")
        pending.result()
        self.turn()

    def states(self, model: str) -> list[tuple[int, str]]:
        return [(state.version, state.state.name) for state in self.board.versions(model)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.core.close()
    made.pool.shutdown()


@pytest.fixture
def lenient_rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, allow_labels_for_unavailable=True)
    yield made
    made.core.close()
    made.pool.shutdown()


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories "1", "2", "3" with tiny SavedModels; made by another process, so that this one never imports TF."""
    out = tmp_path_factory.mktemp("saved_models")
    subprocess.run([sys.executable, str(BUILD_MODELS), str(out)], check=True, timeout=240)
    return out
