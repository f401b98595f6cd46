"""When the control cluster gets its share, and when a way back goes on without it."""

from __future__ import annotations

from airflow_model_ops.core.state import Fence
from tests.control.memory_fleet import PERSON, MemoryFleet, version


def released(*majors: int) -> MemoryFleet:
    fleet = MemoryFleet(point=lambda _: None, waits=lambda: False)
    for major in majors:
        fence = Fence(release=f"r{major}", attempt=1)
        fleet.control().start_canary(version(major), fence=fence)
        fleet.control().promote(version(major), fence=fence, proof="it is good")
        fleet.control().apply(deadline_seconds=1)
    return fleet


def test_a_way_back_past_a_router_of_which_nothing_is_known_sends_nothing_over_control() -> None:
    """That router may lack the control cluster, and would refuse routes to it."""
    fleet = released(1, 2)
    assert fleet.control_share() == 10
    fleet.router.stuck = True
    fleet.control(actor=PERSON).rollback(reason="wrong digits")
    assert fleet.control().apply(deadline_seconds=0).split == {str(version(1).number): 100.0}
    assert fleet.control_share() == 0
    fleet.router.stuck = False
    fleet.control().applier.reconcile()
    assert fleet.control_share() == 10


def test_a_way_back_writes_no_clusters_before_it_shifts() -> None:
    """Version 1 has had its control cluster since it was loaded."""
    writes: list[str] = []
    fleet = released(1, 2)
    fleet.router.point = writes.append
    fleet.control(actor=PERSON).rollback(reason="wrong digits")
    fleet.control().apply(deadline_seconds=0)
    assert writes == ["router routes", "router clusters"]
    assert fleet.control_share() == 10
