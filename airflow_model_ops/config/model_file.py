"""The YAML file of one model: what the platform engineer writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_model_ops.config.durations import LongerThanZero, Seconds
from airflow_model_ops.config.yaml_source import YamlSource, parse_yaml, read_yaml
from airflow_model_ops.core.checks import Check, CheckKind
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.policy import OnDeadline, ReleasePolicy, Step, Validation
from airflow_model_ops.core.versioning import Scheme, VersionNaming, check_model_name

_SCHEDULE = re.compile(r"(?:@[a-z]+|\S+(?: +\S+){4,5})\Z")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VersionsPart(_Part):
    """``versions:`` how versions are named."""

    scheme: Scheme = Scheme.TIMESTAMP
    prefix: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> VersionsPart:
        VersionNaming(scheme=self.scheme, prefix=self.prefix)
        return self


class SourcePart(_Part):
    """``source:`` where releases come from by themselves.

    ``export_dir`` holds one SavedModel per sub-directory; ``schedule`` is a cron expression or preset.
    """

    export_dir: str
    schedule: str | None = None
    settle: Seconds = 30.0
    """An export counts as complete when none of its files changed for so long."""

    @field_validator("schedule")
    @classmethod
    def _is_a_schedule(cls, value: str | None) -> str | None:
        if value is not None and not _SCHEDULE.match(value):
            raise ValueError(f"{value!r} is not a schedule; write a cron expression such as '0 6 * * *', or @daily")
        return value


class ValidationPart(_Part):
    """``validation:`` what a version must show before it gets traffic."""

    examples: str | None = None
    min_accuracy: float | None = Field(default=None, ge=0, le=1)
    max_accuracy_drop: float | None = Field(default=None, ge=0, le=1)
    timeout: LongerThanZero = 300.0

    @model_validator(mode="after")
    def _needs_examples(self) -> ValidationPart:
        if self.examples is None and (self.min_accuracy is not None or self.max_accuracy_drop is not None):
            raise ValueError("min_accuracy and max_accuracy_drop need examples: the path of an .npz file with x and y")
        return self


class StepPart(_Part):
    """One entry of ``canary.steps:``."""

    percent: float = Field(gt=0, le=100)
    bake: Seconds = 300.0


class CanaryPart(_Part):
    """``canary:`` the ramp."""

    steps: tuple[StepPart, ...] = (StepPart(percent=10), StepPart(percent=50))
    interval: Seconds = 15.0
    deadline: Seconds = 3600.0
    on_deadline: OnDeadline = OnDeadline.HOLD
    load_timeout: LongerThanZero = 600.0


class CheckPart(_Part):
    """One entry of ``checks:``."""

    name: str
    kind: CheckKind
    max: float | None = None
    min: float | None = None
    max_ratio_to_stable: float | None = None
    max_difference_to_stable: float | None = None
    min_samples: int = 100
    window: Seconds = 60.0
    max_age: Seconds = 60.0
    consecutive: int = 2
    latency_bound_ms: float | None = None
    query: str | None = None
    selector: str | None = None
    muted: bool = False

    @model_validator(mode="after")
    def _is_a_check(self) -> CheckPart:
        self.to_check()
        return self

    def to_check(self) -> Check:
        """Return core's form."""
        data = self.model_dump(exclude={"window", "max_age"})
        return Check(**data, window_seconds=self.window, max_age_seconds=self.max_age)


class RetentionPart(_Part):
    """``retention:`` how many promoted versions stay."""

    keep_last: int = Field(default=5, ge=1)


class ConnectionsPart(_Part):
    """``connections:`` ids of Airflow connections."""

    repository: str = "model_repository_default"
    target: str = "tf_serving_default"
    metrics: str = "prometheus_default"
    ledger: str | None = "mlmd_default"


class ModelFile(_Part):
    """The whole file."""

    model: str
    target: Literal["tf_serving"] = "tf_serving"
    connections: ConnectionsPart = ConnectionsPart()
    versions: VersionsPart = VersionsPart()
    source: SourcePart | None = None
    validation: ValidationPart = ValidationPart()
    canary: CanaryPart = CanaryPart()
    checks: tuple[CheckPart, ...]
    retention: RetentionPart = RetentionPart()
    keep_warm: int = Field(default=1, ge=0)
    tags: tuple[str, ...] = ()

    @field_validator("model")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return check_model_name(value)

    @model_validator(mode="after")
    def _is_a_policy(self) -> ModelFile:
        self.policy()
        return self

    def naming(self) -> VersionNaming:
        """Return how versions are named."""
        return VersionNaming(scheme=self.versions.scheme, prefix=self.versions.prefix)

    def policy(self) -> ReleasePolicy:
        """Return core's form of the file.

        :raises InvalidConfig: if the parts contradict one another.
        """
        canary, validation = self.canary, self.validation
        return ReleasePolicy(
            model=self.model,
            naming=self.naming(),
            steps=tuple(Step(percent=step.percent, bake_seconds=step.bake) for step in canary.steps),
            checks=tuple(check.to_check() for check in self.checks),
            interval_seconds=canary.interval,
            deadline_seconds=canary.deadline,
            on_deadline=canary.on_deadline,
            validation=Validation(
                examples=validation.examples,
                min_accuracy=validation.min_accuracy,
                max_accuracy_drop=validation.max_accuracy_drop,
                timeout_seconds=validation.timeout,
            ),
            keep_last=self.retention.keep_last,
            keep_warm=self.keep_warm,
            load_seconds=canary.load_timeout,
        )


def load_model_file(path: Path | str) -> ModelFile:
    """Read the YAML file of a model.

    :raises InvalidConfig: with every mistake, each with file and line.
    """
    return _validated(read_yaml(Path(path)))


def parse_model_file(text: str, *, name: str = "<text>") -> ModelFile:
    """Parse the YAML text of a model; see :func:`load_model_file`."""
    return _validated(parse_yaml(text, name=name))


def load_model_files(directory: Path | str) -> dict[str, ModelFile]:
    """Read every ``*.yaml`` and ``*.yml`` file of a directory, by model name.

    :raises InvalidConfig: with the mistakes of all files; also if two files describe one model.
    """
    models: dict[str, tuple[ModelFile, Path]] = {}
    mistakes = []
    for path in sorted([*Path(directory).glob("*.yaml"), *Path(directory).glob("*.yml")]):
        try:
            model = load_model_file(path)
        except InvalidConfig as error:
            mistakes.append(str(error))
            continue
        if model.model in models:
            mistakes.append(
                f"{path}:1: model {model.model!r} is described by {models[model.model][1]} too; keep one file"
            )
        models[model.model] = model, path
    if mistakes:
        raise InvalidConfig("\n".join(mistakes))
    return {name: model for name, (model, _) in models.items()}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return ModelFile.model_json_schema()


def _validated(source: YamlSource) -> ModelFile:
    return source.validate(ModelFile)
