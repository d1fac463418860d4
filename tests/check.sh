#!/usr/bin/env bash
# What takes seconds, before a commit: clang-format over all files, the layers, shell scripts.
# tests/check.sh [--fix]; --fix formats instead of complaining. As a hook:
#   ln -s ../../tests/check.sh .git/hooks/pre-commit
set -euo pipefail
source "$(git rev-parse --show-toplevel)/launch/environment.sh"
cd "$ROOT"

# Versions differ in what they produce; the project's is that of Debian 12.
clang_format() {
  local program
  for program in clang-format-14 clang-format; do
    if [[ $("$program" --version 2>/dev/null) == *'version 14.'* ]]; then
      echo "$program"
      return
    fi
  done
  die "no clang-format 14: apt-get install clang-format-14"
}

main() {
  local format mode=(--dry-run -Werror)
  format=$(clang_format)
  if [[ ${1:-} == --fix ]]; then mode=(-i); fi
  git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs "$format" "${mode[@]}"
  python3 tests/check_layers.py
  if type -P shellcheck >/dev/null; then
    git ls-files '*.sh' .ci/run | xargs shellcheck --severity=warning
  fi
}

main "$@"
