#!/usr/bin/env bash
# Configures and builds: launch/build.sh [PRESET [TARGET...]]. PRESET is one of CMakePresets.json:
# release (the default, build/) or dev (sanitizers, build-dev/).
# Run launch/setup.sh first.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
export PATH=$VENV/bin:$PATH

# A file that includes LibTorch takes up to 1.8 GiB to compile: more jobs than fit would be killed.
parallel_jobs() {
  awk -v cores="$(cores)" '/^MemAvailable/ {
    fit = int($2 / (2 * 1024 * 1024))
    print fit < 1 ? 1 : fit < cores ? fit : cores
  }' /proc/meminfo
}

main() {
  local preset=${1:-release} directory
  directory=$(build_directory "$preset")
  shift $(($# > 0))
  cd "$ROOT"
  [[ -x $VENV/bin/cmake ]] || die ".venv/ is missing: run ./launch/setup.sh first"
  # Ninja configures again by itself when a CMake file changes, but knows nothing of these two.
  if [[ ! -f $directory/build.ninja || CMakePresets.json -nt $directory/build.ninja ||
    $VENV/.setup-complete -nt $directory/build.ninja ]]; then
    cmake --preset "$preset"
  fi
  cmake --build "$directory" --parallel "$(parallel_jobs)" ${1:+--target "$@"}
}

main "$@"
