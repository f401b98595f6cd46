"""The documents that an Envoy router watches: clusters per model version, and the routes that split each model's traffic.

Pure: the same input gives the same bytes. The documents are JSON, which Envoy reads as such and which has no YAML
boolean trap. Each one's ``version_info`` is a digest of its content followed by every model's generation, for example
``3f0c9a17d2b84e61 digits=17 faces=3``, so that the file itself and Envoy's admin interface both say what was applied.

Source: Envoy v3 API, ``config.cluster.v3.Cluster``, ``config.route.v3.RouteConfiguration``, ``DiscoveryResponse``.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_model_ops.adapters.serving.envoy_spec import (
    WHOLE,
    ClusterName,
    ClusterSpec,
    Endpoint,
    ModelRoute,
    RouterSettings,
    cluster_name,
    hundredths,
    parse_cluster_name,
)
from airflow_model_ops.core.errors import InvalidState

__all__ = [
    "ClusterSpec",
    "Endpoint",
    "ModelRoute",
    "RouterSettings",
    "cluster_name",
    "clusters_document",
    "control_of",
    "document_clusters_used",
    "document_endpoints",
    "document_generations",
    "document_version",
    "empty_documents",
    "parse_cluster_name",
    "routes_document",
    "split_of",
]

FLEET_CLUSTER = "fleet"
"""The cluster that holds every endpoint of the fleet; no version's cluster can have this name, which lacks a slash."""

ROUTE_CONFIGURATION = "models"
"""Name under which the listener asks for its routes."""

CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ROUTE_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PREDICT_VERBS = "(predict|classify|regress)"


def clusters_document(
    clusters: Iterable[ClusterSpec],
    *,
    settings: RouterSettings,
    generations: Mapping[str, int],
    fleet: Iterable[Endpoint] = (),
) -> bytes:
    """Render the clusters of all versions, and the pass-through cluster ``fleet``.

    :param generations: generation of every model of the fleet that this document was derived from.
    :param fleet: endpoints of the fleet; those of the versions' clusters are added.
    """
    specs = sorted(clusters, key=lambda spec: spec.name)
    if len({spec.name for spec in specs}) != len(specs):
        raise InvalidState(f"clusters {[spec.name for spec in specs]!r} repeat a version; name each version once")
    everyone = sorted({*fleet, *(endpoint for spec in specs for endpoint in spec.endpoints)})
    resources = [_cluster(FLEET_CLUSTER, endpoints=everyone, settings=settings)]
    resources += [_cluster(spec.name, endpoints=sorted(set(spec.endpoints)), settings=settings) for spec in specs]
    return _document(resources, type_url=CLUSTER_TYPE, generations=generations)


def routes_document(routes: Iterable[ModelRoute], *, settings: RouterSettings) -> bytes:
    """Render the routes of all models; a model that is not among them is answered with 404."""
    ordered = sorted(routes, key=lambda route: route.model)
    if len({route.model for route in ordered}) != len(ordered):
        raise InvalidState(f"routes {[route.model for route in ordered]!r} repeat a model; give each model one route")
    rendered = [entry for route in ordered for entry in _model_routes(route, settings=settings)]
    rendered.append(_answer("unknown", match={"prefix": "/"}, status=404, error="no such model behind this router"))
    configuration = {
        "@type": ROUTE_TYPE,
        "name": ROUTE_CONFIGURATION,
        # A route to a cluster that Envoy does not have is refused as a whole; what was served before stays.
        "validate_clusters": True,
        "virtual_hosts": [{"name": ROUTE_CONFIGURATION, "domains": ["*"], "routes": rendered}],
    }
    generations = {route.model: route.generation for route in ordered}
    return _document([configuration], type_url=ROUTE_TYPE, generations=generations)


def document_version(document: bytes) -> str:
    """Read a document's ``version_info``.

    :raises InvalidState: if the bytes are not a document of this module.
    """
    version = _parse(document).get("version_info")
    if not isinstance(version, str):
        raise InvalidState(
            f"router document {document[:60]!r} has no version_info; apply the fleet again to rewrite it"
        )
    return version


def document_generations(document: bytes) -> dict[str, int]:
    """Read every model's generation that a document was derived from."""
    _, *pairs = document_version(document).split(" ")
    return {model: int(generation) for model, _, generation in (pair.rpartition("=") for pair in pairs)}


def document_endpoints(document: bytes) -> dict[str, tuple[Endpoint, ...]]:
    """Read the endpoints of each cluster from a clusters document."""
    return {resource["name"]: tuple(_endpoints(resource)) for resource in _parse(document)["resources"]}


