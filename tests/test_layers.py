"""The house has storeys and imports go down only; importing the lower ones stays light.

Modules are found by walking the package, so a new one is checked from its first day.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_model_ops

pytestmark = pytest.mark.timeout(300)  # fresh processes, which import nearly all there is

PACKAGE = Path(airflow_model_ops.__file__).parent
NAME = "airflow_model_ops"

ANY_VENDOR = "any vendor library"
ALLOWED: dict[str, tuple[frozenset[str], frozenset[str] | str]] = {
    # storey: (parts of this package it may import, other distributions it may import)
    "core": (frozenset({"core"}), frozenset()),
    "control": (frozenset({"core", "control"}), frozenset()),
    "config": (frozenset({"core", "config"}), frozenset({"pydantic", "pydantic_core", "yaml"})),
    "adapters": (frozenset({"core", "adapters"}), ANY_VENDOR),
    "metrics": (frozenset({"metrics"}), frozenset({"prometheus_client"})),
    "predictions": (frozenset({"metrics", "predictions"}), frozenset({"prometheus_client"})),
    "testing": (frozenset({"core", "adapters", "testing"}), frozenset()),
}
"""Storeys above (hooks, operators, ...) may import everything below them; they are free here."""

HEAVY = ("tensorflow", "ml_metadata", "google.cloud", "prometheus_api_client")
NEVER_BELOW = (*HEAVY, "airflow")
"""What importing a lower storey must not pull in: seconds and half a gigabyte for each task and each parse."""


def python_files() -> Iterator[tuple[Path, str]]:
    """Yield every file of the package with the storey it belongs to: its first folder, or its own name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules(*storeys: str) -> list[str]:
    """Name every importable module of some storeys."""
    names = []
    for path, storey in python_files():
        if storey in storeys and path.name != "__main__.py":
            parts = path.relative_to(PACKAGE).with_suffix("").parts
            names.append(".".join((NAME, *parts)).removesuffix(".__init__"))
    return names


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, also of those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            # `from airflow_model_ops import hooks` imports a storey too
            yield from ((node.lineno, f"{base}.{alias.name}" if base == NAME else base) for alias in node.names)


def breach(storey: str, imported: str) -> str | None:
    """Say what is wrong with an import in a storey, or ``None``."""
    ours, vendors = ALLOWED[storey]
    first, _, rest = imported.partition(".")
    if first == NAME:
        part = rest.partition(".")[0]
        return None if part in ours or part == "__version__" else f"{storey} must not import {imported}"
    if first in sys.stdlib_module_names:
        return None
    if first == "airflow":
        return f"{storey} must not know Airflow, but imports {imported}"
    return None if vendors == ANY_VENDOR or first in vendors else f"{storey} must not import {imported}"


@pytest.mark.parametrize("storey", sorted(ALLOWED))
def test_a_storey_imports_only_what_lies_below_it(storey: str) -> None:
    files = [path for path, owner in python_files() if owner == storey]
    assert files, f"storey {storey!r} has no files; was it renamed?"
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {problem}"
        for path in files
        for line, imported in imports(path.read_text())
        if (problem := breach(storey, imported))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("storey", "source"),
    [
        ("core", "import yaml"),
        ("core", "def f():\n    from airflow_model_ops.control import commit"),
        ("core", "from airflow_model_ops import adapters"),
        ("core", "from . import state"),
        ("control", "from airflow_model_ops.adapters.serving import envoy_router"),
        ("config", "import requests"),
        ("adapters", "from airflow.sdk import BaseHook"),
        ("adapters", "from airflow_model_ops.hooks.wiring import anything"),
        ("metrics", "from airflow_model_ops.core import state"),
    ],
)
def test_the_check_would_notice_an_import_that_goes_up(storey: str, source: str) -> None:
    assert [problem for _, imported in imports(source) if (problem := breach(storey, imported))]


def test_nobody_below_it_imports_the_page() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path, storey in python_files()
        if storey != "plugin"
        for line, imported in imports(path.read_text())
        if f"{imported}.".startswith(f"{NAME}.plugin.")
    ]
    assert not wrong, "the API server alone needs the page: " + ", ".join(wrong)


def test_what_every_airflow_process_imports_of_the_page_imports_nothing_but_airflows_plugin_manager() -> None:
    tree = ast.parse((PACKAGE / "plugin" / "airflow_plugin.py").read_text())
    at_import = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    inside = {id(node) for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) for node in ast.walk(each)}
    names = {found for node in at_import if id(node) not in inside for _, found in imports(ast.unparse(node))}
    assert {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "airflow.plugins_manager"
    }
    assert (PACKAGE / "plugin" / "__init__.py").read_text().count("import") == 1  # that of annotations


def loaded_after_importing(names: list[str]) -> set[str]:
    """Import modules in a fresh interpreter and return the names of all modules it has then."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def heavy_among(loaded: set[str], heavy: tuple[str, ...]) -> list[str]:
    """Name what is heavy; ``google.cloud`` itself is an empty namespace that a file of its wheel makes at each start."""
    loaded = loaded - {"google.cloud"}
    return sorted(name for name in loaded if any(name == one or name.startswith(f"{one}.") for one in heavy))


def test_importing_every_lower_module_pulls_in_nothing_heavy_and_no_airflow() -> None:
    loaded = loaded_after_importing(modules(*ALLOWED))
    assert not heavy_among(loaded, NEVER_BELOW)


def test_core_and_control_need_nothing_but_the_standard_library() -> None:
    bare = loaded_after_importing([])
    more = loaded_after_importing(modules("core", "control")) - bare
    foreign = {name.partition(".")[0] for name in more} - set(sys.stdlib_module_names) - {NAME}
    assert not foreign


def test_nothing_a_dag_file_can_import_pulls_in_anything_heavy() -> None:
    """The model server alone serves models and may load TensorFlow; all else is imported by DAG files and by tasks."""
    storeys = {storey for _, storey in python_files()} - {"model_server"}
    loaded = loaded_after_importing(modules(*storeys))
    assert not heavy_among(loaded, HEAVY)
