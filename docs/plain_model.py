"""The model of an export in plain PyTorch, from model.safetensors and model.json alone.

    model = PlainModel("build/quickstart/export")
    model.user(content, id_rows, action, surface, time, duration, length)  # as user_tower.pt; padding is zeros
    model.item(content, id_rows)                                           # as item_tower.pt
"""
import math

import torch
from plain_encoders import Encoder
from torch.nn import functional as F


class PlainModel(Encoder):
    def item(self, content, id_rows):  # [..., C] and [..., E] -> [..., D]
        if self.options["item_tower"] == "tied":
            return self.scaled(self.tied(content, id_rows))
        rows, codes = self.parted(id_rows)
        inputs = torch.cat([self.content(content), rows], -1)
        output = self.linear("item_output", F.gelu(self.linear("item_expand", inputs)))
        linear = self.linear("item_linear", inputs) if self.options["item_tower"] == "residual" else 0
        return self.scaled(linear + output + codes)

    def user(self, content, id_rows, action, surface, time, duration, length, topic=None):  # [B, S, ...] -> [B, D]
        places, last = torch.arange(time.shape[1]), length[:, None] - 1
        states = 0
        if "input.weight" in self.weights:
            states = self.linear("input", self.features(content, id_rows, action, surface, time, duration, last))
        if self.options["item_tower"] == "tied":
            states = states + self.tied(content, id_rows)
        if self.options["features"]["position"]:  # numbered from the newest event
            states = states + self.weights["position.weight"][(last - places).clamp_min(0)]
        newest = self.encode(states, time)[torch.arange(len(last)), last[:, 0]]
        vector = self.norm("head_norm", newest)
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

    def features(self, content, id_rows, action, surface, time, duration, last):
        on, parts = self.options["features"], []
        if self.options["item_tower"] != "tied":
            parts += [self.content(content)] if on["content"] else []
            parts += [self.parted(id_rows)[0]]
        parts += [self.weights["action.weight"][action]] if on["action"] else []
        parts += [self.weights["surface.weight"][surface]] if on["surface"] else []
        parts += [torch.log1p(duration.nan_to_num(0).clamp_min(0))[..., None]] if on["duration"] else []
        if on["time"]:
            valid = torch.arange(time.shape[1]) <= last
            age, gap = time.gather(1, last) - time, torch.diff(time, dim=1, prepend=time[:, :1])
            parts += [self.times("absolute_time", time)]
            parts += [self.times("age", age * valid)] if self.options["block"] != "lru" else []
            parts += [self.times("gap", gap * valid)]
        return torch.cat(parts, -1)

    def times(self, name, seconds):  # int64 [B, S] -> [B, S, channels]
        period = torch.tensor(self.form["time"]["periods_us"][name])
        angle = ((seconds[..., None] * 1_000_000 % period).double() / period).float() * (2 * math.pi)
        cosine, sine = self.weights[name + ".phase"].chunk(2)
        logarithm = torch.log1p(seconds.float())[..., None] / math.log1p(self.form["time"]["log_scale_seconds"])
        return torch.cat([torch.cos(angle + cosine), torch.sin(angle + sine), logarithm], -1)

    def content(self, raw):  # vectors of norm sqrt(C)
        return self.unit(raw.float()) * math.sqrt(raw.shape[-1])

    def parted(self, id_rows):  # learned rows, and with item.semantic_ids the sums of code rows behind
        codes = self.form["widths"].get("code_sums", 0)  # exports of older programs do not say
        rows = id_rows.shape[-1] - codes
        return id_rows[..., :rows], id_rows[..., rows:] if codes else 0

    def tied(self, content, id_rows):
        rows, codes = self.parted(id_rows)
        has_content = "item_linear.weight" in self.weights
        return codes + (rows + self.linear("item_linear", self.content(content)) if has_content else rows)

    def scaled(self, x):
        return self.unit(x) if self.options["similarity"] == "cosine" else x

    def unit(self, x):
        return x / x.norm(dim=-1, keepdim=True).clamp_min(self.form["least_norm"])
