"""Layers that every ranker shares: embeddings of fields, numbers on one scale, a small MLP.

    e_i = sum_f s_f E[code_if]          (an item is the sum of its id, author, tags, …; s_f learned)
    z = clip((x - mean) / std, -5, 5)   (NaN becomes 0 = the mean seen in training)

A sum over fields gives an item that was never trained on a vector all the same: its id adds
nothing (code 0 is the zero vector), its author and its tags do.

Simplified: industry shards embedding tables over parameter servers and hashes new ids into them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reclab.core.types import Array


class Embeddings(nn.Module):
    """Vectors of user and item fields. Codes carry their field's offset; 0 = unknown = zero."""

    def __init__(
        self, n_user_codes: int, n_item_codes: int, field_scale: Sequence[float], dim: int
    ):
        super().__init__()
        self.user = nn.Embedding(n_user_codes, dim, padding_idx=0)
        self.item = nn.Embedding(n_item_codes, dim, padding_idx=0)
        self.field_scale = nn.Parameter(torch.tensor(field_scale, dtype=torch.float32))
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.3 / dim**0.5)
            with torch.no_grad():
                table.weight[0] = 0.0

    def user_vector(self, codes: Tensor) -> Tensor:
        """(…, Fu) codes -> (…, dim) sum over fields."""
        vectors: Tensor = self.user(codes).sum(-2)
        return vectors

    def item_vector(self, codes: Tensor) -> Tensor:
        """(…, Fi) codes -> (…, dim) scaled sum over fields."""
        flat = codes.reshape(-1, codes.shape[-1])
        scale = self.field_scale.expand(flat.shape).contiguous()
        vectors = F.embedding_bag(
            flat, self.item.weight, mode="sum", per_sample_weights=scale, padding_idx=0
        )
        return vectors.view(*codes.shape[:-1], -1)


class Standardise(nn.Module):
    """Numbers on one scale, learned once from the training rows and saved with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def learn(self, x: Array) -> None:
        """Take mean and spread of (n, width) training rows; a constant column keeps spread 1."""
        std = x.std(0, dtype=np.float64)
        self.mean.copy_(torch.from_numpy(x.mean(0, dtype=np.float64)))
        self.std.copy_(torch.from_numpy(np.where(std > 1e-6, std, 1.0)))

    def forward(self, x: Tensor) -> Tensor:
        z = (x - self.mean) / self.std
        return torch.nan_to_num(z, nan=0.0, posinf=5.0, neginf=-5.0).clamp(-5.0, 5.0)


def line(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer, also of no inputs at all, which torch would warn of."""
    if n_in:
        return nn.Linear(n_in, n_out)
    constant = nn.Linear(1, n_out)
    constant.in_features, constant.weight = 0, nn.Parameter(torch.zeros(n_out, 0))
    nn.init.zeros_(constant.bias)
    return constant


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given sizes with PReLU between them, none after the last."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.PReLU(n_out, init=0.1)]
    return nn.Sequential(*layers[:-1])


def mlp_macs(sizes: Sequence[int]) -> int:
    """Multiply-adds of one row through ``mlp(sizes)``."""
    return sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
