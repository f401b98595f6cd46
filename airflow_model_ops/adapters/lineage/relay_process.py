"""Starts the relay to a database server, and reads its report; see :mod:`airflow_model_ops.adapters.lineage.relay`."""

from __future__ import annotations

import base64
import json
import select
import shutil
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from airflow_model_ops.adapters.lineage import relay
from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings, certificates_in
from airflow_model_ops.core.errors import LedgerUnavailable

LONGEST_CONNECT_SECONDS = 5.0
_LONGEST_START_SECONDS = 15.0
"""The interpreter's start and the name's resolution, on a busy machine."""
_REPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the server said first on one connection, and what went wrong with the connection itself, if anything did."""

    opening: bytes
    fault: str


class RelayProcess:
    """A running relay; it ends with this object, and with this process.

    :raises LedgerUnavailable: if the server is not reached.
    :raises InvalidConfig: if the file of certificates cannot be read.
    """

    PORT_IN_THE_NAME = 5432
    """PostgreSQL's client finds a socket by its directory and this."""

    def __init__(self, settings: LedgerSettings) -> None:
        if settings.ca_file is not None:
            certificates_in(settings.ca_file)  # the relay could only say that it did not reach the server
        directory = Path(tempfile.mkdtemp(prefix="model-ops-"))
        postgresql = settings.kind is LedgerKind.POSTGRESQL
        self.socket = directory / (f".s.PGSQL.{self.PORT_IN_THE_NAME}" if postgresql else "mysql.sock")
        job = relay.Job(
            listen=str(self.socket),
            host=settings.host,
            port=settings.port or 0,
            connect_seconds=min(settings.answer_seconds, LONGEST_CONNECT_SECONDS),
            answer_seconds=settings.answer_seconds,
            postgresql=postgresql,
            tls=settings.tls,
            ca_file=str(settings.ca_file or ""),
        )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", relay.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._end = weakref.finalize(self, _end, self._process, directory)
        answer = self._started(job)
        if "unreachable" in answer:
            self._end()
            raise unreachable(settings, str(answer["unreachable"]))

    def report(self) -> list[Heard]:
        """End the relay and return what it heard, by connection."""
        if not self._end.alive:
            return []
        try:
            said, _ = self._process.communicate(timeout=_REPORT_SECONDS)
            lines = json.loads(said)["lines"]
        except (subprocess.TimeoutExpired, ValueError, KeyError, OSError):  # it was killed: nothing is known then
            lines = []
        self._end()
        return [Heard(opening=base64.b64decode(line["opening"]), fault=line["fault"]) for line in lines]

    def _started(self, job: relay.Job) -> dict[str, Any]:
        into, out = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        with suppress(BrokenPipeError):  # it ended at once: then nothing can be read either
            into.write(json.dumps(asdict(job)) + "\n")
            into.flush()
        patience = job.connect_seconds + job.answer_seconds + _LONGEST_START_SECONDS
        listening = select.poll()  # select() takes no file numbers above 1023
        listening.register(out, select.POLLIN)
        if not listening.poll(patience * 1000):
            return {"unreachable": f"no answer within {patience:g} s"}
        line = out.readline()
        return dict(json.loads(line)) if line else {"unreachable": "the relay to it ended at once, see stderr"}


def unreachable(settings: LedgerSettings, why: str) -> LedgerUnavailable:
    """Return the error for a server that is not reached."""
    return LedgerUnavailable(
        f"{settings.shown} cannot be reached: {why}; start the server, and check host, port, TLS and firewall. The log holds "
        "everything meanwhile"
    )


def _end(process: subprocess.Popen[str], directory: Path) -> None:
    """End the process, if it has not ended by itself. A finalizer: must not hold the object."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    try:
        process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(directory, ignore_errors=True)
