"""The house over which the page is timed: every model has a log and a ledger like those of years of releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.model_file import load_model_files
from airflow_model_ops.control.heads import read_heads
from benchmarks.page.house import write_house


@pytest.mark.integration
def test_models_that_were_copied_into_the_ledger_answer_like_those_that_were_recorded(tmp_path: Path) -> None:
    house = write_house(tmp_path / "house", models=4, versions=88, recorded=2, seed=1)
    repository, ledger = PosixRepository(house.root), LedgerQueries(LedgerSettings(path=house.ledger))

    heads = read_heads(repository, fleet="main")

    assert list(load_model_files(house.models_dir)) == house.models == sorted(heads)
    assert {model for model, head in heads.items() if head.state.release} == set(house.live) != set()
    for model in house.models:
        told = {row.version for row in ledger.history(model, limit=200) if row.name == "pushed"}
        assert len(told) == 22, model
