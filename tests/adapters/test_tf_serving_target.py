"""A whole fleet through the controls of its models: two model servers behind a real Envoy, under constant load."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel
from airflow_model_ops.adapters.serving.tf_serving_reloads import ASK_AGAIN_SECONDS
from airflow_model_ops.adapters.serving.tf_serving_servers import ADOPTED_MARK, SERVING_DOCUMENT
from airflow_model_ops.control.heads import fleet_plan, read_heads
from airflow_model_ops.core.errors import (
    FleetNotAdopted,
    LoadFailed,
    ModelOnHold,
    NotApplied,
    ServerUnreachable,
    TransitionRefused,
)
from airflow_model_ops.core.state import Fence
from tests.adapters.envoy_rig import DEADLINE_SECONDS, Traffic, eventually
from tests.adapters.serving_rig import FLEET, PERSON, Fleet, serving_fleet, version
from tests.waits import all_ended

pytestmark = pytest.mark.integration

N1, N2, N3, N4 = (version(major).number for major in (1, 2, 3, 4))


SOON_SECONDS = ASK_AGAIN_SECONDS - 1.0
"""A way back takes parts of a second. Whatever it must not wait for would keep it longer: a load that does not end before it
does, or a server that is asked again.
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, route_timeout_seconds=DEADLINE_SECONDS, drain_seconds=1.0) as running:
        yield running


def busier(traffic: Traffic, *, by: int = 20) -> None:
    """Wait until some more requests were answered, so that the present split has been used."""
    before = traffic.total
    assert eventually(lambda: traffic.total >= before + by)


def hold_loads(fleet: Fleet, *, hold: bool = True) -> None:
    """Let no load end on any server, or let them end again."""
    for server in fleet.servers:
        server.hold_loads = hold


def test_a_first_release_serves_only_once_it_is_loaded_everywhere_and_the_model_says_so_before(fleet: Fleet) -> None:
    fence = fleet.start(1)
    assert fleet.split() == {}  # known, loaded, no stable yet: answered with 503
    assert fleet.available() == [{N1}, {N1}]
    assert fleet.labels() == [{"canary": N1}] * 2
    control = fleet.control()
    control.shift(fence=fence, percent=10)
    assert fleet.apply() == {str(N1): 100.0}  # nobody to share with
    control.promote(version(1), fence=fence, proof="it is good")
    with fleet.traffic() as traffic:
        fleet.apply()
        busier(traffic)
    assert traffic.failures == []
    assert fleet.labels() == [{"stable": N1}] * 2


def test_no_request_fails_from_start_over_every_step_to_promotion_and_unloading(fleet: Fleet) -> None:
    fleet.release(1, 2)
    control = fleet.control()
    with fleet.traffic() as traffic:
        fence = fleet.start(3)
        busier(traffic)
        for percent in (10.0, 50.0):
            control.shift(fence=fence, percent=percent)
            assert fleet.apply() == {str(N3): percent, str(N2): 100 - percent}
            assert fleet.split() == {N3: percent, N2: 100 - percent}
            busier(traffic)
        control.promote(version(3), fence=fence, proof="it is good")
        assert fleet.apply() == {str(N3): 100.0}
        busier(traffic)
        fleet.release(4)
        listed = control.applier.unload(deadline_seconds=DEADLINE_SECONDS)
        busier(traffic)
    assert traffic.failures == []
    assert {served for _, served in traffic.answers} == {str(n) for n in (N2, N3, N4)}
    assert listed["digits"] == {N3, N4}  # keep_warm=1
    assert fleet.available() == [{N3, N4}] * 2
    assert fleet.labels() == [{"stable": N4}] * 2


def test_an_abort_gives_stable_all_traffic_and_no_request_fails(fleet: Fleet) -> None:
    fleet.release(1)
    fence = fleet.start(2)
    fleet.control().shift(fence=fence, percent=50)
    fleet.apply()
    with fleet.traffic() as traffic:
        busier(traffic)
        fleet.control().abort(reason="it harms", fence=fence, harmed=True)
        assert fleet.apply() == {str(N1): 100.0}
        switched = traffic.answers[200, str(N2)]
        busier(traffic, by=50)
        assert traffic.answers[200, str(N2)] <= switched + 2  # requests in flight at the moment of the switch
    assert traffic.failures == []
    assert fleet.labels() == [{"stable": N1}] * 2
    with pytest.raises(TransitionRefused, match="is quarantined"):
        fleet.control().start_canary(version(2), fence=Fence(release="again", attempt=1))


