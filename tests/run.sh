#!/usr/bin/env bash
# Sets up, builds and runs the tests: tests/run.sh [--tier unit|mpi|gpu|e2e|soak]... [--preset dev]
# Without --tier every tier runs but soak, which takes long. More words go to ctest, e.g. -R trainer.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch/environment.sh"
cd "$ROOT"

preset=release
tiers=()
more=()
while (($#)); do
  case $1 in
    --tier)
      [[ ${2:-} =~ ^(unit|mpi|gpu|e2e|soak)$ ]] || die "--tier wants unit, mpi, gpu, e2e or soak"
      tiers+=("$2")
      shift
      ;;
    --preset)
      [[ ${2:-} =~ ^(release|dev)$ ]] || die "--preset wants release or dev"
      preset=$2
      shift
      ;;
    *) more+=("$1") ;;
  esac
  shift
done

selection=(-LE soak)
targets=()
if [[ ${tiers[*]} == unit && $preset == dev ]]; then targets=(unit_tier); fi
if ((${#tiers[@]})); then selection=(-L "^($(IFS='|'; echo "${tiers[*]}"))$"); fi

stage "set up" launch/setup.sh
stage "build" launch/build.sh "$preset" "${targets[@]}"
print_stages

# Last, so that the list of failed and skipped tests closes the output. One more test at a time than
# there are cores: many of them wait for processes.
exec "$VENV/bin/python3" tests/run_ctest.py "$VENV/bin/ctest" "$(build_directory "$preset")" \
  --parallel "$(($(cores) + 1))" "${selection[@]}" "${more[@]}"
