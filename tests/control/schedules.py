"""A deterministic scheduler of two workers that switch at points, and all schedules of bounded preemption.

Source of the bound: Musuvathi and Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs",
PLDI 2007: most races show with two preemptions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

_STEP_SECONDS = 60.0
"""Long beyond doubt: whoever takes longer for one step hangs."""


class Killed(BaseException):
    """A worker ends here, as by kill -9: nothing that it would do in an orderly end counts."""


@dataclass
class _Worker:
    name: str
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    waits_for_lock: bool = False
    done: bool = False
    points: list[str] = field(default_factory=list)


class Schedule:
    """One run of some workers. Each runs alone until its next point; then the choices say who goes on.

    :param choices: At each point where several could go on: 0 to stay with the one that runs, 1 to switch, and so on.
    :param kill: (worker, n): that worker is killed at its n-th point, before what it would have written.
    :param lock_falls: Whether one who finds the lock held takes it, as after a holder's stop of more than its time.
    """

    def __init__(
        self, *, choices: Sequence[int] = (), kill: tuple[str, int] | None = None, lock_falls: bool = False
    ) -> None:
        self.taken: list[int] = []
        self.options: list[int] = []
        self.trace: list[str] = []
        self.lock_falls = lock_falls
        self.killed = False
        self._choices = tuple(choices)
        self._kill = kill
        self._workers: dict[int, _Worker] = {}
        self._errors: list[BaseException] = []
        self._yielded = threading.Semaphore(0)

    def point(self, name: str) -> None:
        """Stop here until chosen; the main thread, which prepares and checks, is never stopped."""
        worker = self._workers.get(threading.get_ident())
        if worker is None:
            return
        worker.points.append(name)
        self._stop(worker)
        self.trace.append(f"{worker.name}: {name}")
        if self._kill == (worker.name, len(worker.points)):
            raise Killed

    def waits(self) -> bool:
        """Whether a worker that finds the lock held waits; then it stops until another one has moved."""
        worker = self._workers.get(threading.get_ident())
        if worker is None or self.lock_falls:
            return False
        worker.waits_for_lock = True
        self._stop(worker)
        worker.waits_for_lock = False
        return True

    def run(self, **work: Callable[[], object]) -> None:
        """Run the workers to their ends.

        :raises BaseException: what a worker raised, unless it was killed.
        """
        threads = [threading.Thread(target=self._work, args=(name, task), daemon=True) for name, task in work.items()]
        for thread in threads:
            thread.start()
            self._wait()  # it has announced itself
        current: _Worker | None = None
        while alive := [worker for worker in self._workers.values() if not worker.done]:
            current = self._choose(alive, current)
            current.go.release()
            self._wait()
        for thread in threads:
            thread.join(_STEP_SECONDS)
        if self._errors:
            raise self._errors[0]

    def _choose(self, alive: list[_Worker], current: _Worker | None) -> _Worker:
        free = [worker for worker in alive if not worker.waits_for_lock] or alive
        if current in free:  # staying comes first: choice 0 is no preemption
            free = [current, *(worker for worker in free if worker is not current)]
        if len(free) == 1:
            return free[0]
        place = len(self.taken)
        choice = self._choices[place] if place < len(self._choices) else 0
        self.taken.append(choice)
        self.options.append(len(free))
        return free[choice]

    def _work(self, name: str, task: Callable[[], object]) -> None:
        worker = self._workers[threading.get_ident()] = _Worker(name)
        self._stop(worker)
        try:
            task()
        except Killed:
            self.killed = True
        except BaseException as error:  # noqa: BLE001 (raised again by run)
            self._errors.append(error)
        finally:
            worker.done = True
            self._yielded.release()

    def _stop(self, worker: _Worker) -> None:
        self._yielded.release()
        worker.go.acquire()

    def _wait(self) -> None:
        assert self._yielded.acquire(timeout=_STEP_SECONDS), f"nobody moves; so far: {self.trace}"


def all_schedules(run: Callable[[Sequence[int]], Schedule], *, preemptions: int | None = None) -> Iterator[Schedule]:
    """Run every schedule, depth first.

    :param preemptions: How often a worker may be left that could go on; ``None``: any number of times.
    """
    choices: list[int] | None = []
    while choices is not None:
        schedule = run(choices)
        yield schedule
        choices = _next(schedule.taken, schedule.options, preemptions)


def _next(taken: list[int], options: list[int], preemptions: int | None) -> list[int] | None:
    for place in range(len(taken) - 1, -1, -1):
        spent = sum(1 for choice in taken[:place] if choice)
        if taken[place] + 1 < options[place] and (preemptions is None or spent < preemptions):
            return [*taken[:place], taken[place] + 1]
    return None
