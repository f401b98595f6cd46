"""The control cluster of a whole fleet behind a real Envoy: its share, its own counts, and that no request fails over it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from airflow_model_ops.adapters.serving.envoy_admin import EnvoyAdmin
from airflow_model_ops.adapters.serving.envoy_documents import (
    clusters_document,
    control_of,
    document_generations,
    routes_document,
)
from airflow_model_ops.adapters.serving.tf_serving_routes import FleetRoutes
from airflow_model_ops.core.state import Fence
from tests.adapters.envoy_rig import DEADLINE_SECONDS, Traffic, eventually
from tests.adapters.serving_rig import FLEET, PERSON, Fleet, serving_fleet, version

pytestmark = pytest.mark.integration

N1, N2, N3 = (version(major).number for major in (1, 2, 3))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, route_timeout_seconds=DEADLINE_SECONDS, drain_seconds=1.0) as running:
        yield running


def busier(traffic: Traffic, *, by: int = 20) -> None:
    before = traffic.total
    assert eventually(lambda: traffic.total >= before + by)


def control_share(fleet: Fleet, model: str = "digits") -> float:
    """What Envoy itself says it sends over the model's control cluster."""
    return control_of(EnvoyAdmin(fleet.envoy.admin_url, timeout_seconds=DEADLINE_SECONDS).route_configuration())[model]


def routes_of(fleet: Fleet) -> FleetRoutes:
    store = fleet.addresses.repository().fleet(FLEET)
    return FleetRoutes(store=store, router=fleet.addresses.router(), rest={}, confirm_seconds=DEADLINE_SECONDS)


def clusters_in_envoy(fleet: Fleet) -> set[str]:
    answer = requests.get(f"{fleet.envoy.admin_url}/clusters?format=json", timeout=DEADLINE_SECONDS).json()
    return {status["name"] for status in answer["cluster_statuses"]}


def counted(fleet: Fleet, metric: str, **labels: str) -> dict[str, int]:
    """A metric of every cluster, as Prometheus would scrape it."""
    text = requests.get(f"{fleet.envoy.admin_url}/stats/prometheus", timeout=DEADLINE_SECONDS).text
    wanted = "".join(rf',{name}="{re.escape(value)}"' for name, value in labels.items())
    found = re.findall(rf'^{metric}{{envoy_cluster_name="([^"]+)"{wanted}}} (\d+)$', text, flags=re.MULTILINE)
    return {name: int(value) for name, value in found if name != "fleet"}


def test_it_gets_the_canarys_share_out_of_stables_and_is_counted_apart(fleet: Fleet) -> None:
    fleet.release(1, model="di.gits")
    fleet.start(2, model="di.gits", percent=20)
    canary, stable, control = f"di~gits/{N2}", f"di~gits/{N1}", f"di~gits/{N1}~control"
    before = counted(fleet, "envoy_cluster_upstream_rq_completed")
    assert {canary, stable, control, f"{canary}~control"} == before.keys()  # so that no series is born in mid-release
    with fleet.traffic("di.gits") as traffic:
        assert eventually(lambda: traffic.total >= 2000, seconds=2 * DEADLINE_SECONDS)
    assert traffic.failures == []
    after = counted(fleet, "envoy_cluster_upstream_rq_completed")
    served = {name: after[name] - before[name] for name in after}
    assert sum(served.values()) == traffic.total
    for name, share in ((canary, 0.2), (control, 0.2), (stable, 0.6), (f"{canary}~control", 0.0)):
        spread = 5 * math.sqrt(share * (1 - share) / traffic.total)
        assert abs(served[name] / traffic.total - share) <= spread, (name, served)
    assert served[canary] == traffic.answers[200, str(N2)]
    assert eventually(  # histograms are merged once a second
        lambda: counted(fleet, "envoy_cluster_upstream_rq_time_bucket", le="+Inf")[control] == after[control]
    )


def test_no_request_fails_while_it_follows_a_release_and_its_way_back(fleet: Fleet) -> None:
    fleet.release(1)
    control = fleet.control()
    assert control_share(fleet) == 10  # before a release, so that the noise is known when it starts
    with fleet.traffic() as traffic:
        fence = fleet.start(2)
        for percent, share in ((5.0, 5.0), (50.0, 25.0), (90.0, 5.0), (99.99, 0.0)):
            control.shift(fence=fence, percent=percent)
            assert fleet.apply() == {str(N2): percent, str(N1): round(100 - percent, 2)}  # by version
            assert fleet.split() == {N2: percent, N1: round(100 - percent, 2)}
            assert control_share(fleet) == share
            busier(traffic)
        control.promote(version(2), fence=fence, proof="it is good")
        assert fleet.apply() == {str(N2): 100.0}
        assert (control_share(fleet), fleet.split()) == (10, {N2: 100.0})
        busier(traffic)
        fleet.control(actor=PERSON).rollback(reason="wrong digits")
        assert fleet.apply() == {str(N1): 100.0}
        assert control_share(fleet) == 10  # version 1 has kept its control cluster
        busier(traffic)
    assert traffic.failures == []


