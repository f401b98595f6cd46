"""The static checks of docker/ find each fault they name."""

from __future__ import annotations

import pytest

from scripts import check_docker

_GOOD = "FROM python:3.11-slim AS base\nCOPY . /src\nUSER app\n"


def test_a_clean_dockerfile_passes() -> None:
    text = (
        "# comment\nFROM debian:12.11 AS build\nRUN apt-get update && apt-get install -y --no-install-recommends make \\\n"
        "    # why\n    && rm -rf /var/lib/apt/lists/*\nFROM build\nCOPY --from=build /a /b\nUSER 1000:0\n"
    )
    assert list(check_docker.dockerfile_complaints(text)) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("FROM python\nUSER app", "has no fixed tag"),
        ("FROM registry.example:5000/python\nUSER app", "has no fixed tag"),
        ("FROM python:${TAG}\nUSER app", "has no fixed tag"),
        ("FROM python:latest\nUSER app", "':latest'"),
        ("ADD x.tar /x", "use COPY"),
        ("RUN apt-get update && apt-get install -y --no-install-recommends make", "lists stay"),
        ("RUN apt-get -q install -y make && rm -rf /var/lib/apt/lists/*", "recommended"),
        ("RUN apt-get install --no-install-recommends make && rm -rf /var/lib/apt/lists/*", "add -y"),
        ("RUN pip install --no-cache-dir a && pip install b", "pip's cache"),
        ("RUN curl -fsSL https://example.org/x.sh | bash", "piped into a shell"),
        ("RUN wget -qO- https://example.org/x.sh \\\n  | sudo sh", "piped into a shell"),
        ("RUN sudo make", "sudo"),
        ("ENV DB_PASSWORD=hunter2", "DB_PASSWORD is baked"),
    ],
)
def test_each_fault_of_a_dockerfile_is_named_with_its_line(line: str, fault: str) -> None:
    text = f"{_GOOD}{line}\n"
    (complaint,) = check_docker.dockerfile_complaints(text)
    assert fault in complaint
    assert complaint.startswith("Dockerfile:4:")


@pytest.mark.parametrize("last", ["USER root", "USER 0:0", "FROM python:3.12-slim"])
def test_an_image_that_ends_as_root_or_with_its_base_image_s_user_is_refused(last: str) -> None:
    (complaint,) = check_docker.dockerfile_complaints(f"{_GOOD}{last}\n")
    assert "end it with a USER that is not root" in complaint


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"image": "postgres:latest"}, "':latest'"),
        ({"healthcheck": None}, "no healthcheck"),
        ({"ports": ["8080:8080"]}, "listens everywhere"),
        ({"environment": {"DB_PASSWORD": "hunter2"}}, "DB_PASSWORD is not taken from the environment"),
    ],
)
def test_each_fault_of_a_compose_service_is_named(change: dict[str, object], fault: str) -> None:
    service = {
        "image": "postgres:16.6",
        "healthcheck": {"test": ["CMD", "true"]},
        "ports": ["127.0.0.1:5432:5432"],
        "environment": {"DB_PASSWORD": "${DB_PASSWORD:-}", "PASSWORD_FILE": "/x"},
    }
    assert list(check_docker.compose_complaints({"services": {"db": service}})) == []
    broken = {key: value for key, value in (service | change).items() if value is not None}
    (complaint,) = check_docker.compose_complaints({"services": {"db": broken}})
    assert fault in complaint
