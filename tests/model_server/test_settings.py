from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.model_server.flags import parse_flags
from airflow_model_ops.model_server.model_list import All, Latest, ModelEntry, Specific
from airflow_model_ops.model_server.settings import Settings, read_settings


def settings(tmp_path: Path, *, models: str | None = None, monitoring: str | None = None) -> Settings:
    arguments = []
    for flag, text in (("--model_config_file", models), ("--monitoring_config_file", monitoring)):
        if text is not None:
            path = tmp_path / flag.strip("-")
            path.write_text(text)
            arguments += [flag, str(path)]
    return read_settings(parse_flags(arguments))


def test_every_field_of_a_model_list_is_read(tmp_path: Path) -> None:
    text = """
    model_config_list {
      config { name: "a" base_path: "/a" model_platform: "tensorflow" }
      config { name: "b" base_path: "/b" model_platform: "tensorflow"
               model_version_policy { latest { num_versions: 3 } } }
      config { name: "c" base_path: "/c" model_platform: "tensorflow" model_version_policy { all {} } }
      config { name: "d" base_path: "/d" model_platform: "tensorflow"
               model_version_policy { specific { versions: 20230601120000 versions: 2 } }
               version_labels { key: "stable" value: 2 } }
    }
    """
    assert settings(tmp_path, models=text).entries == (
        ModelEntry(name="a", base_path="/a", policy=Latest()),
        ModelEntry(name="b", base_path="/b", policy=Latest(num_versions=3)),
        ModelEntry(name="c", base_path="/c", policy=All()),
        ModelEntry(name="d", base_path="/d", policy=Specific(versions=(20230601120000, 2)), labels={"stable": 2}),
    )


@pytest.mark.parametrize("text", ["", "model_config_list {}"])
def test_a_server_may_start_without_models(tmp_path: Path, text: str) -> None:
    assert settings(tmp_path, models=text).entries == ()
    assert settings(tmp_path).entries == ()


def test_one_model_can_be_given_by_flags() -> None:
    flags = parse_flags(["--model_name", "digits", "--model_base_path", "/digits"])
    assert read_settings(flags).entries == (ModelEntry(name="digits", base_path="/digits"),)


def test_a_text_that_does_not_parse_is_an_error_in_tf_servings_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"Error parsing text-format tensorflow\.serving\.ModelServerConfig"):
        settings(tmp_path, models="model_config_list { improper }")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"absent.conf' cannot be read \(No such file"):
        read_settings(parse_flags(["--model_config_file", str(tmp_path / "absent.conf")]))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
)
def test_the_metrics_page_is_where_the_monitoring_file_says(tmp_path: Path, text: str, path: str | None) -> None:
    assert settings(tmp_path, monitoring=text).metrics_path == path


def test_the_rules_need_no_tensorflow() -> None:
    code = (
        "import sys\n"
        "import airflow_model_ops.model_server.__main__, airflow_model_ops.model_server.rest_api\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
