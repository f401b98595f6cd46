"""What an Envoy router is told, as values: endpoints, a cluster per model version, a split per model, settings."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import NamedTuple

from airflow_model_ops.core.errors import InvalidState

WHOLE = 10_000
"""Hundredths of a percent in 100 %; Envoy's denominator TEN_THOUSAND."""

_CONTROL_MARK = "~control"


class ClusterName(NamedTuple):
    """What the name of one of our clusters says.

    :param control: Whether it is the version's control cluster.
    """

    model: str
    number: int
    control: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host (name or address) and a port; port 0 only where something listens, and means "any free one"."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not self.host or not 0 <= self.port <= 65535:
            raise InvalidState(
                f"endpoint {self.host!r}:{self.port!r} is not usable; give a host and a port below 65536"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """One model version and the servers on which it is available.

    :param number: serving number of the version.
    :param endpoints: REST endpoints; at least one.
    :param control: whether this is the version's control cluster: the same servers, counted apart.
    """

    model: str
    number: int
    endpoints: tuple[Endpoint, ...]
    control: bool = False

    def __post_init__(self) -> None:
        if not self.endpoints or any(endpoint.port == 0 for endpoint in self.endpoints):
            raise InvalidState(f"cluster {self.name!r} needs at least one endpoint, each with a port above 0")

    @property
    def name(self) -> str:
        """Its stable name in Envoy and in Envoy's metrics."""
        return cluster_name(model=self.model, number=self.number, control=self.control)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """How one model's unversioned requests are split.

    :param generation: number of the head that this split was derived from.
    :param split: (serving number, percent), canaries first and stable last; percents have at most two decimals and sum
        to 100. Empty: the model has no stable, and is answered with 503.
    :param control: percent that takes the way over stable's control cluster; a part of stable's own, and less than all of it.
    """

    model: str
    generation: int
    split: tuple[tuple[int, float], ...] = ()
    control: float = 0.0

    def __post_init__(self) -> None:
        shares = [hundredths(percent) for _, percent in self.split]
        if self.split and sum(shares) != WHOLE:
            raise InvalidState(f"split of model {self.model!r} is {self.split!r}; its percents must sum to 100")
        if len({number for number, _ in self.split}) != len(self.split):
            raise InvalidState(f"split of model {self.model!r} is {self.split!r}; name each version once")
        if self.control and hundredths(self.control) >= (shares[-1] if shares else 0):
            raise InvalidState(
                f"control share {self.control!r} % of model {self.model!r} is not less than stable's in {self.split!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """What is the same for all models of a fleet. Everything Envoy would otherwise choose for us is stated.

    :param route_timeout_seconds: longest a request may take, whole response included; also the least time to drain.
    :param connect_timeout_seconds: longest to wait for a connection to a server.
    :param upstream_idle_timeout_seconds: an unused connection to a server is closed after this. Keep it below the
        server's own idle time-out, else a request can meet a connection that the server is just closing.
    :param latency_buckets_ms: edges of the latency histogram, milliseconds; every latency check's bound must be one.
    :param max_connections: per cluster; Envoy's default of 1024 would fail requests under a burst.
    :param max_requests: per cluster, in flight; likewise for pending ones.
    :param max_downstream_connections: per router; beyond it new connections are refused and those served stay.
    :param retries: tries after a connection that failed before the request was sent. Default none: a retry on a canary
        hides its failures from clients' eyes and halves its load, and a model's error is never retried.
    """

    route_timeout_seconds: float = 30.0
    connect_timeout_seconds: float = 1.0
    upstream_idle_timeout_seconds: float = 15.0
    latency_buckets_ms: tuple[float, ...] = (
        1,
        2,
        5,
        10,
        20,
        50,
        75,
        100,
        150,
        200,
        300,
        500,
        750,
        1000,
        2000,
        5000,
        10000,
    )
    max_connections: int = 20_000
    max_requests: int = 100_000
    max_downstream_connections: int = 50_000
    retries: int = 0

    def __post_init__(self) -> None:
        edges = self.latency_buckets_ms
        if not edges or edges[0] <= 0 or any(a >= b for a, b in itertools.pairwise(edges)):
            raise InvalidState(f"latency_buckets_ms {edges!r} must be positive and strictly rising")
        if min(self.route_timeout_seconds, self.connect_timeout_seconds, self.upstream_idle_timeout_seconds) <= 0:
            raise InvalidState("router time-outs must be above 0 seconds; Envoy reads 0 as 'wait for ever'")


def cluster_name(*, model: str, number: int, control: bool = False) -> str:
    """Name of a version's cluster: ``digits/20230601120000``; of its control cluster: ``digits/20230601120000~control``.

    Envoy's metrics cut a cluster's name at the first dot and mangle colons, so a dot of the model's name is written
    ``~`` (model names have none: ``[A-Za-z0-9_.-]+``), and the separator is a slash. The name is its label
    ``envoy_cluster_name`` as it stands.
    """
    return f"{model.replace('.', '~')}/{number}{_CONTROL_MARK if control else ''}"


def parse_cluster_name(name: str) -> ClusterName:
    """Give back what the name of a version's cluster, or of its control cluster, says.

    :raises InvalidState: if the name is not one of ours, for example ``fleet``.
    """
    model, slash, number = name.rpartition("/")
    control = number.endswith(_CONTROL_MARK)
    number = number.removesuffix(_CONTROL_MARK)
    if not slash or not model or not re.fullmatch(r"[0-9]+", number):
        raise InvalidState(f"cluster {name!r} is not named <model>/<serving number>; it was not made by this package")
    return ClusterName(model=model.replace("~", "."), number=int(number), control=control)


def hundredths(percent: float) -> int:
    """Percent as whole hundredths of a percent.

    :raises InvalidState: outside 0 to 100 or with more than two decimals.
    """
    value = round(percent * 100)
    if not 0 <= value <= WHOLE or abs(value - percent * 100) > 1e-6:
        raise InvalidState(f"percent {percent!r} is not between 0 and 100 with at most two decimals")
    return value
