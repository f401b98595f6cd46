"""The client against a real gRPC server that follows TF Serving's rules."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from airflow_model_ops.adapters.serving.tf_serving_client import (
    LoadState,
    ModelServiceClient,
    ServedModel,
    VersionStatus,
)
from airflow_model_ops.core.errors import (
    InvalidConfig,
    LoadFailed,
    ServerRefused,
    ServerUnreachable,
    ServerWedged,
)
from tests.adapters.fake_model_service import FakeModelService
from tests.waits import until

OLD, NEW = 20230601120000, 20230602120000
PATIENCE = 60.0
"""Seconds for what ends at once, though a busy machine takes its time."""
Start = Callable[..., FakeModelService]
Connect = Callable[..., ModelServiceClient]


def served(*versions: int, name: str = "digits", labels: dict[str, int] | None = None) -> ServedModel:
    return ServedModel(name=name, base_path=f"/models/{name}/versions", versions=versions, labels=labels or {})


def states(client: ModelServiceClient, model: str = "digits") -> dict[int, LoadState]:
    return {number: version.state for number, version in client.status(model).items()}


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[ModelServiceClient] = []

    def make(service: FakeModelService, *, timeout_seconds: float = PATIENCE) -> ModelServiceClient:
        clients.append(ModelServiceClient(service.address, timeout_seconds=timeout_seconds))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


class TestWhatAServerHas:
    def test_a_model_the_server_does_not_know_has_no_versions(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        assert connect(fake_model_service()).status("digits") == {}

    def test_a_version_goes_from_loading_to_available(self, fake_model_service: Start, connect: Connect) -> None:
        service = fake_model_service()
        client = connect(service)
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        service.load_polls = 2
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        assert [states(client)[NEW] for _ in range(3)] == [LoadState.LOADING, LoadState.LOADING, LoadState.AVAILABLE]
        assert states(client)[OLD] is LoadState.AVAILABLE

    def test_a_version_left_out_ends_without_counting_as_failed(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        client = connect(fake_model_service())
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        client.reload([served(NEW)], timeout_seconds=PATIENCE)
        assert client.status("digits")[OLD] == VersionStatus(number=OLD, state=LoadState.END)
        assert not client.status("digits")[OLD].failed

    def test_a_failed_load_is_told_apart_from_an_unload_and_carries_the_servers_words(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        client = connect(fake_model_service(fail_loads={("digits", NEW)}))
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        version = client.status("digits")[NEW]
        assert version.failed
        assert version.error_message == f"could not load version {NEW} of digits"

    def test_a_version_in_error_stays_so_until_it_was_left_out_once(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service(fail_loads={("digits", NEW)})
        client = connect(service)
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        assert client.status("digits")[NEW].failed
        service.fail_loads.clear()
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        assert client.status("digits")[NEW].failed
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        assert states(client)[NEW] is LoadState.AVAILABLE

    def test_a_state_of_a_future_server_reads_as_unknown(self, fake_model_service: Start, connect: Connect) -> None:
        service = fake_model_service()
        service.models = {"digits": {OLD: 35}}  # type: ignore[dict-item]
        assert states(connect(service)) == {OLD: LoadState.UNKNOWN}


class TestLabels:
    def test_a_label_moves_only_after_its_new_version_is_available(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        """The two-phase move that TF Serving asks for."""
        service = fake_model_service()
        client = connect(service)
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        client.reload([served(OLD, labels={"stable": OLD})], timeout_seconds=PATIENCE)
        service.load_seconds = 0.05
        with pytest.raises(ServerRefused, match=f"label 'stable' of model 'digits' cannot point to version {NEW}"):
            client.reload([served(OLD, NEW, labels={"stable": NEW})], timeout_seconds=PATIENCE)
        assert client.resolve_label("digits", "stable") == OLD

        client.reload([served(OLD, NEW, labels={"stable": OLD})], timeout_seconds=PATIENCE)
        until(lambda: states(client)[NEW] is LoadState.AVAILABLE, what="version 2 is loaded")
        assert client.resolve_label("digits", "stable") == OLD
        client.reload([served(OLD, NEW, labels={"stable": NEW})], timeout_seconds=PATIENCE)
        assert client.resolve_label("digits", "stable") == NEW

    def test_the_refusal_of_a_label_says_to_wait_and_send_everything_again(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        client = connect(fake_model_service())
        with pytest.raises(ServerRefused) as refusal:
            client.reload([served(OLD, labels={"stable": OLD, "golden": OLD})], timeout_seconds=PATIENCE)
        assert "labels ['golden', 'stable']" in str(refusal.value)
        assert "wait until the version is AVAILABLE" in str(refusal.value)
        assert "send the whole list again" in str(refusal.value)

    def test_no_label_resolves_before_the_first_list_although_the_server_calls_that_unavailable(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        assert connect(fake_model_service()).resolve_label("digits", "stable") is None

    def test_an_unknown_label_resolves_to_nothing(self, fake_model_service: Start, connect: Connect) -> None:
        client = connect(fake_model_service())
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        assert client.resolve_label("digits", "canary") is None

    def test_a_label_whose_version_was_unloaded_resolves_to_nothing(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        client = connect(service)
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        client.reload([served(OLD, NEW, labels={"stable": OLD})], timeout_seconds=PATIENCE)
        service.models["digits"][OLD] = LoadState.END
        assert client.resolve_label("digits", "stable") is None

    def test_a_label_on_an_unreachable_server_is_an_error_and_not_an_unknown_label(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        service.unreachable = True
        with pytest.raises(ServerUnreachable, match="did not answer"):
            connect(service).resolve_label("digits", "stable")

    def test_a_question_the_server_finds_invalid_is_a_refusal(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        with pytest.raises(ServerRefused, match="ModelSpec has no name specified"):
            connect(fake_model_service()).resolve_label("", "stable")


class TestReloads:
    def test_a_model_left_out_of_the_list_is_unloaded_and_the_others_stay(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        client = connect(fake_model_service())
        client.reload([served(OLD), served(OLD, name="faces")], timeout_seconds=PATIENCE)
        client.reload([served(OLD, name="faces")], timeout_seconds=PATIENCE)
        assert states(client) == {OLD: LoadState.END}
        assert states(client, "faces") == {OLD: LoadState.AVAILABLE}

    def test_an_old_version_stays_until_its_replacement_is_available(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        client = connect(service)
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        service.load_polls = 1
        client.reload([served(NEW)], timeout_seconds=PATIENCE)
        assert states(client) == {OLD: LoadState.AVAILABLE, NEW: LoadState.LOADING}
        assert states(client) == {OLD: LoadState.END, NEW: LoadState.AVAILABLE}

    def test_the_list_is_sent_in_one_order_with_platform_and_policy(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        client = connect(service)
        client.reload([served(NEW, OLD), served(OLD, name="ages")], timeout_seconds=PATIENCE)
        client.reload([served(OLD, name="ages"), served(OLD, NEW)], timeout_seconds=PATIENCE)
        first, second = service.reloads
        assert first == second
        assert [entry.name for entry in first.model_config_list.config] == ["ages", "digits"]
        digits = first.model_config_list.config[1]
        assert list(digits.model_version_policy.specific.versions) == [OLD, NEW]
        assert digits.model_platform == "tensorflow"

    def test_an_empty_list_is_refused_locally_unless_it_is_meant(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        client = connect(service)
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        with pytest.raises(InvalidConfig, match="would unload every model"):
            client.reload([], timeout_seconds=PATIENCE)
        assert len(service.reloads) == 1
        client.reload([], timeout_seconds=PATIENCE, allow_empty=True)
        assert states(client) == {OLD: LoadState.END}

    def test_a_model_listed_twice_is_refused_locally(self, fake_model_service: Start, connect: Connect) -> None:
        service = fake_model_service()
        with pytest.raises(InvalidConfig, match=r"\['digits'\] are listed more than once"):
            connect(service).reload([served(OLD), served(NEW)], timeout_seconds=PATIENCE)
        assert service.reloads == []

    def test_a_new_model_that_cannot_load_fails_the_reload_and_names_the_way_out(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        client = connect(fake_model_service(fail_loads={("digits", OLD)}))
        with pytest.raises(LoadFailed, match=f"version: {OLD}.*leave the model out of one reload"):
            client.reload([served(OLD)], timeout_seconds=PATIENCE)

    def test_a_list_the_server_finds_invalid_is_a_refusal_with_its_words(
        self, fake_model_service: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Local checks let no such list through, so one of them is taken away."""
        monkeypatch.setattr("airflow_model_ops.adapters.serving.tf_serving_client.check_models", lambda *_, **__: None)
        with pytest.raises(ServerRefused, match="Illegal to list model digits multiple times"):
            connect(fake_model_service()).reload([served(OLD), served(NEW)], timeout_seconds=PATIENCE)


