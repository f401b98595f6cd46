from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.adapters.bucket_rig import BucketServer, run_gcs, run_s3
from tests.adapters.fake_model_service import FakeModelService

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(scope="session", autouse=True)
def _nobodys_cloud() -> Iterator[None]:
    """Lead no client astray, here or in a process that a test starts: servers are on loopback, and keys are the tests' own.

    Whoever runs the tests may have proxies, and an AWS profile with another endpoint or other checksums.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower() in _PROXIES or name.startswith("AWS_")]:
            patch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, os.devnull)
        yield


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