def document_clusters_used(document: bytes) -> frozenset[str]:
    """Read which clusters a routes document sends to."""
    return frozenset(
        route["route"]["cluster"]
        for resource in _parse(document)["resources"]
        for route in _routes(resource)
        if "route" in route
    )


def split_of(configuration: Mapping[str, Any]) -> dict[str, tuple[tuple[int, float], ...]]:
    """Read each model's split by version from a route configuration, whether written here or reported by an Envoy.

    What goes over the control cluster is a part of stable's share.
    """
    splits: dict[str, tuple[tuple[int, float], ...]] = {}
    for model, shares in _shares(configuration).items():
        whole: dict[int, int] = {}
        for cluster, share in shares:
            whole[cluster.number] = whole.get(cluster.number, 0) + share
        splits[model] = tuple((number, share / 100) for number, share in whole.items())
    return splits


def control_of(configuration: Mapping[str, Any]) -> dict[str, float]:
    """Read what percent of each model's requests takes the way over its control cluster."""
    return {
        model: sum(share for cluster, share in shares if cluster.control) / 100
        for model, shares in _shares(configuration).items()
    }


def empty_documents(*, settings: RouterSettings) -> tuple[bytes, bytes]:
    """Clusters and routes of a fleet that serves nothing yet."""
    return clusters_document((), settings=settings, generations={}), routes_document((), settings=settings)


def _model_routes(route: ModelRoute, *, settings: RouterSettings) -> Iterator[dict[str, Any]]:
    model, base = route.model, f"/v1/models/{route.model}"
    if route.split:
        yield from _split_routes(route, settings=settings)
        yield _metadata_route(route, settings=settings)
    else:
        error = f"model {model} has no stable version yet"
        yield _answer(f"none:{model}", match=_predict_match(model), status=503, error=error)
    # These go to the fleet, not to a version's cluster, whose metrics are the judge's evidence: predictions of the split alone.
    yield _pass_through(f"status:{model}", match={"path": base}, settings=settings)
    yield _pass_through(f"versions:{model}", match={"prefix": f"{base}/versions/"}, settings=settings)
    yield _pass_through(f"labels:{model}", match={"prefix": f"{base}/labels/"}, settings=settings)


def _split_routes(route: ModelRoute, *, settings: RouterSettings) -> Iterator[dict[str, Any]]:
    """Cumulative edges, not conditional shares: Envoy draws one random value per request and tests every route with it."""
    edge = 0
    arms = _arms(route)
    for position, (arm, share) in enumerate(arms, start=1):
        number = arm.number
        edge += share
        match = _predict_match(route.model)
        if position < len(arms):
            fraction = {"numerator": edge, "denominator": "TEN_THOUSAND"}
            match["runtime_fraction"] = {"default_value": fraction}
        yield {
            "name": f"split:{route.model}",
            "match": match,
            "route": {
                **_action(cluster_name(**arm._asdict()), settings=settings),
                "regex_rewrite": {
                    "pattern": {"regex": _predict_regex(route.model)},
                    "substitution": f"{_versioned(route.model, number=number)}:\\1",
                },
            },
            "response_headers_to_add": _headers({"x-model-name": route.model, "x-model-version": str(number)}),
        }


def _arms(route: ModelRoute) -> list[tuple[ClusterName, int]]:
    """Each cluster that gets traffic and its hundredths of a percent; control just before stable, which it is taken from."""
    control = hundredths(route.control)
    *others, (stable, percent) = (
        (ClusterName(model=route.model, number=number), hundredths(percent)) for number, percent in route.split
    )
    taken = [(stable._replace(control=True), control)] if control else []
    return [*others, *taken, (stable, percent - control)]


def _metadata_route(route: ModelRoute, *, settings: RouterSettings) -> dict[str, Any]:
    stable, _ = route.split[-1]
    rendered = _pass_through(
        f"metadata:{route.model}", match={"path": f"/v1/models/{route.model}/metadata"}, settings=settings
    )
    rendered["route"]["prefix_rewrite"] = f"{_versioned(route.model, number=stable)}/metadata"
    return rendered


def _pass_through(name: str, *, match: dict[str, Any], settings: RouterSettings) -> dict[str, Any]:
    return {"name": name, "match": match, "route": _action(FLEET_CLUSTER, settings=settings)}


