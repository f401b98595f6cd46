"""``python -m airflow_model_ops.model_server``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.model_server.flags import parse_flags
from airflow_model_ops.model_server.settings import read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a server; see ``process.run`` for the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # must be there before TensorFlow is imported
    try:
        settings = read_settings(parse_flags(arguments))
    except InvalidConfig as error:
        sys.stderr.write(f"{error}\n")
        return 1
    from airflow_model_ops.model_server.process import run

    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
