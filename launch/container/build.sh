#!/usr/bin/env bash
# Compiles and installs with copies of all libraries, in an image: build.sh cuda|cpu PREFIX.
set -euo pipefail
variant=$1 prefix=$2
if [[ $variant == cpu ]]; then export CMAKE_PREFIX_PATH=/opt/libtorch/torch; fi
launch/build.sh release pinnerformer
for component in program libraries; do
  .venv/bin/cmake --install build --prefix "$prefix" --component "$component" >/dev/null
done
