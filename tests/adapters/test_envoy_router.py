"""The router against the real Envoy: what it splits, what it confirms, what it refuses, and that no request fails."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import requests

from airflow_model_ops.adapters.serving.envoy_documents import (
    ClusterSpec,
    Endpoint,
    ModelRoute,
    RouterSettings,
    clusters_document,
    document_generations,
    document_version,
    routes_document,
)
from airflow_model_ops.adapters.serving.envoy_process import EnvoyProcess
from airflow_model_ops.adapters.serving.envoy_router import EnvoyRouter
from airflow_model_ops.core.errors import InvalidConfig, RouterRefused, RouterUnreachable
from tests.adapters.envoy_rig import DEADLINE_SECONDS, RoutedFleet, Traffic, eventually, routed_fleet
from tests.waits import all_ended

pytestmark = pytest.mark.integration

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[RoutedFleet]:
    with routed_fleet(tmp_path) as running:
        yield running


def test_each_version_gets_its_share_and_the_answer_names_it(fleet: RoutedFleet) -> None:
    fleet.serve((3, 10), (2, 20), (1, 70))
    asked = 3000
    with Traffic(f"{fleet.envoy.listener_url}/v1/models/digits:predict") as traffic:
        assert eventually(lambda: traffic.total >= asked, seconds=2 * DEADLINE_SECONDS)
    assert traffic.failures == []
    for version, percent in (("3", 10), ("2", 20), ("1", 70)):
        share, p = traffic.answers[200, version] / traffic.total, percent / 100
        assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / traffic.total), (version, share)


def test_the_path_is_rewritten_to_the_version_that_the_header_names(fleet: RoutedFleet) -> None:
    fleet.serve((2, 50), (1, 50))
    seen = Counter[tuple[str, str, int]]()
    for _ in range(30):
        answer = fleet.post("/v1/models/digits:classify?trace=1")
        seen[answer.headers["x-model-version"], answer.json()["path"], answer.json()["port"]] += 1
        assert answer.headers["x-model-name"] == "digits"
    assert set(seen) == {
        (str(n), f"/v1/models/digits/versions/{n}:classify?trace=1", fleet.server_of(n).endpoint.port) for n in (1, 2)
    }


def test_a_model_name_with_a_dot_is_split_and_keeps_its_own_metrics(fleet: RoutedFleet) -> None:
    fleet.serve((7, 100), model="di.gits")
    assert fleet.post("/v1/models/di.gits:predict").headers["x-model-version"] == "7"
    assert fleet.post("/v1/models/diXgits:predict").status_code == 404
    metrics = requests.get(f"{fleet.envoy.admin_url}/stats/prometheus", timeout=DEADLINE_SECONDS).text
    assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="di~gits/7"} 1\n' in metrics
    assert fleet.router.observed_split() == {"di.gits": ((7, 100.0),)}


@pytest.mark.parametrize(
    "path", ["/v1/models/digits/versions/9:predict", "/v1/models/digits/labels/canary:predict", "/v1/models/digits"]
)
def test_a_request_that_names_a_version_or_label_passes_through_outside_the_split(
    fleet: RoutedFleet, path: str
) -> None:
    fleet.serve((1, 100))
    answer = fleet.post(path)
    assert answer.json()["path"] == path
    assert answer.headers["x-model-version"] == "what the server says"
    metrics = requests.get(f"{fleet.envoy.admin_url}/stats/prometheus", timeout=DEADLINE_SECONDS).text
    assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="digits/1"} 0\n' in metrics


def test_metadata_is_stables(fleet: RoutedFleet) -> None:
    fleet.serve((2, 100), (1, 0))
    assert fleet.get("/v1/models/digits/metadata").json()["path"] == "/v1/models/digits/versions/1/metadata"


def test_a_model_without_stable_and_an_unknown_model_are_answered_as_json(fleet: RoutedFleet) -> None:
    fleet.serve()
    no_stable, unknown = fleet.post(), fleet.post("/v1/models/faces:predict")
    assert (no_stable.status_code, no_stable.json()) == (503, {"error": "model digits has no stable version yet"})
    assert (unknown.status_code, unknown.json()) == (404, {"error": "no such model behind this router"})
    assert {answer.headers["content-type"] for answer in (no_stable, unknown)} == {"application/json"}


def test_latency_falls_into_the_buckets_of_the_settings(tmp_path: Path) -> None:
    with routed_fleet(tmp_path, settings=RouterSettings(latency_buckets_ms=(30, 10_000))) as fleet:
        fleet.serve((1, 100))
        fleet.server_of(1).delay_seconds = 0.05
        fleet.post()
        wanted = 'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="digits/1",le='
        metrics = f"{fleet.envoy.admin_url}/stats/prometheus"

        def buckets() -> dict[str, str]:
            lines = [
                line
                for line in requests.get(metrics, timeout=DEADLINE_SECONDS).text.splitlines()
                if line.startswith(wanted)
            ]
            return dict(line.removeprefix(wanted).split("} ") for line in lines)

        assert eventually(lambda: buckets() == {'"30"': "0", '"10000"': "1", '"+Inf"': "1"}), buckets()


def test_a_client_cannot_change_time_outs_by_a_header(fleet: RoutedFleet) -> None:
    fleet.serve((1, 100))
    fleet.server_of(1).delay_seconds = 0.05
    assert fleet.post(headers={"x-envoy-upstream-rq-timeout-ms": "1"}).status_code == 200


def test_a_request_longer_than_the_route_time_out_ends_with_504_and_names_the_version(tmp_path: Path) -> None:
    with routed_fleet(tmp_path, settings=RouterSettings(route_timeout_seconds=0.2)) as fleet:
        fleet.serve((1, 100))
        fleet.server_of(1).gate.clear()
        answer = fleet.post()
        assert (answer.status_code, answer.headers["x-model-version"]) == (504, "1")


def test_no_request_fails_across_fifty_changes_of_the_documents(fleet: RoutedFleet) -> None:
    """Each pass adds a cluster, shifts to it in two steps and removes the old one at once, without any drain."""
    fleet.serve((1, 100))
    written = fleet.documents_written
    with Traffic(f"{fleet.envoy.listener_url}/v1/models/digits:predict") as traffic:

        def busier_than(total: int) -> bool:
            return traffic.total > total

        for canary in range(2, 12):
            before = traffic.total
            fleet.serve((canary, 25), (canary - 1, 75))  # cluster added, routes; nothing to remove
            assert eventually(partial(busier_than, before + 10))
            fleet.serve((canary, 100))  # generation in clusters, routes, cluster removed
    assert fleet.documents_written - written == 50
    assert traffic.failures == []
    assert {version for _, version in traffic.answers} == {str(number) for number in range(1, 12)}


def test_requests_in_flight_outlive_the_removal_of_their_cluster(fleet: RoutedFleet) -> None:
    fleet.serve((1, 100))
    server = fleet.server_of(1)
    server.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(fleet.post)
        assert server.entered.wait(DEADLINE_SECONDS)
        fleet.serve((2, 100))
        server.gate.set()
        assert (answer.result().status_code, answer.result().headers["x-model-version"]) == (200, "1")


def test_once_confirmed_the_old_version_gets_no_further_request(fleet: RoutedFleet) -> None:
    fleet.serve((1, 100))
    for number in range(2, 12):
        fleet.serve((number, 100))
        assert fleet.post().headers["x-model-version"] == str(number)


def test_the_split_that_envoy_has_is_read_back(fleet: RoutedFleet) -> None:
    fleet.serve((3, 0.25), (2, 0), (1, 99.75))
    assert fleet.router.observed_split() == {"digits": ((3, 0.25), (2, 0.0), (1, 99.75))}
    assert fleet.router.read_documents().generations == {"digits": 1}
    fleet.serve()
    assert fleet.router.observed_split() == {"digits": ()}


def test_equal_documents_are_not_written_again_and_are_confirmed_at_once(fleet: RoutedFleet) -> None:
    fleet.serve((1, 100))
    documents = fleet.router.read_documents()
    assert documents.routes
    assert documents.clusters
    inode = (fleet.config_dir / "routes.json").stat().st_ino
    assert (fleet.router.write_routes(documents.routes), fleet.router.write_clusters(documents.clusters)) == (
        False,
        False,
    )
    fleet.router.wait_routes(document_version(documents.routes), deadline_seconds=0)
    assert (fleet.config_dir / "routes.json").stat().st_ino == inode


def test_a_new_generation_alone_is_confirmed(fleet: RoutedFleet) -> None:
    """Envoy's dump keeps the older version_info when nothing but that changed; the confirmation must not."""
    fleet.serve((1, 100))
    fleet.serve((1, 100))
    assert fleet.router.read_documents().generations == {"digits": 2}


