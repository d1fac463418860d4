#!/usr/bin/env bash
# Four hosts on one machine: network namespaces h1 to h4 on a bridge, for jobs that mpirun starts over TCP.
#   network.sh up|down DIR
#   network.sh cut|back HOST            its link goes down or up
#   network.sh slow HOST RATE           e.g. 20mbit; network.sh lossy HOST PERCENT needs netem
#   network.sh at DIR HOST COMMAND...   runs COMMAND as that host
# Needs root and iproute2.
set -euo pipefail
action=$1
shift

up() {
  local i
  mkdir -p "$1"
  printf '127.0.0.1 localhost\n' >"$1/hosts"
  ip link add hostsbr type bridge
  ip link set hostsbr up
  for i in 1 2 3 4; do
    printf '10.78.0.%d h%d\n' $i $i >>"$1/hosts"
    ip netns add h$i
    ip link add v-h$i type veth peer name eth0 netns h$i
    ip link set v-h$i master hostsbr up
    ip -n h$i link set lo up
    ip -n h$i addr add 10.78.0.$i/24 dev eth0
    ip -n h$i link set eth0 up
  done
}

down() {
  local i
  for i in 1 2 3 4; do
    ip netns pids h$i 2>/dev/null | xargs -r kill -9 || true
    ip netns del h$i || true
  done
  ip link del hostsbr || true
}

# Not `ip netns exec`, which hides /sys.
at() {
  local directory=$1 host=$2
  shift 2
  exec nsenter --net="/run/netns/$host" unshare --mount --uts bash -c \
    'hostname "$1"; mount --bind "$2/hosts" /etc/hosts; shift 2; exec "$@"' - "$host" "$directory" "$@"
}

case $action in
  up | down | at) "$action" "$@" ;;
  cut) ip link set "v-$1" down ;;
  back) ip link set "v-$1" up ;;
  slow) tc qdisc replace dev "v-$1" root tbf rate "$2" burst 64k latency 400ms ;;
  lossy) tc qdisc replace dev "v-$1" root netem loss "$2%" ;;
  *)
    echo "network.sh: unknown action '$action'" >&2
    exit 64
    ;;
esac
