"""What a TF Serving fleet is sent, derived from heads: pure values, so any heads will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.adapters.serving import tf_serving_plan as planning
from airflow_model_ops.adapters.serving.envoy_spec import Endpoint, ModelRoute
from airflow_model_ops.adapters.serving.tf_serving_client import LoadState, VersionStatus
from airflow_model_ops.adapters.serving.tf_serving_plan import Listed, ServingDocument
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.ports import FleetPlan, ModelPlan
from airflow_model_ops.core.state import Canary, Fence, Golden, Holdback, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
A, B = "10.0.0.1:8500", "10.0.0.2:8500"
REST = {A: Endpoint("10.0.0.1", 8501), B: Endpoint("10.0.0.2", 8501)}
Known = Mapping[int, VersionStatus]


def v(major: int) -> Version:
    return NAMING.parse(f"m-v{major}.0.0")


N1, N2, N3 = (v(major).number for major in (1, 2, 3))


def plan(
    state: ServingState,
    *,
    model: str = "digits",
    urgent: bool = False,
    applied: bool = True,
    settled: float = 60,
    pins: bool = False,
    spare: Sequence[Version] | None = None,
) -> ModelPlan:
    return ModelPlan(
        model=model,
        generation=7,
        state=state,
        spare=tuple(state.warm if spare is None else spare),
        urgent=urgent,
        applied=applied,
        settled_seconds=settled,
        pins=pins,
    )


def fleet(*plans: ModelPlan) -> FleetPlan:
    return FleetPlan(fleet="main", models={each.model: each for each in plans})


def has(*numbers: int, state: LoadState = LoadState.AVAILABLE, error: str = "") -> dict[int, VersionStatus]:
    return {n: VersionStatus(number=n, state=state, error_code=3 if error else 0, error_message=error) for n in numbers}


STABLE_2 = ServingState(fleet="main", stable=v(2), earlier=(v(1),))
CANARY_0 = ServingState(fleet="main", stable=v(2), earlier=(v(1),), canary=Canary(version=v(3), percent=0))
CANARY_3 = ServingState(fleet="main", stable=v(2), earlier=(v(1),), canary=Canary(version=v(3), percent=10))

names = st.sampled_from(["digits", "faces", "di.gits"])
numbers = st.integers(0, 2**63 - 1)
listed = st.builds(
    lambda versions, label: Listed(versions=tuple(sorted(versions)), labels={"stable": label}, generation=3),
    st.sets(numbers, min_size=1, max_size=4),
    numbers,
)
documents = st.builds(
    ServingDocument,
    models=st.dictionaries(names, listed),
    foreign=st.sampled_from(["", "model_config_list { }"]),
    leaving=st.dictionaries(names, st.tuples(numbers)),
)
majors = st.integers(1, 6)


@st.composite
def states(draw: st.DrawFn) -> ServingState:
    stable = draw(st.none() | majors)
    others = [major for major in range(1, 7) if major != stable]
    canary = draw(st.none() | st.sampled_from(others))
    earlier = draw(st.lists(st.sampled_from([m for m in others if m != canary]), unique=True)) if stable else []
    golden = draw(st.none() | majors)
    return ServingState(
        fleet="main",
        stable=v(stable) if stable else None,
        canary=Canary(version=v(canary), percent=draw(st.sampled_from([0, 0.01, 10, 50, 100]))) if canary else None,
        golden=Golden(version=v(golden), by_person=True) if golden else None,
        earlier=tuple(v(major) for major in earlier),
        keep_warm=draw(st.integers(0, 2)),
    )


statuses = st.dictionaries(
    st.sampled_from([A, B]),
    st.none()
    | st.dictionaries(majors.map(lambda major: v(major).number), st.sampled_from(LoadState)).map(
        lambda known: {n: VersionStatus(number=n, state=state) for n, state in known.items()}
    ),
    min_size=1,
)


@given(documents)
def test_a_stored_document_reads_back_as_it_was(document: ServingDocument) -> None:
    assert ServingDocument.from_bytes(document.to_bytes()) == document


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"models": {"digits": {}}, "foreign": "", "leaving": {}}'])
def test_a_document_that_cannot_be_read_is_refused_and_never_taken_for_empty(content: bytes) -> None:
    with pytest.raises(InvalidState, match="adopt the fleet"):
        ServingDocument.from_bytes(content)
    assert ServingDocument.from_bytes(None) == ServingDocument()


@given(documents, states())
def test_a_pass_only_adds_versions_and_keeps_labels_and_every_other_model(
    document: ServingDocument, state: ServingState
) -> None:
    wanted = planning.extended(document, fleet(plan(state)))
    for model, old in document.models.items():
        assert set(old.versions) <= set(wanted.models[model].versions)
        assert old.labels == wanted.models[model].labels
        if model != "digits":
            assert wanted.models[model] == old
    held = wanted.models["digits"].versions if "digits" in wanted.models else ()
    assert {version.number for version in state.warm} <= set(held)
    assert not set(wanted.leaving.get("digits", ())) & set(held)
    assert wanted.foreign == document.foreign


@given(states(), statuses)
def test_a_label_goes_only_to_what_is_available_on_every_server_that_answers(
    state: ServingState, known: dict[str, Known | None]
) -> None:
    listing = planning.extended(ServingDocument(), fleet(plan(state)))
    wanted = planning.relabelled(listing, fleet(plan(state)), ready=["digits"], statuses={"digits": known})
    for label, number in (wanted.models["digits"].labels if "digits" in wanted.models else {}).items():
        assert state.labels[label].number == number
        answers = [versions for versions in known.values() if versions is not None]
        assert answers
        assert all(versions[number].state is LoadState.AVAILABLE for versions in answers)


def test_one_server_is_never_sent_a_label_of_a_version_it_lacks() -> None:
    """TF Serving refuses the whole list over one such label; after a restart it lacks everything."""
    document = ServingDocument(models={"digits": Listed(versions=(N1, N2), labels={"stable": N2, "golden": N1})})
    (full,) = planning.served_models(document, models_root="/models/", statuses={"digits": has(N1, N2)})
    (poor,) = planning.served_models(document, models_root="/models/", statuses={"digits": has(N1)})
    assert full.base_path == "/models/digits/versions"
    assert (dict(full.labels), dict(poor.labels)) == ({"golden": N1, "stable": N2}, {"golden": N1})
    assert poor.versions == (N1, N2)


@given(documents, states(), st.sets(numbers), st.floats(0, 60), st.booleans())
def test_nothing_that_the_last_two_generations_name_or_that_is_routed_is_ever_surplus(
    document: ServingDocument, state: ServingState, routed: set[int], settled: float, applied: bool
) -> None:
    wanted = planning.extended(document, fleet(plan(state)))
    heads = fleet(plan(state, spare=[*state.warm, v(6)], settled=settled, applied=applied))
    surplus = planning.surplus_versions(wanted, heads, routed={"digits": routed}, drain_seconds=30)
    assert surplus.keys() <= {"digits"}
    gone = surplus.get("digits", frozenset())
    assert not gone & ({version.number for version in state.warm} | {v(6).number} | routed)
    if not applied or settled < 30:
        assert not gone
    after = planning.reduced(wanted, surplus)
    assert set(after.leaving.get("digits", ())) >= gone
    assert {model: each for model, each in after.models.items() if model != "digits"} == {
        model: each for model, each in wanted.models.items() if model != "digits"
    }


def test_what_leaves_is_remembered_until_every_server_says_so() -> None:
    document = planning.reduced(ServingDocument(models={"digits": Listed(versions=(N1, N2))}), {"digits": {N1}})
    assert document.models["digits"].versions == (N2,)
    for told in (None, has(N1), has(N1, state=LoadState.UNLOADING)):
        assert planning.left(document, {"digits": {A: has(N1, state=LoadState.END), B: told}}) == document
        assert planning.still_held("digits", document, {B: told}) == {N1, N2}
    done = planning.left(document, {"digits": {A: has(N1, state=LoadState.END), B: {}}})
    assert done.leaving == {}
    assert planning.still_held("digits", done, {}) == {N2}


def test_a_server_that_has_not_begun_to_unload_is_behind_and_a_silent_one_is_not() -> None:
    document = ServingDocument(leaving={"digits": (N1,)})
    assert planning.behind(document, {"digits": {A: has(N1), B: None}}) == {A}
    assert planning.behind(document, {"digits": {A: has(N1, state=LoadState.UNLOADING), B: {}}}) == frozenset()


def test_a_server_lacks_what_it_never_heard_of_or_has_ended_but_not_what_failed_or_loads() -> None:
    listing = Listed(versions=(N1,))
    assert planning.lacking(listing, {})
    assert planning.lacking(listing, has(N1, state=LoadState.END))
    assert not planning.lacking(listing, has(N1, state=LoadState.END, error="no such file"))
    assert not planning.lacking(listing, has(N1, state=LoadState.LOADING))


class TestUp:
    """Every server must answer and have every labelled version available."""

    @pytest.mark.parametrize(
        ("known", "why"),
        [
            ({A: has(N2, N3), B: has(N2, N3)}, None),
            ({A: has(N2, N3), B: has(N2)}, f"version {N3} is not available on {B} yet"),
            ({A: has(N2, N3), B: has(N2) | has(N3, state=LoadState.LOADING)}, f"version {N3} is not available on {B}"),
            ({A: has(N2, N3), B: None}, f"{B!r} does not answer"),
            ({A: None, B: None}, "does not answer"),
        ],
    )
    def test_a_canary_gets_traffic_only_when_it_is_everywhere(
        self, known: dict[str, Known | None], why: str | None
    ) -> None:
        reason = planning.unready(plan(CANARY_3), known, routed={N2})
        assert reason == why if why is None else why in str(reason)


class TestWayBack:
    """The servers that answer decide; one of them is enough."""

    @pytest.mark.parametrize(
        ("known", "routed", "ready"),
        [
            ({A: has(N2), B: has(N2)}, {N3}, True),
            ({A: has(N2), B: None}, {N3}, True),
            ({A: has(N2), B: {}}, {N3}, True),
            ({A: {}, B: {}}, {N2}, False),
            ({A: None, B: None}, {N2, N3}, True),
            ({A: None, B: None}, {N3}, False),
        ],
    )
    def test_it_goes_on_with_what_is_known_to_be_loaded(
        self, known: dict[str, Known | None], routed: set[int], ready: bool
    ) -> None:
        assert (planning.unready(plan(STABLE_2, urgent=True), known, routed=routed) is None) is ready

    def test_it_waits_for_nothing_but_the_split(self) -> None:
        assert planning.unready(plan(CANARY_0, urgent=True), {A: has(N2)}, routed={N3}) is None
        assert planning.unready(plan(CANARY_0), {A: has(N2)}, routed={N3}) is not None

    def test_a_golden_version_that_cannot_be_loaded_stops_nothing_but_its_own_pinning(self) -> None:
        golden = replace(STABLE_2, golden=Golden(version=v(1), by_person=True))
        known = {A: has(N2) | has(N1, state=LoadState.END, error="no")}
        assert planning.unready(plan(golden), known, routed={N2}) is None
        assert planning.failed_load(plan(golden), known) is None
        assert planning.unready(plan(golden, pins=True), known, routed={N2}) is not None
        assert planning.failed_load(plan(golden, pins=True), known) == (N1, A, "no")

    def test_while_its_version_loads_the_canary_gets_nothing_and_the_generation_stays_the_old_one(self) -> None:
        old = ModelRoute(model="digits", generation=5, split=((N3, 10), (N2, 90)))
        back_to_1 = ServingState(fleet="main", stable=v(1), left=(v(2),))
        interim = planning.interim_route(plan(back_to_1, urgent=True), old)
        assert interim == ModelRoute(model="digits", generation=5, split=((N2, 100.0),))
        assert planning.interim_route(plan(back_to_1, urgent=True), interim) is None
        assert planning.interim_route(plan(back_to_1), old) is None

    def test_it_never_gives_a_quarantined_version_more_traffic(self) -> None:
        old = ModelRoute(model="digits", generation=5, split=((N3, 10), (N2, 90)))
        banned = ServingState(fleet="main", stable=v(1), left=(v(2),), quarantined=(v(2),))
        assert planning.interim_route(plan(banned, urgent=True), old) is None


def test_a_failed_load_is_found_only_for_what_the_head_needs() -> None:
    broken = {A: has(N2), B: has(N3, state=LoadState.END, error="out of memory")}
    assert planning.failed_load(plan(CANARY_3), broken) == (N3, B, "out of memory")
    assert planning.failed_load(plan(STABLE_2), broken) is None


def test_a_cluster_has_the_servers_where_the_version_is_and_keeps_a_silent_one_that_had_it() -> None:
    known: dict[str, Known | None] = {A: has(N2), B: None}
    assert planning.endpoints_of(N2, known, rest=REST, old=[REST[B]]) == (REST[A], REST[B])
    assert planning.endpoints_of(N2, known, rest=REST, old=[]) == (REST[A],)
    assert planning.endpoints_of(N2, {A: {}, B: None}, rest=REST, old=[REST[A]]) == ()


@given(states())
def test_a_route_names_each_version_once_sums_to_100_and_has_stable_last(state: ServingState) -> None:
    route = planning.route_of(plan(state), active=())
    assert route.generation == 7
    assert route.control == 0
    assert sum(percent for _, percent in route.split) in (0, pytest.approx(100))
    if state.stable and (state.canary is None or state.canary.percent < 100):
        assert route.split[-1][0] == state.stable.number


class TestControl:
    @pytest.mark.parametrize(
        ("canary", "control"),
        [
            (None, 10.0),
            (0, 10.0),
            (0.01, 0.01),
            (5, 5.0),
            (33.33, 33.33),
            (50, 25.0),
            (99.9, 0.05),
            (99.97, 0.01),
            (99.98, 0.01),
            (99.99, 0.0),
            (100, 0.0),
        ],
    )
    def test_it_gets_what_the_canary_gets_and_at_most_half_of_stable(
        self, canary: float | None, control: float
    ) -> None:
        on_trial = None if canary is None else Canary(version=v(3), percent=canary)
        assert planning.control_percent(ServingState(fleet="main", stable=v(2), canary=on_trial)) == control

    def test_a_first_release_has_nobody_to_compare_with(self) -> None:
        first = ServingState(fleet="main", canary=Canary(version=v(1), percent=100))
        assert planning.control_percent(first) == 0
        assert planning.control_cluster(plan(first)) is None
        assert planning.control_percent(ServingState(fleet="main")) == 0

    def test_it_rests_while_the_former_one_is_held_back_and_stable_is_the_one_on_trial(self) -> None:
        held_back = ServingState(
            fleet="main",
            stable=v(2),
            earlier=(v(1),),
            holdback=Holdback(version=v(1), percent=5),
            promoted_by=Fence(release="r2", attempt=1),
        )
        route = planning.route_of(plan(held_back), active={f"digits/{N2}~control"})
        assert route == ModelRoute(model="digits", generation=7, split=((N1, 5), (N2, 95)), control=0)
        assert planning.needed_clusters(plan(held_back)) == {f"digits/{N1}", f"digits/{N2}"}

    def test_it_gets_nothing_over_a_cluster_that_is_not_known_to_be_active(self) -> None:
        """A stale cluster of the wrong version does not count either."""
        for active in ((), {f"digits/{N3}~control", f"digits/{N2}"}):
            assert planning.route_of(plan(CANARY_3), active=active).control == 0
        assert planning.route_of(plan(CANARY_3), active={f"digits/{N2}~control"}).control == 10

    @given(states())
    def test_it_is_a_part_of_stable_that_a_router_takes(self, state: ServingState) -> None:
        wanted = planning.control_cluster(plan(state))
        route = planning.route_of(plan(state), active={str(wanted)})
        assert route.control == planning.control_percent(state)
        if route.control:
            assert state.stable is not None
            stable, percent = route.split[-1]
            assert (stable, wanted) == (state.stable.number, f"digits/{stable}~control")
            assert 0 < route.control <= percent / 2
        else:
            assert not state.stable or dict(route.split).get(state.stable.number, 0) < 0.02

    def test_while_a_way_back_waits_it_stays_where_it_is(self) -> None:
        old = ModelRoute(model="digits", generation=5, split=((N3, 10), (N2, 90)), control=10)
        back_to_1 = ServingState(fleet="main", stable=v(1), left=(v(2),))
        interim = planning.interim_route(plan(back_to_1, urgent=True), old)
        assert interim == ModelRoute(model="digits", generation=5, split=((N2, 100.0),), control=10)
