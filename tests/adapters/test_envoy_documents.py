"""What the router's documents say, without an Envoy."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.adapters.serving.envoy_bootstrap import bootstrap_document, ensure_initial_documents
from airflow_model_ops.adapters.serving.envoy_documents import (
    ClusterSpec,
    Endpoint,
    ModelRoute,
    RouterSettings,
    cluster_name,
    clusters_document,
    control_of,
    document_clusters_used,
    document_endpoints,
    document_generations,
    document_version,
    parse_cluster_name,
    routes_document,
    split_of,
)
from airflow_model_ops.adapters.serving.envoy_files import replace_document
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, RouterRefused

SETTINGS = RouterSettings()
SERVER = Endpoint(host="127.0.0.1", port=8501)

models = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
numbers = st.integers(min_value=0, max_value=2**63 - 1)


@st.composite
def splits(draw: st.DrawFn) -> tuple[tuple[int, float], ...]:
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), max_size=4)))
    edges = [0, *cuts, 10_000]
    chosen = draw(st.lists(numbers, min_size=len(edges) - 1, max_size=len(edges) - 1, unique=True))
    shares = [(high - low) / 100 for low, high in itertools.pairwise(edges)]
    return tuple(zip(chosen, shares, strict=True))


def routes_of(document: bytes) -> list[dict[str, Any]]:
    routes: list[dict[str, Any]] = json.loads(document)["resources"][0]["virtual_hosts"][0]["routes"]
    return routes


def chosen_by(routes: list[dict[str, Any]], *, path: str, method: str, draw: int) -> dict[str, Any]:
    """Envoy's own choice: the first route that matches, all of them tested with the same random value."""
    return next(route for route in routes if _matches(route["match"], path=path, method=method, draw=draw))


def _matches(match: dict[str, Any], *, path: str, method: str, draw: int) -> bool:
    fraction = match.get("runtime_fraction", {}).get("default_value", {"numerator": 10_000})["numerator"]
    regex = match.get("safe_regex", {}).get("regex")
    return (
        draw % 10_000 < fraction
        and all(header["string_match"]["exact"] == method for header in match.get("headers", ()))
        and match.get("path", path) == path
        and path.startswith(match.get("prefix", ""))
        and (regex is None or re.fullmatch(regex, path) is not None)
    )


@given(split=splits(), model=models)
def test_each_version_gets_exactly_its_declared_percent_of_the_random_values(
    split: tuple[tuple[int, float], ...], model: str
) -> None:
    document = routes_document([ModelRoute(model=model, generation=1, split=split)], settings=SETTINGS)
    routes = [route for route in routes_of(document) if route["name"].startswith("split:")]
    edges = [r["match"].get("runtime_fraction", {"default_value": {"numerator": 10_000}}) for r in routes]
    taken = 0
    for (number, percent), route, edge in zip(split, routes, edges, strict=True):
        realised = max(0, edge["default_value"]["numerator"] - taken) / 100
        assert realised == pytest.approx(percent, abs=0.01)
        assert route["route"]["cluster"] == cluster_name(model=model, number=number)
        taken = edge["default_value"]["numerator"]


def test_a_three_way_split_is_realised_over_all_random_values() -> None:
    """Two small shares before a big one: conditional fractions would give the second one 1.11 % here."""
    split = ((3, 10.0), (2, 10.0), (1, 80.0))
    routes = routes_of(routes_document([ModelRoute(model="digits", generation=1, split=split)], settings=SETTINGS))
    served = [
        chosen_by(routes, path="/v1/models/digits:predict", method="POST", draw=draw)["route"]["cluster"]
        for draw in range(10_000)
    ]
    assert {name: served.count(name) for name in set(served)} == {"digits/3": 1000, "digits/2": 1000, "digits/1": 8000}


