#!/usr/bin/env bash
# Four hosts on one machine: network namespaces h1 to h4 on a bridge, for jobs that mpirun starts over TCP.
#   network.sh up|down DIR
#   network.sh cut|back HOST            its link goes down or up
#   network.sh slow HOST RATE           e.g. 20mbit; network.sh lossy HOST PERCENT needs netem
#   network.sh at DIR HOST COMMAND...   runs COMMAND as that host
# Needs root and iproute2.
set -euo pipefail
source "$(dirname "$(realpath "$0")")/../support/namespaces.sh"
HOSTS=(h1 h2 h3 h4)
action=$1
shift

up() {
  mkdir -p "$1"
  make_hosts hostsbr 10.78.0 "$1/hosts" "${HOSTS[@]}"
}

case $action in
  up) up "$@" ;;
  down) remove_hosts hostsbr "${HOSTS[@]}" ;;
  at) as_host "$1/hosts" "$2" "$2" "${@:3}" ;;
  cut) ip link set "v-$1" down ;;
  back) ip link set "v-$1" up ;;
  slow) tc qdisc replace dev "v-$1" root tbf rate "$2" burst 64k latency 400ms ;;
  lossy) tc qdisc replace dev "v-$1" root netem loss "$2%" ;;
  *)
    echo "network.sh: unknown action '$action'" >&2
    exit 64
    ;;
esac
