#!/usr/bin/env bash
# Trains and evaluates everything that docs/results.md says of the paper's relations, on the shipped data
# and on synthetic data, and writes those tables: paper_relations.sh [DIRECTORY [SET]...]. About two hours
# on two cores. DIRECTORY (default build/paper_relations) keeps what is done: an interrupted call goes on.
# SETs: kuairand, retail, mathoverflow, synth; the tables need all of them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
source "$(dirname "${BASH_SOURCE[0]}")/kuairand.sh"
cd "$ROOT"

OUT=${1:-build/paper_relations}
SETS=("${@:2}")
((${#SETS[@]})) || SETS=(kuairand retail mathoverflow synth)
RETAIL=launch/sample_data/online_retail
MATHOVERFLOW=launch/sample_data/mathoverflow

# Item vectors come from co-occurrence in what the split of the configuration lets training see.
with_vectors() {
  local directory=$1 config=$2
  build/pinnerformer vectors --config "configs/$config.yaml" "${@:3}" data.path="$directory" --into "$directory"
}

make_kuairand() { import_kuairand --vectors $KUAIRAND/item_vectors.h5 --out "$1"; }

make_retail() {
  build/pinnerformer import --events $RETAIL/events.tsv.gz \
    --columns user=user,item=item,action=action,surface=surface,time=ts_ms:ms --keep-duplicates --out "$1"
  with_vectors "$1" online_retail
}

make_mathoverflow() {
  build/pinnerformer import --events $MATHOVERFLOW/events.tsv.gz \
    --columns user=user,item=item,action=action,time=time --out "$1"
  with_vectors "$1" online_retail positives.actions=a2q,c2a,c2q split.windows=6 split.users_percent=40
}

make_synth() { build/pinnerformer synth --users 20000 --items 8000 --exploration 0.5 --out "$1"; }

datasets() {
  local set
  mkdir -p "$OUT/datasets"
  for set in "${SETS[@]}"; do
    [[ -e $OUT/datasets/$set ]] && continue
    rm -rf "$OUT/datasets/unfinished"
    "make_$set" "$OUT/datasets/unfinished" >/dev/null
    mv "$OUT/datasets/unfinished" "$OUT/datasets/$set"
  done
}

main() {
  stage "set up" launch/setup.sh
  stage "build" launch/build.sh release pinnerformer
  stage "datasets" datasets
  for set in "${SETS[@]}"; do
    stage "$set" "$VENV/bin/python3" launch/experiments/experiments.py build "$OUT" "$set"
  done
  print_stages
  ((${#SETS[@]} < 4)) || "$VENV/bin/python3" launch/experiments/report.py "$OUT"
}

main "$@"
