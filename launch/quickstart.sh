#!/usr/bin/env bash
# From a fresh clone to recommendations: sets up, builds, imports the shipped sample data, trains on two
# ranks, evaluates, embeds every user and prints what a few users would be shown. Everything it writes
# is in build/quickstart/; a second call starts that over. --yes lets set-up use sudo without asking.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"

OUT=build/quickstart
DATA=launch/sample_data/kuairand_pure

import_events() {
  build/pinnerformer import \
    --events $DATA/events.tsv.gz \
    --columns user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms \
    --missing surface=-,duration=-1 --keep-duplicates \
    --items $DATA/items.tsv.gz --item-columns id=item,title=title,topic=tag \
    --vectors $DATA/item_vectors.h5 \
    --out $OUT/dataset
}

# Tables go to files, so that they stand together at the very end.
evaluate() {
  run_ranks 2 build/pinnerformer evaluate --run $OUT/run --json $OUT/evaluate.json > $OUT/evaluation.txt
}

recommend() {
  build/pinnerformer recommend --run $OUT/run --evaluation-users 3 > $OUT/recommendations.txt
}

main() {
  stage "set up" launch/setup.sh "$@"
  stage "build" launch/build.sh release pinnerformer
  rm -rf $OUT
  mkdir -p $OUT
  stage "import" import_events
  stage "train" run_ranks 2 build/pinnerformer train --config configs/quickstart.yaml
  stage "evaluate" evaluate
  stage "embed" build/pinnerformer embed --run $OUT/run --out $OUT/vectors.h5
  stage "recommend" recommend
  print_stages
  cat $OUT/evaluation.txt $OUT/recommendations.txt
}

main "$@"
