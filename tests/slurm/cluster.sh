#!/usr/bin/env bash
# A real Slurm of one controller and two nodes on one machine, each node in a network namespace of
# its own: cluster.sh up|down|lose|back|run DIR [COMMAND...]. DIR holds its state and logs. `run`
# runs COMMAND as a user of the controller would; `lose` cuts node n2 off, `back` repairs it.
# Needs root, munge, slurm-wlm and iproute2.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
source "$here/../support/namespaces.sh"
NODES=(n1 n2)
action=$1
D=$(realpath -m "$2")
shift 2

on() { (as_host "$D/hosts" "$@"); }

start_node() {
  mkdir -p "$D/spool.$1" "$D/scratch.$1" # scratch apart, else the PMIx servers collide
  on "$1" "$1" slurmd -N "$1" -f "$D/slurm.conf"
}

# Only a munged of our own is ended later: its number stands in DIR.
start_munge() {
  if pgrep -x munged >/dev/null; then return; fi
  install -d -o munge -g munge /run/munge
  runuser -u munge -- munged
  cp /run/munge/munged.pid "$D/munged.pid"
}

up() {
  mkdir -p "$D/state"
  sed "s|@D@|$D|g" "$here/slurm.conf.in" >"$D/slurm.conf"
  start_munge
  make_hosts slurmbr 10.77.0 "$D/hosts" "${NODES[@]}"
  ip addr add 10.77.0.254/24 dev slurmbr
  echo '10.77.0.254 ctl' >>"$D/hosts"
  on - ctl slurmctld -f "$D/slurm.conf"
  start_node n1
  start_node n2
}

down() {
  local file
  for file in "$D"/*.pid; do
    [[ ! -f $file ]] || kill "$(cat "$file")" || true
  done
  remove_hosts slurmbr "${NODES[@]}"
}

lose() {
  ip link set v-n2 down
  ip netns pids n2 | xargs -r kill -9
}

# A stale PMIx socket in the spool would stop a restarted step.
back() {
  ip link set v-n2 up
  rm -rf "$D"/{spool.n2,scratch.n2,slurmd.n2.pid}
  start_node n2
}

case $action in
  up | down | lose | back) "$action" ;;
  run) SLURM_CONF=$D/slurm.conf on - ctl "$@" ;;
  *) echo "cluster.sh: unknown action '$action'" >&2; exit 64 ;;
esac
