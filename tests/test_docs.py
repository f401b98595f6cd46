"""What the documentation says is so: its YAML is accepted, its commands exist, its tables agree with the code."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from airflow_model_ops.config import model_file
from airflow_model_ops.config.fleet import FleetConfig, parse_fleet
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.config.notification_part import NotificationsPart
from airflow_model_ops.config.release_parts import CheckPart
from airflow_model_ops.config.source_part import PipelinePart, SourcePart
from airflow_model_ops.config.target_part import VertexPart
from airflow_model_ops.core import errors
from airflow_model_ops.get_provider_info import get_provider_info
from airflow_model_ops.hooks.mlmd import MlmdHook, ledger_settings_of
from scripts.check_docs import complaints, pages

ROOT = Path(__file__).resolve().parents[1]
PAGES = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages(ROOT)}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")


def blocks(page: str, language: str) -> list[str]:
    return [body for found, body in _FENCE.findall(PAGES[page]) if found == language]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of the tables in a text; a bar that is escaped does not part cells."""
    for line in text.splitlines():
        if line.startswith("|") and not set(line) <= set("|- "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_links_lead_somewhere_and_every_public_name_is_described() -> None:
    assert complaints(ROOT) == []


def test_the_yaml_of_the_readme_and_of_the_reference_is_accepted() -> None:
    files = [body for page in PAGES for body in blocks(page, "yaml") if body.startswith("model: ")]
    assert len(files) >= 3
    for text in files:
        assert parse_model_file(text).policy().steps


def test_checks_that_the_pages_show_are_accepted() -> None:
    shown = [item for body in blocks("docs/metrics.md", "yaml") for item in yaml.safe_load(body)]
    assert shown
    for item in shown:
        assert CheckPart.model_validate(item).to_check().has_absolute_limit


def test_the_connections_that_the_page_shows_are_accepted() -> None:
    exports, _ = [body for body in blocks("docs/connections.md", "bash") if "AIRFLOW_CONN" in body]
    shown = {
        name: json.loads(value)
        for name, value in re.findall(r"export (\w+)='(.*?)'$", exports, re.MULTILINE | re.DOTALL)
    }
    kinds = {fields["conn_type"] for fields in shown.values()}
    assert kinds == {"model_repository", "tf_serving", "prometheus", "mlmd"}
    fleet = parse_fleet(shown["AIRFLOW_CONN_TF_SERVING_DEFAULT"]["extra"], source="docs")
    assert [server.host for server in fleet.servers] == ["tf-0", "tf-1"]


def test_every_extra_of_the_distribution_is_described() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = PAGES["docs/installation.md"].partition("| extra | brings |")[2].partition("\n\n")[0]
    described = {name for cells in rows(table) for name in _CODE.findall(cells[0])}
    assert described == extras.keys()


def test_what_the_repositorys_form_asks_for_is_described() -> None:
    (form,) = (
        each for each in get_provider_info()["connection-types"] if each["connection-type"] == "model_repository"
    )
    section = PAGES["docs/connections.md"].partition("## model_repository\n")[2].partition("\n## ")[0]
    described = {name for cells in rows(section) for name in _CODE.findall(cells[0])}
    assert described == form["conn-fields"].keys()


def test_every_field_of_the_fleet_connection_is_described_with_its_default() -> None:
    section = PAGES["docs/connections.md"].partition("## tf_serving\n")[2].partition("\n## ")[0]
    described = {_CODE.findall(name)[0]: default for name, default, _ in rows(section) if _CODE.search(name)}
    assert described.keys() == FleetConfig.model_fields.keys()
    for name in ("fleet", "initially"):
        assert described[name] == f"`{FleetConfig.model_fields[name].default}`"


def test_the_ledgers_connections_that_the_page_shows_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    section = PAGES["docs/connections.md"].partition("## mlmd\n")[2]
    shown = re.findall(r"export AIRFLOW_CONN_MLMD_DEFAULT='(.*?)'$", section, re.MULTILINE)
    kinds = []
    for value in shown:
        monkeypatch.setenv("AIRFLOW_CONN_MLMD_DEFAULT", value)
        kinds.append(ledger_settings_of(MlmdHook.get_connection("mlmd_default")).kind.value)
    assert kinds == ["postgresql", "grpc"]


def test_every_field_of_the_ledgers_connection_is_described_with_its_default() -> None:
    section = PAGES["docs/connections.md"].partition("## mlmd\n")[2].partition("\n## ")[0]
    described = {_CODE.findall(name)[0]: default for name, _, default, _ in rows(section) if _CODE.search(name)}
    (form,) = (kind for kind in get_provider_info()["connection-types"] if kind["connection-type"] == "mlmd")
    fields = {name: field["schema"].get("default") for name, field in form["conn-fields"].items()}
    assert described.keys() - {"schema"} == fields.keys()
    for name, default in fields.items():
        assert default is None or described[name] == f"`{default}`"


def model_ops_parser() -> dict[str, argparse.ArgumentParser]:
    """The parsers of ``airflow model-ops``, by command, as Airflow builds them."""
    from airflow.cli.cli_parser import _add_command

    from airflow_model_ops.cli import get_commands

    parser = argparse.ArgumentParser(prog="airflow")
    subparsers = parser.add_subparsers()
    (group,) = get_commands()
    _add_command(subparsers, group)
    inner = next(
        action for action in subparsers.choices["model-ops"]._actions if action.choices and not action.option_strings
    )
    assert isinstance(inner.choices, dict)
    return inner.choices


def commands_of(page: str) -> Iterator[list[str]]:
    """Yield the words after ``airflow model-ops`` wherever a page names a command."""
    text = PAGES[page].replace("\\\n", " ").replace("\\|", "|")
    for line in [*_CODE.findall(text), *(line for _, body in _FENCE.findall(text) for line in body.splitlines())]:
        if line.startswith("airflow model-ops "):
            yield shlex.split(line.removeprefix("airflow model-ops ").partition("  # ")[0])


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_command_and_option_that_a_page_names_exists(page: str) -> None:
    parsers = model_ops_parser()
    for name, *words in commands_of(page):
        if name == "COMMAND":
            continue
        assert name in parsers, f"{page} names `airflow model-ops {name}`"
        known = {option for action in parsers[name]._actions for option in action.option_strings}
        used = {word.strip("[]") for word in words if word.strip("[]").startswith("--")}
        assert used <= known, f"{page}: `airflow model-ops {name}` takes no {sorted(used - known)}"


def test_every_command_is_described() -> None:
    assert {name for name, *_ in commands_of("docs/cli.md")} >= model_ops_parser().keys()


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for text in PAGES.values() for word in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)}
    assert "demo" in named
    assert named <= targets


