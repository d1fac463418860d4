"""The model and its loss once more, in PyTorch and in the plainest form: what the C++ step is compared
with, and what a user of PyTorch would write. Parameter names are those of the C++ model."""
import math

import torch
import torch.nn.functional as F
from torch import nn

HOUR, DAY = 3600.0, 86400.0
ABSOLUTE_PERIODS = [HOUR / 4, HOUR / 2, HOUR * 3 / 4, HOUR, HOUR * 2, HOUR * 4, HOUR * 8, HOUR * 16,
                    DAY, DAY * 7, DAY * 28, DAY * 365]
RELATIVE_PERIODS = [(28 * DAY) ** (i / 31) for i in range(32)]


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-6)


class TimeEncoding(nn.Module):
    """cos(2 pi t / p + phase), sin(2 pi t / p + phase) for every period, and log(1 + t)."""

    def __init__(self, periods):
        super().__init__()
        self.register_buffer("micro", torch.tensor([round(p * 1e6) for p in periods]), persistent=False)
        self.phase = nn.Parameter(torch.zeros(2 * len(periods)))

    def forward(self, seconds):
        # The remainder in whole microseconds: float32 could not tell one second of 2024 from the next.
        turns = ((seconds * 10**6)[..., None] % self.micro).double() / self.micro
        angle = turns.float() * (2 * math.pi)
        cos_phase, sin_phase = self.phase.chunk(2)
        log_time = torch.log1p(seconds.float())[..., None] / math.log1p(28 * DAY)
        return torch.cat([torch.cos(angle + cos_phase), torch.sin(angle + sin_phase), log_time], -1)


class Block(nn.Module):
    def __init__(self, width, heads, dropout, ligr=False):
        super().__init__()
        self.ligr = ligr
        if ligr:
            self.attention_gate, self.ffn_gate = nn.Linear(width, width), nn.Linear(width, width)
            self.swish = nn.Linear(width, 4 * width)
        self.heads = heads
        self.attention_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, _):
        users, length, width = x.shape
        q, k, v = (part.view(users, length, self.heads, -1).transpose(1, 2)
                   for part in self.qkv(self.attention_norm(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = self.projection(mixed.transpose(1, 2).reshape(users, length, width))
        if not self.ligr:
            x = x + self.dropout(mixed)
            return x + self.dropout(self.contract(F.gelu(self.expand(self.ffn_norm(x)))))
        x = x + self.dropout(torch.sigmoid(self.attention_gate(x)) * mixed)
        normed = self.ffn_norm(x)
        ffn = self.contract(F.silu(self.swish(normed)) * self.expand(normed))
        return x + self.dropout(torch.sigmoid(self.ffn_gate(x)) * ffn)


class HstuBlock(nn.Module):
    """Pointwise attention, which U gates: U, Q, V, K in the order u, q, v, k of the rows of one matrix."""

    def __init__(self, width, heads, dropout, max_length):
        super().__init__()
        self.heads, self.max_length = heads, max_length
        self.input_norm, self.mixed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.uqvk, self.output = nn.Linear(width, 4 * width), nn.Linear(width, width)
        self.position_bias, self.time_bias = nn.Parameter(torch.zeros(max_length)), nn.Parameter(torch.zeros(64))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, time):
        users, length, width = x.shape
        u, q, v, k = F.silu(self.uqvk(self.input_norm(x))).chunk(4, -1)
        q, k, v = (part.view(users, length, self.heads, -1).transpose(1, 2) for part in (q, k, v))
        place = torch.arange(length)
        older = (place[:, None] - place).clamp_min(0)
        seconds = (time[:, :, None] - time[:, None, :]).clamp_min(1)
        bucket = (2 * torch.log2(seconds.double()) + 1e-9).floor().long()  # two for each doubling
        scores = q @ k.transpose(2, 3) + self.position_bias[older] + self.time_bias[bucket][:, None]
        mixed = F.silu(scores).tril() @ v / self.max_length
        mixed = mixed.transpose(1, 2).reshape(users, length, width)
        return x + self.output(self.dropout(self.mixed_norm(mixed) * u))


class LruBlock(nn.Module):
    """A complex recurrence, event by event, and SwiGLU."""

    def __init__(self, width, dropout):
        super().__init__()
        inner = (8 * width + 2) // 3
        self.input_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.write, self.read = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.swish, self.expand = nn.Linear(width, inner), nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)
        for name in ("log_decay", "log_angle", "log_scale"):
            setattr(self, name, nn.Parameter(torch.zeros(width)))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, _):
        weight = torch.polar(torch.exp(-torch.exp(self.log_decay)), torch.exp(self.log_angle))
        written = torch.complex(*self.write(self.input_norm(x)).float().chunk(2, -1)) * torch.exp(self.log_scale)
        state, states = torch.zeros_like(written[:, 0]), []
        for event in written.unbind(1):
            state = weight * state + event
            states.append(state)
        memory = torch.stack(states, 1)
        x = x + self.dropout(self.read(torch.cat([memory.real, memory.imag], -1)))
        normed = self.ffn_norm(x)
        return x + self.dropout(self.contract(F.silu(self.swish(normed)) * self.expand(normed)))


