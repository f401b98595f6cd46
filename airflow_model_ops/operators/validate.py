"""Validate: whether a version earns its blessing before it gets any traffic."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow_model_ops.core.errors import ValidationFailed
from airflow_model_ops.operators.base import ModelOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateModelOperator(ModelOperator):
    """Load a version in a process of its own, compare its signature and accuracy with stable's, and record the blessing.

    :param version: Name of the version. (templated)
    """

    template_fields: Sequence[str] = ("choose", "version")

    def __init__(self, *, version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version

    def act(self, context: Context) -> dict[str, Any]:
        """Validate; the task fails without a retry if the version is not blessed."""
        from airflow_model_ops.adapters.validation.validate import validate_candidate

        control = self.control(context)
        version = control.naming.parse(self.version)
        control.repository.verify(control.model, version)
        stable = control.state.stable
        with ExitStack() as held:
            compared = stable if stable != version else None
            report = validate_candidate(
                candidate=held.enter_context(control.repository.local_files(control.model, version)),
                stable=held.enter_context(control.repository.local_files(control.model, compared))
                if compared
                else None,
                validation=self.model_file.policy().validation,
            )
        detail = {"accuracy": report.accuracy, "stable_accuracy": report.stable_accuracy}
        kept = {**detail, "details": report.details}
        control.record_validation(version, blessed=report.blessed, reason=report.reason, detail=kept)
        self.log.info("model=%s version=%s blessed=%s reason=%s", control.model, version, report.blessed, report.reason)
        if not report.blessed:
            raise ValidationFailed(f"{version} is not blessed: {report.reason}")
        return {"version": version.name, "blessed": True, "reason": report.reason, **detail}
