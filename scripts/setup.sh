#!/usr/bin/env bash
# Build or refresh the development environment on a bare Debian 12 (make, git and Python 3.11 present).
# VENV names the environment (default .venv). A stamp makes a second run cost milliseconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${VENV:-.venv}
UV_VERSION=0.13.9
STAMP=$VENV/.model-ops-stamp
POLICY=/usr/sbin/policy-rc.d
declare -A SERVICE_OF=([prometheus]=prometheus [postgresql]=postgresql [mariadb-server]=mariadb)

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

find_python() {
  local candidate
  for candidate in python3.11 python3 /usr/bin/python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      "$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))'
      return
    fi
  done
  die "no Python 3.11 found; install Debian's python3 (12) or put python3.11 on PATH"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -n "$@" || die "'sudo $*' needs a password; run it yourself, then 'make setup' again"
  else
    die "not root and no sudo; as root run: $*"
  fi
}

missing_debian_packages() {
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  command -v prometheus >/dev/null || echo prometheus
  command -v docker-compose >/dev/null || echo docker-compose
  command -v chromium >/dev/null || echo chromium
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || echo postgresql
  [ -x /usr/sbin/mariadbd ] || command -v mariadbd >/dev/null || echo mariadb-server
}

# Only the binaries are wanted: the tests start servers of their own, on free ports. A policy-rc.d that refuses keeps Debian
# from starting the services on install (they would hold their ports); where systemd runs, the services that this installs
# are also kept from starting at the next boot.
install_debian_packages() {
  command -v apt-get >/dev/null || die "missing: $*; this is no Debian system, so install them by hand"
  say "installing Debian packages: $*"
  if [ ! -e "$POLICY" ]; then
    trap 'as_root rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
  fi
  as_root apt-get update -qq || say "apt-get update failed; trying with the package lists at hand"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2 ||
    die "apt-get could not install: $* (see above)"
  local package
  for package in "$@"; do
    if [ -d /run/systemd/system ] && [ -n "${SERVICE_OF[$package]:-}" ]; then
      as_root systemctl disable --now "${SERVICE_OF[$package]}"
    fi
  done
}

fingerprint() {
  printf '%s\n' "$PWD" "$PYTHON" "$("$PYTHON" --version)" "$UV_VERSION"
  sha256sum requirements/dev.txt pyproject.toml scripts/setup.sh
}

# uv is tens of times faster than pip here but does not read pip's configuration. Where only that configuration knows
# the way to the packages (a mirror, an offline directory), pip installs the same hashed files.
install_requirements() {
  local log=$VENV/.model-ops-uv.log
  if "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" &&
    "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --require-hashes --no-deps \
      -r requirements/dev.txt 2>"$log"; then
    rm -f "$log"
    return
  fi
  if [ -s "$log" ]; then cat "$log" >&2; fi
  say "uv could not install the requirements; trying pip with its own configuration"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
}

PYTHON=$(find_python)
mapfile -t missing < <(missing_debian_packages)
[ "${#missing[@]}" -eq 0 ] || install_debian_packages "${missing[@]}"

wanted=$(fingerprint)
if [ -x "$VENV/bin/python" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi

say "building $VENV with $PYTHON"
rm -f "$STAMP"
if ! "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
  "$PYTHON" -m venv --clear "$VENV"
fi
install_requirements
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
printf '%s\n' "$wanted" >"$STAMP"
say "$VENV is ready"