def test_the_table_of_errors_says_rightly_whether_a_retry_helps() -> None:
    said = {
        _CODE.findall(row[0])[0]: row[3]
        for row in rows(PAGES["docs/troubleshooting.md"])
        if len(row) == 4 and _CODE.search(row[0])
    }
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ModelOpsError) and value is not errors.ModelOpsError
    }
    assert said == {name: "yes" if value.retryable else "no" for name, value in classes.items()}


def operator_rows() -> list[list[str]]:
    return [row for row in rows(PAGES["docs/operators.md"]) if re.fullmatch(r"`\w+(Operator|Sensor)`", row[0])]


@pytest.mark.parametrize("row", operator_rows(), ids=lambda row: row[0].strip("`"))
def test_an_operator_is_where_the_page_says_with_the_templated_fields_it_says(row: list[str]) -> None:
    name, module, parameters = row[0].strip("`"), row[1].strip("`"), row[2]
    operator = getattr(importlib.import_module(f"airflow_model_ops.{module}"), name)
    templated = set(re.findall(r"\*\*`(\w+)`\*\*", parameters))
    assert templated == set(operator.template_fields) - {"choose"}
    if row[-1] in {"yes", "no"}:
        from airflow_model_ops.operators.base import TrafficOperator

        assert (row[-1] == "yes") is issubclass(operator, TrafficOperator)


SECTIONS = {
    "Keys": model_file.ModelFile,
    "target.vertex_ai": VertexPart,
    "versions": model_file.VersionsPart,
    "source": SourcePart,
    "source.pipeline": PipelinePart,
    "validation": model_file.ValidationPart,
    "canary": model_file.CanaryPart,
    "judge": model_file.JudgePart,
    "checks": model_file.CheckPart,
    "watch": model_file.WatchPart,
    "guard": model_file.GuardPart,
    "retention": model_file.RetentionPart,
    "notifications": NotificationsPart,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_key_of_the_model_file_has_the_default_that_the_page_says(heading: str) -> None:
    section = re.split(
        r"^#+ ", PAGES["docs/model-file.md"].partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE
    )[0]
    model = SECTIONS[heading]
    described = [(key, default) for names, default, _ in rows(section) for key in _CODE.findall(names)]
    assert described
    for key, default in described:
        assert _agrees(model, key, default), f"{heading}.{key}: the page says {default}"


def _agrees(model: type[BaseModel], key: str, said: str) -> bool:
    field = model.model_fields[key]
    if said == "required":
        return field.default is PydanticUndefined
    if said == "none":
        return field.default in (None, ())
    if said.startswith("see ") or " % and " in said:
        return not field.is_required()
    value: Any = yaml.safe_load(said.strip("`"))
    if isinstance(field.default, BaseModel):
        return bool(value == field.default.model_dump())
    if isinstance(field.default, float):
        from airflow_model_ops.config.durations import seconds

        return seconds(value) == field.default
    return bool(value == field.default)
