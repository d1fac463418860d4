#!/usr/bin/env bash
# The first hour of a GPU, in one call of at most ten minutes on a machine with PyTorch 2.11 for CUDA 13
# and this tree's build, and nothing else:
#   tests/gpu/acceptance.sh [--out DIR]
# Each stage has a time limit, runs whatever became of the others, and leaves its log in DIR (default
# build/gpu-acceptance). A table and DIR/acceptance.json say what passed, what failed and what was left
# out, with the reason. Ends with 1 where a stage failed. Without a GPU the stages that need none run:
# less than two minutes, for CI.
set -uo pipefail
source "$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)/launch/environment.sh"
cd "$ROOT" || exit

out=$ROOT/build/gpu-acceptance
if [[ ${1:-} == --out ]]; then out=$2; fi
binary=${PF_BINARY:-$ROOT/build/pinnerformer}
tests=${PF_TEST_FOLDER:-$ROOT/build/tests}
python=$VENV/bin/python3
mkdir -p "$out" || exit
: >"$out/stages"

gpus=$("$python" -c 'import torch; print(torch.cuda.device_count())' 2>"$out/gpus.log" || echo 0)

# attempt NAME SECONDS COMMAND...: what a skipped test program answers (77) is no failure.
attempt() {
  local name=$1 limit=$2 begin=$SECONDS code=0 verdict
  shift 2
  timeout --kill-after=10 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
  case $code in
    0) verdict=passed ;;
    77) verdict="left out" ;;
    124 | 137) verdict="failed: more than $limit s" ;;
    *) verdict="failed: exit code $code" ;;
  esac
  printf '%s\t%s\t%s\n' "$name" "$verdict" "$((SECONDS - begin))" | tee -a "$out/stages"
}

# on_gpu NAME ...: attempt, where there is a GPU.
on_gpu() {
  if ((gpus > 0)); then
    attempt "$@"
  else
    printf '%s\t%s\t0\n' "$1" "left out: no GPU" | tee -a "$out/stages"
  fi
}

small=(model.max_length=64 model.hidden=64 model.layers=2 model.heads=4 model.output=64 model.item_hidden=256
  objective.positions=8 negatives.in_batch=0 negatives.random=1024 train.global_batch_users=64)
medium=(model.max_length=128 model.hidden=256 model.layers=4 model.heads=8 model.output=256
  objective.positions=16 negatives.in_batch=0 negatives.random=2048 train.global_batch_users=128)
paper=(model.max_length=256 model.hidden=768 model.layers=6 model.heads=8 model.output=256 objective.positions=32
  negatives.in_batch=0 negatives.random=13192 train.global_batch_users=128)

train() { # `replace=exec train ... &`: $! is the program
  ${replace:-} "$binary" train "data.path=$out/data" positives.actions=save "${small[@]}" train.steps=40 checkpoint.every_steps=20 \
    split.users_percent=10 split.window_days=3 optimizer.warmup_steps=10 train.log_every=5 "$@"
}

# The losses of the same training on both devices.
parity() {
  rm -rf "$out/cpu" "$out/gpu"
  train run.directory="$out/cpu" comm.backend=mpi && train run.directory="$out/gpu" && "$python" - "$out" <<'PYTHON'
import json, sys
curve = lambda name: [json.loads(line)["loss"] for line in open(f"{sys.argv[1]}/{name}/metrics.jsonl")]
cpu, gpu = curve("cpu"), curve("gpu")
worst = max(abs(a - b) / a for a, b in zip(cpu, gpu, strict=True))
print("largest relative difference of the loss:", worst)
sys.exit(worst > 1e-3)
PYTHON
}

# Killed in the middle, started again: as if it had not been.
kill_and_resume() {
  rm -rf "$out/whole" "$out/killed"
  local long=(train.steps=200)
  train "${long[@]}" run.directory="$out/whole" || return
  replace='exec' train "${long[@]}" run.directory="$out/killed" &
  local pid=$!
  until [[ -d $out/killed/checkpoints/step-000000020 ]]; do
    kill -0 $pid 2>/dev/null || break
    sleep 0.02
  done
  kill -KILL $pid 2>/dev/null
  wait $pid
  local last=checkpoints/step-000000200
  [[ ! -d $out/killed/$last ]] || return # it was over before it was killed
  train "${long[@]}" run.directory="$out/killed" && "$binary" checkpoint diff "$out/whole/$last" "$out/killed/$last"
}

