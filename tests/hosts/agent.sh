#!/usr/bin/env bash
# What mpirun starts its daemons with in place of ssh (plm_rsh_agent): agent.sh HOST COMMAND...
# PF_HOSTS is the directory of network.sh.
host=$1
shift
exec "$(dirname "$(realpath "$0")")/network.sh" at "$PF_HOSTS" "$host" bash -c "$*"