def test_a_document_is_never_seen_half_written_nor_left_aside(fleet: RoutedFleet) -> None:
    ending, broken = threading.Event(), []

    def read() -> None:
        while not ending.is_set():
            documents = fleet.router.read_documents()
            try:
                assert documents.routes is not None
                document_generations(documents.routes)
            except Exception as error:  # noqa: BLE001 - whatever a reader meets is the finding
                broken.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for number in range(1, 15):
            fleet.serve((number, 100))
    finally:
        ending.set()
    all_ended(reader, within=DEADLINE_SECONDS)
    assert broken == []
    assert sorted(path.name for path in fleet.config_dir.iterdir()) == ["clusters.json", "routes.json"]


def test_a_fresh_envoy_serves_the_current_state_from_its_first_request(fleet: RoutedFleet, tmp_path: Path) -> None:
    fleet.serve((2, 50), (1, 50))
    fresh = EnvoyProcess(config_dir=fleet.config_dir, work_dir=tmp_path / "fresh", settings=fleet.settings, node_id="b")
    with fresh:
        answer = requests.post(f"{fresh.listener_url}/v1/models/digits:predict", json={}, timeout=DEADLINE_SECONDS)
        assert answer.status_code == 200
        both = EnvoyRouter(
            config_dir=fleet.config_dir,
            admin_urls=[fleet.envoy.admin_url, fresh.admin_url],
            settings=fleet.settings,
        )
        assert both.observed_split() == {"digits": ((2, 50.0), (1, 50.0))}


