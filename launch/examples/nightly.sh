#!/usr/bin/env bash
# One night of a recommender: a dataset of the events up to today, a training that begins with
# yesterday's weights, an evaluation, the vectors of all users and items, and an index. Only when all
# of it is there and the model is not worse than yesterday's does DIR/current name it.
#   launch/examples/nightly.sh DIR DAY CONFIG -- import --events 'events/*.parquet' --columns ...
# DAY names the directory DIR/DAY, such as 2024-06-01; words behind -- make the dataset (--out is added).
# From cron, with one line in the log for each step and a mail from cron where one fails:
#   15 2 * * *  cd /srv/recommender && launch/examples/nightly.sh data "$(date +\%F)" night.yaml -- import ...
# Started again, it goes on with the step that failed. Steps: import train evaluate embed index publish;
# STEPS="train" runs these alone, as nightly_slurm.sh does.
set -euo pipefail

(($# >= 5)) && [[ $4 == -- ]] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
root=$1 day=$1/$2 config=$3
dataset_words=("${@:5}")

program=${PINNERFORMER:-build/pinnerformer}
read -ra ranks <<<"${RANKS:-}"      # what starts the ranks, such as: mpirun -n 8
worse=${WORSE:-0.05}                # share of yesterday's recall@10 that a model may lose
keep=${KEEP_DAYS:-7}                # days that are kept beside the published one
checkpoint=(${CHECKPOINT:+--checkpoint "$CHECKPOINT"})  # best: where the configuration validates
current=$root/current

say() { echo "$(date -u +%FT%TZ) ${day##*/} $*"; }

# A step leaves its result under the name NAME, whole: one that is there is not made again.
step() {
  local name=$1 result=$2
  shift 2
  [[ " ${STEPS:-import train evaluate embed index publish} " == *" $name "* ]] || return 0
  if [[ -n $result && -e $result ]]; then
    say "$name: done before"
    return 0
  fi
  say "$name"
  "$@" || { local code=$?; say "$name failed with exit code $code; $current stays as it is"; exit "$code"; }
}

make_dataset() { "$program" "${dataset_words[@]}" --out "$day/dataset"; }

# The checkpoint that the published vectors are of.
published_checkpoint() {
  python3 - "$current" <<'PYTHON'
import json, os, sys
day = os.path.realpath(sys.argv[1])
step = json.load(open(f"{day}/evaluation.json"))["checkpoint"].rstrip("/")
print(f"{day}/run/checkpoints/{os.path.basename(step)}")
PYTHON
}

# The first night begins with random weights.
train() {
  local start=() published
  if [[ -e $current ]]; then
    published=$(published_checkpoint) || return
    start=(--init-from "$published")
  fi
  "${ranks[@]}" "$program" train --config "$config" "data.path=$day/dataset" "run.directory=$day/run" \
    "${start[@]}" && touch "$day/trained"
}

# Each night is evaluated on its own last days, which its training has not seen.
evaluate() {
  "${ranks[@]}" "$program" evaluate --run "$day/run" "${checkpoint[@]}" --json "$day/evaluation.json" >"$day/evaluation.txt"
}

embed() { "${ranks[@]}" "$program" embed --run "$day/run" "${checkpoint[@]}" --out "$day/vectors.h5"; }
index() { "$program" index "$day/vectors.h5" --out "$day/items.hnsw"; }

recall() {
  python3 - "$1" <<'PYTHON'
import json, sys
results = json.load(open(sys.argv[1]))["results"]
print(next(row["recall@10"] for row in results if row["method"] == "model"))
PYTHON
}

# The one rename by which a service sees the new day.
publish() {
  local file
  for file in dataset trained evaluation.json vectors.h5 items.hnsw; do
    [[ -e $day/$file ]] || { say "publish: $day/$file is missing: run the steps before"; return 66; }
  done
  if [[ -e $current/evaluation.json ]]; then
    local before after
    before=$(recall "$current/evaluation.json") || return
    after=$(recall "$day/evaluation.json") || return
    if ! awk -v b="$before" -v a="$after" -v w="$worse" 'BEGIN { exit !(a >= b * (1 - w)) }'; then
      say "publish: recall@10 is $after, that of $(realpath "$current") was $before: worse by more than $worse"
      return 1
    fi
  fi
  ln -sfn "${day##*/}" "$root/current.new" && mv -T "$root/current.new" "$current" && touch "$day/published"
}

# Days that were published before, but for the newest ones. What failed stays until it is looked at.
remove_old_days() {
  local old
  find -H "$root" -mindepth 2 -maxdepth 2 -name published -printf '%h\n' | sort -r | tail -n +$((keep + 2)) |
    while read -r old; do
      [[ $old -ef $current ]] || { say "remove $old"; rm -rf "$old"; }
    done
}

mkdir -p "$root"
exec 9>"$root/lock"
flock -n 9 || { say "another night's job is at work in $root"; exit 75; }
# A day that failed stays unpublished once a later one is: its vectors would be older.
published_day=$([[ ! -e $current ]] || basename "$(realpath "$current")")
if [[ $published_day > ${day##*/} ]]; then
  say "$root/current is $published_day, a later day, which $day would replace: refused"
  exit 65
fi
mkdir -p "$day"
step import "$day/dataset" make_dataset
step train "$day/trained" train
step evaluate "$day/evaluation.json" evaluate
step embed "$day/vectors.h5" embed
step index "$day/items.hnsw.json" index
step publish "$day/published" publish
[[ ! -e $day/published ]] || remove_old_days
