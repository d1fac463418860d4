#!/usr/bin/env bash
# item.semantic_ids beside content vectors alone, where most positives are items that are new:
#   semantic_ids.sh FOLDER [DIRECTORY [key=value ...]]
# FOLDER has events.tsv.gz (user item action surface ts_ms duration_ms, as Stack Exchange's questions give
# them) and title_vectors.h5; it is read where it is. DIRECTORY (default build/semantic-ids) keeps what is
# done: an interrupted call goes on. The codebooks know nothing of the windows: they are made of the items
# that had an event before. In the environment: CODEBOOKS="--levels 2 --codes 32", SEEDS="1 2 3".
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

FOLDER=$(realpath "${1:?name the folder: semantic_ids.sh FOLDER [DIRECTORY [key=value ...]]}")
OUT=$(realpath -m "${2:-$ROOT/build/semantic-ids}")
MORE=("${@:3}")
WINDOW_DAYS=30
WINDOWS=6
SEEDS=${SEEDS:-1 2 3}
cd "$ROOT"

LAST_MS=$(gzip -cd "$FOLDER/events.tsv.gz" | awk -F'\t' 'NR > 1 && $5 > last { last = $5 } END { print last }')
BEGIN_MS=$((LAST_MS - WINDOWS * WINDOW_DAYS * 86400 * 1000))  # of the windows

import_until() {  # TIME_MS NAME: the events before this time
  [[ -e $OUT/$2/items.h5 ]] && return
  gzip -cd "$FOLDER/events.tsv.gz" | awk -F'\t' -v end="$1" 'NR == 1 || $5 < end' >"$OUT/$2.tsv"
  build/pinnerformer import --events "$OUT/$2.tsv" \
    --columns user=user,item=item,action=action,surface=surface,time=ts_ms:ms --missing surface=- \
    --vectors "$FOLDER/title_vectors.h5" --out "$OUT/$2"
  rm "$OUT/$2.tsv"
}

make_datasets() {
  import_until "$BEGIN_MS" past
  import_until "$((LAST_MS + 1))" dataset
  [[ -e $OUT/coded ]] && return
  # shellcheck disable=SC2086  # words
  build/pinnerformer semantic-ids --into "$OUT/past" ${CODEBOOKS:-}
  build/pinnerformer semantic-ids --into "$OUT/dataset" --codebooks-of "$OUT/past"
  touch "$OUT/coded"
}

# train NAME SEED KEY=VALUE...
train() {
  build/pinnerformer train --config configs/quickstart.yaml data.path="$OUT/dataset" \
    run.directory="$OUT/$1/$2" run.seed="$2" positives.actions=answer,comment,edit,favorite,bounty \
    split.users_percent=50 split.validation_percent=15 split.window_days=$WINDOW_DAYS \
    split.windows=$WINDOWS split.min_events=5 objective.window_days=$WINDOW_DAYS model.max_length=64 \
    model.prior_days=[] train.steps=200 checkpoint.every_steps=200 \
    "${@:3}" "${MORE[@]}" >"$OUT/$1-$2.log"
}

# Of users who came in the year before the windows, as of their last event before these.
embed() {
  local run=$OUT/$1/$2 since=$((BEGIN_MS / 1000 - 365 * 86400))
  build/pinnerformer embed --run "$run" --users --active-since $since data.path="$OUT/past" \
    --out "$run/users.h5" >/dev/null
  build/pinnerformer embed --run "$run" --items --out "$run/items.h5" >/dev/null
}

train_all() {
  local seed name
  for seed in $SEEDS; do
    for name in content codes; do
      [[ ! -e $OUT/$name/$seed/items.h5 ]] || continue
      train $name "$seed" item.semantic_ids="$([[ $name == codes ]] && echo true || echo false)"
      embed $name "$seed"
    done
  done
}

new_items() {  # FIRST_PLACE END_PLACE
  "$VENV/bin/python3" launch/experiments/new_items.py "$OUT" $WINDOW_DAYS "$1" "$2" content codes
}

all_items() {
  local seed runs=()
  for seed in $SEEDS; do runs+=(--run "$OUT/codes/$seed" --compare "$OUT/content/$seed"); done
  build/pinnerformer evaluate "${runs[@]}" evaluate.baselines=[] --by item_age --json "$OUT/evaluate.json"
}

mkdir -p "$OUT"
stage "datasets" make_datasets
stage "train" train_all
stage "validation users" new_items 50 65
stage "held-out users" new_items 0 50
stage "held-out users, all items" all_items
print_stages