def test_two_envoys_are_both_confirmed_and_a_difference_is_reported(fleet: RoutedFleet, tmp_path: Path) -> None:
    other_dir = tmp_path / "other"
    other_dir.mkdir()
    fleet.serve((1, 100))
    with EnvoyProcess(config_dir=other_dir, work_dir=tmp_path / "b", settings=fleet.settings, node_id="b") as stray:
        both = EnvoyRouter(
            config_dir=fleet.config_dir, admin_urls=[fleet.envoy.admin_url, stray.admin_url], settings=fleet.settings
        )
        with pytest.raises(RouterRefused, match=r"\['digits'\] differently"):
            both.observed_split()
        routes = both.read_documents().routes
        assert routes
        with pytest.raises(RouterRefused, match=r"has not taken the document.*watches this directory"):
            both.wait_routes(document_version(routes), deadline_seconds=0.1)


def test_a_refused_document_is_reported_with_envoys_own_words_and_the_old_one_keeps_serving(
    fleet: RoutedFleet,
) -> None:
    fleet.serve((1, 100))
    good = fleet.router.read_documents().routes
    assert good
    bad = routes_document([ModelRoute(model="digits", generation=9, split=((1, 100),))], settings=fleet.settings)
    fleet.router.write_routes(bad.replace(b'"timeout": "30.000s"', b'"timeout": "soon"'))
    with pytest.raises(RouterRefused, match=r"refused the document.*duration must start.*what it served before stays"):
        fleet.router.wait_routes(document_version(bad), deadline_seconds=DEADLINE_SECONDS)
    assert fleet.post().status_code == 200
    fleet.router.write_routes(good)
    fleet.router.wait_routes(document_version(good), deadline_seconds=DEADLINE_SECONDS)


def test_refused_clusters_are_reported(fleet: RoutedFleet) -> None:
    spec = ClusterSpec(model="digits", number=1, endpoints=(fleet.server_of(1).endpoint,))
    document = clusters_document([spec], settings=fleet.settings, generations={"digits": 1})
    fleet.router.write_clusters(document.replace(b"LEAST_REQUEST", b"CLUSTER_PROVIDED"))
    with pytest.raises(RouterRefused, match="'digits/1' did not provide one"):
        fleet.router.wait_clusters_active(["digits/1"], deadline_seconds=DEADLINE_SECONDS)


def test_traffic_cannot_be_sent_to_a_cluster_that_is_not_there_nor_a_used_one_removed(fleet: RoutedFleet) -> None:
    fleet.serve((1, 100))
    before = fleet.router.read_documents()
    with pytest.raises(RouterRefused, match=r"\['digits/2'\]"):
        fleet.routes((2, 100))
    with pytest.raises(RouterRefused, match=r"\['digits/1'\]"):
        fleet.clusters(frozenset())
    assert fleet.router.read_documents() == before


def test_a_cluster_whose_host_does_not_resolve_never_counts_as_active(fleet: RoutedFleet) -> None:
    here = ClusterSpec(model="digits", number=1, endpoints=(Endpoint(host="localhost", port=8501),))
    lost = ClusterSpec(model="digits", number=2, endpoints=(Endpoint(host="no-such-host.invalid", port=8501),))
    fleet.router.write_clusters(clusters_document([here, lost], settings=fleet.settings, generations={"digits": 1}))
    fleet.router.wait_clusters_active(["digits/1"], deadline_seconds=DEADLINE_SECONDS)
    with pytest.raises(RouterRefused, match=r"\['digits/2'\] are not active"):
        fleet.router.wait_clusters_active(["digits/1", "digits/2"], deadline_seconds=0.3)


