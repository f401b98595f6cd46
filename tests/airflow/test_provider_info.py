"""What the provider tells Airflow about itself: a mistake here breaks every ``airflow`` command of an installation."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_model_ops.get_provider_info import get_provider_info

INFO = get_provider_info()
CONNECTION_TYPES = {item["connection-type"]: item for item in INFO["connection-types"]}
FORM_FIELDS = {"host", "schema", "login", "password", "port", "extra", "description"}


def airflow_directory() -> Path:
    import airflow

    return Path(airflow.__path__[0])


def modules_named(value: Any) -> Iterator[str]:
    """Yield every module that the ``python-modules`` lists name."""
    if isinstance(value, dict):
        yield from value.get("python-modules", ())
        for part in value.values():
            yield from modules_named(part)
    elif isinstance(value, list):
        for part in value:
            yield from modules_named(part)


def load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_info_follows_airflows_schema() -> None:
    schema = json.loads((airflow_directory() / "provider_info.schema.json").read_text())

    jsonschema.Draft7Validator(schema).validate(INFO)
    assert json.loads(json.dumps(INFO)) == INFO


def test_the_package_is_named_as_its_distribution_or_airflow_refuses_to_start() -> None:
    distribution = importlib.metadata.distribution(INFO["package-name"])

    assert distribution.name == INFO["package-name"]
    assert INFO["package-name"].replace("-", "_") == "airflow_model_ops"
    (entry,) = distribution.entry_points.select(group="apache_airflow_provider")
    assert entry.load()() == INFO


def test_airflow_itself_finds_the_provider_its_connections_and_its_settings() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()

    assert INFO.items() <= manager.providers["airflow-model-ops"].data.items()
    assert set(CONNECTION_TYPES) <= set(manager.hooks)


def test_reading_the_info_imports_nothing_of_airflow() -> None:
    script = (
        "import sys, airflow_model_ops.get_provider_info as m; m.get_provider_info(); print('airflow' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("module", sorted(set(modules_named(INFO))))
def test_every_module_that_is_listed_imports(module: str) -> None:
    assert importlib.import_module(module).__doc__


@pytest.mark.parametrize("kind", ["operators", "sensors", "hooks", "triggers"])
def test_every_module_of_a_kind_is_listed(kind: str) -> None:
    package = Path(importlib.import_module(f"airflow_model_ops.{kind}").__path__[0])
    # What only other modules of this package import brings nothing of its own.
    inner = {
        "operators": {"base", "fleet_news", "lineage_notes", "linked", "loading", "news", "outcomes", "push_sources"},
        "hooks": {"arms", "check_queries", "cloud_monitoring", "pipeline", "saved_models", "vertex_ai", "wiring"},
        "triggers": {"observing", "telling"},
    }.get(kind, set())
    there = {path.stem for path in package.glob("*.py")} - {"__init__"} - inner

    listed = {module.rpartition(".")[2] for module in modules_named(INFO[kind])}

    assert listed == there


@pytest.mark.parametrize("path", INFO.get("cli", []))
def test_the_command_line_is_there(path: str) -> None:
    assert callable(load(path))


@pytest.mark.parametrize("connection_type", CONNECTION_TYPES)
def test_each_connection_type_has_a_hook_that_airflow_accepts(connection_type: str) -> None:
    form = CONNECTION_TYPES[connection_type]
    hook = load(form["hook-class-name"])

    assert hook.conn_type == connection_type
    assert hook.hook_name == form["hook-name"]
    assert hook.conn_name_attr in inspect.signature(hook).parameters
    assert inspect.signature(hook).parameters[hook.conn_name_attr].default == hook.default_conn_name
    assert getattr(hook("some_id"), hook.conn_name_attr) == "some_id"
    assert callable(hook.test_connection)


@pytest.mark.parametrize("connection_type", CONNECTION_TYPES)
def test_the_form_of_each_connection_type_says_what_airflow_reads(connection_type: str) -> None:
    form = CONNECTION_TYPES[connection_type]
    behaviour = form["ui-field-behaviour"]

    assert set(form) == {"connection-type", "hook-class-name", "hook-name", "ui-field-behaviour", "conn-fields"}
    assert set(behaviour) == {"hidden-fields", "relabeling", "placeholders"}
    assert {*behaviour["hidden-fields"], *behaviour["relabeling"], *behaviour["placeholders"]} <= FORM_FIELDS
    assert not set(behaviour["hidden-fields"]) & {*behaviour["relabeling"], *behaviour["placeholders"]}
    for name, field in form["conn-fields"].items():
        assert name.isidentifier()
        assert set(field) == {"label", "description", "schema"}
        jsonschema.Draft7Validator.check_schema(field["schema"])
        if "default" in field["schema"]:
            jsonschema.Draft7Validator(field["schema"]).validate(field["schema"]["default"])


def test_the_form_of_a_fleet_has_a_field_for_every_setting() -> None:
    from airflow_model_ops.config.fleet import FleetConfig

    assert set(CONNECTION_TYPES["tf_serving"]["conn-fields"]) == set(FleetConfig.model_fields)


def test_the_defaults_of_a_fleets_form_are_those_of_its_settings() -> None:
    from airflow_model_ops.config.fleet import parse_fleet

    fields = CONNECTION_TYPES["tf_serving"]["conn-fields"]
    given = {name: field["schema"]["default"] for name, field in fields.items() if "default" in field["schema"]}
    needed = {"servers": "a:1/2", "router_config_dir": "live", "router_admin": "http://b:1"}

    assert parse_fleet({**given, **needed}, source="form") == parse_fleet(needed, source="form")


def test_what_is_secret_is_masked() -> None:
    assert CONNECTION_TYPES["prometheus"]["conn-fields"]["bearer_token"]["schema"]["format"] == "password"


def test_the_default_connections_of_a_model_are_the_hooks_own() -> None:
    from airflow_model_ops.config.model_file import ModelIdentity

    hooks = [load(form["hook-class-name"]).default_conn_name for form in CONNECTION_TYPES.values()]

    model = ModelIdentity(model="digits")
    ids = model.connections
    assert sorted(hooks) == sorted([ids.repository, ids.target, model.metrics_connection, str(ids.ledger)])
