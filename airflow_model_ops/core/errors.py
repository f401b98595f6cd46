"""Every error this package raises on purpose, one class per case.

Each docstring says whether a retry helps, and ``retryable`` carries the same answer for the Airflow storey, which turns
an error that no retry can mend into a failure without retries. A message names the thing, what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class ModelOpsError(Exception):
    """Base of all errors of this package. A retry does not help unless a subclass says so."""

    retryable: ClassVar[bool] = False


class InvalidVersionName(ModelOpsError, ValueError):
    """A version name or serving number does not belong to the model's naming scheme. A retry does not help."""


class InvalidConfig(ModelOpsError, ValueError):
    """A YAML file or connection is wrong; the message lists every mistake with its place. A retry does not help.

    :param mistakes: The mistakes one by one, each starting with the key it is about, for a reader that knows their lines.
    """

    def __init__(self, message: str, *, mistakes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)


class ConnectionUnavailable(ModelOpsError):
    """Airflow gave no such connection: nobody defined it, or Airflow could not be asked. A retry helps in the latter case."""

    retryable = True


class InvalidState(ModelOpsError, ValueError):
    """A serving state or a log entry contradicts itself or cannot be read. A retry does not help."""


class TransitionRefused(ModelOpsError):
    """The rules of the serving state forbid this change; the state is as before. A retry does not help."""


class PreEmpted(TransitionRefused):
    """The release or attempt that asks is no longer the live one; whoever replaced it decides. A retry does not help."""


class ReleaseBusy(TransitionRefused):
    """Another release of the model is live. A retry helps once that release has ended."""

    retryable = True


class ModelOnHold(TransitionRefused):
    """A person holds the model; the automation waits for ``resume``. A retry helps once it is resumed."""

    retryable = True


class NoRollbackTarget(TransitionRefused):
    """There is no version a rollback may land on; what serves stays. A retry does not help."""


class CommitConflict(ModelOpsError):
    """Other writers kept winning the race for the next log entry. A retry helps."""

    retryable = True


class VersionNotFound(ModelOpsError, LookupError):
    """The repository holds no such version. A retry does not help."""


class ArtifactNotFound(ModelOpsError, LookupError):
    """The ledger knows no such artifact: nothing recorded names it. A retry does not help."""


class VersionExists(ModelOpsError):
    """The name is taken by other content. A retry does not help."""


class VersionAltered(ModelOpsError):
    """Files of a version are missing or differ from its manifest. A retry does not help."""


class NotASavedModel(ModelOpsError, ValueError):
    """The directory to push is not a SavedModel, or reaches outside itself. A retry does not help."""


class ValidationFailed(ModelOpsError):
    """The version did not earn its blessing. A retry does not help."""


class RepositoryUnsuitable(ModelOpsError):
    """The file system cannot keep the log's promises (put-if-absent, atomic rename). A retry does not help."""


class RepositoryUnavailable(ModelOpsError):
    """The repository could not be read or written. A retry helps."""

    retryable = True


class FleetNotAdopted(ModelOpsError):
    """The fleet is neither adopted nor declared empty, so applying could unload foreign models. A retry does not help."""


class FleetBusy(ModelOpsError):
    """Another worker holds the fleet lock. A retry helps."""

    retryable = True


class ServerUnreachable(ModelOpsError):
    """A model server did not answer in time. A retry helps once it is back."""

    retryable = True


class ServerRefused(ModelOpsError):
    """A model server answered with an error; the message holds its words and the remedy. A retry may help."""

    retryable = True


class QuotaExhausted(ServerRefused):
    """A managed platform has no machines or calls left for this project now. A retry helps later."""


class EndpointMoved(ServerRefused):
    """Somebody else changed an endpoint between our look and our write, which changed nothing. A retry looks again."""


class EndpointNotFound(ModelOpsError, LookupError):
    """There is no such endpoint, or no such model, on the platform. A retry does not help."""


class AccessDenied(ModelOpsError):
    """The platform knows the account and lets it not do this, or does not know it. A retry helps once that is granted."""


class ServerWedged(ServerUnreachable):
    """A model server hangs in a reload and answers no other reload until it is restarted. A retry helps after that."""


class LoadFailed(ModelOpsError):
    """A model server could not load a version. A retry does not help: a version in error stays in error."""


class RouterUnreachable(ModelOpsError):
    """A router's admin interface did not answer. A retry helps once it is back."""

    retryable = True


class RouterRefused(ModelOpsError):
    """A router rejected its new documents or did not take them in time. A retry may help."""

    retryable = True


class NotApplied(ModelOpsError):
    """The fleet did not reach the committed state in time; the watcher goes on. A retry helps."""

    retryable = True


class MetricsUnavailable(ModelOpsError):
    """The metric source could not be asked or answered nonsense. A retry helps."""

    retryable = True


class LedgerUnavailable(ModelOpsError):
    """ML Metadata could not be reached or written. A retry helps; the log holds everything meanwhile."""

    retryable = True


class LedgerUnsuitable(LedgerUnavailable):
    """ML Metadata is not installed, or the store is of another version of it. A retry does not help."""

    retryable = False
