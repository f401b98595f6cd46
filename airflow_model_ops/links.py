"""Links from a task to where its work can be seen: the model's page, the queries behind its verdict, Google's console.

Airflow reads a link from the task's XCom. An operator puts it there when it begins, so that it is there while the task runs and
waits; at the end of each pass Airflow asks the classes below in the task's process, which keep what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class NotedLink(BaseOperatorLink):
    """Base of links whose address the operator notes."""

    name = "Noted"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return what the operator has noted in this pass, or in an earlier one of the same try; empty: there is none."""
        from airflow.sdk.execution_time.xcom import XCom

        noted = getattr(operator, "noted_links", {}).get(self.xcom_key)
        return str(noted or XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")


class ModelLink(NotedLink):
    """To the model's page in Airflow's UI; of a task on several models, to the list of them."""

    name = "Model"


class MetricsLink(NotedLink):
    """To Prometheus's expression browser, with what the checks ask of it."""

    name = "Metrics"


class VertexAILink(NotedLink):
    """To the model's endpoint in Google's console."""

    name = "Vertex AI"
