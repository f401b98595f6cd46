"""A worker in a process of its own, which a test kills: it makes passes over an endpoint until it dies."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.core.errors import ModelOpsError
from tests.adapters.vertex_story import MODEL, V1, plan_of, state_of, target_at
from tests.vertex_fake.rig import Address


def main(rest_url: str, grpc_address: str, transport: str, root: str) -> None:
    store = PosixRepository(Path(root)).fleet("vertex")
    target = target_at(Address(rest_url=rest_url, grpc_address=grpc_address), store=store, transport=transport)
    while True:
        try:
            with store.lock(wait_seconds=10.0):
                target.apply(plan_of(1, state_of(V1)), focus=frozenset({MODEL}))
        except ModelOpsError as error:
            sys.stderr.write(f"{error}\n")
        time.sleep(0.01)
