"""What a person has set on a machine changes nothing of what the tests see there."""

from __future__ import annotations

import os
from unittest import mock

import pytest

from tests.machine import forget_the_machine


def test_this_process_has_an_airflow_of_its_own() -> None:
    given = {name for name in os.environ if name.startswith("AIRFLOW_") and not name.startswith("AIRFLOW__")}
    assert given == {"AIRFLOW_HOME"}
    assert os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{os.environ['AIRFLOW_HOME']}/airflow.db"


@pytest.mark.parametrize(
    "name", ["AIRFLOW_CONN_MLMD_DEFAULT", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "PGHOST", "SUDO_USER"]
)
def test_what_a_person_has_set_for_other_work_is_forgotten(name: str) -> None:
    with mock.patch.dict(os.environ, {name: "somebody's"}):
        forget_the_machine()
        assert name not in os.environ


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_a_proxy_stays_for_other_hosts_and_never_gets_what_goes_to_this_one(name: str) -> None:
    with mock.patch.dict(os.environ, {name: "corp.example", "HTTP_PROXY": "http://proxy.example"}):
        forget_the_machine()
        forget_the_machine()  # as a worker of a parallel run does, whose parent has
        assert os.environ[name] == "corp.example,127.0.0.1,localhost"
        assert os.environ["HTTP_PROXY"] == "http://proxy.example"
