# shellcheck shell=bash
# Shared by the shell scripts of this project; source it, do not run it. Defines where things are, how
# messages look, how ranks are started and how long each stage took.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
export PATH=$VENV/bin:$PATH

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }

# die MESSAGE...: what failed and what to do, then stop.
die() {
  say "$@"
  exit 1
}

# Cores this process may use. nproc answers OMP_NUM_THREADS where that is set, which is another matter.
cores() { env -u OMP_NUM_THREADS nproc; }

# build_directory PRESET: where a preset of CMakePresets.json builds.
build_directory() {
  case $1 in
    release) echo build ;;
    dev) echo build-dev ;;
    *) die "no preset '$1'; choose release or dev" ;;
  esac
}

# Ranks on one machine: one thread each, and idle threads that sleep instead of spinning (on a shared
# machine spinning costs a factor of ten). Containers often run as root, which Open MPI wants confirmed.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
if [[ $(id -u) == 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# run_ranks N COMMAND...: N ranks of COMMAND on this machine, also where it has fewer cores than N.
run_ranks() {
  local ranks=$1 options=(--bind-to none)
  shift
  # mpirun copies these characters into 50 bytes without a check: see docs/operations.md.
  if [[ $HOSTNAME =~ ^[^.0-9]{50} ]]; then
    die "the host name has more than 49 characters before the first digit or dot, on which mpirun fails." \
      "Give the host a shorter name"
  fi
  if ((ranks > $(cores))); then options+=(--oversubscribe); fi
  mpirun -n "$ranks" "${options[@]}" "$@"
}

STAGES=()
STAGE=
trap '[[ -z $STAGE ]] || say "stage \"$STAGE\" failed; its messages are above"' EXIT

# stage NAME COMMAND...: runs COMMAND and notes its wall time. Not "COMMAND || die": bash would then
# ignore every failure but the last inside a function.
stage() {
  local start=$SECONDS
  STAGE=$1
  shift
  printf '\n== %s\n' "$STAGE" >&2
  "$@"
  STAGES+=("$(printf '%6d s  %s' $((SECONDS - start)) "$STAGE")")
  STAGE=
}

print_stages() {
  printf '\nTime per stage:\n' >&2
  printf '%s\n' "${STAGES[@]}" >&2
}
