#!/usr/bin/env bash
# Fuzzes the code that reads foreign bytes: tests/fuzz/run.sh [SECONDS per target, 600] [TARGET]...
# Needs clang with libFuzzer. Starts from tests/fuzz/corpus; what it finds goes to build/fuzz.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../launch/environment.sh"
cd "$ROOT"

seconds=${1:-600}
targets=("${@:2}")
((${#targets[@]})) || targets=(import_events npy users_file checkpoint)
clang=$(command -v clang++ clang++-14 | head -1) || die "no clang++: apt-get install clang"

site=$("$VENV/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
options=(-std=c++20 -g -O1 "-fsanitize=address,undefined" -fno-sanitize-recover=undefined -w -I.
  -isystem "$site/pyarrow/include" -isystem /usr/include/hdf5/serial
  -isystem "$site/torch/include" -isystem "$site/torch/include/torch/csrc/api/include")
libraries=(-L"$site/pyarrow" -lparquet -larrow "-Wl,-rpath,$site/pyarrow" -L"$site/torch/lib" -ltorch_cpu -lc10
  "-Wl,-rpath,$site/torch/lib" -L/usr/lib/x86_64-linux-gnu/hdf5/serial -lhdf5 -lz -lxxhash)

# compile NAME FILE...: these files as one object.
compile() {
  printf '#include "%s"\n' "${@:2}" >"build/fuzz/$1.cc"
  "$clang" "${options[@]}" -fsanitize=fuzzer-no-link -c "build/fuzz/$1.cc" -o "build/fuzz/$1.o"
}

mkdir -p build/fuzz
objects=()
for folder in base hdf5 dataset import; do
  stage "compile dataloader/$folder" compile "$folder" "dataloader/$folder"/*.cc
  objects+=("build/fuzz/$folder.o")
done
stage "compile trainer/checkpoint" compile checkpoint trainer/checkpoint/{bounded_json,manifest,safetensors}.cc
objects+=(build/fuzz/checkpoint.o)
for target in "${targets[@]}"; do
  stage "build fuzz_$target" "$clang" "${options[@]}" -fsanitize=fuzzer "tests/fuzz/fuzz_$target.cc" "${objects[@]}" \
    -o "build/fuzz/$target" "${libraries[@]}"
  mkdir -p "build/fuzz/corpus-$target"
  stage "fuzz $target" "build/fuzz/$target" "-max_total_time=$seconds" -max_len=4096 -rss_limit_mb=3000 \
    -print_final_stats=1 "-artifact_prefix=build/fuzz/$target-" "build/fuzz/corpus-$target" \
    "tests/fuzz/corpus/$target"
done
rm -rf /dev/shm/pinnerformer-fuzz-*
print_stages