def test_it_rests_while_the_former_one_is_held_back_and_comes_back_after(fleet: Fleet) -> None:
    fleet.release(1)
    fence, control = fleet.start(2, percent=50), fleet.control()
    with fleet.traffic() as traffic:
        control.promote(version(2), fence=fence, proof="it is good", hold_back=5)
        assert fleet.apply() == {str(N1): 5.0, str(N2): 95.0}
        assert (fleet.split(), control_share(fleet)) == ({N1: 5.0, N2: 95.0}, 0)
        busier(traffic)
        control.end_hold_back(reason="it has been watched long enough", fence=fence)
        assert fleet.apply() == {str(N2): 100.0}
        assert (fleet.split(), control_share(fleet)) == ({N2: 100.0}, 10)
        busier(traffic)
    assert traffic.failures == []


def test_it_goes_when_its_version_is_unloaded_and_not_before(fleet: Fleet) -> None:
    fleet.release(1, 2)
    with fleet.traffic() as traffic:
        fleet.release(3)
        assert {f"digits/{N1}", f"digits/{N1}~control"} < clusters_in_envoy(fleet)
        applier = fleet.control().applier
        assert eventually(lambda: applier.unload(deadline_seconds=0)["digits"] == {N2, N3})
        kept = {f"digits/{number}{mark}" for number in (N2, N3) for mark in ("", "~control")}
        assert eventually(lambda: clusters_in_envoy(fleet) == {"fleet", *kept})
        busier(traffic)
    assert traffic.failures == []


def test_a_first_release_has_none(fleet: Fleet) -> None:
    fence = fleet.start(1)
    fleet.control().shift(fence=fence, percent=10)
    assert fleet.apply() == {str(N1): 100.0}  # nobody to share with
    assert control_share(fleet) == 0


def strip(fleet: Fleet) -> None:
    """Put the documents back as a release of this package wrote them that knew no control clusters."""
    routes, router = routes_of(fleet), fleet.addresses.router()
    settings = router.settings
    bare = [replace(route, control=0.0) for route in routes.routes().values()]
    router.write_routes(routes_document(bare, settings=settings))
    specs = [spec for spec in routes.clusters().values() if not spec.control]
    generations = routes.cluster_generations()
    document = clusters_document(specs, settings=settings, generations=generations)
    assert b"control" not in document
    router.write_clusters(document)
    router.wait_clusters_active([spec.name for spec in specs], deadline_seconds=DEADLINE_SECONDS)
    assert document_generations(document) == generations
    assert control_share(fleet) == 0


@pytest.mark.parametrize("by", ["reconciling", "the next release"])
def test_routers_that_have_none_yet_get_it_without_a_failed_request(fleet: Fleet, by: str) -> None:
    fleet.release(1)
    strip(fleet)
    with fleet.traffic() as traffic:
        busier(traffic)
        if by == "reconciling":
            assert fleet.control().applier.unapplied() == ()  # nothing is wrong with them
            assert fleet.control().applier.reconcile().applied == {"digits": {str(N1): 100.0}}
        else:
            fleet.start(2)
        assert control_share(fleet) == 10
        busier(traffic)
    assert traffic.failures == []


def test_a_way_back_waits_for_no_control_cluster_and_gets_it_later(fleet: Fleet) -> None:
    fleet.release(1, 2)
    fleet.start(3, percent=50)
    strip(fleet)
    with fleet.traffic() as traffic:
        fleet.control().abort(reason="it harms", fence=Fence(release="r3", attempt=1), harmed=True)
        assert fleet.apply() == {str(N2): 100.0}
        assert control_share(fleet) == 0
        busier(traffic)
        fleet.control().applier.reconcile()
        assert control_share(fleet) == 10
        busier(traffic)
    assert traffic.failures == []


def test_a_model_that_is_not_touched_keeps_its_control(fleet: Fleet) -> None:
    fleet.release(1)
    fleet.start(2, percent=20)
    fleet.release(1, 2, model="faces")
    assert (control_share(fleet), control_share(fleet, "faces")) == (20, 10)
    assert fleet.split() == {N2: 20.0, N1: 80.0}