class TestFaults:
    def test_a_new_model_with_a_missing_base_path_wedges_the_server_and_is_named(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service(missing_base_paths={"/models/faces/versions"})
        client = connect(service)
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        with pytest.raises(ServerWedged) as wedged:
            client.reload([served(OLD), served(OLD, name="faces")], timeout_seconds=0.3)
        message = str(wedged.value)
        assert "model 'faces' at '/models/faces/versions' (no version seen)" in message
        assert "'digits'" not in message
        assert "missing base path" in message
        assert "restart the server" in message

    def test_a_wedged_server_hangs_the_next_reload_too_but_still_answers_questions_until_it_is_restarted(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service(missing_base_paths={"/models/faces/versions"})
        client = connect(service)
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        with _executor() as pool:
            wedging = pool.submit(client.reload, [served(OLD), served(OLD, name="faces")], timeout_seconds=PATIENCE)
            until(lambda: service.reloading, what="the server works on the reload")
            with pytest.raises(ServerWedged, match="an earlier reload is probably still waiting"):
                client.reload([served(OLD)], timeout_seconds=0.2)
            assert states(client) == {OLD: LoadState.AVAILABLE}
            assert not wedging.done()
            service.stop()
        service.start([served(OLD)])
        until(lambda: _answers(client), what="the server answers")
        client.reload([served(OLD, NEW)], timeout_seconds=PATIENCE)
        assert states(client)[NEW] is LoadState.AVAILABLE

    def test_a_reload_that_is_only_slow_shows_what_is_loading(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        service.hold_loads = True
        client = connect(service)
        assert states(client) == {}  # connected: the reload arrives before its deadline
        with pytest.raises(ServerWedged, match=f"{OLD} LOADING.*allow a longer timeout"):
            client.reload([served(OLD)], timeout_seconds=1.0)

    def test_a_wedged_server_that_answers_nothing_still_ends_the_reload(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        service.hang_reloads = service.hang_status = True
        began = time.monotonic()
        with pytest.raises(ServerWedged, match="unknown: model server"):
            connect(service).reload([served(OLD), served(OLD, name="faces")], timeout_seconds=0.2)
        assert time.monotonic() - began < PATIENCE / 2, "it waited for the answer to a question as long as ever"

    def test_a_missing_base_path_of_one_model_freezes_the_versions_of_all(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        client = connect(service)
        client.reload([served(OLD), served(OLD, name="faces")], timeout_seconds=PATIENCE)
        service.missing_base_paths.add("/models/faces/versions")
        client.reload([served(OLD, NEW), served(OLD, name="faces")], timeout_seconds=PATIENCE)
        assert states(client) == {OLD: LoadState.AVAILABLE}
        service.missing_base_paths.clear()
        assert states(client)[NEW] is LoadState.AVAILABLE

    def test_a_server_that_hangs_is_unreachable_after_the_deadline(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        service.hang_status = True
        with pytest.raises(ServerUnreachable, match="DEADLINE_EXCEEDED") as unreachable:
            connect(service, timeout_seconds=0.2).status("digits")
        assert unreachable.value.retryable

    def test_a_server_that_is_down_is_unreachable_at_once(self, fake_model_service: Start, connect: Connect) -> None:
        service = fake_model_service()
        service.stop()
        client = connect(service, timeout_seconds=PATIENCE)
        began = time.monotonic()
        with pytest.raises(ServerUnreachable, match=r"what it has of model 'digits'.*UNAVAILABLE"):
            client.status("digits")
        with pytest.raises(ServerUnreachable, match="send the whole list again"):
            client.reload([served(OLD)], timeout_seconds=PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2

    @pytest.mark.slow
    def test_a_server_that_comes_back_is_used_within_a_second_or_so(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        """gRPC's default pause between tries grows to two minutes; a long outage must not add that to a rollback.

        After six seconds down the default would pause for about four; ours never for more than about one.
        """
        service = fake_model_service()
        client = connect(service)
        assert client.status("digits") == {}
        service.stop()
        down_until = time.monotonic() + 6
        while time.monotonic() < down_until:
            assert not _answers(client)
            time.sleep(0.05)
        service.start([served(OLD)])
        until(lambda: _answers(client), what="the server answers", within=1.8)
        assert states(client) == {OLD: LoadState.AVAILABLE}

    def test_a_server_lost_during_a_reload_is_unreachable_and_not_wedged(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        service.hang_reloads = True
        client = connect(service)
        with _executor() as pool:
            reload = pool.submit(client.reload, [served(OLD)], timeout_seconds=PATIENCE)
            until(lambda: bool(service.reloads), what="the reload arrives")
            service.stop()
            with pytest.raises(ServerUnreachable) as lost:
                reload.result(timeout=PATIENCE)
        assert not isinstance(lost.value, ServerWedged)

    def test_an_address_that_speaks_something_else_is_refused_with_a_hint(self) -> None:
        server = grpc.server(_executor())
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with ModelServiceClient(f"127.0.0.1:{port}") as client, pytest.raises(ServerRefused, match="gRPC port"):
            client.status("digits")
        server.stop(grace=None).wait()


class TestTheClientItself:
    def test_many_threads_share_one_client(self, fake_model_service: Start, connect: Connect) -> None:
        client = connect(fake_model_service())
        client.reload([served(OLD)], timeout_seconds=PATIENCE)
        with _executor(8) as pool:
            answers = list(pool.map(lambda _: states(client), range(64)))
        assert answers == [{OLD: LoadState.AVAILABLE}] * 64

    def test_a_closed_client_connects_again_when_asked(self, fake_model_service: Start, connect: Connect) -> None:
        client = connect(fake_model_service())
        with client:
            assert client.status("digits") == {}
        assert client.status("digits") == {}

    def test_closing_ends_the_calls_of_other_threads_as_unreachable(
        self, fake_model_service: Start, connect: Connect
    ) -> None:
        service = fake_model_service()
        service.hang_reloads = True
        client = connect(service)
        with _executor() as pool:
            reload = pool.submit(client.reload, [served(OLD)], timeout_seconds=PATIENCE)
            until(lambda: bool(service.reloads), what="the reload arrives")
            client.close()
            with pytest.raises(ServerUnreachable, match="CANCELLED"):
                reload.result(timeout=PATIENCE)

    def test_neither_client_nor_protos_import_tensorflow(self) -> None:
        code = (
            "import sys\n"
            "import airflow_model_ops.adapters.serving.tf_serving_client\n"
            "heavy = {m.partition('.')[0] for m in sys.modules} & {'tensorflow', 'tensorflow_serving', 'airflow'}\n"
            "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == 0, run.stderr


def _answers(client: ModelServiceClient) -> bool:
    try:
        client.status("digits")
    except ServerUnreachable:
        return False
    return True


def _executor(workers: int = 2) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=workers)