@pytest.mark.parametrize(("to", "lands_on"), [(None, N3), ("previous", N3), ("golden", N1), ("m-v2.0.0", N2)])
def test_a_rollback_goes_to_the_previous_the_golden_or_the_named_version(
    fleet: Fleet, to: str | None, lands_on: int
) -> None:
    fleet.release(1)
    person = fleet.control(actor=PERSON)
    person.pin_golden(version(1))
    fleet.release(2, 3, 4)
    with fleet.traffic() as traffic:
        busier(traffic)
        person.rollback(reason="wrong digits", to=to)
        assert fleet.apply() == {str(lands_on): 100.0}
        busier(traffic)
    assert traffic.failures == []
    assert fleet.labels() == [{"stable": lands_on, "golden": N1}] * 2


def test_a_rollback_to_a_cold_version_ends_the_canary_at_once_and_waits_for_the_load(fleet: Fleet) -> None:
    fleet.release(1, 2, 3)
    control = fleet.control()
    assert eventually(lambda: control.applier.unload(deadline_seconds=0)["digits"] == {N2, N3})
    fence = fleet.start(4)
    control.shift(fence=fence, percent=50)
    fleet.apply()
    with fleet.traffic() as traffic:
        busier(traffic)
        hold_loads(fleet)
        fleet.control(actor=PERSON).rollback(reason="both are wrong", to="m-v1.0.0")
        with pytest.raises(NotApplied, match=f"version {N1} is not available"):
            fleet.apply(seconds=0.3)
        assert fleet.split() == {N3: 100.0}
        busier(traffic)
        hold_loads(fleet, hold=False)
        assert fleet.apply() == {str(N1): 100.0}
        busier(traffic)
    assert traffic.failures == []


def test_a_quarantined_canary_ends_at_once(fleet: Fleet) -> None:
    fleet.release(1)
    fence = fleet.start(2, percent=10)
    fleet.control(actor=PERSON).quarantine(version(2), reason="trained on test data")
    assert fleet.apply() == {str(N1): 100.0}
    with pytest.raises(TransitionRefused, match="no longer live"):
        fleet.control().shift(fence=fence, percent=50)
    assert fleet.split() == {N1: 100.0}


def test_a_hold_stops_shift_and_promotion_but_never_the_way_back(fleet: Fleet) -> None:
    fleet.release(1)
    fence = fleet.start(2, percent=10)
    person = fleet.control(actor=PERSON)
    person.hold(reason="audit")
    with pytest.raises(ModelOnHold):
        fleet.control().shift(fence=fence, percent=50)
    with pytest.raises(ModelOnHold):
        fleet.control().promote(version(2), fence=fence, proof="it is good")
    assert fleet.apply() == {str(N2): 10.0, str(N1): 90.0}
    person.rollback(reason="enough")
    assert fleet.apply() == {str(N1): 100.0}


def test_a_label_moves_only_after_its_version_is_available(fleet: Fleet) -> None:
    """A server refuses a list whose label points to a version that is not loaded, so it takes two lists."""
    fleet.release(1)
    for server in fleet.servers:
        server.load_seconds = 0.3
        server.reloads.clear()
    fleet.start(2)
    for server in fleet.servers:
        entries = [config.model_config_list.config[0] for config in server.reloads]
        assert [sorted(entry.version_labels) for entry in entries] == [["stable"], ["canary", "stable"]]
        assert N2 in entries[0].model_version_policy.specific.versions
    assert fleet.labels() == [{"stable": N1, "canary": N2}] * 2


