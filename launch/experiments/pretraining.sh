#!/usr/bin/env bash
# Validation recall over the steps of a training with item rows beside content vectors: with and without
# item.table.pretrain_steps, and with rows that learn at several rates or not at all. Writes the table of
# docs/results.md:
#   pretraining.sh [DIRECTORY]
# DIRECTORY (default build/pretraining) keeps what is done: an interrupted call goes on. One run of one thread
# at a time. In the environment: SEEDS="1 2".
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
source "$(dirname "${BASH_SOURCE[0]}")/kuairand.sh"

OUT=$(realpath -m "${1:-$ROOT/build/pretraining}")
SEEDS=${SEEDS:-1 2}
STEPS=1000
PRETRAIN=500
FROZEN=1e-9  # no row moves by more than float32 can tell in so many steps
cd "$ROOT"
[[ -x build/pinnerformer ]] || die "no build/pinnerformer; run ./launch/build.sh first"

dataset() {
  [[ -e $OUT/dataset/items.h5 ]] ||
    import_kuairand --vectors "$KUAIRAND/item_vectors.h5" --out "$OUT/dataset" >/dev/null
}

# train NAME SEED OPTION-OR-KEY...
train() {
  local run=$OUT/$1/$2
  [[ ! -e $run/done ]] || return 0
  rm -rf "$run"
  mkdir -p "$run"
  build/pinnerformer train --config configs/quickstart.yaml data.path="$OUT/dataset" run.directory="$run" \
    run.seed="$2" split.validation_percent=20 validate.every_steps=100 train.steps=$STEPS \
    item.table.dim=32 "${@:3}" >"$run.log" 2>&1
  touch "$run/done"
}

# One step of the model after the pretraining leaves its weights where they began, so that all runs that
# begin with these rows differ in the rate of the rows alone.
every_run() {
  local seed table=item.table.placement=replicated
  for seed in $SEEDS; do
    train no_table "$seed"
    train full "$seed" $table
    train slow "$seed" $table item.table.learning_rate=5e-3
    train pretrained "$seed" $table item.table.pretrain_steps=$PRETRAIN
    train rows "$seed" $table item.table.pretrain_steps=$PRETRAIN train.steps=1
    train from_rows_full "$seed" --init-from "$OUT/rows/$seed" $table
    train from_rows_slow "$seed" --init-from "$OUT/rows/$seed" $table item.table.learning_rate=5e-3
    train from_rows_frozen "$seed" --init-from "$OUT/rows/$seed" $table item.table.learning_rate=$FROZEN
  done
}

mkdir -p "$OUT"
stage "import" dataset
stage "train" every_run
print_stages
"$VENV/bin/python3" launch/experiments/pretraining_table.py "$OUT" docs/results.md
