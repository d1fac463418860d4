# shellcheck shell=bash
# Several hosts on one machine: network namespaces on a bridge. For scripts that source it as root.

# make_hosts BRIDGE SUBNET FILE HOST...: the hosts get SUBNET.1, SUBNET.2 and so on; FILE becomes their
# /etc/hosts.
make_hosts() {
  local bridge=$1 subnet=$2 file=$3 host number=0
  shift 3
  printf '127.0.0.1 localhost\n' >"$file"
  ip link add "$bridge" type bridge
  ip link set "$bridge" up
  for host; do
    number=$((number + 1))
    echo "$subnet.$number $host" >>"$file"
    ip netns add "$host"
    ip link add "v-$host" type veth peer name eth0 netns "$host"
    ip link set "v-$host" master "$bridge" up
    ip -n "$host" link set lo up
    ip -n "$host" addr add "$subnet.$number/24" dev eth0
    ip -n "$host" link set eth0 up
  done
}

# remove_hosts BRIDGE HOST...: with all that runs on them.
remove_hosts() {
  local bridge=$1 host
  shift
  for host; do
    ip netns pids "$host" 2>/dev/null | xargs -r kill -9 || true
    ip netns del "$host" || true
  done
  ip link del "$bridge" || true
}

# as_host FILE NAMESPACE|- NAME COMMAND...: becomes COMMAND on a host of that name; -: in the machine's own
# network. Not by `ip netns exec`, which hides /sys.
as_host() {
  local file=$1 namespace=$2 name=$3 net=()
  shift 3
  [[ $namespace == - ]] || net=(nsenter --net="/run/netns/$namespace")
  exec "${net[@]}" unshare --mount --uts bash -c \
    'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"' - "$name" "$file" "$@"
}