@given(split=splits(), model=models)
def test_a_split_is_read_back_as_it_was_written(split: tuple[tuple[int, float], ...], model: str) -> None:
    document = routes_document([ModelRoute(model=model, generation=1, split=split)], settings=SETTINGS)
    assert split_of(json.loads(document)["resources"][0]) == {model: split}


def test_control_is_taken_out_of_stables_share_and_nothing_else() -> None:
    route = ModelRoute(model="di.gits", generation=1, split=((2, 20.0), (1, 80.0)), control=20.0)
    routes = routes_of(routes_document([route], settings=SETTINGS))
    chosen = [
        chosen_by(routes, path="/v1/models/di.gits:predict", method="POST", draw=draw)["route"]["cluster"]
        for draw in range(10_000)
    ]
    assert {name: chosen.count(name) for name in set(chosen)} == {
        "di~gits/2": 2000,
        "di~gits/1~control": 2000,
        "di~gits/1": 6000,
    }


def test_an_answer_over_the_control_cluster_looks_like_any_other_of_stable() -> None:
    route = ModelRoute(model="m", generation=1, split=((1, 100.0),), control=10.0)
    control, stable = (r for r in routes_of(routes_document([route], settings=SETTINGS)) if r["name"] == "split:m")
    assert control["route"].pop("cluster") != stable["route"].pop("cluster")
    assert control["route"] == stable["route"]
    assert control["response_headers_to_add"] == stable["response_headers_to_add"]


@given(split=splits(), model=models, draw=st.data())
def test_a_split_is_read_back_by_version_and_control_apart(
    split: tuple[tuple[int, float], ...], model: str, draw: st.DataObject
) -> None:
    largest = max(0, round(split[-1][1] * 100) - 1)
    control = draw.draw(st.integers(0, largest)) / 100
    route = ModelRoute(model=model, generation=1, split=split, control=control)
    configuration = json.loads(routes_document([route], settings=SETTINGS))["resources"][0]
    assert split_of(configuration) == {model: split}
    assert control_of(configuration) == {model: control}


def test_routes_without_control_are_read_and_written_as_before_there_was_any() -> None:
    route = ModelRoute(model="m", generation=1, split=((2, 5.0), (1, 95.0)))
    document = routes_document([route, ModelRoute(model="new", generation=1)], settings=SETTINGS)
    assert control_of(json.loads(document)["resources"][0]) == {"m": 0.0, "new": 0.0}
    assert document_clusters_used(document) == {"fleet", "m/1", "m/2"}


@given(model=models, number=numbers, control=st.booleans())
def test_a_cluster_name_gives_back_what_it_was_made_of_and_survives_envoys_metrics(
    model: str, number: int, control: bool
) -> None:
    name = cluster_name(model=model, number=number, control=control)
    assert parse_cluster_name(name) == (model, number, control)
    assert not set(name) & set('.:"\\')


@pytest.mark.parametrize("name", ["fleet", "/1", "digits/", "digits/v1", "digits", "digits/~control", "digits/1~other"])
def test_a_cluster_of_someone_else_is_not_taken_for_ours(name: str) -> None:
    with pytest.raises(InvalidState, match=re.escape(repr(name))):
        parse_cluster_name(name)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/models/a.b:predict", "split:a.b"),
        ("POST", "/v1/models/a.b:classify", "split:a.b"),
        ("POST", "/v1/models/a.b:regress", "split:a.b"),
        ("POST", "/v1/models/aXb:predict", "unknown"),
        ("POST", "/v1/models/a.b:predictor", "unknown"),
        ("GET", "/v1/models/a.b:predict", "unknown"),
        ("GET", "/v1/models/a.b", "status:a.b"),
        ("GET", "/v1/models/a.b/metadata", "metadata:a.b"),
        ("POST", "/v1/models/a.b/versions/7:predict", "versions:a.b"),
        ("POST", "/v1/models/a.b/labels/canary:predict", "labels:a.b"),
        ("POST", "/v1/models/empty:predict", "none:empty"),
        ("POST", "/v1/models/empty/versions/7:predict", "versions:empty"),
        ("GET", "/", "unknown"),
    ],
)
def test_a_request_goes_where_its_path_says(method: str, path: str, expected: str) -> None:
    routes = [ModelRoute(model="a.b", generation=1, split=((1, 100),)), ModelRoute(model="empty", generation=2)]
    found = chosen_by(routes_of(routes_document(routes, settings=SETTINGS)), path=path, method=method, draw=0)
    assert found["name"] == expected