def test_a_slow_load_of_one_model_does_not_delay_the_rollback_of_another(fleet: Fleet) -> None:
    fleet.release(1, 2)
    fleet.release(1, model="faces")
    hold_loads(fleet)
    fleet.push(2, model="faces")
    fleet.control("faces").start_canary(version(2), fence=Fence(release="slow", attempt=1))
    loading = threading.Thread(target=lambda: fleet.apply("faces", seconds=DEADLINE_SECONDS * 2), daemon=True)
    loading.start()
    assert eventually(lambda: N2 in fleet.servers[0].models.get("faces", {}))
    began = time.monotonic()
    fleet.control(actor=PERSON).rollback(reason="wrong digits")
    assert fleet.apply() == {str(N1): 100.0}
    assert time.monotonic() - began < SOON_SECONDS
    assert loading.is_alive()
    hold_loads(fleet, hold=False)
    all_ended(loading, within=DEADLINE_SECONDS)
    assert fleet.labels("faces") == [{"stable": N1, "canary": N2}] * 2


def test_a_new_model_that_loads_for_long_does_not_delay_the_rollback_of_another(fleet: Fleet) -> None:
    """A server answers a list that brings a new model only when that is loaded, and takes no other list meanwhile."""
    fleet.release(1, 2)
    hold_loads(fleet)
    fleet.push(1, model="faces")
    fleet.control("faces").start_canary(version(1), fence=Fence(release="slow", attempt=1))
    loading = threading.Thread(target=lambda: fleet.apply("faces", seconds=DEADLINE_SECONDS * 2), daemon=True)
    loading.start()
    assert eventually(lambda: "faces" in fleet.servers[0].models)
    began = time.monotonic()
    fleet.control(actor=PERSON).rollback(reason="wrong digits")
    assert fleet.apply() == {str(N1): 100.0}
    assert time.monotonic() - began < SOON_SECONDS
    assert loading.is_alive()
    hold_loads(fleet, hold=False)
    all_ended(loading, within=DEADLINE_SECONDS)
    assert fleet.split() == {N1: 100.0}
    assert [len(server.reloads) < 12 for server in fleet.servers] == [True, True]  # waiting lists occupy its threads
    fleet.control().applier.reconcile()
    assert fleet.labels() == [{"stable": N1}] * 2


def test_an_unreachable_replica_refuses_start_shift_and_promotion_before_anything_is_committed(fleet: Fleet) -> None:
    fleet.release(1)
    fence = fleet.start(2, percent=10)
    before = fleet.control().committer.head()
    fleet.servers[1].unreachable = True
    fleet.push(3)
    with pytest.raises(ServerUnreachable, match=fleet.servers[1].address):
        fleet.control().shift(fence=fence, percent=50)
    with pytest.raises(ServerUnreachable):
        fleet.control().promote(version(2), fence=fence, proof="it is good")
    with pytest.raises(ServerUnreachable):
        fleet.control().start_canary(version(3), fence=Fence(release="r3", attempt=1))
    assert fleet.control().committer.head() == before
    assert fleet.split() == {N2: 10.0, N1: 90.0}


@pytest.mark.parametrize("silent", [1, 2])
def test_with_unreachable_replicas_an_abort_and_a_rollback_go_through(fleet: Fleet, silent: int) -> None:
    fleet.release(1, 2)
    fence = fleet.start(3, percent=50)
    with fleet.traffic() as traffic:
        busier(traffic)
        for server in fleet.servers[:silent]:
            server.unreachable = True
        fleet.control().abort(reason="it harms", fence=fence)
        assert fleet.apply() == {str(N2): 100.0}
        fleet.control(actor=PERSON).rollback(reason="wrong digits")
        if silent == 1:
            assert fleet.apply() == {str(N1): 100.0}
        else:  # nobody says that it is loaded, and no traffic shows it: what serves stays
            with pytest.raises(NotApplied, match="no model server answers"):
                fleet.apply(seconds=0.3)
            for server in fleet.servers:
                server.unreachable = False
            assert fleet.apply() == {str(N1): 100.0}
        busier(traffic)
    assert traffic.failures == []


def test_a_hold_right_after_a_rollback_does_not_stop_it_while_a_replica_is_unreachable(fleet: Fleet) -> None:
    fleet.release(1, 2)
    fleet.servers[0].unreachable = True
    person = fleet.control(actor=PERSON)
    person.rollback(reason="wrong digits")
    person.hold(reason="until we know why")
    assert fleet.apply() == {str(N1): 100.0}


