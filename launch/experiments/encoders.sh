#!/usr/bin/env bash
# Trains, validates and evaluates every kind of block at the same budget, and writes the table of
# docs/encoders.md: encoders.sh [DIRECTORY]. A quarter of an hour on two cores. DIRECTORY (default
# build/encoders) keeps what is done: an interrupted call goes on.
#
# Equal budgets: the same steps, users, width and layers; the checkpoint is the best by validation.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
cd "$ROOT"

OUT=${1:-build/encoders}
SEEDS="1 2 3"
BLOCKS="transformer ligr hstu lru"

import_kuairand() {
  local data=launch/sample_data/kuairand_pure
  [[ -e $OUT/dataset/items.h5 ]] || build/pinnerformer import \
    --events $data/events.tsv.gz \
    --columns user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms \
    --missing surface=-,duration=-1 --keep-duplicates \
    --items $data/items.tsv.gz --item-columns id=item,title=title,topic=tag \
    --vectors $data/item_vectors.h5 --out "$OUT/dataset" >/dev/null
}

# words BLOCK SEED: the configuration of one run. A recurrent block reads no positions.
words() {
  printf '%s\n' --config configs/quickstart.yaml data.path="$OUT/dataset" \
    run.directory="$OUT/$1/$2" run.seed="$2" model.block="$1" \
    split.validation_percent=10 validate.every_steps=100 checkpoint.every_steps=100
  if [[ $1 == lru ]]; then echo model.features.position=false; fi
}

train_and_evaluate() {
  local block=$1 seed=$2 run=$OUT/$1/$2 configuration
  [[ ! -e $run/evaluate.json ]] || return 0
  mapfile -t configuration < <(words "$block" "$seed")
  run_ranks 1 build/pinnerformer train "${configuration[@]}" >/dev/null
  run_ranks 1 build/pinnerformer checkpoint inspect "$run/checkpoints/step-000000500" \
    --json "$run/checkpoint.json" >/dev/null
  run_ranks 1 build/pinnerformer evaluate --run "$run" --checkpoint best evaluate.baselines=popularity \
    --json "$run/evaluate.json" >/dev/null
}

every_block() {
  local block seed
  for seed in $SEEDS; do
    for block in $BLOCKS; do train_and_evaluate "$block" "$seed"; done
  done
}

main() {
  stage "set up" launch/setup.sh
  stage "build" launch/build.sh release pinnerformer
  mkdir -p "$OUT"
  stage "import" import_kuairand
  stage "train and evaluate" every_block
  print_stages
  "$VENV/bin/python3" launch/experiments/encoders_table.py "$OUT" docs/encoders.md
}

main "$@"