class PinnerFormer(nn.Module):
    def __init__(self, item_vectors, actions, surfaces, *, max_length, hidden, layers, heads, output,
                 item_hidden, action_dim, surface_dim, dropout=0.0, temperature=0.07,
                 block="transformer", user_head="mlp", similarity="cosine", tower="mlp"):
        super().__init__()
        self.cosine = similarity == "cosine"
        width = item_vectors.shape[1]
        content = unit(item_vectors.float()) * math.sqrt(width)
        self.register_buffer("content", content, persistent=False)
        self.action, self.surface = nn.Embedding(actions, action_dim), nn.Embedding(surfaces, surface_dim)
        self.absolute_time = TimeEncoding(ABSOLUTE_PERIODS)
        self.recurrent = block == "lru"  # what such a block reads does not depend on later events
        self.gap = TimeEncoding(RELATIVE_PERIODS)
        channels = 2 * (len(ABSOLUTE_PERIODS) + len(RELATIVE_PERIODS)) + 2
        if not self.recurrent:
            self.age, self.position = TimeEncoding(RELATIVE_PERIODS), nn.Embedding(max_length, hidden)
            channels += 2 * len(RELATIVE_PERIODS) + 1
        self.input = nn.Linear(width + action_dim + surface_dim + 1 + channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.layers = layers
        kinds = {"transformer": lambda: Block(hidden, heads, dropout),
                 "ligr": lambda: Block(hidden, heads, dropout, ligr=True),
                 "hstu": lambda: HstuBlock(hidden, heads, dropout, max_length),
                 "lru": lambda: LruBlock(hidden, dropout)}
        for layer in range(layers):
            self.add_module(f"block{layer}", kinds[block]())
        self.head_norm = nn.LayerNorm(hidden)
        self.mlp_head, self.residual_head = user_head != "norm", user_head == "residual"
        if self.mlp_head:
            self.head_expand, self.head_output = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, output)
        self.item_expand, self.item_output = nn.Linear(width, item_hidden), nn.Linear(item_hidden, output)
        self.residual = tower == "residual"
        if self.residual:
            self.item_linear = nn.Linear(width, output)
        if self.cosine:
            self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(temperature)))

    def inputs(self, batch):
        length, time = batch["length"][:, None], batch["time"]
        index = torch.arange(time.shape[1])
        valid = index < length
        age = (time.gather(1, length - 1) - time) * valid
        gap = torch.diff(time, dim=1, prepend=time[:, :1]) * valid
        duration = torch.log1p(batch["duration"].nan_to_num(0.0).clamp_min(0))[..., None]
        parts = [self.content[batch["item"]], self.action(batch["action"]), self.surface(batch["surface"]),
                 duration, self.absolute_time(time)]
        if self.recurrent:
            return self.input(torch.cat([*parts, self.gap(gap)], -1))
        states = self.input(torch.cat([*parts, self.age(age), self.gap(gap)], -1))
        return states + self.position((length - 1 - index).clamp_min(0))

    def hidden(self, batch):
        x = self.dropout(self.inputs(batch))
        for layer in range(self.layers):
            x = getattr(self, f"block{layer}")(x, batch["time"])
        return x

    def scaled(self, vectors):
        return unit(vectors.float()) if self.cosine else vectors.float()

    def inverse_temperature(self):
        return self.log_inverse_temperature.exp() if self.cosine else torch.tensor(1.0)

    def users(self, hidden, profile=None):
        state = self.head_norm(hidden)
        output = self.head_output(F.gelu(self.head_expand(state))) if self.mlp_head else state
        return self.scaled(output if profile is None else profile + output)

    def profiles(self, batch, pairs):
        """The mean of the item vectors of the last 20 events up to each pair's position."""
        vectors = self.items(batch["item"])
        means = [vectors[row, max(0, last - 19):last + 1].mean(0)
                 for row, last in zip(pairs["row"].tolist(), pairs["position"].tolist())]
        return self.scaled(torch.stack(means))

    def items(self, rows):
        content = self.content[rows]
        deep = self.item_output(F.gelu(self.item_expand(content)))
        return self.scaled(self.item_linear(content) + deep if self.residual else deep)

    def forward(self, batch, pairs, pool_rows):
        """Vectors of the users at the pairs' positions, of their items, and of the pool's rows."""
        hidden = self.hidden(batch)
        profile = self.profiles(batch, pairs) if self.residual_head else None
        return (self.users(hidden[pairs["row"], pairs["position"]], profile), self.items(pairs["item"]),
                self.items(pool_rows))


def sampled_softmax(user, positive, pool, inverse_temperature, pairs, drawn, users_with_pairs):
    """Sum over the pairs of weight x cross entropy against the pool, divided by the users; a column
    whose item is one of the user's own labels is no negative."""
    positive_logit = (user * positive).sum(-1) * inverse_temperature - drawn["positive_log_q"]
    logits = user @ pool.T * inverse_temperature - drawn["log_q"]
    logits = logits.masked_fill(drawn["mask"][pairs["row"]], -torch.inf)
    all_logits = torch.cat([positive_logit[:, None], logits], 1).float()
    losses = F.cross_entropy(all_logits, torch.zeros(len(all_logits), dtype=torch.long), reduction="none")
    return (losses * pairs["weight"]).sum() / users_with_pairs
