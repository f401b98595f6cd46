"""Words for the stories of the core: versions by number, people, releases, and a model that serves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_model_ops.core.state import Actor, ActorKind, LiveRelease, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="digits")


@pytest.fixture
def v() -> Callable[[int], Version]:
    """``v(3)`` is digits-v3.0.0."""
    return lambda major: NAMING.parse(f"digits-v{major}.0.0")


@pytest.fixture
def release(v: Callable[[int], Version]) -> Callable[..., LiveRelease]:
    """``release(3)`` is the first attempt to make version 3 stable."""

    def make(major: int, *, attempt: int = 1, id: str | None = None) -> LiveRelease:  # noqa: A002 (the field's name)
        return LiveRelease(
            id=id or f"r{major}", attempt=attempt, version=v(major), started_at="2023-06-01T12:00:00+00:00"
        )

    return make


@pytest.fixture
def person() -> Actor:
    return Actor(kind=ActorKind.PERSON, name="ada")


@pytest.fixture
def automation() -> Actor:
    return Actor(kind=ActorKind.AUTOMATION, name="model_release")


@pytest.fixture
def serving(v: Callable[[int], Version]) -> ServingState:
    """Version 3 is stable; 1 and 2 were before."""
    return ServingState(fleet="main", stable=v(3), earlier=(v(1), v(2)))


@pytest.fixture
def empty() -> ServingState:
    """A model that never served."""
    return ServingState(fleet="main")
