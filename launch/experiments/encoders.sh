#!/usr/bin/env bash
# Trains, validates and evaluates every kind of block at equal budgets, and writes the table of
# docs/encoders.md:
#   MATHOVERFLOW=FILE TOYS=FILE MOVIELENS=FILE encoders.sh [DIRECTORY]
# Each FILE is read where it is, nothing is downloaded; a set without a file is left out, and the table says
# so. KuaiRand-Pure comes with the project. MATHOVERFLOW has the columns user, item, action and time (seconds),
# TOYS user and item, both with a header; MOVIELENS has "user item" lines without one. All may be compressed.
# DIRECTORY (default build/encoders) keeps what is done: an interrupted call goes on. Three quarters of an
# hour, one run of one thread at a time.
#
# Equal budgets: the same steps, users, width and layers for all blocks of a set. Learning rate and checkpoint
# are the best by validation; where a set has one learning rate, it is that of the recipe.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
source "$(dirname "${BASH_SOURCE[0]}")/kuairand.sh"

for name in MATHOVERFLOW TOYS MOVIELENS; do
  [[ -n ${!name:-} ]] || continue
  [[ -f ${!name} ]] || die "$name=${!name} is no file; name the file of the set, or leave the variable out"
  printf -v "$name" %s "$(realpath "${!name}")"
done
OUT=$(realpath -m "${1:-$ROOT/build/encoders}")
SETS="kuairand mathoverflow toys movielens"
BLOCKS="transformer ligr hstu lru"
cd "$ROOT"
[[ -x build/pinnerformer ]] || die "no build/pinnerformer; run ./launch/build.sh first"

# recipe SET: the configuration that all runs of the set share
recipe() {
  case $1 in
    kuairand)
      words configs/quickstart.yaml split.validation_percent=10 validate.every_steps=100
      ;;
    mathoverflow)
      words configs/online_retail.yaml positives.actions=a2q,c2a,c2q split.users_percent=30 \
        split.validation_percent=10 train.steps=600 validate.every_steps=100
      ;;
    toys)
      words configs/esasrec.yaml item.table.optimizer=lazy_adam item.table.learning_rate=1e-2 model.dropout=0.5 \
        optimizer.schedule=constant split.validation_percent=20 train.steps=3500 validate.every_steps=500
      ;;
    movielens)
      words configs/ml-1m.yaml model.layers=2 model.dropout=0.2 split.validation_percent=20 train.steps=2000 \
        validate.every_steps=500
      ;;
  esac
}

words() {
  printf '%s\n' --config "$@"
}

has_times() {
  [[ $1 == kuairand || $1 == mathoverflow ]]
}

rates() {
  case $1 in
    kuairand | mathoverflow) echo 1e-3 3e-3 ;;
    toys) echo 1e-3 ;;
    movielens) echo 3e-3 ;;
  esac
}

seeds() {
  case $1 in
    kuairand | mathoverflow) echo 1 2 3 ;;
    toys | movielens) echo 1 ;;
  esac
}

dataset_kuairand() {
  import_kuairand --vectors "$KUAIRAND/item_vectors.h5" --overwrite --out "$1"
}

dataset_mathoverflow() {
  import "$1" --events "$MATHOVERFLOW" --columns user=user,item=item,action=action,time=time
  local configuration
  mapfile -t configuration < <(recipe mathoverflow)
  build/pinnerformer vectors "${configuration[@]}" data.path="$1" --into "$1"
}

dataset_toys() {
  import "$1" --events "$TOYS" --columns user=user,item=item --untimed
}

dataset_movielens() {
  { printf 'user\titem\n'; gzip -cdf "$MOVIELENS" | tr ' ' '\t'; } >"$OUT/movielens/events.tsv"
  import "$1" --events "$OUT/movielens/events.tsv" --columns user=user,item=item --untimed
  rm "$OUT/movielens/events.tsv"
}

import() {  # DATASET OPTION...
  build/pinnerformer import "${@:2}" --overwrite --out "$1"
}

