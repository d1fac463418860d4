"""The encoder of an export in plain PyTorch: its weights, and the formula of each `model.block`."""
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional as F


class Encoder:
    def __init__(self, directory):
        self.form = json.loads((Path(directory) / "model.json").read_text(encoding="utf-8"))
        self.options, self.weights = self.form["options"], load_file(Path(directory) / "model.safetensors")

    def linear(self, name, x):
        return F.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def norm(self, name, x):
        weight, bias = self.weights[name + ".weight"], self.weights[name + ".bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self.form["layer_norm_epsilon"])

    def encode(self, states, time):  # [B, S, H] and seconds, int64 [B, S] -> [B, S, H]
        block = getattr(self, self.options["block"])
        for layer in range(self.options["layers"]):
            states = block(f"block{layer}", states, time)
        return states

    def transformer(self, name, x, time):
        x = x + self.attention(name, x)
        inner = F.gelu(self.linear(name + ".expand", self.norm(name + ".ffn_norm", x)))
        return x + self.linear(name + ".contract", inner)

    def ligr(self, name, x, time):
        x = x + torch.sigmoid(self.linear(name + ".attention_gate", x)) * self.attention(name, x)
        return x + torch.sigmoid(self.linear(name + ".ffn_gate", x)) * self.swiglu(name, x)

    def hstu(self, name, x, time):
        u, q, v, k = F.silu(self.linear(name + ".uqvk", self.norm(name + ".input_norm", x))).chunk(4, -1)
        q, k, v = map(self.heads, (q, k, v))
        places = torch.arange(x.shape[1])
        scores = q @ k.mT + self.weights[name + ".position_bias"][(places[:, None] - places).clamp_min(0)]
        if name + ".time_bias" in self.weights:  # two buckets for each doubling of the seconds
            starts = torch.tensor([0] + [math.ceil(2 ** (bucket / 2)) for bucket in range(1, 64)])
            older = (time[:, :, None] - time[:, None]).clamp_min(0)
            bucket = torch.bucketize(older, starts, right=True) - 1
            scores = scores + self.weights[name + ".time_bias"][bucket][:, None]
        mixed = (F.silu(scores).tril() @ v / self.options["max_length"]).transpose(1, 2).flatten(2)
        return x + self.linear(name + ".output", self.norm(name + ".mixed_norm", mixed) * u)

    def lru(self, name, x, time):
        decay, angle, scale = (self.weights[f"{name}.log_{part}"].exp() for part in ("decay", "angle", "scale"))
        weight = torch.polar(torch.exp(-decay), angle)
        written = torch.complex(*self.linear(name + ".write", self.norm(name + ".input_norm", x)).chunk(2, -1))
        memory, memories = torch.zeros_like(written[:, 0]), []
        for event in (written * scale).unbind(1):
            memory = weight * memory + event
            memories.append(torch.cat([memory.real, memory.imag], -1))
        x = x + self.linear(name + ".read", torch.stack(memories, 1))
        return x + self.swiglu(name, x)

    def heads(self, x):  # [B, S, heads * d] -> [B, heads, S, d]
        return x.unflatten(-1, (self.options["heads"], -1)).transpose(1, 2)

    def attention(self, name, x):  # each event reads those up to it
        q, k, v = map(self.heads, self.linear(name + ".qkv", self.norm(name + ".attention_norm", x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.linear(name + ".projection", mixed.transpose(1, 2).flatten(2))

    def swiglu(self, name, x):
        normed = self.norm(name + ".ffn_norm", x)
        inner = F.silu(self.linear(name + ".swish", normed)) * self.linear(name + ".expand", normed)
        return self.linear(name + ".contract", inner)
