"""What a command does when nobody listens to its answer: the change is made, so that the rest must be, too."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace

import pytest

from airflow_model_ops.cli_commands.output import Outcome, print_outcome

pytestmark = pytest.mark.integration
_PROGRAM = """
import sys
from argparse import Namespace
from airflow_model_ops.cli_commands.output import about
from airflow_model_ops.cli_commands.session import command

def record():
    sys.stderr.write("recorded\\n")

@command
def rollback(args):
    return about({"model": "digits", "result": "taken back"}, then=record)

rollback(Namespace(output=sys.argv[1]))
"""


@pytest.mark.parametrize("output", ["json", "plain"])
def test_a_reader_that_has_gone_costs_neither_the_record_nor_the_status(output: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _PROGRAM, output],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert ended.stderr.endswith("recorded\n")  # nothing complains after that; Airflow's own logging may before
    assert ended.returncode == 0


def test_neither_does_an_output_that_is_closed() -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" json >&-', sys.executable, _PROGRAM],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr.endswith("recorded\n")  # nothing complains after that; Airflow's own logging may before
    assert ended.returncode == 0


def test_a_table_says_nothing_is_there_as_people_write_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_outcome(Namespace(output="table"), Outcome(rows=[{"model": "digits", "canary": None}]))
    assert "None" not in (shown := capsys.readouterr().out)
    assert "digits | -" in shown
