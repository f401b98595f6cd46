from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.vertex_fake.rig import VertexFake

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(scope="session", autouse=True)
def _no_proxy() -> Iterator[None]:
    """Let no proxy of whoever runs the tests stand between their clients and loopback; gRPC reads it too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower() in _PROXIES]:
            patch.delenv(name)
        yield


@pytest.fixture
def fake() -> Iterator[VertexFake]:
    """A service whose operations end at once."""
    with VertexFake(seed=1) as started:
        started.control.duration("*", 0)
        yield started
