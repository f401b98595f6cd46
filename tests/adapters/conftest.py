from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.adapters.bucket_rig import BucketServer, run_gcs, run_s3
from tests.adapters.fake_model_service import FakeModelService


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    """A GCS on loopback, for all tests of a worker: each makes a bucket of its own."""
    with run_gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    """An S3 on loopback, for all tests of a worker: each makes a bucket of its own."""
    with run_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def fake_model_service() -> Iterator[Callable[..., FakeModelService]]:
    """A factory of started fake model servers, each stopped at the end; takes ``FakeModelService``'s arguments."""
    with ExitStack() as stack:

        def start(**options: Any) -> FakeModelService:
            return stack.enter_context(FakeModelService(**options).start())

        yield start
