"""The service as a process of its own, steered over HTTP."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests

from tests.vertex_fake.control import COMMANDS
from tests.vertex_fake.rig import ROOT, VertexFakeProcess
from tests.vertex_fake.story import ENDPOINT, Caller

pytestmark = pytest.mark.integration


def test_it_serves_both_fronts_obeys_from_afar_and_ends() -> None:
    with VertexFakeProcess("--operation-seconds", "0", "--seed", "7") as fake:
        caller = Caller(fake.address, "rest")
        caller.with_two_versions()
        assert Caller(fake.address, "grpc").split() == {"11": 100}
        fake.control.duration("DeployModel", seconds=None)
        name = caller.begin_deploy("v-2", "33").operation.name
        assert fake.control.running() == [name]
        assert fake.control.release("DeployModel") == 1
        fake.control.foreign_write(ENDPOINT, labels={"by": "hand"})
        assert fake.control.endpoint(ENDPOINT)["labels"] == {"by": "hand"}
        assert fake.control.log(mutating=True)[-1]["operation"] == name
        with pytest.raises(ValueError, match="TEAPOT"):
            fake.control.refuse("GetModel", "TEAPOT")
        with pytest.raises(ValueError, match="NOT_FOUND"):
            fake.control.endpoint(f"{ENDPOINT}-x")
        with pytest.raises(AttributeError, match="no command"):
            fake.control.explode()
        assert "release" in COMMANDS
        assert requests.post(f"{fake.address.rest_url}/_fake/explode", timeout=10).status_code == 404
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{fake.address.rest_url}/metrics", timeout=5)


def test_it_tells_its_options() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.vertex_fake", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "--ready-file" in told.stdout
