"""A process that releases a version, and ends by SIGKILL at one of its writes if told so; and who starts and follows it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.repository.posix_fleet import PosixFleetStore
from airflow_model_ops.adapters.repository.posix_log import PosixLog
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.adapters.serving.envoy_router import EnvoyRouter
from airflow_model_ops.adapters.serving.tf_serving_client import ModelServiceClient
from airflow_model_ops.control.leases import WORKING_SECONDS, LeaseKeeper
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.upkeep import Upkeep
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Fence
from tests.adapters.serving_rig import AUTOMATION, FLEET, Addresses, version

RELEASE = Fence(release="r2", attempt=1)
APPLY_SECONDS = 120.0
_POINTS: tuple[tuple[type, str], ...] = (
    (PosixLog, "put_if_absent"),
    (PosixFleetStore, "write"),
    (PosixRepository, "write_lease"),
    (PosixRepository, "refresh_links"),
    (EnvoyRouter, "write_clusters"),
    (EnvoyRouter, "write_routes"),
    (ModelServiceClient, "reload"),
)


def start_worker(
    addresses: Addresses,
    model: str,
    *,
    major: int = 2,
    fence: Fence = RELEASE,
    kill_at: tuple[str, int] | None = None,
    trace: Path,
    lease_seconds: float = WORKING_SECONDS,
) -> multiprocessing.process.BaseProcess:
    """Start a release in a process of its own; the forks come from a fresh process that has opened no connection.

    :param kill_at: The step (start, shift or promote) and the number of its write, from 1, right before which the
        process is killed; ``None``: it lives.
    :param trace: Where it notes its writes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.control.release_worker"])
    writes = Writes(kill_at=kill_at, trace=trace)
    wanted = {"model": model, "major": major, "fence": fence, "writes": writes, "lease_seconds": lease_seconds}
    process = context.Process(target=_release, args=(addresses,), kwargs=wanted, daemon=True)
    process.start()
    return process


def writes_of(trace: Path) -> list[str]:
    """Return the writes of a worker as ``<step> <number> <name>``."""
    return trace.read_text().splitlines()


def watch(controls: Sequence[ModelControl], *, seconds: float) -> dict[str, float]:
    """Do what the watcher of the triggerer does until every model is at rest; return how long each took.

    At rest: nothing is live, and the fleet follows the head.
    """
    began, rest = time.monotonic(), dict[str, float]()
    one = controls[0]
    upkeep = Upkeep(
        repository=one.repository, target=one.target, fleet=FLEET, clock=one.clock, origin=Origin(actor=AUTOMATION)
    )
    while time.monotonic() - began < seconds and len(rest) < len(controls):
        upkeep.reconcile(deadline_seconds=seconds)
        unapplied = one.applier.unapplied()
        for control in controls:
            if control.model not in unapplied and control.state.release is None:
                rest.setdefault(control.model, time.monotonic() - began)
        time.sleep(0.1)
    return rest


class Writes:
    """Counts the writes of each step, notes them, and kills its process at one of them."""

    def __init__(self, *, kill_at: tuple[str, int] | None, trace: Path) -> None:
        self._kill_at = kill_at
        self._trace = trace
        self._step = ""
        self._number = 0

    def begin(self, step: str) -> None:
        self._step, self._number = step, 0

    def watch_all(self) -> None:
        self._trace.touch()
        self._one_by_one = threading.Lock()  # servers are told in parallel, and each write has a number of its own
        for owner, name in _POINTS:
            setattr(owner, name, self._watched(getattr(owner, name), f"{owner.__name__}.{name}"))

    def _watched(self, original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not threading.current_thread().name.startswith("lease-"):  # the renewals come when they come
                self._reach(name)
            return original(*args, **options)

        return call

    def _reach(self, name: str) -> None:
        with self._one_by_one:
            self._number += 1
            with self._trace.open("a") as file:
                file.write(f"{self._step} {self._number} {name}\n")
            if self._kill_at == (self._step, self._number):
                os.kill(os.getpid(), signal.SIGKILL)


def _release(
    addresses: Addresses, *, model: str, major: int, fence: Fence, writes: Writes, lease_seconds: float
) -> None:
    writes.watch_all()
    control = addresses.control(model)
    control.leases = LeaseKeeper(
        repository=control.repository, model=model, clock=control.clock, working_seconds=lease_seconds
    )
    steps: dict[str, Callable[[], object]] = {
        "start": lambda: control.start_canary(version(major), fence=fence),
        "shift": lambda: control.shift(fence=fence, percent=50),
        "promote": lambda: control.promote(version(major), fence=fence, proof="it is good"),
    }
    with control.leases.working(fence, version(major)):
        for step, commit in steps.items():
            writes.begin(step)
            commit()
            control.apply(deadline_seconds=APPLY_SECONDS)
    control.target.close()  # type: ignore[attr-defined]
