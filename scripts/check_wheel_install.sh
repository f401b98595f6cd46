#!/usr/bin/env bash
# Prove that users can install the wheel with plain pip beside Airflow 3.3: no hashes, no constraints, no overrides.
# Builds the wheel, fills a fresh environment as docs/installation.md tells users to, lets `pip check` complain of
# nothing but ml-metadata's own stale pins, and runs scripts/smoke_installed.py there. Needs the package index.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BUILD_PYTHON=${VENV:-.venv}/bin/python
# The Airflow and ml-metadata releases that the proof is for.
AIRFLOW='apache-airflow==3.3.*'
ML_METADATA='ml-metadata==1.17.1'

say() { printf 'install-check: %s\n' "$*"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Only what git would ship is built: a stray local file must not make the proof pass.
say "building the wheel"
mkdir "$work/src"
git ls-files -z --cached --others --exclude-standard airflow_model_ops dags pyproject.toml README.md LICENSE |
  tar -c --null --files-from=- | tar -x -C "$work/src"
"$BUILD_PYTHON" -m build --wheel --outdir "$work/dist" "$work/src" >"$work/build.log" 2>&1 ||
  { cat "$work/build.log"; exit 1; }
wheel=$(echo "$work"/dist/airflow_model_ops-*.whl)

say "installing $(basename "$wheel") and $AIRFLOW with plain pip"
"$BUILD_PYTHON" -m venv "$work/env"
python=$work/env/bin/python
pip() { "$python" -m pip --disable-pip-version-check "$@"; }
pip install --quiet "$AIRFLOW" "airflow-model-ops[lineage] @ file://$wheel"
pip install --quiet --no-deps "$ML_METADATA"
pip list 2>/dev/null | grep -E '^(apache-airflow|airflow-model-ops|ml-metadata|attrs|protobuf|absl-py) '

check_pins() {
  say "pip check"
  pip check >"$work/check.txt" || true
  cat "$work/check.txt"
  if grep -vE "^(${ML_METADATA/==/ } has requirement .*|No broken requirements found\.)$" "$work/check.txt"; then
    say "pip check complains of more than ml-metadata's own pins (the lines above); mend pyproject.toml"
    exit 1
  fi
}
check_pins

say "smoke test"
mkdir "$work/elsewhere"
cp scripts/smoke_installed.py "$work/elsewhere/"
(
  cd "$work/elsewhere"
  export AIRFLOW_HOME=$work/airflow PATH=$work/env/bin:$PATH
  export AIRFLOW__CORE__LOAD_EXAMPLES=False
  "$python" -P smoke_installed.py
)

# After the smoke test, which proves that nothing needs it.
say "installing the extra openlineage"
pip install --quiet "$AIRFLOW" "airflow-model-ops[lineage,openlineage] @ file://$wheel"
check_pins
(cd "$work/elsewhere" && AIRFLOW_HOME=$work/airflow "$python" -P -c 'import airflow_model_ops.openlineage.facets')
say "passed"
