#!/usr/bin/env bash
# Line coverage of the program by the unit tier: tests/coverage.sh [CTEST OPTIONS...], about 25 minutes
# on two cores. Prints a table per folder; details are in build-coverage/report/index.html.
# gcovr is installed into build-coverage/, not into .venv/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch/environment.sh"
cd "$ROOT"

DIRECTORY=build-coverage
TOOLS=$DIRECTORY/tools

build() {
  cmake -B $DIRECTORY -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O0 --coverage" \
    -DCMAKE_EXE_LINKER_FLAGS=--coverage >/dev/null
  cmake --build $DIRECTORY --parallel "$(cores)" --target unit_tests
}

report() {
  [[ -x $TOOLS/bin/gcovr ]] || { python3 -m venv $TOOLS && $TOOLS/bin/pip install --quiet gcovr==8.8; }
  mkdir -p $DIRECTORY/report
  $TOOLS/bin/gcovr --root . --filter '(comm|dataloader|trainer|configs|launch)/' \
    --exclude-throw-branches --gcov-ignore-errors=no_working_dir_found \
    --gcov-ignore-parse-errors=negative_hits.warn_once_per_file \
    --html-details $DIRECTORY/report/index.html --json-summary $DIRECTORY/report/summary.json \
    $DIRECTORY >/dev/null
  "$TOOLS/bin/python3" - $DIRECTORY/report/summary.json <<'PYTHON'
import collections, json, sys
summary = json.load(open(sys.argv[1]))
folders = collections.defaultdict(lambda: [0, 0])
for file in summary["files"]:
    sums = folders[file["filename"].rpartition("/")[0]]
    sums[0] += file["line_covered"]
    sums[1] += file["line_total"]
for folder, (covered, total) in sorted(folders.items()):
    print(f"{folder:24} {covered:6} of {total:6} lines  {100 * covered / max(total, 1):5.1f} %")
print(f"{'all':24} {summary['line_covered']:6} of {summary['line_total']:6} lines  {summary['line_percent']:5.1f} %")
PYTHON
}

stage "build with counters" build
# A failed test does not keep the figures of the others back. Left out: fuzzers, checks of the source
# and a test of 1,024 threads, which would wait for each other's counters for minutes.
stage "unit tier" ctest --test-dir $DIRECTORY -L '^unit$' --parallel "$(cores)" \
  -E 'layers|faults_fit|elf_hardening|fuzz|item_table_file_test' "$@" || true
stage "report" report
print_stages
