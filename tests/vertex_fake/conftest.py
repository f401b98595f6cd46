from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vertex_fake.rig import VertexFake


@pytest.fixture
def fake() -> Iterator[VertexFake]:
    """A service whose operations end at once."""
    with VertexFake(seed=1) as started:
        started.control.duration("*", 0)
        yield started
