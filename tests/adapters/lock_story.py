"""The story of one lock that several threads want."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.waits import all_ended


def only_one_is_inside(hold: Callable[[], Callable[[], AbstractContextManager[object]]]) -> None:
    """Let four threads take a lock ten times each.

    :param hold: Gives each thread what takes the lock.
    """
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        take = hold()
        for _ in range(10):
            with take():
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    all_ended(*threads, within=120)
    assert (inside, most) == (0, 1)
