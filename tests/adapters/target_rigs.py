"""Every platform behind one handle, for what all of them promise: in memory, TF Serving behind Envoy, Vertex AI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_model_ops.core.ports import Target
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.testing import InMemoryTarget
from tests.adapters import vertex_story
from tests.adapters.serving_rig import serving_fleet
from tests.vertex_fake.rig import VertexFake


@dataclass(frozen=True, kw_only=True)
class TargetRig:
    """One platform that serves nothing yet.

    :param versions: Some that it can load.
    :param break_loads: From now on it can load no version it does not have.
    :param go_silent: From now on it answers nobody.
    """

    target: Target
    versions: tuple[Version, ...]
    break_loads: Callable[[], None]
    go_silent: Callable[[], None]


@contextmanager
def in_memory(_root: Path) -> Iterator[TargetRig]:
    target = InMemoryTarget(servers=("server-1", "server-2"), load_passes=1)
    versions = tuple(vertex_story.version(second) for second in range(1, 5))
    yield TargetRig(
        target=target,
        versions=versions,
        break_loads=lambda: target.broken_versions.update(each.number for each in versions[1:]),
        go_silent=lambda: target.unavailable_servers.update(target.servers),
    )


@contextmanager
def tf_serving(root: Path) -> Iterator[TargetRig]:
    with serving_fleet(root) as fleet:
        versions = tuple(fleet.push(major) for major in range(1, 5))
        target = fleet.addresses.target(fleet.addresses.repository())

        def break_loads() -> None:
            for server in fleet.servers:
                server.fail_loads |= {("digits", each.number) for each in versions[1:]}

        def go_silent() -> None:
            for server in fleet.servers:
                server.unreachable = True

        yield TargetRig(target=target, versions=versions, break_loads=break_loads, go_silent=go_silent)
        target.close()


@contextmanager
def vertex_ai(_root: Path) -> Iterator[TargetRig]:
    with VertexFake() as fake:
        fake.control.duration("*", 0.02)
        target = vertex_story.target_at(fake.address, store=vertex_story.MemoryStore())
        yield TargetRig(
            target=target,
            versions=tuple(vertex_story.version(second) for second in range(1, 5)),
            break_loads=lambda: fake.control.fail_operation("DeployModel", "INVALID_ARGUMENT", times=9),
            go_silent=lambda: fake.control.refuse("GetEndpoint", "UNAVAILABLE", times=99),
        )
        target.close()


RIGS = {"in memory": in_memory, "TF Serving": tf_serving, "Vertex AI": vertex_ai}
