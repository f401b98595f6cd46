from __future__ import annotations

from typing import Any

import pytest

from airflow_model_ops.model_server.model_list import All, ModelEntry, Specific
from airflow_model_ops.model_server.server_core import ModelRef
from airflow_model_ops.model_server.status import Code, StatusError
from tests.waits import until

NOT_AVAILABLE = "Request to assign label to version 2 of model digits, which is not currently available for inference"


def resolves_to(rig: Any, label: str) -> int:
    with rig.core.acquire(ModelRef(name="digits", label=label)) as loaded:
        return int(loaded.version)


def serve_one(rig: Any, **options: Any) -> None:
    rig.add("digits", 1)
    rig.reload(rig.entry("digits", **options))


class TestReload:
    def test_a_model_that_leaves_the_list_is_unloaded_and_its_end_stays_visible(self, rig: Any) -> None:
        serve_one(rig)
        rig.add("faces", 7)
        rig.reload(rig.entry("faces"))
        assert rig.states("digits") == [(1, "END")]
        assert rig.core.status(ModelRef(name="digits"))[0].error_code is Code.OK
        assert rig.states("faces") == [(7, "AVAILABLE")]

    def test_an_empty_list_unloads_everything(self, rig: Any) -> None:
        serve_one(rig)
        rig.reload()
        assert rig.lifecycle.loaded() == []

    def test_a_policy_change_of_a_known_model_returns_before_anything_is_loaded(self, rig: Any) -> None:
        serve_one(rig)
        rig.add("digits", 2)
        rig.core.reload([rig.entry("digits", policy=All())])
        assert rig.states("digits") == [(1, "AVAILABLE")]
        rig.turn()
        assert rig.states("digits") == [(2, "AVAILABLE"), (1, "AVAILABLE")]

    def test_a_new_model_with_a_wrong_base_path_hangs_this_reload_and_every_later_one(self, rig: Any) -> None:
        serve_one(rig)
        hanging = rig.begin_reload(rig.entry("digits"), ModelEntry(name="new", base_path="/does/not/exist"))
        until(lambda: "new" in rig.source.base_paths, what="the reload has listed the new model")
        assert not hanging.done()
        later = rig.begin_reload(rig.entry("digits"))
        rig.add("digits", 2)
        for _ in range(3):
            rig.turn()
        assert not hanging.done()
        assert not later.done()
        assert rig.states("digits") == [(1, "AVAILABLE")], "and no model gets its new version"

        rig.core.close()
        for pending in (hanging, later):
            with pytest.raises(StatusError, match="stopping"):
                pending.result(timeout=60)

    def test_a_new_model_that_cannot_be_loaded_fails_the_reload(self, rig: Any) -> None:
        rig.add("digits", 1)
        rig.broken.add(1)
        with pytest.raises(StatusError) as caught:
            rig.reload(rig.entry("digits"))
        assert caught.value.code is Code.UNKNOWN
        assert caught.value.message == (
            "1 model(s) did not become available: "
            "{{{name: digits version: 1} due to error: NOT_FOUND: no SavedModel in 1}, }"
        )

    def test_a_model_that_comes_back_is_waited_for_although_an_old_end_is_on_the_board(self, rig: Any) -> None:
        serve_one(rig)
        rig.reload()
        pending = rig.begin_reload(rig.entry("digits"))
        until(lambda: "digits" in rig.source.base_paths, what="the reload has listed the model")
        assert not pending.done()
        rig.turn()
        pending.result(timeout=60)
        assert rig.states("digits") == [(1, "AVAILABLE")]

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            (
                [ModelEntry(name="m", base_path="/a"), ModelEntry(name="m", base_path="/b")],
                "Illegal to list model m multiple times in config list",
            ),
            (
                [ModelEntry(name="m", base_path="a/b")],
                "Expected model m to have an absolute path or URI; got base_path()=a/b",
            ),
            (
                [ModelEntry(name="m", base_path="/a", platform="pytorch")],
                "Model m requests unsupported platform pytorch",
            ),
            (
                [ModelEntry(name="m", base_path="/a", platform="")],
                (
                    "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                    "ModelServerConfig::model_platform, model name is m"
                ),
            ),
        ],
    )
    def test_a_wrong_list_is_refused_and_what_serves_stays(
        self, rig: Any, entries: list[ModelEntry], message: str
    ) -> None:
        serve_one(rig)
        with pytest.raises(StatusError) as caught:
            rig.core.reload(entries)
        assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)
        rig.turn()
        assert rig.states("digits") == [(1, "AVAILABLE")]

    def test_a_served_model_cannot_change_its_platform(self, rig: Any) -> None:
        serve_one(rig)
        with pytest.raises(StatusError, match=r"Illegal to change a model's platform. For model digits platform was"):
            rig.core.reload([rig.entry("digits", platform="other")])


