"""The settings of a fleet, as the form of its Airflow connection gives them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_model_ops.config.fleet import FleetConfig, parse_fleet
from airflow_model_ops.core.errors import InvalidConfig

FORM = {
    "fleet": "eu",
    "servers": "10.0.0.7:8500/8501, 10.0.0.8:8500/8501",
    "models_root": "",
    "router_config_dir": "/etc/envoy/live",
    "router_admin": "http://10.0.0.9:9901,http://10.0.0.10:9901",
    "router_log": None,
    "route_timeout": "45s",
    "latency_buckets_ms": "5, 10,250",
    "initially": "empty",
}


def parse(**changes: Any) -> FleetConfig:
    return parse_fleet({**FORM, **changes}, source="connection 'fleet_eu'")


def test_the_forms_texts_become_settings() -> None:
    config = parse()

    assert [(server.host, server.grpc, server.rest) for server in config.servers] == [
        ("10.0.0.7", 8500, 8501),
        ("10.0.0.8", 8500, 8501),
    ]
    assert config.router_admin == ("http://10.0.0.9:9901", "http://10.0.0.10:9901")
    assert (config.route_timeout, config.latency_buckets_ms) == (45, (5, 10, 250))


def test_fields_left_empty_take_their_defaults() -> None:
    config = parse(fleet="", route_timeout="", latency_buckets_ms="", initially="")

    assert (config.fleet, config.models_root, config.router_log) == ("default", None, ())
    assert (config.route_timeout, config.latency_buckets_ms, config.initially) == (30, None, "adopted")


def test_lists_may_be_json_too() -> None:
    config = parse(servers=[{"host": "a", "grpc": 1, "rest": 2}], router_admin=["http://b:1"], latency_buckets_ms=[1.5])

    assert (config.servers[0].host, config.router_admin, config.latency_buckets_ms) == ("a", ("http://b:1",), (1.5,))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("servers", "10.0.0.7:8500", "'10.0.0.7:8500' is not host:grpc_port/rest_port"),
        ("servers", "10.0.0.7:8500/99999", "less than or equal to 65535"),
        ("servers", "", "servers: Field required"),
        ("servers", " , ", "servers: "),
        ("fleet", "../x", "fleet: "),
        ("route_timeout", "0s", "route_timeout: "),
        ("route_timeout", "soon", "'soon' is not a duration"),
        ("latency_buckets_ms", "5,fast", "latency_buckets_ms.1: "),
        ("initially", "perhaps", "'empty' or 'adopted'"),
        ("router_config_dir", None, "router_config_dir: Field required"),
        ("rooter_log", "x", "rooter_log: Extra inputs"),
    ],
)
def test_a_mistake_names_the_connection_and_the_field(field: str, value: str | None, words: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        parse(**{field: value})

    assert str(refused.value).startswith("connection 'fleet_eu': ")
    assert words in str(refused.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidConfig) as refused:
        parse(servers="x", route_timeout="y", initially="z")

    assert str(refused.value).count(";") >= 2
