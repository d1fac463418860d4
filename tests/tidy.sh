#!/usr/bin/env bash
# clang-tidy by the rules in .clang-tidy: tests/tidy.sh [--seconds N] [--all | FOLDER...]
# Without words: the program's folders with files that differ from main's last common commit, or from
# the last commit. --all: every file of program and tests. --seconds: begins no file after N seconds,
# and names the files left out.
# Files are checked many at a time, as in a unity build: parsing LibTorch takes longer than checking
# what includes it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch/environment.sh"
cd "$ROOT"

changed_folders() {
  local base
  base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)
  [[ $base != $(git rev-parse HEAD) ]] || base=$(git rev-parse -q --verify HEAD~1 || echo HEAD)
  { git diff --name-only "$base"; git ls-files --others --exclude-standard; } |
    grep -E '\.(h|cc)$' | grep -v '^tests/' | xargs -r dirname | sort -u || true
}

# units FOLDER...: the unity files of the libraries of these folders.
units() {
  local folder
  for folder in "$@"; do
    case $folder in
      tests/* | tests) find build-tidy/tests -path "*unity_${folder//\//_}_[0-9]*.cxx" ;;
      launch) echo launch/main.cc ;;
      *) find build-tidy -path "*/pf_${folder//\//_}.dir/Unity/unity_*.cxx" ;;
    esac
  done
}

# check_file FILE
check_file() {
  if (($(date +%s) >= DEADLINE)); then
    echo "not checked, no time left: $1"
  else
    clang-tidy --quiet -p build-tidy --warnings-as-errors='*' "$1"
  fi
}
export -f check_file

main() {
  local seconds=36000
  if [[ ${1:-} == --seconds ]]; then
    seconds=$2
    shift 2
  fi
  export DEADLINE=$(($(date +%s) + seconds))
  type -P clang-tidy >/dev/null || die "no clang-tidy: apt-get install clang-tidy"
  cmake --preset tidy >/dev/null
  local files
  if [[ ${1:-} == --all ]]; then
    files=$(find build-tidy -name 'unity_*.cxx')
  elif (($#)); then
    files=$(units "$@")
  else
    # shellcheck disable=SC2046  # folders without blanks
    files=$(units $(changed_folders))
  fi
  say "$(wc -w <<<"$files") unity files"
  xargs -r -P "$(cores)" -n 1 bash -c 'check_file "$1"' check_file <<<"$files"
}

main "$@"