class TestLabels:
    def test_a_label_names_an_available_version(self, rig: Any) -> None:
        serve_one(rig)
        rig.reload(rig.entry("digits", labels={"stable": 1, "golden": 1}))
        assert (resolves_to(rig, "stable"), resolves_to(rig, "golden")) == (1, 1)

    def test_a_label_on_a_version_that_is_not_available_stops_the_reload_before_the_policy(self, rig: Any) -> None:
        serve_one(rig)
        rig.reload(rig.entry("digits", labels={"stable": 1}))
        rig.add("digits", 2)
        with pytest.raises(StatusError) as caught:
            rig.core.reload([rig.entry("digits", policy=Specific(versions=(1, 2)), labels={"stable": 2})])
        assert (caught.value.code, caught.value.message) == (Code.FAILED_PRECONDITION, NOT_AVAILABLE)
        assert resolves_to(rig, "stable") == 1, "the labels are as before"

    def test_a_refused_reload_is_remembered_all_the_same(self, rig: Any) -> None:
        """TF Serving stores the list first: a later list is compared with the refused one."""
        serve_one(rig)
        with pytest.raises(StatusError, match="Request to assign label"):
            rig.core.reload(
                [rig.entry("digits", platform="tensorflow"), rig.entry("odd", platform="x", labels={"a": 1})]
            )
        with pytest.raises(StatusError, match="For model odd platform was x and new platform requested is tensorflow"):
            rig.core.reload([rig.entry("digits"), rig.entry("odd")])

    def test_labels_are_in_force_although_the_platform_is_refused_afterwards(self, rig: Any) -> None:
        serve_one(rig)
        with pytest.raises(StatusError, match="unsupported platform"):
            rig.core.reload([rig.entry("digits", labels={"stable": 1}), rig.entry("odd", platform="x")])
        assert resolves_to(rig, "stable") == 1

    def test_each_reload_builds_the_labels_anew(self, rig: Any) -> None:
        serve_one(rig)
        rig.reload(rig.entry("digits", labels={"stable": 1}))
        rig.reload(rig.entry("digits"))
        with pytest.raises(StatusError, match=r"^Unrecognized servable version label: stable$") as caught:
            resolves_to(rig, "stable")
        assert caught.value.code is Code.INVALID_ARGUMENT

    def test_moving_a_label_takes_two_reloads(self, rig: Any) -> None:
        serve_one(rig)
        both = Specific(versions=(1, 2))
        rig.reload(rig.entry("digits", labels={"stable": 1}))
        rig.add("digits", 2)
        rig.reload(rig.entry("digits", policy=both, labels={"stable": 1}))
        rig.reload(rig.entry("digits", policy=both, labels={"stable": 2}))
        assert resolves_to(rig, "stable") == 2

    def test_a_label_left_on_a_dropped_version_is_accepted_and_answers_not_found(self, rig: Any) -> None:
        rig.add("digits", 1, 2)
        rig.reload(rig.entry("digits", policy=All()))
        rig.reload(rig.entry("digits", policy=Specific(versions=(2,)), labels={"stable": 1}))
        with pytest.raises(StatusError, match=r"^Servable not found for request: Specific\(digits, 1\)$"):
            resolves_to(rig, "stable")

    def test_before_the_first_list_there_are_no_labels(self, rig: Any) -> None:
        with pytest.raises(StatusError) as caught:
            resolves_to(rig, "stable")
        assert caught.value.code is Code.UNAVAILABLE

    def test_with_the_flag_a_new_label_may_be_early_but_a_bound_one_may_not_move_early(self, lenient_rig: Any) -> None:
        rig = lenient_rig
        rig.add("digits", 1)
        rig.reload(rig.entry("digits", labels={"stable": 1}))
        rig.core.reload([rig.entry("digits", labels={"stable": 1, "canary": 2})])
        with pytest.raises(StatusError, match="Request to assign label to version 2"):
            rig.core.reload([rig.entry("digits", labels={"stable": 2})])


class TestStatus:
    def test_versions_are_listed_from_the_highest_and_ends_stay(self, rig: Any) -> None:
        serve_one(rig)
        rig.add("digits", 2)
        rig.turn()
        states = rig.core.status(ModelRef(name="digits"))
        assert [(state.version, state.state.name) for state in states] == [(2, "AVAILABLE"), (1, "END")]

    def test_a_label_is_ignored(self, rig: Any) -> None:
        serve_one(rig)
        assert rig.core.status(ModelRef(name="digits", label="nonsense"))[0].version == 1

    def test_what_was_never_seen_is_not_found(self, rig: Any) -> None:
        serve_one(rig)
        with pytest.raises(StatusError, match=r"^Could not find version 5 of model digits$"):
            rig.core.status(ModelRef(name="digits", version=5))
        with pytest.raises(StatusError, match=r"^Could not find any versions of model faces$") as caught:
            rig.core.status(ModelRef(name="faces"))
        assert caught.value.code is Code.NOT_FOUND

    def test_a_request_without_a_name_is_refused(self, rig: Any) -> None:
        with pytest.raises(StatusError, match=r"^ModelSpec has no name specified\.$"):
            rig.core.acquire(ModelRef(name=""))
