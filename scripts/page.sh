#!/usr/bin/env bash
# The page's toolchain: node and npm come with .venv (PyPI), its packages from npm by the lock file.
# usage: scripts/page.sh install | build | check | test
#   install: only the packages; the others do it, too
#   build: write plugin/bundle from plugin/www
#   check: types, and that the committed types and bundle are what the sources give
#   test:  the unit tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=$(cd "${VENV:-.venv}" && pwd)
PLUGIN=$PWD/airflow_model_ops/plugin
export PATH=$VENV/bin:$PATH
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

say() { printf 'page: %s\n' "$*" >&2; }

# npm keeps a copy of the lock file it installed from, without the package itself; a stamp of our own says it more plainly.
install() {
  local wanted stamp=node_modules/.model-ops-stamp
  wanted=$(sha256sum package.json package-lock.json; node --version)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing the page's packages"
    npm ci --silent --no-progress
    printf '%s\n' "$wanted" >"$stamp"
  fi
}

# The document lies outside the tree: only the types made from it are kept.
write_types() {
  AIRFLOW_HOME=$SCRATCH/airflow "$VENV/bin/python" "$PLUGIN/../../scripts/write_openapi.py" "$SCRATCH/openapi.json"
  npx --no-install openapi-typescript "$SCRATCH/openapi.json" --output "$1" >/dev/null
}

same() {
  cmp --silent "$1" "$2" || { say "$3 is not what the sources give; run 'make page' and commit it"; return 1; }
}

cd "$PLUGIN/www"
install
case ${1:-} in
  install) ;;
  build)
    write_types src/api/schema.ts
    npm run --silent check
    npm run --silent build -- --logLevel warn
    ;;
  check)
    write_types "$SCRATCH/schema.ts"
    same "$SCRATCH/schema.ts" src/api/schema.ts airflow_model_ops/plugin/www/src/api/schema.ts
    npm run --silent check
    npm run --silent build -- --logLevel warn --outDir "$SCRATCH/bundle"
    for file in "$SCRATCH"/bundle/*; do
      same "$file" "$PLUGIN/bundle/$(basename "$file")" "airflow_model_ops/plugin/bundle/$(basename "$file")"
    done
    ;;
  test) npm test --silent ;;
  *) say "usage: scripts/page.sh install | build | check | test"; exit 2 ;;
esac
