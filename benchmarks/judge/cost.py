"""What a decision costs: processor time and kept state of a day's release with three checks."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from airflow_model_ops.core.judge.release import ReleaseJudge
from benchmarks.judge.evidence import Source
from benchmarks.judge.ours import SETTINGS, SUBJECT, check_of
from benchmarks.judge.report import Finding, Report
from benchmarks.judge.scenes import Scene
from benchmarks.judge.traffic import draw

CPU_BUDGET_MS, STATE_BUDGET_BYTES = 5.0, 10_000
_CHECKS = ("errors", "slow-answers", "wrong-predictions")
_MEASURED_LOOKS = 400


def run(seed: int, report: Report) -> None:
    """Judge one day with a look every 15 s, and measure the last looks and the state after them."""
    scene = Scene(name="cost", rps=100.0, seconds=86_400.0, peek_seconds=15.0, diurnal=True)
    checks = [replace(check_of(scene), name=name) for name in _CHECKS]
    sources = [Source(name) for name in _CHECKS]
    state, took = "", []
    judge = ReleaseJudge(checks, settings=SETTINGS, has_stable=True)
    judge.enter_step(10.0)
    for look, seen in enumerate(draw(scene, seed=seed, run=0)):
        evidence = [source.answer(seen) for source in sources]
        if look < scene.peeks - _MEASURED_LOOKS:
            judge.fold(evidence)
            continue
        state = json.dumps(judge.to_json())
        begin = time.process_time()
        judge = ReleaseJudge(checks, settings=SETTINGS, has_stable=True)
        judge.enter_step(10.0)
        judge.restore(json.loads(state))
        judge.fold(evidence)
        judge.summary(subject=SUBJECT)
        state = json.dumps(judge.to_json())
        took.append(1000 * (time.process_time() - begin))
    report.findings += [_cpu(took, state), _size(state)]


def _cpu(took: list[float], state: str) -> Finding:
    typical, slow = statistics.median(took), statistics.quantiles(took, n=20)[-1]
    floor = _milliseconds(lambda: json.loads(json.dumps(json.loads(state))))
    return Finding(
        goal="a decision is cheap",
        cell="three checks, a day of looks every 15 s; state read, judged, put in words, written",
        rule=f"median under {CPU_BUDGET_MS:g} ms of processor time",
        measured=f"{typical:.2f} ms (p95 {slow:.2f}), {typical / floor:.1f} times reading and writing that state as JSON",
        holds=typical < CPU_BUDGET_MS,
    )


def _size(state: str) -> Finding:
    size = len(state.encode())
    return Finding(
        goal="a decision needs little memory",
        cell="three checks, after a day",
        rule=f"under {STATE_BUDGET_BYTES:,} bytes of JSON",
        measured=f"{size:,} bytes",
        holds=size < STATE_BUDGET_BYTES,
    )


def _milliseconds(work: Callable[[], object], *, times: int = 50) -> float:
    begin = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - begin) / times
