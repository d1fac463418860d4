#!/usr/bin/env python3
"""Puts named faults into a copy of the source and reports which tests notice them.

Each fault is a small edit at a seam: a place where an option is handed from one part to the next.
All edits are compiled into one scratch build. Each is switched on alone by the environment variable
PF_FAULT, so that one build serves all faults. A fault is caught where one of its tests fails.

  tests/mutations.py                 tries every fault (a build, then about a second per fault)
  tests/mutations.py no_eval ...     tries these faults alone
  tests/mutations.py --check         only checks that every edit still finds its place in the source
Options: --tree DIR, the scratch tree (default /tmp/pinnerformer-mutations); --build COMMAND, run
in it instead of its own cmake calls.
Exits 1 where a fault is not caught or an edit no longer fits. docs/testing.md says how to add one.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
SWITCH = "fault_switch.h"
SWITCH_TEXT = """// Made by tests/mutations.py.
#pragma once
#include <cstdlib>
#include <string_view>
inline bool pf_fault(std::string_view name) {
  const char* active = std::getenv("PF_FAULT");
  return active != nullptr && name == active;
}
"""


class Fault(NamedTuple):
    name: str
    file: str
    old: str    # occurs once in the file
    new: str    # FAULT stands for "this fault is switched on"
    tests: str  # filter of the tests that have to notice it


FAULTS = [
    # Configuration -> training data
    Fault("train_to_the_last_time", "launch/job/training_setup.cc",
          "training_end(dataset, config.split)",
          "FAULT ? dataset.last_time() : training_end(dataset, config.split)", "TrainingVisibility*"),
    Fault("no_left_out_events", "launch/job/training_setup.cc",
          "left_out_events(config.split)",
          "FAULT ? int64_t{0} : left_out_events(config.split)", "TrainingVisibility*"),
    Fault("train_on_held_out_users", "launch/job/training_setup.cc",
          "training_users(dataset, config.split)",
          "training_users(dataset, FAULT ? SplitOptions{.users_percent = 0} : config.split)", "TrainingVisibility*"),
    Fault("every_action_is_positive", "launch/job/training_setup.cc",
          "rule(config.positives, dataset)",
          "rule(FAULT ? PositiveOptions() : config.positives, dataset)", "TrainingVisibility*"),
    Fault("loader_options_dropped", "launch/job/training_setup.cc",
          "data.options = config.data;", "if (!FAULT) data.options = config.data;", "TrainingVisibility*"),
    # Configuration keys
    Fault("beta_keys_swapped", "configs/config_keys.cc",
          "at<&RunConfig::optimizer, &OptimizerOptions::beta1>",
          "FAULT ? at<&RunConfig::optimizer, &OptimizerOptions::beta2>\n"
          "             : at<&RunConfig::optimizer, &OptimizerOptions::beta1>", "ConfigBindings*"),
    # Trainer -> loader
    Fault("loader_seed_0", "trainer/loop/training_data.cc",
          "spec.seed = options.run.seed;", "spec.seed = FAULT ? 0 : options.run.seed;", "TrainingOptions*RunAndSteps"),
    Fault("batch_size_constant", "trainer/loop/training_data.cc",
          "= options.train.global_batch_users;", "= FAULT ? 10 : options.train.global_batch_users;",
          "TrainingOptions*RunAndSteps"),
    Fault("window_length_constant", "trainer/loop/training_data.cc",
          "window_spec(objective, options.model.max_length,",
          "window_spec(objective, FAULT ? 12 : options.model.max_length,", "TrainingOptions*Model"),
    Fault("sample_end_ignored", "trainer/objective/objective.cc",
          "spec.latest = options.sample_end", "spec.latest = !FAULT && options.sample_end", "TrainingOptions*Objective"),
    # Trainer -> step
    Fault("weights_seed_0", "trainer/loop/trainer.cc",
          "torch::manual_seed(static_cast<uint64_t>(options.run.seed))",
          "torch::manual_seed(FAULT ? 0 : static_cast<uint64_t>(options.run.seed))", "TrainingOptions*RunAndSteps"),
    Fault("table_seed_0", "trainer/loop/trainer.cc",
          "ItemRows(table, *data.dataset).count(), options.run.seed,",
          "ItemRows(table, *data.dataset).count(), FAULT ? 0 : options.run.seed,", "TrainingOptions*RunAndSteps"),
    Fault("log_every_ignored", "trainer/loop/trainer.cc",
          "progress_.step % options_.train.log_every == 0",
          "FAULT || progress_.step % options_.train.log_every == 0", "TrainingOptions*LogEvery"),
    Fault("checkpoints_as_often_as_records", "trainer/loop/trainer.cc",
          "progress_.step % options_.checkpoint.every_steps == 0",
          "progress_.step % (FAULT ? options_.train.log_every : options_.checkpoint.every_steps) == 0",
          "TrainingOptions*Checkpoints"),
    Fault("weighting_ignored", "trainer/loop/step_plan.cc",
          "objective_.weighting == PairWeighting::kPair",
          "!FAULT && objective_.weighting == PairWeighting::kPair", "TrainingOptions*Objective"),
    Fault("mask_ignored", "trainer/loop/step_inputs.cc",
          "negatives.mask == NegativeMask::kUserPositives",
          "FAULT || negatives.mask == NegativeMask::kUserPositives", "TrainingOptions*Negatives"),
    Fault("unknown_rows_of_step_0", "trainer/loop/step_plan.cc",
          "options_.run.seed, step)", "options_.run.seed, FAULT ? 0 : step)", "TrainingOptions*ItemTable"),
    Fault("pool_seed_0", "trainer/loop/step_plan.cc",
          "sampler_(options.negatives, data.dataset->items(), options.run.seed)",
          "sampler_(options.negatives, data.dataset->items(), FAULT ? 0 : options.run.seed)",
          "TrainingOptions*RunAndSteps"),
    Fault("pool_of_step_0", "trainer/loop/step_plan.cc",
          "sampler_.draw(global, batch, plan.pairs, step)",
          "sampler_.draw(global, batch, plan.pairs, FAULT ? 0 : step)", "TrainingOptions*Negatives"),
    Fault("rate_of_the_next_step", "trainer/loop/training_step.cc",
          "learning_rate_at(step, ", "learning_rate_at(FAULT ? step + 1 : step, ", "TrainingOptions*Optimizer"),
    Fault("logged_rate_of_the_next_step", "trainer/loop/step_log.cc",
          "learning_rate_at(progress.step - 1, ", "learning_rate_at(FAULT ? progress.step : progress.step - 1, ",
          "TrainingOptions*Optimizer"),
    Fault("row_rate_1", "trainer/loop/training_step.cc",
          "progress = rate / options_.optimizer.learning_rate;",
          "progress = FAULT ? 1.0 : rate / options_.optimizer.learning_rate;", "TrainingOptions*ItemTable"),
    Fault("accumulation_ignored", "trainer/loop/training_step.cc",
          "std::clamp(options_.train.gradient_accumulation_steps,",
          "std::clamp(FAULT ? int64_t{1} : options_.train.gradient_accumulation_steps,",
          "TrainingOptions*GradientAccumulationSteps"),
    Fault("precision_ignored", "trainer/loop/training_step.cc",
          "use_bfloat16(options.train.precision,",
          "use_bfloat16(FAULT ? Precision::kFp32 : options.train.precision,", "TrainingOptions*Precision"),
    Fault("pretraining_temperature_1", "trainer/loop/row_pretraining.cc",
          "1 / options_.model.temperature", "FAULT ? 1.0 : 1 / options_.model.temperature",
          "TrainingOptions*Pretraining"),
    Fault("pretraining_only_recent_days", "trainer/loop/row_pretraining.cc",
          "objective.recent_days = 0;", "if (!FAULT) objective.recent_days = 0;", "TrainingOptions*Pretraining"),
    Fault("pretraining_rate_of_the_model", "trainer/loop/row_pretraining.cc",
          "table_.update(options_.item.table.learning_rate)",
          "table_.update(FAULT ? options_.optimizer.learning_rate : options_.item.table.learning_rate)",
          "TrainingOptions*Pretraining"),
    # Options inside the parts
    Fault("one_dropout_site", "trainer/model/model.cc",
          "Block(options, 1 + 2 * layer)", "Block(options, FAULT ? 1 : 1 + 2 * layer)", "ModelDropout*"),
    Fault("scale_in_bfloat16", "trainer/objective/sampled_softmax.cc",
          "Tensor logits = matmul(user, pool.t(), bf16).mul_(scale)",
          "Tensor logits = matmul(user, pool.t(), bf16);\n"
          "    if (FAULT && bf16)\n"
          "      logits = (logits.to(torch::kBFloat16) * scale.to(torch::kBFloat16)).to(torch::kFloat32);\n"
          "    else\n"
          "      logits.mul_(scale);\n"
          "    logits", "SampledSoftmax*"),
    Fault("betas_swapped", "trainer/optimizer/optimizer.cc",
          "learning_rate, options_.beta1,", "learning_rate, FAULT ? options_.beta2 : options_.beta1,",
          "TrainingOptions*Optimizer"),
    Fault("weight_decay_ignored", "trainer/optimizer/optimizer.cc",
          "matrices_.weight_decay = options.weight_decay;",
          "if (!FAULT) matrices_.weight_decay = options.weight_decay;", "TrainingOptions*Optimizer"),
    Fault("clip_norm_ignored", "trainer/optimizer/optimizer.cc",
          "if (options_.clip_norm > 0) divisor", "if (!FAULT && options_.clip_norm > 0) divisor",
          "TrainingOptions*Optimizer"),
    Fault("reduce_dtype_ignored", "comm/gradients/gradient_reducer.cc",
          "options.reduce_dtype == ReduceDtype::kBf16", "!FAULT && options.reduce_dtype == ReduceDtype::kBf16",
          "TrainingOptions*ReduceDtype"),
    Fault("bucket_size_ignored", "comm/gradients/gradient_reducer.cc",
          "std::llround(options.bucket_mib * kMiB)", "std::llround((FAULT ? 25 : options.bucket_mib) * kMiB)",
          "TrainingOptions*BucketSizes"),
    # Checkpoint -> training
    Fault("keep_every_ignored", "trainer/checkpoint/checkpoint_list.cc",
          "options.keep_every > 0 &&", "!FAULT && options.keep_every > 0 &&",
          "TrainingOptions*Checkpoints"),
    Fault("positive_counts_not_restored", "trainer/loop/run_checkpoints.cc",
          "state_.sampler.load_state(checkpoint.training",
          "if (!FAULT) state_.sampler.load_state(checkpoint.training", "TrainerParityTest.TenSteps*"),
    Fault("moments_not_restored", "trainer/loop/run_checkpoints.cc",
          "state_.optimizer.load_state(checkpoint.training",
          "if (!FAULT) state_.optimizer.load_state(checkpoint.training", "TrainerParityTest.TenSteps*"),
    Fault("position_not_restored", "trainer/loop/run_checkpoints.cc",
          "checkpoint.info.samples, checkpoint.info.position}",
          "checkpoint.info.samples, FAULT ? LoaderPosition() : checkpoint.info.position}",
          "TrainerParityTest.TenSteps*"),
    # Checkpoint -> serving and evaluation
    Fault("no_eval", "launch/serving/loaded_model.cc",
          "model_->eval();", "if (!FAULT) model_->eval();", "LoadedModel*"),
    Fault("one_event_is_read", "launch/serving/loaded_model.cc",
          "prefix.length - config_.model.max_length)",
          "prefix.length - (FAULT ? 1 : config_.model.max_length))", "LoadedModel*"),
    Fault("overrides_ignored", "launch/serving/loaded_model.cc",
          "override_config(stored_config_, options.overrides)",
          "FAULT ? stored_config_ : override_config(stored_config_, options.overrides)", "LoadedModel*"),
    Fault("actions_not_translated", "launch/serving/loaded_model.cc",
          "batch->action = look_up(", "if (!FAULT) batch->action = look_up(", "LoadedModel*"),
    Fault("untrained_rows_are_read", "trainer/checkpoint/stored_item_table.cc",
          "if (trained.const_data_ptr<bool>()[row])", "if (FAULT || trained.const_data_ptr<bool>()[row])",
          "LoadedModel*"),
    Fault("evaluation_min_events_constant", "trainer/evaluation/evaluation_cases.cc",
          "min_events_(options.min_events)", "min_events_(FAULT ? 2 : options.min_events)", "Evaluat*"),
]


def switched(fault):
    """The edit of one fault, with its switch."""
    return re.sub(r"\bFAULT\b", f'::pf_fault("{fault.name}")', fault.new)


def edited(root, faults):
    """{file: text} with all edits, and the names of the faults that found no place."""
    texts, stale = {}, []
    for fault in faults:
        path = root / fault.file
        text = texts.get(fault.file) or (path.read_text(encoding="utf-8") if path.exists() else "")
        if text.count(fault.old) != 1:
            stale.append(fault.name)
            continue
        texts[fault.file] = text.replace(fault.old, switched(fault))
    return texts, stale


def run(command, tree, **options):
    return subprocess.run(command, cwd=tree, check=False, **options)


def make_tree(tree):
    """A work tree of the current commit, with the edits of this one that are not committed."""
    if not (tree / ".git").exists():
        run(["git", "worktree", "add", "--detach", str(tree)], ROOT).check_returncode()
    commit = run(["git", "rev-parse", "HEAD"], ROOT, capture_output=True, text=True).stdout.strip()
    run(["git", "checkout", "--force", "--detach", "--quiet", commit], tree).check_returncode()
    if not (tree / ".venv").exists():
        (tree / ".venv").symlink_to((ROOT / ".venv").resolve())
    for name in run(["git", "ls-files", "--modified", "--others", "--exclude-standard"], ROOT,
                    capture_output=True, text=True).stdout.split():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)


def build(tree, command):
    if command:
        return run(["bash", "-c", command], tree).returncode == 0
    path = {"PATH": f"{tree}/.venv/bin:{os.environ['PATH']}"}
    if not (tree / "build/build.ninja").exists():
        run(["cmake", "--preset", "release"], tree, env=os.environ | path).check_returncode()
    return run(["cmake", "--build", "build", "--target", "unit_tests"], tree, env=os.environ | path).returncode == 0


def failing_tests(tree, tests, fault):
    """The names of the tests that fail with this fault switched on ("" for none)."""
    environment = os.environ | {"PF_FAULT": fault, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        result = run(["build/tests/unit_tests", f"--gtest_filter={tests}", "--gtest_brief=1"], tree,
                     env=environment, capture_output=True, text=True, errors="replace", timeout=300)
    except subprocess.TimeoutExpired:
        return ["timeout"]
    if " 0 tests from 0 test suites ran" in result.stdout:
        return ["no test of this name"]
    failed = re.findall(r"^\[  FAILED  \] (\w[\w./]*)(?:, where.*)? \(\d+ ms\)$", result.stdout, re.MULTILINE)
    return failed or ([] if result.returncode == 0 else [f"exit code {result.returncode}"])


def main():
    parser = argparse.ArgumentParser(description="Which tests notice which faults; see the file's docstring.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tree", type=pathlib.Path, default=pathlib.Path("/tmp/pinnerformer-mutations"))
    parser.add_argument("--build")
    options = parser.parse_args()
    unknown = set(options.names) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    faults = [fault for fault in FAULTS if not options.names or fault.name in options.names]
    texts, stale = edited(ROOT, faults)
    for name in stale:
        print(f"{name}: the edit does not fit the source any more")
    if options.check or not texts:
        return 1 if stale else 0

    make_tree(options.tree)
    (options.tree / SWITCH).write_text(SWITCH_TEXT, encoding="utf-8")
    for name, text in texts.items():
        (options.tree / name).write_text(f'#include "{SWITCH}"\n{text}', encoding="utf-8")
    if not build(options.tree, options.build):
        print("the scratch tree does not build")
        return 1
    tried = [fault for fault in faults if fault.name not in stale]
    for tests in sorted({fault.tests for fault in tried}):
        if failing := failing_tests(options.tree, tests, ""):
            print(f"{tests} fails without a fault: {', '.join(failing)}")
            return 1
    missed = 0
    for fault in tried:
        failing = failing_tests(options.tree, fault.tests, fault.name)
        missed += not failing
        print(f"{fault.name:34} {'caught by ' + ', '.join(failing) if failing else 'NOT CAUGHT'}", flush=True)
    print(f"{len(tried) - missed} of {len(tried)} faults caught")
    return 1 if missed or stale else 0


if __name__ == "__main__":
    sys.exit(main())