def test_documents_do_not_depend_on_the_order_of_their_input() -> None:
    a, b = (ClusterSpec(model="m", number=number, endpoints=(SERVER,)) for number in (1, 2))
    one = clusters_document([a, b], settings=SETTINGS, generations={"m": 1, "n": 2})
    other = clusters_document([b, a], settings=SETTINGS, generations={"n": 2, "m": 1})
    assert one == other


@given(generations=st.dictionaries(models, st.integers(0, 10**9)))
def test_a_document_says_every_models_generation(generations: dict[str, int]) -> None:
    clusters = clusters_document((), settings=SETTINGS, generations=generations)
    routes = routes_document(
        [ModelRoute(model=model, generation=number) for model, number in generations.items()], settings=SETTINGS
    )
    assert document_generations(clusters) == generations
    assert document_generations(routes) == generations


def test_a_new_generation_is_a_new_version_even_when_nothing_else_changes() -> None:
    one, two = (
        routes_document([ModelRoute(model="m", generation=generation, split=((1, 100),))], settings=SETTINGS)
        for generation in (1, 2)
    )
    assert document_version(one) != document_version(two)
    assert document_version(two).endswith(" m=2")


def test_the_fleet_cluster_holds_every_endpoint_once() -> None:
    other = Endpoint(host="127.0.0.1", port=8502)
    specs = [
        ClusterSpec(model="m", number=1, endpoints=(SERVER,)),
        ClusterSpec(model="m", number=2, endpoints=(SERVER,)),
    ]
    document = clusters_document(specs, settings=SETTINGS, generations={"m": 1}, fleet=[other])
    assert document_endpoints(document) == {"fleet": (SERVER, other), "m/1": (SERVER,), "m/2": (SERVER,)}


def test_a_routes_document_names_the_clusters_it_uses() -> None:
    document = routes_document([ModelRoute(model="m", generation=1, split=((2, 5), (1, 95)))], settings=SETTINGS)
    assert document_clusters_used(document) == {"fleet", "m/1", "m/2"}


def test_hosts_given_by_name_are_resolved_and_addresses_are_not() -> None:
    specs = [
        ClusterSpec(model="m", number=1, endpoints=(SERVER,)),
        ClusterSpec(model="m", number=2, endpoints=(Endpoint(host="serving", port=8501),)),
    ]
    resources = json.loads(clusters_document(specs, settings=SETTINGS, generations={}))["resources"]
    assert {cluster["name"]: cluster["type"] for cluster in resources} == {
        "fleet": "STRICT_DNS",
        "m/1": "STATIC",
        "m/2": "STRICT_DNS",
    }


def test_no_request_is_retried_unless_the_settings_say_so() -> None:
    route = ModelRoute(model="m", generation=1, split=((1, 100),))
    assert b"retry" not in routes_document([route], settings=SETTINGS)
    document = routes_document([route], settings=RouterSettings(retries=2))
    assert routes_of(document)[0]["route"]["retry_policy"] == {"retry_on": "connect-failure", "num_retries": 2}


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (((1, 50.0),), "sum to 100"),
        (((1, 50.0), (1, 50.0)), "each version once"),
        (((2, 0.005), (1, 99.995)), "two decimals"),
        (((2, -1.0), (1, 101.0)), "between 0 and 100"),
    ],
)
def test_a_split_that_cannot_be_served_is_refused(split: tuple[tuple[int, float], ...], said: str) -> None:
    with pytest.raises(InvalidState, match=said):
        ModelRoute(model="m", generation=1, split=split)


