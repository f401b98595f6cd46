"""The YAML file of one model: what the platform engineer writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_model_ops.config.durations import LongerThanZero
from airflow_model_ops.config.fleet_place import DEFAULT_REPOSITORY, DEFAULT_TARGET, FleetPlace
from airflow_model_ops.config.notification_part import NotificationsPart
from airflow_model_ops.config.release_parts import (
    CanaryPart,
    CheckPart,
    GuardPart,
    JudgePart,
    Part,
    WatchPart,
)
from airflow_model_ops.config.source_part import SourcePart
from airflow_model_ops.config.target_part import VERTEX_LOAD_SECONDS, TargetPart
from airflow_model_ops.config.yaml_source import YamlSource, parse_yaml, read_yaml
from airflow_model_ops.core.errors import InvalidConfig, InvalidVersionName
from airflow_model_ops.core.policy import (
    Guard,
    ReleasePolicy,
    Step,
    Validation,
    Watch,
    guarded_checks,
)
from airflow_model_ops.core.registry_alias import check_aliases
from airflow_model_ops.core.versioning import Scheme, VersionNaming, check_model_name

DEFAULT_METRICS = "prometheus_default"
LOAD_SECONDS = 600.0
"""Longest a version may take to load on running servers where the file says nothing."""


class VersionsPart(Part):
    """``versions:`` how versions are named."""

    scheme: Scheme = Scheme.TIMESTAMP
    prefix: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> VersionsPart:
        VersionNaming(scheme=self.scheme, prefix=self.prefix)
        return self


class ValidationPart(Part):
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


class RetentionPart(Part):
    """``retention:`` how many promoted versions stay."""

    keep_last: int = Field(default=5, ge=1)


class ConnectionsPart(Part):
    """``connections:`` ids of Airflow connections.

    :param target: The TF Serving fleet's; on Vertex AI the target has its own.
    :param metrics: ``None``: Prometheus' default one; on Vertex AI the target's, for Cloud Monitoring.
    """

    repository: str = DEFAULT_REPOSITORY
    target: str = DEFAULT_TARGET
    metrics: str | None = None
    ledger: str | None = "mlmd_default"


class ModelIdentity(BaseModel):
    """The part of the file that a model's way back needs; see :func:`load_for_way_back`."""

    model_config = ConfigDict(frozen=True)

    model: str
    target: TargetPart = TargetPart.default()
    connections: ConnectionsPart = ConnectionsPart()
    versions: VersionsPart = VersionsPart()
    keep_warm: int = Field(default=1, ge=0)

    @field_validator("model")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return check_model_name(value)

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        vertex = self.target.vertex_ai
        if vertex is not None:
            vertex.registry_model_of(self.model)
            if self.connections.target != DEFAULT_TARGET:
                mistake = (
                    "connections.target: belongs to TF Serving; name the connection of Google Cloud in "
                    "target.vertex_ai.connection and remove it here"
                )
                raise InvalidConfig(mistake, mistakes=[mistake])
            _ = self.place
        return self

    @property
    def place(self) -> FleetPlace:
        """Where the fleet is that serves the model."""
        vertex = self.target.vertex_ai
        if vertex is None:
            return FleetPlace(repository=self.connections.repository, target=self.connections.target)
        return FleetPlace(
            repository=self.connections.repository, target=vertex.connection, model=self.model, vertex_ai=vertex
        )

    @property
    def metrics_connection(self) -> str:
        """Id of the connection of the metric source."""
        vertex = self.target.vertex_ai
        return self.connections.metrics or (vertex.connection if vertex else DEFAULT_METRICS)

    @property
    def load_seconds(self) -> float:
        """Longest a version may take to load on every server."""
        return LOAD_SECONDS if self.target.vertex_ai is None else VERTEX_LOAD_SECONDS

    def naming(self) -> VersionNaming:
        """Return how versions are named."""
        return VersionNaming(scheme=self.versions.scheme, prefix=self.versions.prefix)


