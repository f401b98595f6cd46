"""A small real gRPC server with TF Serving's rules for lists, labels and loading, and faults on request.

It loads no model: versions are only states. Rules after tensorflow/serving ``model_servers/server_core.cc``,
``model_service_impl.cc`` and ``core/availability_preserving_policy.cc``; texts as that server sends them.
"""

from __future__ import annotations

import posixpath
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc

from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from airflow_model_ops.adapters.serving.tf_serving_client import LoadState, ServedModel
from airflow_model_ops.adapters.serving.tf_serving_config import model_server_config

_POLL_SECONDS = 0.01
_FAILED_LOAD_CODE = 3


@dataclass
class _Load:
    """A load under way: done once both the time and the polls have passed."""

    due: float
    polls_left: int


class _Refusal(Exception):
    """The gRPC error that a call ends with."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class FakeModelService:
    """One model server. ``start`` after ``stop`` is a fresh process on the same port: it has forgotten everything.

    :param load_seconds: How long each load takes.
    :param load_polls: How many status polls of its model (or rounds of a waiting reload) each load takes beside that.
    :param allow_labels_for_unavailable: The server's ``--allow_version_labels_for_unavailable_models``.
    """

    def __init__(
        self,
        *,
        load_seconds: float = 0.0,
        load_polls: int = 0,
        missing_base_paths: Collection[str] = (),
        fail_loads: Collection[tuple[str, int]] = (),
        allow_labels_for_unavailable: bool = False,
    ) -> None:
        self.load_seconds = load_seconds
        self.load_polls = load_polls
        self.missing_base_paths = set(missing_base_paths)
        """While one of these is listed, no model's versions change; a new model on one hangs its reload for good."""
        self.fail_loads = set(fail_loads)
        """Loads that end in an error; the error stays until the version was left out of a list once."""
        self.allow_labels_for_unavailable = allow_labels_for_unavailable
        self.hang_reloads = False
        """While set, a reload hangs before it does anything, and every later one behind it."""
        self.hang_status = False
        self.hold_loads = False
        """While set, versions to load stay LOADING."""
        self.hold_unloads = False
        """While set, versions to unload stay UNLOADING."""
        self.unreachable = False
        """While set, every call fails with UNAVAILABLE, as if the network were cut; the server forgets nothing."""
        self.models: dict[str, dict[int, LoadState]] = {}
        """Every version known since the start; a test may write into it."""
        self.labels: dict[str, dict[str, int]] | None = None
        """The label map; ``None`` until the first list was taken."""
        self.reloads: list[Any] = []
        """Every ``ModelServerConfig`` received, refused ones too."""
        self._port = 0
        self._server: grpc.Server | None = None
        self._pool = futures.ThreadPoolExecutor(max_workers=1)
        self._stopping = threading.Event()
        self._config_lock = threading.Lock()
        self._forget()

    def __enter__(self) -> Self:
        return self.start() if self._server is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def listed(self) -> dict[str, tuple[int, ...]]:
        """Versions of the newest list that was taken, by model."""
        return {name: tuple(model.model_version_policy.specific.versions) for name, model in self._sources.items()}

    @property
    def reloading(self) -> bool:
        """Whether a reload is being worked on, or hangs; every other one waits for its end."""
        return self._config_lock.locked()

    def start(self, models: Sequence[ServedModel] | None = None) -> Self:
        """Start a fresh process.

        :param models: Its ``--model_config_file``; all of it is loaded before the port opens.
        """
        self._forget()
        self._stopping = threading.Event()
        self._config_lock = threading.Lock()
        if models is not None:
            self._load_startup_file(models)
        self._pool = futures.ThreadPoolExecutor(max_workers=16)
        server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((self._model_service(), self._prediction_service()))
        self._port = server.add_insecure_port(f"127.0.0.1:{self._port}")
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """End the process at once; calls under way fail with UNAVAILABLE."""
        self._stopping.set()
        server, self._server = self._server, None
        if server is not None:
            server.stop(grace=None).wait()
            self._pool.shutdown()  # a call of this process must not go on in the next one

    def _forget(self) -> None:
        self.models = {}
        self.labels = None
        self._sources: dict[str, Any] = {}
        self._aspired: dict[str, frozenset[int]] = {}
        self._loads: dict[tuple[str, int], _Load] = {}
        self._errors: dict[tuple[str, int], str] = {}
        self._state_lock = threading.RLock()

    # Lists

    def _load_startup_file(self, models: Sequence[ServedModel]) -> None:
        config = model_server_config(models)
        self._take_labels(config)
        self._sources = {model.name: model for model in config.model_config_list.config}
        self._aspire()
        for load in self._loads.values():
            load.due, load.polls_left = 0.0, 0
        self._advance()

    def _reload(self, config: Any) -> None:
        with self._config_turn():
            self._hang_while(lambda: self.hang_reloads)
            _check_list(config)
            with self._state_lock:
                self._take_labels(config)
                new_names = [m.name for m in config.model_config_list.config if m.name not in self._sources]
                self._sources = {model.name: model for model in config.model_config_list.config}
                self._advance()
            for name in new_names:
                self._wait_for_first_load(name)

    @contextmanager
    def _config_turn(self) -> Iterator[None]:
        """Wait for the one lock that the real server keeps held for as long as a reload waits."""
        while not self._config_lock.acquire(timeout=_POLL_SECONDS):
            self._fail_if_stopping()
        try:
            yield
        finally:
            self._config_lock.release()

    def _take_labels(self, config: Any) -> None:
        """Build the label map anew against what is available now; on a refusal the old map and list stay in force."""
        labels: dict[str, dict[str, int]] = {}
        for model in config.model_config_list.config:
            for label, number in model.version_labels.items():
                if not self._label_allowed(model.name, label=label, number=number):
                    raise _Refusal(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {model.name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(model.name, {})[label] = number
        self.labels = labels

    def _label_allowed(self, name: str, *, label: str, number: int) -> bool:
        if self.models.get(name, {}).get(number) is LoadState.AVAILABLE:
            return True
        bound_to = (self.labels or {}).get(name, {}).get(label, number)
        return self.allow_labels_for_unavailable and bound_to == number

    def _wait_for_first_load(self, name: str) -> None:
        while True:
            self._fail_if_stopping()
            with self._state_lock:
                self._advance(polled=name)
                states = {n: self.models.get(name, {}).get(n) for n in self._aspired.get(name, ())}
                if LoadState.AVAILABLE in states.values():
                    return
                if states and all(state is LoadState.END for state in states.values()):
                    raise _Refusal(grpc.StatusCode.UNKNOWN, self._load_failure(name, number=max(states)))
            time.sleep(_POLL_SECONDS)

    def _load_failure(self, name: str, *, number: int) -> str:
        error = self._errors.get((name, number), "")
        return f"1 model(s) did not become available: {{{{name: {name} version: {number}}} due to error: {error}}}"

    # Versions

    def _advance(self, *, polled: str = "") -> None:
        """Do what the real server's threads have done by now."""
        with self._state_lock:
            if not any(model.base_path in self.missing_base_paths for model in self._sources.values()):
                self._aspire()
            self._finish_loads(polled=polled)
            self._unload()

    def _aspire(self) -> None:
        """Start the loads of newly listed versions; one in error starts again only if it was left out in between."""
        wanted = {name: _chosen(model) for name, model in self._sources.items()}
        for name, numbers in wanted.items():
            for number in numbers - self._aspired.get(name, frozenset()):
                if self.models.get(name, {}).get(number, LoadState.END) is LoadState.END:
                    self.models.setdefault(name, {})[number] = LoadState.LOADING
                    self._errors.pop((name, number), None)
                    due = time.monotonic() + self.load_seconds
                    self._loads[name, number] = _Load(due=due, polls_left=self.load_polls)
        self._aspired = wanted

    def _finish_loads(self, *, polled: str) -> None:
        for (name, number), load in list(self._loads.items()):
            if name == polled and load.polls_left:
                load.polls_left -= 1
                continue
            if self.hold_loads or load.polls_left or time.monotonic() < load.due:
                continue
            del self._loads[name, number]
            if (name, number) in self.fail_loads:
                self._errors[name, number] = f"could not load version {number} of {name}"
                self.models[name][number] = LoadState.END
            else:
                self.models[name][number] = LoadState.AVAILABLE

    def _unload(self) -> None:
        """Unload what is no longer listed, but not before something listed is there to answer instead."""
        if self.labels is None:
            return  # no list was taken yet
        for name, states in self.models.items():
            listed = self._aspired.get(name, frozenset())
            ready = {number for number, state in states.items() if state is LoadState.AVAILABLE}
            leaving = sorted(ready - listed)
            spared = [] if not listed or ready & listed else leaving[-1:]
            for number in leaving:
                if number not in spared:
                    states[number] = LoadState.UNLOADING
            for number, state in states.items():
                if state is LoadState.UNLOADING and not self.hold_unloads:
                    states[number] = LoadState.END

    # gRPC

    def _model_service(self) -> grpc.GenericRpcHandler[Any, Any]:
        return grpc.method_handlers_generic_handler(
            protos.MODEL_SERVICE,
            {
                "GetModelStatus": self._handler(self._get_model_status, protos.GetModelStatusRequest),
                "HandleReloadConfigRequest": self._handler(self._handle_reload, protos.ReloadConfigRequest),
            },
        )

    def _prediction_service(self) -> grpc.GenericRpcHandler[Any, Any]:
        return grpc.method_handlers_generic_handler(
            protos.PREDICTION_SERVICE,
            {"GetModelMetadata": self._handler(self._get_model_metadata, protos.GetModelMetadataRequest)},
        )

    def _handler(self, answer: Callable[[Any], Any], request_class: Any) -> Any:
        def behaviour(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self._fail_if_unreachable()
                return answer(request)
            except _Refusal as refusal:
                context.abort(refusal.code, refusal.details)

        return grpc.unary_unary_rpc_method_handler(
            behaviour,
            request_deserializer=request_class.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )

    def _handle_reload(self, request: Any) -> Any:
        self.reloads.append(request.config)
        self._reload(request.config)
        return protos.ReloadConfigResponse(status=protos.StatusProto())

    def _get_model_status(self, request: Any) -> Any:
        self._hang_while(lambda: self.hang_status)
        name, spec = request.model_spec.name, request.model_spec
        with self._state_lock:
            self._advance(polled=name)
            known = dict(self.models.get(name, {}))
            if spec.HasField("version"):
                known = {number: state for number, state in known.items() if number == spec.version.value}
            if not known:
                what = f"version {spec.version.value}" if spec.HasField("version") else "any versions"
                raise _Refusal(grpc.StatusCode.NOT_FOUND, f"Could not find {what} of model {name}")
            response = protos.GetModelStatusResponse()
            for number in sorted(known, reverse=True):
                error = self._errors.get((name, number), "")
                status = {"error_code": _FAILED_LOAD_CODE if error else 0, "error_message": error}
                response.model_version_status.add(version=number, state=int(known[number]), status=status)
            return response

    def _get_model_metadata(self, request: Any) -> Any:
        spec = request.model_spec
        if not spec.name:
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        if list(request.metadata_field) != ["signature_def"]:
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, "Metadata field must be 'signature_def'")
        with self._state_lock:
            self._advance()
            number = self._resolve(spec)
        response = protos.GetModelMetadataResponse(model_spec=protos.ModelSpec(name=spec.name))
        response.model_spec.version.value = number
        response.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        return response

    def _resolve(self, spec: Any) -> int:
        available = {n for n, state in self.models.get(spec.name, {}).items() if state is LoadState.AVAILABLE}
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return max(available) if available else _not_servable(f"Latest({spec.name})")
        number = spec.version.value if choice == "version" else self._labelled(spec.name, label=spec.version_label)
        return number if number in available else _not_servable(f"Specific({spec.name}, {number})")

    def _labelled(self, name: str, *, label: str) -> int:
        if self.labels is None:
            raise _Refusal(grpc.StatusCode.UNAVAILABLE, "Model labels does not init yet.")
        if label not in self.labels.get(name, {}):
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return self.labels[name][label]

    def _hang_while(self, condition: Callable[[], bool]) -> None:
        while condition():
            self._fail_if_stopping()
            time.sleep(_POLL_SECONDS)

    def _fail_if_unreachable(self) -> None:
        if self.unreachable:
            raise _Refusal(grpc.StatusCode.UNAVAILABLE, "connection refused")

    def _fail_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise _Refusal(grpc.StatusCode.UNAVAILABLE, "the server is stopping")


def _chosen(model: Any) -> frozenset[int]:
    """Return the versions that a model's policy asks for; only ``specific`` does not look at the directories."""
    policy = model.model_version_policy
    if policy.HasField("specific"):
        return frozenset(policy.specific.versions)
    numbers = sorted(int(item.name) for item in Path(model.base_path).iterdir() if item.name.isdecimal())
    return frozenset(numbers if policy.HasField("all") else numbers[-(policy.latest.num_versions or 1) :])


def _not_servable(request: str) -> NoReturn:
    raise _Refusal(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}")


def _check_list(config: Any) -> None:
    """Refuse what the real server refuses before it takes anything."""
    if not config.HasField("model_config_list"):
        _invalid(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
            "supported"
        )
    seen: set[str] = set()
    for model in config.model_config_list.config:
        if model.name in seen:
            _invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
        if not (posixpath.isabs(model.base_path) or "://" in model.base_path):
            _invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}")
        if not model.model_platform:
            _invalid(f"Illegal setting neither ModelServerConfig::model_type nor ::model_platform ({model.name})")
        if model.model_platform != "tensorflow":
            _invalid(f"Model {model.name} requests unsupported platform {model.model_platform}")


def _invalid(details: str) -> NoReturn:
    raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, details)