@pytest.mark.parametrize(
    ("split", "control", "said"),
    [
        (((2, 90.0), (1, 10.0)), 10.0, "not less than stable's"),
        (((1, 100.0),), 100.0, "not less than stable's"),
        ((), 1.0, "not less than stable's"),
        (((1, 100.0),), -1.0, "between 0 and 100"),
        (((1, 100.0),), 0.005, "two decimals"),
    ],
)
def test_a_control_share_that_is_no_part_of_stables_is_refused(
    split: tuple[tuple[int, float], ...], control: float, said: str
) -> None:
    with pytest.raises(InvalidState, match=said):
        ModelRoute(model="m", generation=1, split=split, control=control)


def test_a_version_and_its_control_cluster_stand_side_by_side() -> None:
    spec = ClusterSpec(model="m", number=1, endpoints=(SERVER,))
    control = ClusterSpec(model="m", number=1, endpoints=(SERVER,), control=True)
    document = clusters_document([spec, control], settings=SETTINGS, generations={"m": 1})
    assert document_endpoints(document) == {"fleet": (SERVER,), "m/1": (SERVER,), "m/1~control": (SERVER,)}


def test_what_is_named_twice_is_refused() -> None:
    spec, route = ClusterSpec(model="m", number=1, endpoints=(SERVER,)), ModelRoute(model="m", generation=1)
    with pytest.raises(InvalidState, match="repeat a version"):
        clusters_document([spec, spec], settings=SETTINGS, generations={})
    with pytest.raises(InvalidState, match="repeat a model"):
        routes_document([route, route], settings=SETTINGS)


@pytest.mark.parametrize("endpoints", [(), (Endpoint(host="h", port=0),)])
def test_a_cluster_without_a_usable_endpoint_is_refused(endpoints: tuple[Endpoint, ...]) -> None:
    with pytest.raises(InvalidState, match="'m/1'"):
        ClusterSpec(model="m", number=1, endpoints=endpoints)


@pytest.mark.parametrize(
    "settings", [{"latency_buckets_ms": (5, 5)}, {"latency_buckets_ms": ()}, {"route_timeout_seconds": 0}]
)
def test_settings_that_envoy_would_misread_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidState):
        RouterSettings(**settings)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"{"])
def test_foreign_bytes_are_not_taken_for_a_document(document: bytes) -> None:
    with pytest.raises(InvalidState, match="apply the fleet again"):
        document_version(document)


def test_the_bootstrap_takes_its_latency_buckets_from_the_settings() -> None:
    settings = RouterSettings(latency_buckets_ms=(5, 40, 250))
    document = bootstrap_document(
        listener=SERVER,
        admin=Endpoint(host="127.0.0.1", port=9901),
        config_dir="/etc/router",
        node_id="n",
        settings=settings,
    )
    assert json.loads(document)["stats_config"]["histogram_bucket_settings"][0]["buckets"] == [5, 40, 250]


def test_initial_documents_never_replace_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "routes.json").write_bytes(b"theirs")
    ensure_initial_documents(tmp_path, settings=SETTINGS)
    assert (tmp_path / "routes.json").read_bytes() == b"theirs"
    assert document_generations((tmp_path / "clusters.json").read_bytes()) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clusters.json", "routes.json"]


def test_a_missing_directory_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"nowhere.*create the directory"):
        ensure_initial_documents(tmp_path / "nowhere", settings=SETTINGS)


def test_a_full_disk_leaves_the_old_document_and_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "routes.json"
    document.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RouterRefused, match=r"No space left on device.*keep the old one"):
        replace_document(document, content=b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_document_can_be_read_by_an_envoy_of_another_user(tmp_path: Path) -> None:
    assert replace_document(tmp_path / "routes.json", content=b"new")
    assert (tmp_path / "routes.json").stat().st_mode & 0o777 == 0o644
