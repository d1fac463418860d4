#!/usr/bin/env bash
# MovieLens-1M as the literature evaluates it: learned rows alone, next item, leave-one-out over all items.
#   ml_1m.sh FILE [DIRECTORY [key=value ...]]
# FILE has "user item" lines in chronological order, as SASRec's ML-1M.txt (or .gz): it is read where it is,
# nothing is downloaded. DIRECTORY (default build/ml-1m) gets the dataset, the run and evaluate.json. Two
# ranks of one thread each: about 25 minutes. The checkpoint that is evaluated is the best by validation.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

FILE=$(realpath "${1:?name the file: ml_1m.sh FILE [DIRECTORY [key=value ...]]}")
OUT=$(realpath -m "${2:-$ROOT/build/ml-1m}")
cd "$ROOT"
mkdir -p "$OUT"
{ printf 'user\titem\n'; gzip -cdf "$FILE" | tr ' ' '\t'; } > "$OUT/events.tsv"
build/pinnerformer import --events "$OUT/events.tsv" --columns user=user,item=item --untimed \
  --overwrite --out "$OUT/dataset"
rm "$OUT/events.tsv"
run_ranks 2 build/pinnerformer train --config configs/ml-1m.yaml data.path="$OUT/dataset" \
  run.directory="$OUT/run" "${@:3}"
run_ranks 2 build/pinnerformer evaluate --run "$OUT/run" --checkpoint best --json "$OUT/evaluate.json"
