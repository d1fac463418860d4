#!/usr/bin/env bash
# What an image that runs the program needs beside it: libraries of the distribution, Open MPI's
# launcher, an SSH server for the ranks of other pods, and a user without rights.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends openmpi-bin openssh-client openssh-server libopenmpi3 \
  libhdf5-103-1 libyaml-cpp0.7 libboost-program-options1.74.0 libxxhash0 libjemalloc2 libssl3 >/dev/null
rm -rf /var/lib/apt/lists/*

useradd --uid 10001 --user-group --create-home --home-dir /home/pinnerformer --shell /bin/bash pinnerformer
# Where a rank that SSH starts looks too.
ln -s /opt/pinnerformer/bin/pinnerformer /usr/local/bin/pinnerformer
install -d -o 10001 -g 10001 /work
# Started by that user, with keys that are mounted; hosts of a job are made anew each time.
cat >/etc/ssh/sshd_pinnerformer.conf <<'CONF'
Port 2222
HostKey /home/pinnerformer/.ssh/id_rsa
AuthorizedKeysFile /home/pinnerformer/.ssh/authorized_keys
PidFile /tmp/sshd.pid
PasswordAuthentication no
UsePAM no
StrictModes no
CONF
cat >/etc/ssh/ssh_config.d/pinnerformer.conf <<'CONF'
Host *
  Port 2222
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
CONF
