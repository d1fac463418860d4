#!/usr/bin/env bash
# Installs what tests/e2e/watch_test.py reads event files and metrics with: the Python packages of
# TensorBoard and of Prometheus, 180 MB, in an environment of their own (.venv/monitoring). Without
# them these tests skip and say so. Returns at once when nothing is missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../launch/environment.sh"

PACKAGES=$ROOT/tests/monitoring/requirements.lock
TOOLS=$VENV/monitoring
STAMP=$TOOLS/.complete

[[ -x $VENV/bin/python3 ]] || die "there is no .venv/ yet: run launch/setup.sh first"
if cmp -s "$PACKAGES" "$STAMP"; then exit; fi
rm -rf "$TOOLS"
"$VENV/bin/python3" -m venv "$TOOLS"
"$TOOLS/bin/python3" -m pip install --disable-pip-version-check --no-input --quiet --no-deps \
  --only-binary=:all: --require-hashes -r "$PACKAGES" ||
  die "pip could not install the packages; its messages are above"
cp "$PACKAGES" "$STAMP"
