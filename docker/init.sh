#!/usr/bin/env bash
# One run before everything else (service airflow-init): secrets, volumes, database, the documents Envoy starts with.
set -euo pipefail

for name in POSTGRES_PASSWORD AIRFLOW_ADMIN_PASSWORD GRAFANA_ADMIN_PASSWORD AIRFLOW__CORE__FERNET_KEY \
  AIRFLOW__API__SECRET_KEY AIRFLOW__API_AUTH__JWT_SECRET; do
  if [ -z "${!name:-}" ]; then
    echo "init: $name is empty; copy docker/.env.example to docker/.env and fill it in" >&2
    exit 1
  fi
done

chown airflow:0 /model-ops/repository /model-ops/envoy /model-ops/mlmd /opt/airflow/logs
chmod 0755 /model-ops/repository /model-ops/envoy

# As Airflow's user: what root wrote, Airflow could not replace later.
as_airflow() { setpriv --reuid airflow --regid 0 --clear-groups env HOME=/home/airflow "$@"; }

# TF Serving does not start without the file; an empty list serves nothing until the first release.
as_airflow mkdir -p /model-ops/repository/_fleets/default
list=/model-ops/repository/_fleets/default/models.config
as_airflow bash -c "[ -e $list ] || printf 'model_config_list {\n}\n' > $list"

as_airflow /entrypoint airflow db migrate
as_airflow /entrypoint python - <<'PYTHON'
from pathlib import Path

from airflow_model_ops.adapters.serving.envoy_bootstrap import ensure_initial_documents
from airflow_model_ops.adapters.serving.envoy_spec import RouterSettings

ensure_initial_documents(Path("/model-ops/envoy"), settings=RouterSettings())
PYTHON
