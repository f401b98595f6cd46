"""The ledger as a projection of the logs: whoever brings it up to one does it in this way."""

from __future__ import annotations

from airflow_model_ops.core.ports import Ledger, Repository


def record(ledger: Ledger, repository: Repository, model: str) -> int:
    """Record what is missing of a model's log; return how many entries that was. Repeating it records nothing twice.

    :raises LedgerUnavailable: if the ledger cannot be written.
    :raises RepositoryUnavailable: if log or manifests cannot be read.
    """
    return ledger.catch_up(model, repository.log(model), lambda version: repository.manifest(model, version))