class ModelFile(ModelIdentity):
    """The whole file, which a release needs."""

    model_config = Part.model_config

    source: SourcePart | None = None
    validation: ValidationPart = ValidationPart()
    canary: CanaryPart = CanaryPart()
    judge: JudgePart = JudgePart()
    checks: tuple[CheckPart, ...]
    watch: WatchPart = WatchPart()
    guard: GuardPart = GuardPart(enabled=False)
    retention: RetentionPart = RetentionPart()
    notifications: NotificationsPart = NotificationsPart()
    tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()

    @field_validator("guard", mode="before")
    @classmethod
    def _is_on_once_it_is_there(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _is_a_policy(self) -> ModelFile:
        mistakes = [
            f"checks.{number}.{field}: belongs to kind promql, not to {check.kind}: every event is counted once, however often it "
            "is looked at; remove it"
            for number, check in enumerate(self.checks)
            for field in check.idle()
        ]
        if self.source and self.source.pipeline and self.versions.scheme is not Scheme.TIMESTAMP:
            mistakes.append(
                f"source.pipeline: nobody gives a version of scheme {self.versions.scheme.value} its name when a pipeline's model "
                "comes by itself; use the scheme timestamp, or release by hand with a version"
            )
        if self.target.vertex_ai is not None:
            mistakes += self._vertex_mistakes()
        if mistakes:
            raise InvalidConfig("; ".join(mistakes), mistakes=mistakes)
        self.policy()
        self.guard_policy()
        return self

    def _vertex_mistakes(self) -> Iterator[str]:
        """Yield what Vertex AI cannot do: it splits traffic in whole percents, and a version's name becomes an alias."""
        adaptive = self.canary.adaptive
        shares = {
            **{f"canary.steps.{number}.percent": step.percent for number, step in enumerate(self.canary.steps)},
            **({"canary.adaptive.start": adaptive.start, "canary.adaptive.end": adaptive.end} if adaptive else {}),
            "watch.hold_back": self.watch.hold_back,
        }
        for key, percent in shares.items():
            if percent != int(percent):
                yield f"{key}: {percent:g} % cannot be given on Vertex AI, which splits traffic in whole percents; round it"
        try:
            check_aliases(self.naming())
        except InvalidVersionName as error:
            yield f"versions.prefix: {error}"

    @property
    def load_seconds(self) -> float:
        """Longest a version may take to load on every server."""
        return self.canary.load_timeout or super().load_seconds

    def guard_policy(self) -> Guard | None:
        """Return how stable is guarded; ``None`` if it is not.

        :raises InvalidConfig: if there is nothing to guard it by.
        """
        part = self.guard
        if not part.enabled:
            return None
        return Guard(
            checks=guarded_checks((check.to_check() for check in self.checks), names=part.checks),
            mean_seconds=part.mean_time_between_false_alarms,
            interval_seconds=part.interval,
            dispersion=self.judge.dispersion,
        )

    def policy(self) -> ReleasePolicy:
        """Return core's form of the file.

        :raises InvalidConfig: if the parts contradict one another.
        """
        canary, validation = self.canary, self.validation
        return ReleasePolicy(
            model=self.model,
            naming=self.naming(),
            steps=tuple(
                Step(percent=step.percent, bake_seconds=step.bake)
                for step in canary.ramp(whole=self.target.vertex_ai is not None)
            ),
            checks=tuple(check.to_check() for check in self.checks),
            interval_seconds=canary.interval,
            deadline_seconds=canary.deadline,
            on_deadline=canary.on_deadline,
            judge=self.judge.settings(),
            watch=Watch(seconds=self.watch.duration, hold_back=self.watch.hold_back),
            calibration_seconds=self.judge.calibrate,
            max_bad_events=canary.max_bad_events,
            refuse_undecidable=self.judge.undecidable == "refuse",
            validation=Validation(
                examples=validation.examples,
                min_accuracy=validation.min_accuracy,
                max_accuracy_drop=validation.max_accuracy_drop,
                timeout_seconds=validation.timeout,
            ),
            keep_last=self.retention.keep_last,
            keep_warm=self.keep_warm,
            load_seconds=self.load_seconds,
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
    for path in _paths(directory):
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
    mistakes += _shared_endpoints(models)
    if mistakes:
        raise InvalidConfig("\n".join(mistakes))
    return {name: model for name, (model, _) in models.items()}


def _shared_endpoints(models: Mapping[str, tuple[ModelFile, Path]]) -> Iterator[str]:
    """Yield each second model on an endpoint of Vertex AI, which serves one."""
    taken: dict[str, str] = {}
    for name, (model, path) in models.items():
        fleet = model.place.vertex_fleet
        if fleet is not None and (first := taken.setdefault(fleet, name)) != name:
            yield (
                f"{path}:1: model {name!r} is on the endpoint of fleet {fleet!r}, which serves model {first!r}; an endpoint "
                "serves one model: give one of them another target.vertex_ai.endpoint"
            )


def load_for_way_back(path: Path | str) -> ModelIdentity:
    """Read the YAML file of a model as far as its way back needs it.

    Returns the whole :class:`ModelFile` if that is right; else, whatever is wrong with its checks or its canary, the
    :class:`ModelIdentity`: a mistake in how a model is released must not take away its way back.

    :raises InvalidConfig: with every mistake, if the mistakes leave open which model it is or where it is.
    """
    source = read_yaml(Path(path))
    try:
        return _validated(source)
    except InvalidConfig:
        if _may_be_misspelt(source):
            raise
        return source.validate(ModelIdentity)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaysBack:
    """The models of a directory, as far as their ways back need them.

    :param models: By name. Of two files for one model the first counts, and one without mistakes before one with them.
    :param mistakes: What is wrong in any file, with its place, each after the model it is about; ``None``: of no known one.
    """

    models: dict[str, ModelIdentity]
    mistakes: tuple[tuple[str | None, str], ...]


def load_ways_back(directory: Path | str) -> WaysBack:
    """Read every ``*.yaml`` and ``*.yml`` file of a directory as :func:`load_for_way_back` does; a mistake raises nothing."""
    found: list[tuple[Path, ModelIdentity]] = []
    mistakes: list[tuple[str | None, str]] = []
    for path in _paths(directory):
        name = None
        try:
            model = load_for_way_back(path)
            name = model.model
            found.append((path, model))
            if not isinstance(model, ModelFile):
                load_model_file(path)  # tells what is wrong with it
        except InvalidConfig as error:
            mistakes.append((name, str(error)))
    used: dict[str, tuple[Path, ModelIdentity]] = {}
    for path, model in sorted(found, key=lambda each: not isinstance(each[1], ModelFile)):
        first, _ = used.setdefault(model.model, (path, model))
        if first != path:
            twice = f"{path}:1: model {model.model!r} is described by {first} too, which is used; keep one file"
            mistakes.append((model.model, twice))
    return WaysBack(models={name: model for name, (_, model) in used.items()}, mistakes=tuple(mistakes))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return ModelFile.model_json_schema()


def _may_be_misspelt(source: YamlSource) -> bool:
    """Whether an unknown key may be meant for the identity, whose default would then be another fleet's or scheme's."""
    unknown = [str(key) for key in source.data if key not in ModelFile.model_fields]
    return any(get_close_matches(key, ModelIdentity.model_fields) for key in unknown)


def _paths(directory: Path | str) -> list[Path]:
    return sorted([*Path(directory).glob("*.yaml"), *Path(directory).glob("*.yml")])


def _validated(source: YamlSource) -> ModelFile:
    return source.validate(ModelFile)
