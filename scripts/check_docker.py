"""Check the files in ``docker/`` without a docker daemon.

The Dockerfile is held to the rules below, the compose file to those of :func:`compose_complaints`; Debian's
``docker-compose config`` and ``promtool check config`` then say whether the tools themselves accept the files. Prints one
line per mistake and exits 1 if there is any.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|FERNET_KEY|API_KEY", re.IGNORECASE)
_PIPED_TO_SHELL = re.compile(r"\b(curl|wget)\b[^|;&]*\|\s*(sudo\s+)?(ba|da|z)?sh\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction of a Dockerfile, continuation lines joined."""

    line: int
    keyword: str
    words: str


def parse_dockerfile(text: str, /) -> list[Instruction]:
    """Split a Dockerfile into its instructions; comments and empty lines are left out."""
    found: list[Instruction] = []
    start, parts = 0, list[str]()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        start = start if parts else number
        parts.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            keyword, _, words = " ".join(parts).partition(" ")
            found.append(Instruction(line=start, keyword=keyword.upper(), words=words.strip()))
            parts = []
    return found


def image_fault(image: str, /) -> str | None:
    """Say what is wrong with how an image is named; ``None`` if its tag or digest pins it."""
    if "@sha256:" in image:
        return None
    tag = image.rpartition("/")[2].partition(":")[2]
    if not tag or "$" in tag:
        return f"image {image!r} has no fixed tag; name the release, such as ':1.2.3'"
    if tag == "latest":
        return f"image {image!r} moves with ':latest'; name the release, such as ':1.2.3'"
    return None


def _from_fault(instruction: Instruction, /, *, stages: set[str]) -> str | None:
    words = [word for word in instruction.words.split() if not word.startswith("--")]
    image = words[0]
    if len(words) == 3 and words[1].upper() == "AS":
        stages.add(words[2])
    return None if image in {"scratch", *stages} else image_fault(image)


def _add_fault(instruction: Instruction, /) -> str | None:
    return "ADD unpacks and downloads silently; use COPY" if instruction.keyword == "ADD" else None


def _apt_fault(instruction: Instruction, /) -> str | None:
    words = instruction.words
    if instruction.keyword != "RUN" or not re.search(r"\bapt(-get)? (\S+ )*install\b", words):
        return None
    if "rm -rf /var/lib/apt/lists/" not in words:
        return "apt-get's lists stay in the image; end the same RUN with 'rm -rf /var/lib/apt/lists/*'"
    if "--no-install-recommends" not in words:
        return "apt-get installs recommended packages, too; add --no-install-recommends"
    return None if re.search(r"\s(-y|--yes|-qy|-yq)\b", words) else "apt-get waits for an answer; add -y"


def _pip_fault(instruction: Instruction, /) -> str | None:
    installs = len(re.findall(r"\bpip3? install\b", instruction.words))
    if instruction.keyword == "RUN" and installs > instruction.words.count("--no-cache-dir"):
        return "pip's cache stays in the image; add --no-cache-dir to each 'pip install'"
    return None


def _shell_fault(instruction: Instruction, /) -> str | None:
    if instruction.keyword != "RUN":
        return None
    if _PIPED_TO_SHELL.search(instruction.words):
        return "a download is piped into a shell unchecked; copy a reviewed file or install a pinned package"
    return "sudo has no place in a build; use USER" if re.search(r"\bsudo\b", instruction.words) else None


def _secret_fault(instruction: Instruction, /) -> str | None:
    if instruction.keyword in {"ENV", "ARG"} and re.search(r"(\w+)=\S", instruction.words):
        for name in re.findall(r"(\w+)=\S", instruction.words):
            if _SECRET_NAME.search(name):
                return f"{name} is baked into the image; pass it at run time"
    return None


_RULES: tuple[Callable[[Instruction], str | None], ...] = (
    _add_fault,
    _apt_fault,
    _pip_fault,
    _shell_fault,
    _secret_fault,
)


def dockerfile_complaints(text: str, /, *, name: str = "Dockerfile") -> Iterator[str]:
    """Yield a complaint for each broken rule: pinned bases, COPY, clean layers, no piped downloads, a user but root."""
    stages: set[str] = set()
    user = ""
    for instruction in parse_dockerfile(text):
        faults = [rule(instruction) for rule in _RULES]
        if instruction.keyword == "FROM":
            user = ""
            faults.append(_from_fault(instruction, stages=stages))
        if instruction.keyword == "USER":
            user = instruction.words.partition(":")[0]
        yield from (f"{name}:{instruction.line}: {fault}" for fault in faults if fault)
    if user in {"", "root", "0"}:
        yield f"{name}: the image runs as {user or 'whatever its base says'!r}; end it with a USER that is not root"


def compose_complaints(compose: Mapping[str, Any], /) -> Iterator[str]:
    """Yield a complaint for each service that moves, cannot tell its health, is open to the world or holds a secret."""
    for name, service in compose["services"].items():
        fault = image_fault(service["image"]) if "image" in service else None
        if fault:
            yield f"service {name!r}: {fault}"
        if service.get("restart") != "no" and "healthcheck" not in service:
            yield f'service {name!r} has no healthcheck; add one, or restart: "no" if it ends by itself'
        yield from _port_complaints(name, ports=service.get("ports", []))
        yield from _secret_complaints(name, environment=service.get("environment", {}))


def _port_complaints(service: str, /, *, ports: list[Any]) -> Iterator[str]:
    for port in ports:
        if not re.match(r"(\$\{\w+:-127\.0\.0\.1\}|127\.0\.0\.1):", str(port)):
            yield f"service {service!r}: port {port!r} listens everywhere by default; start it with '127.0.0.1:'"


def _secret_complaints(service: str, /, *, environment: Mapping[str, Any]) -> Iterator[str]:
    for key, value in environment.items():
        if _SECRET_NAME.search(key) and not key.endswith("_FILE") and not re.fullmatch(r"\$\{\w+:-\}", str(value)):
            yield f"service {service!r}: {key} is not taken from the environment; write '${{NAME:-}}'"


def tool_complaints(docker: Path, /) -> Iterator[str]:
    """Yield what docker-compose and promtool say against the files; a missing tool is a complaint, too."""
    compose, prometheus = docker / "compose.yaml", docker / "prometheus" / "prometheus.yml"
    commands = (
        ("docker-compose", "-f", str(compose), "config", "-q"),
        ("promtool", "check", "config", str(prometheus)),
    )
    for command in commands:
        if not shutil.which(command[0]):
            yield f"{command[0]!r} is not installed; run 'make setup'"
            continue
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            yield f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()}"


def complaints(docker: Path, /) -> list[str]:
    """Return all mistakes of a ``docker/`` directory; empty if there is none."""
    compose = yaml.safe_load((docker / "compose.yaml").read_text(encoding="utf-8"))
    return [
        *dockerfile_complaints((docker / "Dockerfile").read_text(encoding="utf-8"), name="docker/Dockerfile"),
        *compose_complaints(compose),
        *tool_complaints(docker),
    ]


def main() -> int:
    """Check the checkout this file belongs to."""
    found = complaints(Path(__file__).resolve().parent.parent / "docker")
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
