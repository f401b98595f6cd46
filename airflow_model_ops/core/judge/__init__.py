"""The judge: whether a canary harms, is safe, or neither is shown yet, with stated error rates however often it is asked.

``release.py`` judges one release; ``share_check.py``, ``gauge_check.py`` and ``split_check.py`` one question each, by the
e-processes of ``processes.py`` over the engine of ``mixture.py``. ``dispersion.py`` tells how noisy counts are.
``guard.py`` looks after a stable version for as long as it serves, by the detectors of ``detector.py``.
"""

from __future__ import annotations

from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.judge.settings import JudgeSettings

__all__ = ["DispersionMeter", "JudgeSettings", "ReleaseJudge"]
