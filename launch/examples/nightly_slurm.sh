#!/usr/bin/env bash
# The steps of nightly.sh as a chain of Slurm jobs: each starts when the one before has ended well, and
# Slurm cancels the rest where one fails. Options of sbatch for the training go into TRAIN_OPTIONS.
#   TRAIN_OPTIONS="--nodes=2 --ntasks-per-node=8 --gpus-per-node=8" RANKS="srun --mpi=pmix" \
#     launch/examples/nightly_slurm.sh DIR DAY CONFIG -- import ...
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
(($# >= 5)) && [[ $4 == -- ]] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
mkdir -p "$1"
words=$(printf '%q ' "$here/nightly.sh" "$@")
read -ra train_options <<<"${TRAIN_OPTIONS:-}"
before=
for step in import train evaluate embed index publish; do
  options=(--parsable --job-name="night-$2-$step" --output="$1/night-$2-$step.log" --kill-on-invalid-dep=yes)
  [[ $step != train ]] || options+=("${train_options[@]}")
  [[ -z $before ]] || options+=(--dependency="afterok:$before")
  ranks=
  [[ $step != train ]] || ranks=${RANKS:-}
  before=$(sbatch "${options[@]}" --wrap "STEPS=$step RANKS=$(printf %q "$ranks") $words")
  before=${before%%;*}
  echo "$step: job $before"
done
