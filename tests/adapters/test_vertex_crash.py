"""Workers die by SIGKILL during an upload and a deployment, before and after the platform has answered them.

Another one goes on from the fleet's document and from what the platform says: nothing is uploaded or deployed twice.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.adapters.serving.vertex_book import DOCUMENT, Book
from tests.adapters import vertex_worker
from tests.adapters.vertex_story import ENDPOINT, PARENT, V1, brought, id_of, plan_of, state_of, target_at
from tests.vertex_fake.rig import VertexFake
from tests.waits import until

pytestmark = pytest.mark.integration

_PATIENCE_SECONDS = 150.0
"""A worker imports Google's clients first, for seconds of CPU time that a busy machine makes many."""


@contextmanager
def worker(fake: VertexFake, root: Path, *, transport: str) -> Iterator[BaseProcess]:
    """Run a worker. All are forked from one process that has imported Google's clients, which takes seconds, and no more."""
    address, context = fake.address, multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([vertex_worker.__name__])
    options = (address.rest_url, address.grpc_address, transport, str(root))
    process = context.Process(target=vertex_worker.main, args=options, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(timeout=60)


@pytest.mark.parametrize(
    ("method", "answered", "transport"),
    [("UploadModel", True, "rest"), ("UploadModel", False, "grpc"), ("DeployModel", False, "rest")],
)
def test_whoever_comes_after_a_killed_worker_adopts_its_operation(
    tmp_path: Path, method: str, answered: bool, transport: str
) -> None:
    store = PosixRepository(tmp_path).fleet("vertex")

    def names() -> list[str | None]:
        return [entry.operation for entry in Book.from_bytes(store.read(DOCUMENT)).running.values()]

    with VertexFake() as fake:
        fake.control.duration("*", 0.02)
        fake.control.duration(method, None)
        if not answered:
            fake.control.hang(method)  # it is done when nobody is there to hear of it
        with worker(fake, tmp_path, transport=transport) as process:
            if answered:
                until(
                    lambda: fake.control.log(method=method) and any(names()),
                    what="the operation's name is written",
                    within=_PATIENCE_SECONDS,
                )
            else:
                until(lambda: method in fake.control.hanging(), what="the call has come", within=_PATIENCE_SECONDS)
                assert names() == [None]
            process.kill()
            process.join(timeout=60)
            assert process.exitcode == -9
        fake.control.let_go()
        until(lambda: fake.control.log(method=method), what="the call of the dead worker is taken")
        (running,) = fake.control.running()
        next_one = target_at(fake.address, store=store, transport=transport)
        with store.lock(wait_seconds=60.0):
            progress = next_one.apply(plan_of(1, state_of(V1)), focus=frozenset({"digits"}))
            assert progress.pending
            assert names() == [running]
            fake.control.release()
            fake.control.duration(method, 0.02)
            assert brought(next_one, plan_of(1, state_of(V1))) == {str(V1.number): 100.0}
        made = [each["method"] for each in fake.control.log(mutating=True)]
        assert made.count("UploadModel") == made.count("DeployModel") == made.count("CreateEndpoint") == 1
        versions = list(fake.address.model_client("rest").list_model_versions(name=PARENT))
        assert [each.version_id for each in versions] == ["1"]
        assert [each["id"] for each in fake.control.endpoint(ENDPOINT)["deployed_models"]] == [id_of(V1)]