def test_a_restarted_server_that_has_forgotten_everything_is_filled_again(fleet: Fleet) -> None:
    fleet.release(1, 2)
    fleet.servers[1].stop()
    fleet.servers[1].start()
    assert fleet.available()[1] == set()
    applier = fleet.control().applier
    # A pass whose connection is just breaking finds the server silent, and knows of no loss.
    assert eventually(lambda: "digits" in applier.reconcile().applied and fleet.available() == [{N1, N2}] * 2)
    assert fleet.labels() == [{"stable": N2}] * 2
    with fleet.traffic() as traffic:
        busier(traffic)
    assert traffic.failures == []


def test_a_restarted_server_whose_labels_are_gone_is_seen_and_so_is_one_that_lost_a_version(fleet: Fleet) -> None:
    fleet.release(1, 2)
    target, heads = fleet.control().target, read_heads(fleet.addresses.repository(), fleet=FLEET)
    plan = fleet_plan(heads, fleet=FLEET, now=time.time())
    assert target.astray(plan) == {}
    for versions, told in (((N1, N2), r"missing on \[\], labels on \['127"), ((N2,), r"missing on \['127")):
        fleet.servers[1].stop()
        assert target.astray(plan) == {}  # it does not answer
        base = f"{fleet.addresses.root}/digits/versions"
        fleet.servers[1].start([ServedModel(name="digits", base_path=base, versions=versions)])
        assert eventually(lambda told=told: re.search(told, target.astray(plan).get("digits", "")) is not None)


def test_a_server_that_lost_its_versions_gets_no_traffic_until_it_is_filled_again(fleet: Fleet) -> None:
    fleet.release(1)
    fleet.servers[1].stop()
    hold_loads(fleet)  # a pass waits for the answer to a reload, and not for as long as this
    fleet.servers[1].start()
    applier = fleet.control().applier
    # A pass whose connection is just breaking finds the server silent, and knows of no loss.
    assert eventually(lambda: "digits" in applier.reconcile().pending)
    with fleet.traffic() as traffic:
        busier(traffic)
        hold_loads(fleet, hold=False)
        assert eventually(lambda: "digits" in applier.reconcile().applied)
        busier(traffic)
    assert traffic.failures == []


def test_a_version_that_a_server_cannot_load_is_named_and_what_serves_stays(fleet: Fleet) -> None:
    fleet.release(1)
    fleet.servers[0].fail_loads = {("digits", N2)}
    fleet.push(2)
    fence = Fence(release="r2", attempt=1)
    fleet.control().start_canary(version(2), fence=fence, percent=10)
    with pytest.raises(LoadFailed, match=f"could not load version {N2} of 'digits'"):
        fleet.apply()
    assert fleet.split() == {N1: 100.0}
    fleet.control().abort(reason="it cannot be loaded", fence=fence)
    assert fleet.apply() == {str(N1): 100.0}


def test_a_new_model_that_cannot_be_loaded_disturbs_no_other_model(fleet: Fleet) -> None:
    fleet.release(1)
    for server in fleet.servers:
        server.fail_loads = {("faces", N1)}
    fleet.push(1, model="faces")
    fleet.control("faces").start_canary(version(1), fence=Fence(release="r1", attempt=1))
    with pytest.raises(LoadFailed, match="'faces'"):
        fleet.apply("faces")
    fleet.release(2)
    assert fleet.split() == {N2: 100.0}


def test_the_traffic_of_a_rollback_goes_before_a_reload_in_which_the_servers_hang(tmp_path: Path) -> None:
    with serving_fleet(tmp_path, reload_seconds=DEADLINE_SECONDS) as fleet:
        fleet.release(1, 2)
        for server in fleet.servers:
            server.hang_reloads = True
        fleet.control(actor=PERSON).rollback(reason="wrong digits")
        applying = threading.Thread(target=fleet.apply, daemon=True)
        applying.start()
        assert eventually(lambda: fleet.split() == {N1: 100.0}, seconds=DEADLINE_SECONDS / 2)
        assert applying.is_alive(), "nothing hung"
        for server in fleet.servers:
            server.hang_reloads = False
        all_ended(applying, within=DEADLINE_SECONDS)


