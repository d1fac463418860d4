#!/usr/bin/env python3
"""Training steps of this program beside the same model in PyTorch: eager or compiled, fused AdamW,
DistributedDataParallel over gloo or NCCL, scaled_dot_product_attention; the same numbers of ranks and
threads. The two take turns, so that whatever else the machine does meets both.

  .venv/bin/python tests/benchmark/step_vs_pytorch.py --shape small --precision fp32 --rounds 3
  .venv/bin/python tests/benchmark/step_vs_pytorch.py --device cuda --ranks 1 --shape paper --users 128 --compile
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

# users of a step over all ranks, M, H, L, heads, D, width of the item tower, positions, pool
SHAPES = {
    "small": dict(users=64, max_length=64, hidden=64, layers=2, heads=4, output=64, item_hidden=256,
                  positions=8, pool=1024),
    "medium": dict(users=32, max_length=128, hidden=256, layers=4, heads=8, output=256, item_hidden=1024,
                   positions=16, pool=2048),
    "paper": dict(users=4, max_length=256, hidden=768, layers=6, heads=8, output=256, item_hidden=1024,
                  positions=32, pool=13192),
}
ITEMS, CONTENT, ACTIONS, SURFACES = 20000, 256, 2, 2
BATCHES = 4


def ours(shape, args):
    keys = [f"train.global_batch_users={shape['users']}", "negatives.in_batch=0",
            f"negatives.random={shape['pool']}", f"objective.positions={shape['positions']}",
            f"train.precision={args.precision}", f"comm.backend={'mpi' if args.device == 'cpu' else 'nccl'}"]
    keys += [f"model.{key}={shape[key]}" for key in ("max_length", "hidden", "layers", "heads", "output",
                                                     "item_hidden")]
    keys += [f"model.block={args.block}", f"model.features.position={str(args.block != 'lru').lower()}"]
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(args.ranks)]
        subprocess.run(launcher + [args.binary, "bench", "step", "--content-width", str(CONTENT), "--warmup",
                                   str(args.warmup), "--steps", str(args.steps), "--json", result.name, *keys],
                       check=True, stdout=subprocess.DEVNULL)
        return json.loads(Path(result.name).read_text())["step_ms_median"]


def pytorch(shape, args):
    with tempfile.TemporaryDirectory() as directory:
        ranks = [subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--rank", str(rank), "--meet", directory])
                 for rank in range(args.ranks)]
        if any([rank.wait() for rank in ranks]):
            raise SystemExit("the PyTorch side failed")
        return statistics.median(json.loads((Path(directory) / "result").read_text()))


def pytorch_rank(shape, args):
    """One rank of the PyTorch side."""
    import torch
    import torch.distributed as dist
    import torch.distributed.nn.functional
    from reference_model import PinnerFormer, sampled_softmax

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_default_device(args.device)
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    dist.init_process_group("gloo" if args.device == "cpu" else "nccl", init_method=f"file://{args.meet}/store", rank=args.rank,
                            world_size=args.ranks)
    torch.manual_seed(args.rank)
    users, length = shape["users"] // args.ranks, shape["max_length"]
    pairs_per_batch = users * shape["positions"]
    pool_share = shape["pool"] // args.ranks

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            size = {key: shape[key] for key in ("max_length", "hidden", "layers", "heads", "output",
                                                "item_hidden")}
            self.model = PinnerFormer(torch.randn(ITEMS, CONTENT), ACTIONS, SURFACES, action_dim=32,
                                      surface_dim=32, dropout=0.1, block=args.block, **size)

        def forward(self, batch, pairs, drawn):
            user, positive, pool = self.model(batch, pairs, drawn["share"])
            pool = torch.cat(torch.distributed.nn.functional.all_gather(pool))
            return sampled_softmax(user, positive, pool, self.model.log_inverse_temperature.exp(), pairs,
                                   drawn, users)

    def batch():
        start = torch.randint(1_600_000_000, 1_700_000_000, (users, 1))
        inputs = {"length": torch.full((users,), length), "item": torch.randint(ITEMS, (users, length)),
                  "action": torch.randint(ACTIONS, (users, length)),
                  "surface": torch.randint(SURFACES, (users, length)),
                  "time": start + torch.randint(10000, (users, length)).cumsum(1),
                  "duration": torch.rand(users, length) * 60}
        pairs = {"row": torch.arange(users).repeat_interleave(shape["positions"]),
                 "position": torch.randint(length, (pairs_per_batch,)),
                 "item": torch.randint(ITEMS, (pairs_per_batch,)),
                 "weight": torch.full((pairs_per_batch,), 1 / shape["positions"])}
        drawn = {"share": torch.randint(ITEMS, (pool_share,)),
                 "log_q": torch.zeros(pool_share * args.ranks), "positive_log_q": torch.zeros(pairs_per_batch),
                 "mask": torch.rand(users, pool_share * args.ranks) < 0.01}
        return inputs, pairs, drawn

    step = torch.nn.parallel.DistributedDataParallel(Step(), gradient_as_bucket_view=True)
    if args.compile:
        step = torch.compile(step)
    optimizer = torch.optim.AdamW(step.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    batches, times = [batch() for _ in range(BATCHES)], []
    for number in range(args.warmup + args.steps):
        wait()
        begin = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
            loss = step(*batches[number % BATCHES])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(step.parameters(), 1.0, foreach=True)
        optimizer.step()
        wait()
        if number >= args.warmup:
            times.append(1000 * (time.perf_counter() - begin))
    if args.rank == 0:
        (Path(args.meet) / "result").write_text(json.dumps(times))
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--block", choices=("transformer", "ligr", "hstu", "lru"), default="transformer")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile on the PyTorch side")
    parser.add_argument("--users", type=int, help="of a step, over all ranks; default: the shape's")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--binary", default=str(ROOT / "build/pinnerformer"))
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meet", help=argparse.SUPPRESS)
    args = parser.parse_args()
    shape = dict(SHAPES[args.shape])
    shape["users"] = args.users or shape["users"]
    if args.rank is not None:
        return pytorch_rank(shape, args)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMPI_ALLOW_RUN_AS_ROOT"] = os.environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    rounds = [(ours(shape, args), pytorch(shape, args)) for _ in range(args.rounds)]
    mine, theirs = (statistics.median(values) for values in zip(*rounds))
    print(json.dumps({"shape": args.shape, "block": args.block, "precision": args.precision, "device": args.device,
                      "compiled": args.compile, "users": shape["users"], "ranks": args.ranks,
                      "threads_per_rank": int(os.environ["OMP_NUM_THREADS"]),
                      "step_ms": mine, "pytorch_step_ms": theirs, "times_as_fast": theirs / mine,
                      "rounds_ms": rounds}, indent=2))


if __name__ == "__main__":
    main()
