#!/bin/bash
# Starts a training again until it is done: restart.sh [--once] RUN COMMAND...
# RUN is the run directory, COMMAND what trains into it, usually mpirun. TERM, which ends a pod, is
# passed on as USR1: the training saves and ends with 85. With --once whoever started this script starts
# it again; the exit code is that of COMMAND.
set -uo pipefail

once=0
if [[ ${1:-} == --once ]]; then
  once=1
  shift
fi
(($# >= 2)) || {
  echo "usage: restart.sh [--once] RUN COMMAND..." >&2
  exit 64
}
run=$1
shift

newest_checkpoint() {
  find "$run/checkpoints" -maxdepth 1 -name 'step-?????????' 2>/dev/null | sort | tail -n 1
}

pid=
ending=0
trap 'ending=1; [[ -z $pid ]] || kill -USR1 "$pid"' TERM INT USR1

# Where a host is cut off, mpirun ends the ranks and then waits for that host's daemon, for as long as it
# takes. It says before that the job has been aborted; GRACE seconds later it is ended.
GRACE=${GRACE:-60}
guard=
trap guard_launcher ALRM
guard_launcher() {
  if [[ -z $pid ]]; then return; fi
  (sleep "$GRACE" && kill -KILL "$pid") &>/dev/null &
  guard=$!
}
relay() {
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line" >&2
    if [[ $line == *'the job has been aborted'* ]]; then kill -ALRM $$; fi
  done
}

start() {
  "$@" 2> >(relay) &
  pid=$!
  while :; do # a signal ends `wait`, but not the command
    wait "$pid"
    code=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  pid=
  if [[ -n $guard ]]; then kill "$guard" 2>/dev/null; fi
  guard=
}

last=none
fruitless=0
while :; do
  start "$@"
  # These would only repeat themselves: done, wrong usage, bad data, missing input, a bug, no memory,
  # failed I/O, bad configuration. All others say that the training was asked to stop, or that a rank was lost.
  case $code in 0 | 64 | 65 | 66 | 70 | 71 | 74 | 78) exit "$code" ;; esac
  if ((once || ending)); then exit "$code"; fi
  newest=$(newest_checkpoint)
  fruitless=$([[ $newest == "$last" ]] && echo $((fruitless + 1)) || echo 1)
  last=$newest
  if ((fruitless >= 3)); then
    echo "$run: three starts in a row ended before the next checkpoint; not started again" >&2
    exit 1
  fi
  echo "exit code $code: started again" >&2
done