kernel_table() {
  rm -rf "$out/traced"
  train run.directory="$out/traced" --profile 5 && "$python" - "$out/traced/profile/rank-0.json" <<'PYTHON'
import collections, json, sys
total, count = collections.Counter(), collections.Counter()
for event in json.load(open(sys.argv[1]))["traceEvents"]:
    if event.get("ph") == "X" and event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset", "cpu_op"):
        total[event["cat"], event["name"]] += event["dur"]
        count[event["cat"], event["name"]] += 1
for (kind, name), micros in total.most_common(30):
    print(f"{micros / 5000:9.3f} ms a step  {count[kind, name] / 5:7.1f} times  {kind:10}  {name[:100]}")
PYTHON
}

report() {
  "$python" - "$out" "$gpus" <<'PYTHON'
import glob, json, os, sys
out, gpus = sys.argv[1], int(sys.argv[2])
stages = [dict(zip(("stage", "verdict", "seconds"), line.rstrip("\n").split("\t"))) for line in open(f"{out}/stages")]
read = lambda kind: {os.path.basename(path)[len(kind) + 1:-5]: json.load(open(path))
                     for path in sorted(glob.glob(f"{out}/{kind}-*.json")) if os.path.getsize(path)}
steps, beside = read("step"), read("pytorch")
json.dump({"gpus": gpus, "stages": stages, "bench_step": steps, "beside_pytorch": beside}, open(f"{out}/acceptance.json", "w"), indent=2)
print(f"\n{'stage':<28}{'seconds':>8}  verdict")
for stage in stages:
    print(f"{stage['stage']:<28}{stage['seconds']:>8}  {stage['verdict']}")
for name, step in steps.items():
    print(f"step {name:<16} {step['device']:>7}  {step['step_ms_median']:9.2f} ms  {step['users_per_second']:9.0f} users/s")
for name, both in beside.items():
    print(f"step {name:<16} {both['device']:>7}  {both['step_ms']:9.2f} ms  PyTorch {both['pytorch_step_ms']:9.2f} ms")
sys.exit(any(stage["verdict"].startswith("failed") for stage in stages))
PYTHON
}

rm -f "$out"/step-*.json "$out"/pytorch-*.json
STEPS=5
if ((gpus > 0)); then STEPS=30; fi
attempt doctor 60 "$binary" doctor comm.backend=auto
attempt data 60 "$binary" synth --users 600 --items 300 --events-per-user 100 --out "$out/data" --overwrite
# Without a GPU it is part of the tier `unit`.
on_gpu device-double 240 env OMP_NUM_THREADS=1 "$tests/unit_tests" --file=tests/unit/trainer/loop/device_double_test.cc
on_gpu kernels 120 "$tests/gpu_tests"
on_gpu nccl-two-ranks 120 mpirun --oversubscribe -n 2 "$tests/gpu_ranks_tests"
# `timeout` runs no function: a shell of its own gets them and what they read.
export -f train parity kill_and_resume kernel_table
words=$(declare -p out binary python small)
attempt parity 120 bash -c "$words; parity"
attempt kill-and-resume 120 bash -c "$words; kill_and_resume"
attempt trace 120 bash -c "$words; kernel_table"
attempt step-small 60 "$binary" bench step --warmup 3 --steps "$STEPS" --json "$out/step-small.json" "${small[@]}"
on_gpu step-medium 60 "$binary" bench step --warmup 5 --steps "$STEPS" --json "$out/step-medium.json" \
  train.precision=bf16 "${medium[@]}"
on_gpu step-paper 120 "$binary" bench step --warmup 5 --steps "$STEPS" --json "$out/step-paper.json" \
  train.precision=bf16 "${paper[@]}"
# beside_pytorch NAME SHAPE OPTIONS...: the same model in PyTorch, in turns.
beside_pytorch() {
  "$python" tests/benchmark/step_vs_pytorch.py --binary "$binary" --ranks 1 --rounds 1 --shape "${@:2}" >"$out/pytorch-$1.json"
}
export -f beside_pytorch
attempt pytorch-small 60 bash -c "$words; beside_pytorch small small --steps $STEPS"
on_gpu pytorch-medium 90 bash -c "$words; beside_pytorch medium medium --device cuda --precision bf16 --users 128"
on_gpu pytorch-paper 90 bash -c "$words; beside_pytorch paper paper --device cuda --precision bf16 --users 128"
on_gpu pytorch-paper-compiled 150 bash -c "$words; beside_pytorch paper-compiled paper --device cuda --precision bf16 --users 128 --compile"
if ((gpus > 0)) && type -P compute-sanitizer >/dev/null; then
  attempt memory-check 180 compute-sanitizer --error-exitcode 1 "$binary" train "data.path=$out/data" \
    run.directory="$out/checked" positives.actions=save "${small[@]}" train.steps=2 --dry-run
fi
report
