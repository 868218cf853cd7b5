"""xDeepFM: products of fields of every order up to a chosen one, counted, not learned by chance.

    X^0 = the (F, d) field vectors
    X^k_h = sum_{i, j} W^k_hij  X^{k-1}_i * X^0_j        h = 1 … H feature maps, elementwise in d
    p = sigma( linear + w · [sum_d X^1, …, sum_d X^K] + MLP[e, z] )

Layer k of this compressed interaction network (CIN) holds products of k + 1 fields. Multiplying
stays within a dimension, so a vector is treated as a whole.
Reference: Lian, Zhou, Zhang et al., xDeepFM, KDD 2018.

Simplified: industry seldom serves it: CIN costs F² H d for each candidate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.fields import Deep, FieldNet, NetConfig
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker
from reclab.core.errors import check_int


@dataclass(frozen=True)
class XDeepFMConfig(NetConfig):
    """``NetConfig`` and the size of the CIN."""

    dim: int = 8
    maps: tuple[int, ...] = (8, 8)
    """feature maps of each layer (each 2 … 200)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for maps in self.maps:
            check_int("XDeepFMConfig.maps", maps, 1, 4096, "8-64")


class CIN(nn.Module):
    """(n, F, d) -> (n, sum of maps)."""

    def __init__(self, n_fields: int, maps: tuple[int, ...]) -> None:
        super().__init__()
        before = (n_fields, *maps[:-1])
        self.weights = nn.ParameterList(
            torch.randn(h, below, n_fields) / (below * n_fields) ** 0.5
            for h, below in zip(maps, before, strict=True)
        )

    def forward(self, fields: Tensor) -> Tensor:
        layer, sums = fields, []
        *below, last = self.weights
        for weight in below:
            # contract the fields first: (n, h, i, d) is smaller than all products (n, i, j, d)
            mixed = (weight.flatten(0, 1) @ fields).unflatten(1, weight.shape[:2])
            layer = (mixed * layer[:, None]).sum(2)
            sums.append(layer.sum(2))
        # of the last layer only the sum over d is asked: products of fields summed over d first
        products = torch.bmm(layer, fields.transpose(1, 2))
        return torch.cat([*sums, products.flatten(1) @ last.flatten(1).T], 1)


class XDeepFMNet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: XDeepFMConfig) -> None:
        super().__init__(shape, config)
        self.deep = Deep(self.flat_width, config.hidden, shape.n_targets)
        self.cin = CIN(self.n_fields, config.maps)
        self.out = nn.Linear(sum(config.maps), shape.n_targets, bias=False)
        below = (self.n_fields, *config.maps[:-1])
        each = sum(h * b for h, b in zip(config.maps, below, strict=True))
        self.macs = self.line_macs + self.deep.macs + each * (self.n_fields + 1) * config.dim

    def forward(self, x: Inputs) -> Tensor:
        numbers = self.numbers(x)
        flat = self.flat(x, numbers)
        out: Tensor = self.linear(x, numbers) + self.out(self.cin(self.fields(flat)))
        return out + self.deep(flat)


class XDeepFM(Ranker):
    """The ranker."""

    name = "x_deep_fm"
    Net, Config = XDeepFMNet, XDeepFMConfig
