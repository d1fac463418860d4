#!/usr/bin/env bash
# Fuzzes the code that reads foreign bytes: tests/fuzz/run.sh [SECONDS per target, 600] [TARGET]...
# Needs clang with libFuzzer. As many targets at a time as there are cores, each from its corpus in
# tests/fuzz/corpus; their output and what they find go to build/fuzz. At the end: inputs per target.
# hdf5 needs ./launch/build.sh first: AddressSanitizer would end at the faults of the library itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../launch/environment.sh"
cd "$ROOT"

SECONDS_EACH=${1:-600}
TARGETS=("${@:2}")
((${#TARGETS[@]})) || TARGETS=(import_events npy users_file items_file parquet config checkpoint hdf5)
CLANG=$(command -v clang++ clang++-14 | head -1) || die "no clang++: apt-get install clang"

site=$("$VENV/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
OPTIONS=(-std=c++20 -g -O1 "-fsanitize=address,undefined" -fno-sanitize-recover=undefined -w -I.
  "-DPF_SOURCE_DIR=\"$ROOT\"" "-DPF_NVML_DOUBLE=\"\"" "-DPF_PYTHON=\"\"" -isystem "$site/pyarrow/include" -isystem /usr/include/hdf5/serial
  -isystem "$site/torch/include" -isystem "$site/torch/include/torch/csrc/api/include")
LIBRARIES=(-L"$site/pyarrow" -lparquet -larrow "-Wl,-rpath,$site/pyarrow" -L"$site/torch/lib" -ltorch_cpu -lc10
  "-Wl,-rpath,$site/torch/lib" -L/usr/lib/x86_64-linux-gnu/hdf5/serial -lhdf5 -lz -lxxhash -lyaml-cpp)
OBJECTS=()

# compile NAME FILE...: these files as one object.
compile() {
  printf '#include "%s"\n' "${@:2}" >"build/fuzz/$1.cc"
  "$CLANG" "${OPTIONS[@]}" -fsanitize=fuzzer-no-link -c "build/fuzz/$1.cc" -o "build/fuzz/$1.o"
  OBJECTS+=("build/fuzz/$1.o")
}

link() {
  if [[ $1 == hdf5 ]]; then
    [[ -x build/tests/fuzz_hdf5 ]] || die "no build/tests/fuzz_hdf5: run ./launch/build.sh first"
    return
  fi
  "$CLANG" "${OPTIONS[@]}" -fsanitize=fuzzer "tests/fuzz/fuzz_$1.cc" tests/support/project_paths.cc "${OBJECTS[@]}" -o "build/fuzz/$1" "${LIBRARIES[@]}"
}

# fuzz TARGET SECONDS
fuzz() {
  local corpus=tests/fuzz/corpus/$1
  if [[ $1 == hdf5 ]]; then
    (cd build/fuzz && ../tests/fuzz_hdf5 --seconds "$2" "../../$corpus")
  else
    mkdir -p "build/fuzz/corpus-$1"
    "build/fuzz/$1" "-max_total_time=$2" -max_len=4096 -rss_limit_mb=3000 -print_final_stats=1 \
      "-artifact_prefix=build/fuzz/$1-" "build/fuzz/corpus-$1" "$corpus"
  fi
}

# logged TARGET SECONDS
logged() {
  local log=build/fuzz/$1.log result=nothing
  fuzz "$@" >"$log" 2>&1 || result="FAILED, see $log"
  printf '%-16s %12s inputs   found: %s\n' "$1" \
    "$(sed -nE 's/^stat::number_of_executed_units: *//p; s/ changed inputs in .*//p' "$log")" "$result"
  [[ $result == nothing ]]
}
export -f fuzz logged

mkdir -p build/fuzz
for folder in base hdf5 dataset import; do
  stage "compile dataloader/$folder" compile "$folder" "dataloader/$folder"/*.cc
done
stage "compile trainer/checkpoint" compile checkpoint trainer/checkpoint/{bounded_json,manifest,safetensors}.cc
stage "compile configs" compile configs configs/*.cc
for target in "${TARGETS[@]}"; do stage "build fuzz_$target" link "$target"; done
fuzz_all() {
  printf '%s\n' "${TARGETS[@]}" | xargs -P "$(cores)" -I{} bash -c 'logged {} '"$SECONDS_EACH"
}
stage "fuzz" fuzz_all
rm -rf /dev/shm/pinnerformer-fuzz-*
print_stages