def test_an_envoy_that_is_down_is_named_after_the_others_were_confirmed(fleet: RoutedFleet) -> None:
    both = EnvoyRouter(config_dir=fleet.config_dir, admin_urls=[NOBODY, fleet.envoy.admin_url], settings=fleet.settings)
    spec = ClusterSpec(model="digits", number=1, endpoints=(fleet.server_of(1).endpoint,))
    both.write_clusters(clusters_document([spec], settings=fleet.settings, generations={"digits": 1}))
    with pytest.raises(RouterUnreachable, match=NOBODY):
        both.wait_clusters_active(["digits/1"], deadline_seconds=DEADLINE_SECONDS)
    fleet.router.wait_clusters_active(["digits/1"], deadline_seconds=0)
    for question in (both.check, both.observed_split):
        with pytest.raises(RouterUnreachable, match=NOBODY):
            question()
    fleet.router.check()


def test_a_silent_admin_interface_delays_no_write_and_no_word_of_the_others(fleet: RoutedFleet) -> None:
    fleet.serve((1, 100))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        both = EnvoyRouter(
            config_dir=fleet.config_dir,
            admin_urls=[f"http://127.0.0.1:{silent.getsockname()[1]}", fleet.envoy.admin_url],
            settings=fleet.settings,
            timeout_seconds=DEADLINE_SECONDS,
        )
        began = time.monotonic()
        with pytest.raises(RouterUnreachable):
            both.wait_clusters_active(["digits/1"], deadline_seconds=DEADLINE_SECONDS, urgent=True)
        both.write_routes(routes_document([], settings=fleet.settings))
        assert time.monotonic() - began < DEADLINE_SECONDS / 2
        assert eventually(lambda: fleet.router.observed_split() == {})


def test_waiting_for_clusters_that_were_never_written_is_an_error_at_once(fleet: RoutedFleet) -> None:
    with pytest.raises(RouterRefused, match=r"\['digits/5'\] are not in"):
        fleet.router.wait_clusters_active(["digits/5"], deadline_seconds=60)
    (fleet.config_dir / "clusters.json").unlink()
    with pytest.raises(RouterRefused, match="does not exist"):
        fleet.router.wait_clusters_active(["digits/5"], deadline_seconds=60)


def test_a_missing_directory_and_a_file_in_its_place_are_named_with_their_remedy(tmp_path: Path) -> None:
    document = clusters_document((), settings=RouterSettings(), generations={})
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere", tmp_path / "file"):
        router = EnvoyRouter(config_dir=place, admin_urls=[NOBODY], settings=RouterSettings())
        with pytest.raises(InvalidConfig, match=rf"{place.name}.*create the directory"):
            router.write_clusters(document)
        with pytest.raises(InvalidConfig, match=place.name):
            router.check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir(mode=0o500)
    sealed = EnvoyRouter(config_dir=tmp_path / "sealed", admin_urls=[NOBODY], settings=RouterSettings())
    with pytest.raises(InvalidConfig, match=r"sealed.*create the directory"):
        sealed.write_clusters(clusters_document((), settings=RouterSettings(), generations={}))


def test_a_router_without_an_admin_url_is_refused_since_nothing_could_be_confirmed(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="has no admin URL"):
        EnvoyRouter(config_dir=tmp_path, admin_urls=[], settings=RouterSettings())


def test_one_router_is_asked_from_many_threads_while_the_split_changes(fleet: RoutedFleet) -> None:
    fleet.serve((2, 50), (1, 50))
    allowed = {((2, 50.0), (1, 50.0)), ((1, 100.0),)}
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(fleet.router.observed_split) for _ in range(80)]
        fleet.serve((1, 100))
        assert {answer.result()["digits"] for answer in answers} <= allowed
    assert fleet.router.observed_split() == {"digits": ((1, 100.0),)}


def test_an_envoy_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    taken = EnvoyProcess(
        config_dir=tmp_path / "config",
        work_dir=tmp_path / "work",
        settings=RouterSettings(),
        listener=Endpoint(host="no-such-address", port=0),
    )
    with pytest.raises(RouterUnreachable, match="no-such-address"):
        taken.start()
    assert taken.pid is None


def test_an_envoy_restarted_on_its_ports_serves_again(fleet: RoutedFleet) -> None:
    fleet.serve((1, 100))
    host, _, port = fleet.envoy.listener_url.removeprefix("http://").rpartition(":")
    fleet.envoy.stop()
    again = EnvoyProcess(
        config_dir=fleet.config_dir,
        work_dir=fleet.config_dir.parent / "again",
        settings=fleet.settings,
        listener=Endpoint(host=host, port=int(port)),
    )
    with again:
        assert again.listener_url == fleet.envoy.listener_url
        assert fleet.post().status_code == 200
