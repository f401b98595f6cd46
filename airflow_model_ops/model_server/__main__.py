"""``python -m airflow_model_ops.model_server``."""

from __future__ import annotations

import logging
import os
import sys

from airflow_model_ops.model_server.flags import parse_flags

if __name__ == "__main__":
    flags = parse_flags()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # must be there before TensorFlow is imported
    from airflow_model_ops.model_server.process import run

    sys.exit(run(flags))