# import_set SET: a set without a file is marked as left out
import_set() {
  local -A variable=([mathoverflow]=MATHOVERFLOW [toys]=TOYS [movielens]=MOVIELENS)
  local name=${variable[$1]:-}
  mkdir -p "$OUT/$1"
  rm -f "$OUT/$1/left_out"
  if [[ -n $name && -z ${!name:-} ]]; then
    echo "no file named: $name=FILE" >"$OUT/$1/left_out"
  elif [[ ! -e $OUT/$1/imported ]]; then
    "dataset_$1" "$OUT/$1/dataset" >/dev/null
    touch "$OUT/$1/imported"
  fi
}

# kind NAME: the keys of a row of the table. A recurrent block reads no positions.
kind() {
  echo "model.block=${1%-untimed}"
  if [[ $1 == lru ]]; then echo model.features.position=false; fi
  if [[ $1 == *-untimed ]]; then echo model.features.time=false; fi
}

# train SET NAME RATE SEED: its processor time is noted, which other work on the machine changes little
train() {
  local run=$OUT/$1/$2/$3/$4 configuration TIMEFORMAT='%U %S'
  [[ ! -e $run/cpu_seconds ]] || return 0
  mapfile -t configuration < <(recipe "$1"; kind "$2")
  rm -rf "$run"
  mkdir -p "$run"
  { time build/pinnerformer train "${configuration[@]}" data.path="$OUT/$1/dataset" run.directory="$run" \
    run.seed="$4" optimizer.learning_rate="$3" >"$run.log" 2>&1; } 2>"$run.time"
  mv "$run.time" "$run/cpu_seconds"
}

table() {
  "$VENV/bin/python3" launch/experiments/encoders_table.py "$@"
}

# choose SET NAME: tries the learning rates with the first seed
choose() {
  local rate first chosen=$OUT/$1/$2/rate
  [[ ! -e $chosen ]] || return 0
  first=$(seeds "$1" | cut -d' ' -f1)
  for rate in $(rates "$1"); do train "$1" "$2" "$rate" "$first"; done
  table --best-rate "$OUT/$1/$2" >"$OUT/$1/rate.part"
  mv "$OUT/$1/rate.part" "$chosen"
}

# evaluate SET NAME OTHER: the mean over the seeds, and the difference to the runs of OTHER
evaluate() {
  local seed options=() here=$OUT/$1/$2 other=$OUT/$1/$3
  [[ ! -e $here/evaluate.json ]] || return 0
  for seed in $(seeds "$1"); do
    options+=(--run "$here/$(<"$here/rate")/$seed")
    if [[ $2 != "$3" ]]; then options+=(--compare "$other/$(<"$other/rate")/$seed"); fi
  done
  build/pinnerformer evaluate "${options[@]}" --checkpoint best evaluate.baselines=[] \
    --json "$here/evaluate.json" >/dev/null
}

# measure SET NAME OTHER
measure() {
  local seed
  for seed in $(seeds "$1"); do train "$1" "$2" "$(<"$OUT/$1/$2/rate")" "$seed"; done
  evaluate "$@"
}

every_block() {
  local block
  for block in $BLOCKS; do
    choose "$1" "$block"
    measure "$1" "$block" transformer
  done
}

# Without model.features.time no block reads times as inputs, and hstu has no bias by time: what the bias
# adds is what hstu loses beyond what transformer loses.
without_times() {
  local block
  for block in transformer hstu; do
    mkdir -p "$OUT/$1/$block-untimed"
    cp "$OUT/$1/$block/rate" "$OUT/$1/$block-untimed/rate"
    measure "$1" "$block-untimed" "$block"
  done
}

main() {
  local set
  for set in $SETS; do
    stage "$set: import" import_set "$set"
    [[ ! -e $OUT/$set/left_out ]] || continue
    stage "$set: blocks" every_block "$set"
    if has_times "$set"; then stage "$set: without times" without_times "$set"; fi
  done
  print_stages
  table "$OUT" docs/encoders.md
}

main
