"""What the machine's own environment says and no test, nor anything that a test starts, may hear."""

from __future__ import annotations

import os

_OWN = (
    *("AIRFLOW", "_AIRFLOW"),  # another Airflow's home, connections and settings
    # somebody's account; a profile that is not there
    *("AWS_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "STORAGE_EMULATOR_HOST"),
    *("MYSQL_", "PG"),  # another database's address
    *("OPENLINEAGE", "PROMETHEUS_"),  # where lineage and metrics of this machine go
    *("COLUMNS", "FORCE_COLOR"),  # else logs and help are wrapped and coloured as for a terminal
    "SUDO_USER",  # whom a command takes for its user
)
_KEPT_IN_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
"""Where somebody's profile lies if no variable names it: it may have another endpoint, or other checksums."""
_LOOPBACK = "127.0.0.1,localhost"


def forget_the_machine() -> None:
    """Take this machine's settings from the environment, and loopback from its proxies."""
    for name in [name for name in os.environ if name.startswith(_OWN)]:
        del os.environ[name]
    os.environ.update(dict.fromkeys(_KEPT_IN_FILES, os.devnull))
    for name in ("NO_PROXY", "no_proxy"):
        kept = os.environ.get(name, "")
        if _LOOPBACK not in kept:
            os.environ[name] = ",".join(filter(None, (kept, _LOOPBACK)))
