#!/usr/bin/env bash
# Trains and evaluates everything that docs/results.md says of the paper's relations, on the shipped data,
# and writes those tables and docs/staleness.svg: paper_relations.sh [DIRECTORY]. Under an hour on two
# cores. DIRECTORY (default build/experiments) keeps what is done: an interrupted call goes on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
source "$(dirname "${BASH_SOURCE[0]}")/kuairand.sh"
cd "$ROOT"

OUT=${1:-build/experiments}
RETAIL=launch/sample_data/online_retail

# dataset NAME COMMAND...: runs COMMAND, which writes $OUT/datasets/NAME, unless it is there.
dataset() {
  local name=$1
  shift
  [[ -e $OUT/datasets/$name/items.h5 ]] || "$@" --out "$OUT/datasets/$name" >/dev/null
}

import_retail() {
  build/pinnerformer import --events $RETAIL/events.tsv.gz \
    --columns user=user,item=item,action=action,surface=surface,time=ts_ms:ms --keep-duplicates \
    --items $RETAIL/titles.tsv.gz --item-columns id=item,title=title "$@"
}

# The same without vectors, and with vectors made from the history before the two weeks.
vectors_kuairand() {
  local history=$OUT/datasets/history
  import_kuairand "$@"
  build/pinnerformer import --events $KUAIRAND/history.parquet --columns user=user,item=item --untimed \
    --overwrite --out "$history"
  build/pinnerformer vectors --dataset "$history" --before 2022-04-25 --into "${*: -1}"
}

# Item vectors from what the split of the configuration lets training see.
co_occurrence_retail() {
  import_retail "$@"
  build/pinnerformer vectors --config configs/online_retail.yaml data.path="${*: -1}" --into "${*: -1}"
}

# Those vectors with one more number: how often the article was bought in the last 14 days of training.
popularity_retail() {
  "$VENV/bin/python3" launch/experiments/add_popularity.py "$OUT/datasets/retail_cooccurrence" 14 \
    "$OUT/datasets/popularity.h5"
  import_retail --vectors "$OUT/datasets/popularity.h5" "$@"
}

datasets() {
  mkdir -p "$OUT/datasets"
  dataset kuairand import_kuairand --vectors $KUAIRAND/item_vectors.h5
  dataset kuairand_bare import_kuairand
  dataset kuairand_vectors vectors_kuairand
  dataset retail_titles import_retail --vectors $RETAIL/title_vectors.h5
  dataset retail_cooccurrence co_occurrence_retail
  dataset retail_popularity popularity_retail
  dataset synth build/pinnerformer synth --users 4000 --items 8000
}

experiments() { "$VENV/bin/python3" launch/experiments/experiments.py build "$OUT" "$@"; }

main() {
  stage "set up" launch/setup.sh
  stage "build" launch/build.sh release pinnerformer
  stage "datasets" datasets
  stage "KuaiRand-Pure" experiments kuairand
  stage "Online Retail" experiments retail retail_repeats
  stage "synthetic" experiments synth
  print_stages
  printf '%s\n' "${STAGES[@]}" >"$OUT/times.txt"
  "$VENV/bin/python3" launch/experiments/report.py "$OUT" "$OUT/times.txt"
}

main "$@"
