"""Answers of a server that the fake has no rule for."""

from __future__ import annotations

import grpc
import pytest

from airflow_model_ops.adapters.serving import tf_serving_errors as errors
from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel
from airflow_model_ops.core.errors import ModelOpsError, ServerRefused, ServerUnreachable

MODELS = (ServedModel(name="digits", base_path="/models/digits", versions=(1,), labels={"stable": 1}),)


class Failure(grpc.RpcError, grpc.Call):
    """A failed call as gRPC raises it."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float:
        return 0.0

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: object) -> bool:
        return False


def reload_error(code: grpc.StatusCode, details: str) -> ModelOpsError:
    return errors.of_a_reload(Failure(code, details), address="h:8500", models=MODELS)


CODES = [code for code in grpc.StatusCode if code not in {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED}]


@pytest.fixture(params=CODES, ids=lambda code: code.name)
def code(request: pytest.FixtureRequest) -> grpc.StatusCode:
    return grpc.StatusCode(request.param)


def test_every_code_keeps_the_servers_words_and_names_the_server(code: grpc.StatusCode) -> None:
    for error in (
        reload_error(code, "these words"),
        errors.of_a_question(Failure(code, "these words"), address="h:8500", question="a question"),
    ):
        assert isinstance(error, ServerRefused | ServerUnreachable)
        assert "'h:8500'" in str(error)
        assert f"({code.name}: these words)" in str(error)


def test_a_precondition_that_is_no_label_is_not_called_a_label() -> None:
    message = str(reload_error(grpc.StatusCode.FAILED_PRECONDITION, "Cannot transition to requested config."))
    assert "label" not in message
    assert "send the whole list again" in message


def test_the_label_of_another_model_with_the_same_number_is_not_blamed() -> None:
    details = "Request to assign label to version 1 of model faces, which is not currently available for inference"
    assert "'stable'" not in str(reload_error(grpc.StatusCode.FAILED_PRECONDITION, details))


def test_an_error_without_a_status_is_still_reported() -> None:
    error = errors.of_a_reload(grpc.RpcError("broken pipe"), address="h:8500", models=MODELS)
    assert isinstance(error, ServerRefused)
    assert "UNKNOWN: broken pipe" in str(error)
