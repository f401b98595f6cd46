"""The real API server of Airflow with the real plugin over a house, in a process of its own.

Run by the benchmark, with Airflow's settings in the environment: python -m benchmarks.page.server ROOT. It prints its port and
the tokens as one line of JSON.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import uvicorn
from airflow import settings
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models import import_all_models
from airflow.models.base import Base
from fastapi import FastAPI

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.hooks.wiring import Fleet, standing_in
from benchmarks.page.house import USERS, serving


def main() -> None:
    """Serve until the process is ended."""
    repository = PosixRepository(Path(sys.argv[1]))
    import_all_models()
    Base.metadata.create_all(settings.get_engine())
    with standing_in(Fleet(name="main", repository=repository, target=serving(repository))):
        _serve(create_app("core"))


def _serve(app: FastAPI) -> None:
    tokens = {
        name: get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role, teams=[]))
        for name, role in USERS.items()
    }
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)  # who asks before the server is ready waits for it
        print(json.dumps({"port": listening.getsockname()[1], "tokens": tokens}), flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        server.run(sockets=[listening])


if __name__ == "__main__":
    main()
