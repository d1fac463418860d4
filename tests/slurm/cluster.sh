#!/usr/bin/env bash
# A real Slurm of one controller and two nodes on one machine, each node in a network namespace of
# its own: cluster.sh up|down|lose|back|run DIR [COMMAND...]. DIR holds its state and logs. `run`
# runs COMMAND as a user of the controller would; `lose` cuts node n2 off, `back` repairs it.
# Needs root, munge, slurm-wlm and iproute2.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
action=$1
D=$(realpath -m "$2")
shift 2

# on NETNS|- HOSTNAME COMMAND...: not `ip netns exec`, which hides /sys, where slurmd looks for cgroups.
on() {
  local net=() namespace=$1 name=$2
  shift 2
  [[ $namespace == - ]] || net=(nsenter --net="/run/netns/$namespace")
  "${net[@]}" unshare -m -u bash -c \
    'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"' - "$name" "$D/hosts" "$@"
}

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
  cp "$here/hosts" "$D/hosts"
  sed "s|@D@|$D|g" "$here/slurm.conf.in" >"$D/slurm.conf"
  start_munge
  ip link add slurmbr type bridge
  ip addr add 10.77.0.254/24 dev slurmbr
  ip link set slurmbr up
  for i in 1 2; do
    ip netns add n$i
    ip link add v-n$i type veth peer name eth0 netns n$i
    ip link set v-n$i master slurmbr up
    ip -n n$i link set lo up
    ip -n n$i addr add 10.77.0.$i/24 dev eth0
    ip -n n$i link set eth0 up
  done
  on - ctl slurmctld -f "$D/slurm.conf"
  start_node n1
  start_node n2
}

down() {
  local file
  for file in "$D"/*.pid; do
    [[ ! -f $file ]] || kill "$(cat "$file")" || true
  done
  for i in 1 2; do
    ip netns pids n$i 2>/dev/null | xargs -r kill -9 || true
    ip netns del n$i || true
  done
  ip link del slurmbr || true
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
