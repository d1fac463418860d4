#!/usr/bin/env bash
# Packages and wheels for compiling, in an image: prepare.sh cuda|cpu. For CPUs the wheel of LibTorch
# comes from PyTorch's own index (LIBTORCH_INDEX), because PyPI has only the one for CUDA.
set -euo pipefail
variant=$1
LIBTORCH_INDEX=${LIBTORCH_INDEX:-https://download.pytorch.org/whl/cpu}

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv >/dev/null
case $variant in
  cuda) ;;
  cpu)
    version=$(sed -n 's/^torch==//p' launch/requirements.txt)
    python3 -m venv /opt/pip
    /opt/pip/bin/pip install --quiet --no-compile --no-deps --target /opt/libtorch \
      --index-url "$LIBTORCH_INDEX" "torch==$version+cpu"
    export CMAKE_PREFIX_PATH=/opt/libtorch/torch
    ;;
  *)
    echo "prepare.sh: '$variant' is neither cuda nor cpu" >&2
    exit 64
    ;;
esac
launch/setup.sh
rm -rf /var/lib/apt/lists/*