def _answer(name: str, *, match: dict[str, Any], status: int, error: str) -> dict[str, Any]:
    return {
        "name": name,
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": json.dumps({"error": error})}},
        "response_headers_to_add": _headers({"content-type": "application/json"}),
    }


def _action(cluster: str, *, settings: RouterSettings) -> dict[str, Any]:
    retry = {"retry_on": "connect-failure", "num_retries": settings.retries}
    return {
        "cluster": cluster,
        "timeout": _seconds(settings.route_timeout_seconds),
        "idle_timeout": _seconds(settings.route_timeout_seconds),
        **({"retry_policy": retry} if settings.retries else {}),
    }


def _predict_match(model: str) -> dict[str, Any]:
    return {
        "safe_regex": {"regex": _predict_regex(model)},
        "headers": [{"name": ":method", "string_match": {"exact": "POST"}}],
    }


def _predict_regex(model: str) -> str:
    return f"^/v1/models/{re.escape(model)}:{_PREDICT_VERBS}$"


def _versioned(model: str, *, number: int) -> str:
    return f"/v1/models/{model}/versions/{number}"


def _headers(values: Mapping[str, str]) -> list[dict[str, Any]]:
    # Overwrite: a server's own header of that name must not contradict what the router chose.
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]


def _cluster(name: str, *, endpoints: list[Endpoint], settings: RouterSettings) -> dict[str, Any]:
    """No health checks and no outlier detection: with either, a version whose servers stumble would get no traffic at
    all, and the judge would see silence instead of errors. Availability is checked before a version is routed to.
    """
    limits = {
        "priority": "DEFAULT",
        "max_connections": settings.max_connections,
        "max_pending_requests": settings.max_requests,
        "max_requests": settings.max_requests,
    }
    by_address = all(_is_address(endpoint.host) for endpoint in endpoints)
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        **({"type": "STATIC"} if by_address else {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}),
        "connect_timeout": _seconds(settings.connect_timeout_seconds),
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [_lb_endpoint(endpoint) for endpoint in endpoints]}] if endpoints else [],
        },
        "circuit_breakers": {"thresholds": [limits]},
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10}},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": _seconds(settings.upstream_idle_timeout_seconds)},
            }
        },
    }


def _lb_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}}}


def _endpoints(cluster: Mapping[str, Any]) -> Iterator[Endpoint]:
    for locality in cluster["load_assignment"]["endpoints"]:
        for entry in locality["lb_endpoints"]:
            address = entry["endpoint"]["address"]["socket_address"]
            yield Endpoint(host=address["address"], port=address["port_value"])


def _routes(configuration: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for host in configuration.get("virtual_hosts", ()):
        yield from host.get("routes", ())


def _shares(configuration: Mapping[str, Any]) -> dict[str, list[tuple[ClusterName, int]]]:
    """Each model's clusters and their hundredths of a percent, in the order in which they are written."""
    shares: dict[str, list[tuple[ClusterName, int]]] = {}
    for route in _routes(configuration):
        kind, _, model = str(route.get("name", "")).partition(":")
        if kind not in {"none", "split"}:
            continue
        found = shares.setdefault(model, [])
        if kind == "split":
            taken = sum(share for _, share in found)
            found.append((parse_cluster_name(route["route"]["cluster"]), _upper_edge(route) - taken))
    return shares


def _upper_edge(route: Mapping[str, Any]) -> int:
    """Where the route's share ends; the last one takes the rest. Envoy leaves out a numerator of 0."""
    fraction = route["match"].get("runtime_fraction")
    return int(fraction["default_value"].get("numerator", 0)) if fraction else WHOLE


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _seconds(value: float) -> str:
    """Protobuf's JSON form of a duration."""
    return f"{value:.3f}s"


def _document(resources: list[dict[str, Any]], *, type_url: str, generations: Mapping[str, int]) -> bytes:
    named = " ".join(f"{model}={generation}" for model, generation in sorted(generations.items()))
    content = json.dumps(resources, sort_keys=True)
    digest = hashlib.sha256(f"{named}\n{content}".encode()).hexdigest()[:16]
    body = {"version_info": f"{digest} {named}".rstrip(), "type_url": type_url, "resources": resources}
    return (json.dumps(body, indent=1) + "\n").encode()


def _parse(document: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(document)
    except ValueError as error:
        raise InvalidState(f"router document {document[:60]!r} is not JSON ({error}); apply the fleet again") from error
    if not isinstance(parsed, dict):
        raise InvalidState(f"router document {document[:60]!r} is not a DiscoveryResponse; apply the fleet again")
    return parsed