def test_a_rollback_is_applied_while_servers_hang_in_a_reload_and_they_are_told_when_they_answer(fleet: Fleet) -> None:
    fleet.release(1, 2)
    for server in fleet.servers:
        server.hang_reloads = True
    with fleet.traffic() as traffic:
        fleet.control(actor=PERSON).rollback(reason="wrong digits")
        assert fleet.apply() == {str(N1): 100.0}
        assert fleet.split() == {N1: 100.0}
        busier(traffic)
    assert traffic.failures == []
    for server in fleet.servers:
        server.hang_reloads = False
    applier = fleet.control().applier
    assert eventually(lambda: bool(applier.reconcile().applied) and fleet.labels() == [{"stable": N1}] * 2)


def test_unloading_waits_for_the_drain_and_spares_what_the_last_two_generations_name(fleet: Fleet) -> None:
    fleet.release(1, model="cold")
    cold = fleet.control("cold", keep_warm=0)
    fleet.release(1)
    control = fleet.control(keep_warm=0)
    assert control.applier.unload(deadline_seconds=0)["cold"] == {N1}
    for major in (2, 3):
        fence = Fence(release=f"r{major}", attempt=1)
        fleet.push(major)
        for step in (
            lambda major=major, fence=fence: control.start_canary(version(major), fence=fence, percent=50),
            lambda major=major, fence=fence: control.promote(version(major), fence=fence, proof="it is good"),
        ):
            step()
            control.apply(deadline_seconds=DEADLINE_SECONDS)
    draining = replace(fleet.addresses, drain_seconds=3600.0).control("digits", keep_warm=0)
    with closing(draining.target):  # type: ignore[type-var]
        assert draining.applier.unload(deadline_seconds=0)["digits"] >= {N1, N2, N3}  # not drained yet
    assert eventually(lambda: control.applier.unload(deadline_seconds=0)["digits"] == {N2, N3})
    assert fleet.available() == [{N2, N3}] * 2
    assert cold.state.stable == version(1)


def test_a_version_whose_server_does_not_answer_counts_as_listed(fleet: Fleet) -> None:
    fleet.release(1, 2, 3)
    fleet.servers[1].unreachable = True
    applier = fleet.control().applier
    assert eventually(lambda: bool(applier.unload(deadline_seconds=0)) and N1 not in fleet.available()[0])
    assert applier.unload(deadline_seconds=0)["digits"] == {N1, N2, N3}
    fleet.servers[1].unreachable = False
    assert eventually(lambda: applier.unload(deadline_seconds=0)["digits"] == {N2, N3})


def test_models_that_no_log_knows_are_never_removed(fleet: Fleet) -> None:
    foreign = ServedModel(name="legacy", base_path="/models/legacy", versions=(7,))
    store = fleet.control().repository.fleet(FLEET)
    store.write(
        SERVING_DOCUMENT,
        b'{"models": {}, "leaving": {}, "foreign": "model_config_list { config { name: \\"legacy\\" base_path: '
        b'\\"/models/legacy\\" model_platform: \\"tensorflow\\" model_version_policy { specific { versions: 7 } } } }"}',
    )
    for server in fleet.servers:
        server.stop()
        server.start([foreign])
    fleet.release(1, 2, 3)
    assert eventually(lambda: fleet.control().applier.unload(deadline_seconds=0)["digits"] == {N2, N3})
    assert fleet.available("legacy") == [{7}, {7}]


def test_a_fleet_that_is_neither_adopted_nor_declared_empty_is_left_alone(tmp_path: Path) -> None:
    with serving_fleet(tmp_path, declared_empty=False) as fleet:
        fleet.push(1)
        fleet.control().start_canary(version(1), fence=Fence(release="r1", attempt=1))
        with pytest.raises(FleetNotAdopted, match="adopt"):
            fleet.apply()
        assert [server.reloads for server in fleet.servers] == [[], []]
        fleet.control().repository.fleet(FLEET).write(ADOPTED_MARK, b"{}")
        fleet.apply()
        assert fleet.available() == [{N1}, {N1}]
