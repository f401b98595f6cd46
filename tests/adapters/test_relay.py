"""What the relay may change of a database's bytes on their way: the offer of logins, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.relay import Job, Line
from airflow_model_ops.adapters.lineage.relay_process import RelayProcess
from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from airflow_model_ops.core.errors import InvalidConfig
from tests.waits import all_ended


def offer(*logins: bytes) -> bytes:
    """Return PostgreSQL's AuthenticationSASL message."""
    told = b"".join(login + b"\0" for login in logins) + b"\0"
    return b"R" + (8 + len(told)).to_bytes(4, "big") + (10).to_bytes(4, "big") + told


BOTH, PLAIN = offer(b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"), offer(b"SCRAM-SHA-256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """A relayed connection: the client's own end and the server's."""

    client: socket.socket
    server: socket.socket

    def arrives(self, sent: bytes) -> bytes:
        """Return what the client gets of what the server sends."""
        self.server.sendall(sent)
        return self.client.recv(len(sent))


@pytest.fixture
def ends() -> Iterator[Ends]:
    job = Job(listen="", host="", port=0, connect_seconds=60, answer_seconds=60, postgresql=True, tls=True)
    client, near_client = socket.socketpair()
    near_server, server = socket.socketpair()
    carrying = threading.Thread(target=Line().carry, args=(near_client, near_server, job), name="carrying", daemon=True)
    carrying.start()
    client.settimeout(60)
    with closing(server), closing(near_client), closing(near_server):
        yield Ends(client=client, server=server)
        client.close()
        all_ended(carrying)


def test_the_login_that_is_bound_to_tls_is_taken_out_of_the_servers_offer(ends: Ends) -> None:
    assert ends.arrives(BOTH) == PLAIN


def test_rows_that_look_like_an_offer_of_logins_arrive_as_they_are(ends: Ends) -> None:
    """A chunk of a result may begin anywhere, also five bytes before the length 10 of the next column."""
    ends.arrives(BOTH)
    row = b"Runs1" + (10).to_bytes(4, "big") + b"v-20230601"

    assert ends.arrives(row) == row


def test_a_file_of_certificates_that_is_missing_is_named_before_the_server_is_blamed(tmp_path: Path) -> None:
    settings = LedgerSettings(
        kind=LedgerKind.POSTGRESQL, host="127.0.0.1", database="ledger", tls=True, ca_file=tmp_path / "gone.pem"
    )

    with pytest.raises(InvalidConfig, match=r"gone\.pem' cannot be read as certificates in PEM"):
        RelayProcess(settings)
