"""One component of Airflow that imports, before it forks its first child, what each of its children needs.

``airflow_component.py MODULE,... scheduler`` is ``airflow scheduler``. The scheduler forks a process per task, the DAG processor
one per file that it parses. At its first asset each of them imports the URI handlers of all providers, which takes 1.5 s of CPU
once Google's provider is installed; here they have them from their parent, and the modules that are named, too.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable

from airflow.__main__ import main
from airflow.sdk import Asset

FORKING = frozenset({"scheduler", "dag-processor"})


def preload(modules: Iterable[str]) -> None:
    """Import modules, and what Airflow imports at the first asset."""
    for module in modules:
        importlib.import_module(module)
    Asset(name="preloaded", uri="preloaded://nothing")


if __name__ == "__main__":
    _, named, *words = sys.argv
    if FORKING & set(words):
        preload(filter(None, named.split(",")))
    sys.argv = ["airflow", *words]
    main()
