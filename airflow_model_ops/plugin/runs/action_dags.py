"""Which DAG carries out which action of the page: who may trigger that DAG may do the action."""

from __future__ import annotations

from types import MappingProxyType

ROLLBACK = "rollback"
PIN = "pin"
HOLD = "hold"
RESUME = "resume"
ABORT = "abort"
LIFT = "lift"
QUARANTINE = "quarantine"

DAG_OF = MappingProxyType(
    {
        ROLLBACK: "model_rollback",
        PIN: "model_pin_golden",
        HOLD: "model_hold",
        RESUME: "model_resume",
        ABORT: "model_abort",
        LIFT: "model_lift",
        QUARANTINE: "model_quarantine",
    }
)
"""The id of an action's DAG, by the action's name in the API's paths, in the order in which the page shows them."""

TASK_OF = MappingProxyType(
    {
        "model_rollback": "rollback",
        "model_pin_golden": "pin",
        "model_hold": "hold",
        "model_resume": "resume",
        "model_abort": "abort",
        "model_lift": "lift",
        "model_quarantine": "quarantine",
    }
)
"""The task of each of these DAGs that acts; when it has ended the action is done, though the run may still be recording."""
