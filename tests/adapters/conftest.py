from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.adapters.fake_model_service import FakeModelService


@pytest.fixture
def fake_model_service() -> Iterator[Callable[..., FakeModelService]]:
    """A factory of started fake model servers, each stopped at the end; takes ``FakeModelService``'s arguments."""
    with ExitStack() as stack:

        def start(**options: Any) -> FakeModelService:
            return stack.enter_context(FakeModelService(**options).start())

        yield start
