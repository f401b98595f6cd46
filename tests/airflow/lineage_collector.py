"""A collector of OpenLineage events on loopback, and the provider's own way of asking operators and sending what they say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

from airflow.providers.openlineage.extractors import ExtractorManager
from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
from airflow.utils.state import TaskInstanceState
from jsonschema import Draft202012Validator
from openlineage.client import OpenLineageClient
from openlineage.client.transport.http import HttpConfig, HttpTransport
from referencing import Registry, Resource

from airflow_model_ops.openlineage.facets import SCHEMAS, SERVING_KEY, VERSION_KEY

RUN_ID = "01941f29-7c00-7000-8000-000000000001"
STANDARD = {
    # What the standard says of every facet of a dataset, as far as it binds ours.
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {
        "DatasetFacet": {
            "type": "object",
            "properties": {
                "_producer": {"type": "string", "format": "uri"},
                "_schemaURL": {"type": "string", "format": "uri"},
                "_deleted": {"type": "boolean"},
            },
            "required": ["_producer", "_schemaURL"],
        }
    },
}
FACETS = {VERSION_KEY: "ModelOpsModelVersionDatasetFacet", SERVING_KEY: "ModelOpsServingStateDatasetFacet"}


def schema_of(key: str) -> dict[str, Any]:
    """Return the schema of one of this package's facets, as the package brings it."""
    place = files("airflow_model_ops.openlineage") / "schemas" / SCHEMAS / f"{FACETS[key]}.json"
    schema: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return schema


def validator_of(key: str) -> Draft202012Validator:
    standard = Resource.from_contents(STANDARD)
    registry = Registry().with_resource("https://openlineage.io/spec/2-0-2/OpenLineage.json", standard)
    return Draft202012Validator(schema_of(key), registry=registry)


@dataclass(kw_only=True)
class Collector:
    """Takes in events over HTTP, as an OpenLineage backend does."""

    url: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def told(self, task: Any, context: Any, *, state: TaskInstanceState = TaskInstanceState.SUCCESS) -> Told:
        """Let the provider ask a task that is over, and send the answer here."""
        run = SimpleNamespace(run_id=context["dag_run"].run_id)
        lineage = ExtractorManager().extract_metadata(run, task, state, context["ti"])
        transport = HttpTransport(HttpConfig.from_dict({"url": self.url}))
        adapter = OpenLineageAdapter(client=OpenLineageClient(transport=transport))
        unknown = dict.fromkeys(
            ("nominal_start_time", "nominal_end_time", "owners", "tags", "job_description", "run_facets")
        )
        adapter.complete_task(
            run_id=RUN_ID, job_name="told", end_time="2023-06-01T12:00:00+00:00", task=lineage, **unknown
        )
        return Told(event=self.events[-1])


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an event says, each of this package's facets checked against its schema."""

    event: dict[str, Any]

    def __post_init__(self) -> None:
        for dataset in (*self.event["inputs"], *self.event["outputs"]):
            for key in FACETS.keys() & dataset["facets"].keys():
                validator_of(key).validate({key: dataset["facets"][key]})

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """The facets of each input, by name."""
        return {each["name"]: each["facets"] for each in self.event["inputs"]}

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """The facets of each output, by name."""
        return {each["name"]: each["facets"] for each in self.event["outputs"]}

    @property
    def namespaces(self) -> dict[str, str]:
        """The namespace of each dataset, by name."""
        return {each["name"]: each["namespace"] for each in (*self.event["inputs"], *self.event["outputs"])}

    def version(self, major: int) -> dict[str, Any]:
        """Return what is said of a version that was read."""
        facet: dict[str, Any] = self.inputs[version_name(major)][VERSION_KEY]
        return facet

    @property
    def serving(self) -> dict[str, Any]:
        """What is said of what the model serves."""
        facet: dict[str, Any] = self.outputs["digits/serving"][SERVING_KEY]
        return facet


def version_name(major: int) -> str:
    return f"digits/versions/digits-v{major}.0.0"


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect on a free port of loopback."""
    events: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing: the events are what counts."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Collector(url=f"http://127.0.0.1:{server.server_port}", events=events)
        finally:
            server.shutdown()
            thread.join()
