"""The model of an export in plain PyTorch, from model.safetensors and model.json alone.

    model = PlainModel("build/quickstart/export")
    model.user(content, id_rows, action, surface, time, duration, length)  # as user_tower.pt; padding is zeros
    model.item(content, id_rows)                                           # as item_tower.pt
"""
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional as F


class PlainModel:
    def __init__(self, directory):
        self.form = json.loads((Path(directory) / "model.json").read_text(encoding="utf-8"))
        self.options, self.weights = self.form["options"], load_file(Path(directory) / "model.safetensors")

    def linear(self, name, x):
        return F.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def norm(self, name, x):
        weight, bias = self.weights[name + ".weight"], self.weights[name + ".bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self.form["layer_norm_epsilon"])

    def unit(self, x):
        return x / x.norm(dim=-1, keepdim=True).clamp_min(self.form["least_norm"])

    def scaled(self, x):
        return self.unit(x) if self.options["similarity"] == "cosine" else x

    def content(self, raw):  # vectors of norm sqrt(C)
        return self.unit(raw.float()) * math.sqrt(raw.shape[-1])

    def tied(self, content, id_rows):
        has_content = "item_linear.weight" in self.weights
        return id_rows + self.linear("item_linear", self.content(content)) if has_content else id_rows

    def item(self, content, id_rows):  # [..., C] and [..., E] -> [..., D]
        if self.options["item_tower"] == "tied":
            return self.scaled(self.tied(content, id_rows))
        inputs = torch.cat([self.content(content), id_rows], -1)
        output = self.linear("item_output", F.gelu(self.linear("item_expand", inputs)))
        linear = self.linear("item_linear", inputs) if self.options["item_tower"] == "residual" else 0
        return self.scaled(linear + output)

    def times(self, name, seconds):  # int64 [B, S] -> [B, S, channels]
        period = torch.tensor(self.form["time"]["periods_us"][name])
        angle = ((seconds[..., None] * 1_000_000 % period).double() / period).float() * (2 * math.pi)
        cosine, sine = self.weights[name + ".phase"].chunk(2)
        scale = math.log1p(self.form["time"]["log_scale_seconds"])
        return torch.cat([torch.cos(angle + cosine), torch.sin(angle + sine),
                          torch.log1p(seconds.float())[..., None] / scale], -1)

    def features(self, content, id_rows, action, surface, time, duration, length):
        on, parts = self.options["features"], []
        valid = torch.arange(time.shape[1]) < length[:, None]
        if self.options["item_tower"] != "tied":
            parts += [self.content(content)] if on["content"] else []
            parts += [id_rows]
        parts += [self.weights["action.weight"][action]] if on["action"] else []
        parts += [self.weights["surface.weight"][surface]] if on["surface"] else []
        parts += [torch.log1p(duration.nan_to_num(0).clamp_min(0))[..., None]] if on["duration"] else []
        if on["time"]:
            newest = time.gather(1, length[:, None] - 1)
            gap = torch.diff(time, dim=1, prepend=time[:, :1])
            parts += [self.times("absolute_time", time)]
            parts += [] if self.options["block"] == "lru" else [self.times("age", (newest - time) * valid)]
            parts += [self.times("gap", gap * valid)]
        return torch.cat(parts, -1)

    def hstu(self, name, x, time):  # [B, S, H] -> [B, S, H]
        u, q, v, k = F.silu(self.linear(name + ".uqvk", self.norm(name + ".input_norm", x))).chunk(4, -1)
        q, k, v = (part.unflatten(-1, (self.options["heads"], -1)).transpose(1, 2) for part in (q, k, v))
        places = torch.arange(x.shape[1])
        scores = q @ k.mT + self.weights[name + ".position_bias"][(places[:, None] - places).clamp_min(0)]
        if name + ".time_bias" in self.weights:  # two buckets for each doubling of the seconds
            starts = torch.tensor([0] + [math.ceil(2 ** (bucket / 2)) for bucket in range(1, 64)])
            older = (time[:, :, None] - time[:, None]).clamp_min(0)
            bucket = torch.bucketize(older, starts, right=True) - 1
            scores = scores + self.weights[name + ".time_bias"][bucket][:, None]
        mixed = (F.silu(scores).tril() @ v / self.options["max_length"]).transpose(1, 2).flatten(2)
        return x + self.linear(name + ".output", self.norm(name + ".mixed_norm", mixed) * u)

    def lru(self, name, x):  # [B, S, H] -> [B, S, H]
        decay, angle, scale = (self.weights[f"{name}.log_{part}"].exp() for part in ("decay", "angle", "scale"))
        weight = torch.polar(torch.exp(-decay), angle)
        written = torch.complex(*self.linear(name + ".write", self.norm(name + ".input_norm", x)).chunk(2, -1))
        memory, memories = torch.zeros_like(written[:, 0]), []
        for event in (written * scale).unbind(1):
            memory = weight * memory + event
            memories.append(torch.cat([memory.real, memory.imag], -1))
        x = x + self.linear(name + ".read", torch.stack(memories, 1))
        normed = self.norm(name + ".ffn_norm", x)
        return x + self.linear(name + ".contract", F.silu(self.linear(name + ".swish", normed)) *
                               self.linear(name + ".expand", normed))

    def block(self, name, x, time):  # [B, S, H] -> [B, S, H]
        if self.options["block"] == "hstu":
            return self.hstu(name, x, time)
        if self.options["block"] == "lru":
            return self.lru(name, x)
        ligr, layer = self.options["block"] == "ligr", lambda part, y: self.linear(f"{name}.{part}", y)
        q, k, v = (part.unflatten(-1, (self.options["heads"], -1)).transpose(1, 2)
                   for part in layer("qkv", self.norm(name + ".attention_norm", x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        attended = layer("projection", mixed)
        x = x + (torch.sigmoid(layer("attention_gate", x)) * attended if ligr else attended)
        normed = self.norm(name + ".ffn_norm", x)
        inner = F.silu(layer("swish", normed)) * layer("expand", normed) if ligr else F.gelu(layer("expand", normed))
        ffn = layer("contract", inner)
        return x + (torch.sigmoid(layer("ffn_gate", x)) * ffn if ligr else ffn)

    def user(self, content, id_rows, action, surface, time, duration, length, topic=None):
        places, last = torch.arange(time.shape[1]), length[:, None] - 1
        states = 0
        if "input.weight" in self.weights:
            states = self.linear("input", self.features(content, id_rows, action, surface, time, duration, length))
        if self.options["item_tower"] == "tied":
            states = states + self.tied(content, id_rows)
        if self.options["features"]["position"]:  # numbered from the newest event
            states = states + self.weights["position.weight"][(last - places).clamp_min(0)]
        for layer in range(self.options["layers"]):
            states = self.block(f"block{layer}", states, time)
        vector = self.norm("head_norm", states[torch.arange(len(length)), length - 1])
        if topic is not None:  # of a model with topics, int64 [B], -1: any
            vector = vector + self.weights["condition.weight"][topic.clamp_min(0)] * (topic >= 0)[:, None]
        if self.options["user_head"] != "norm":
            vector = self.linear("head_output", F.gelu(self.linear("head_expand", vector)))
        if self.options["user_vectors"] > 1:  # [B, K, D]
            vector = vector.unflatten(-1, (self.options["user_vectors"], -1))
        if self.options["user_head"] == "residual":
            recent = ((places <= last) & (places > last - self.form["profile_events"]))[..., None]
            mean = (self.item(content, id_rows) * recent).sum(1) / recent.sum(1)
            vector = self.scaled(mean) + vector
        prior = torch.tensor(self.form["prior"]["weights"]).expand(*vector.shape[:-1], -1)
        return torch.cat([self.scaled(vector), prior], -1)
