#!/usr/bin/env bash
# Fuzzes the code that reads foreign bytes: tests/fuzz/run.sh [SECONDS per target, 600] [TARGET]...
# Needs clang with libFuzzer. Starts from tests/fuzz/corpus; what it finds goes to build/fuzz.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../launch/environment.sh"
cd "$ROOT"

seconds=${1:-600}
targets=("${@:2}")
((${#targets[@]})) || targets=(import_events npy users_file)
clang=$(command -v clang++ clang++-14 | head -1) || die "no clang++: apt-get install clang"

site=$("$VENV/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
declare -A sources=(
  [import_events]="import_events import_cells import_table import_text import_parquet import_spill
                   id_dictionary file_io checksum directory_claim"
  [npy]="npy_file h5_file h5_values h5_handle file_io import_parquet import_table import_text"
  [users_file]="users_file event_block part_writer column_spool fingerprints checksum h5_file h5_values
                h5_handle file_io timeline_check"
)
mkdir -p build/fuzz
for target in "${targets[@]}"; do
  files=()
  for name in ${sources[$target]}; do files+=("dataloader/$name.cc"); done
  stage "build fuzz_$target" "$clang" -std=c++20 -g -O1 -ffunction-sections -Wl,--gc-sections -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=undefined -w -I. -isystem "$site/pyarrow/include" -isystem /usr/include/hdf5/serial \
    -isystem "$site/torch/include" -isystem "$site/torch/include/torch/csrc/api/include" \
    "tests/fuzz/fuzz_$target.cc" "${files[@]}" -o "build/fuzz/$target" -lxxhash \
    -L"$site/pyarrow" -lparquet -larrow -Wl,-rpath,"$site/pyarrow" \
    -L/usr/lib/x86_64-linux-gnu/hdf5/serial -lhdf5 -L"$site/torch/lib" -lc10 -Wl,-rpath,"$site/torch/lib"
  mkdir -p "build/fuzz/corpus-$target"
  stage "fuzz $target" "build/fuzz/$target" "-max_total_time=$seconds" -max_len=4096 -rss_limit_mb=3000 \
    -print_final_stats=1 "-artifact_prefix=build/fuzz/$target-" "build/fuzz/corpus-$target" \
    "tests/fuzz/corpus/$target"
done
rm -rf /dev/shm/pinnerformer-fuzz-*
print_stages
