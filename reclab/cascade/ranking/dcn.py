"""DCN-v2: layers that multiply the inputs with themselves, one order more at each.

    x_0     = [e_1, …, e_F, z]
    x_{l+1} = x_0 * (W_l x_l + b_l) + x_l            W_l = U_l V_l of a low rank
    p       = sigma( w · [x_L, MLP(x_0)] )

Every product of inputs up to order L + 1 has its place, numbers included, at the cost of a matrix
product a layer.
Reference: Wang, Shivanna, Cheng et al., DCN V2, WWW 2021.

Simplified: industry mixes several such low-rank experts by gates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.fields import FieldNet, NetConfig
from reclab.cascade.ranking.layers import mlp, mlp_macs
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker
from reclab.core.errors import check_int


@dataclass(frozen=True)
class DCNConfig(NetConfig):
    """``NetConfig`` and the cross layers."""

    n_cross: int = 2
    """cross layers (1 … 4)"""
    rank: int = 32
    """rank of their matrices (8 … 256)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("DCNConfig.n_cross", self.n_cross, 1, 16, "2-3")
        check_int("DCNConfig.rank", self.rank, 1, 4096, "32")


class Cross(nn.Module):
    """One cross layer on (n, width)."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width)
        self.macs = 2 * width * rank

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        crossed: Tensor = first * self.up(self.down(x)) + x
        return crossed


class DCNNet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: DCNConfig) -> None:
        super().__init__(shape, config)
        width, deep = self.flat_width, [self.flat_width, *config.hidden]
        self.cross = nn.ModuleList(Cross(width, config.rank) for _ in range(config.n_cross))
        self.deep = nn.Sequential(mlp(deep), nn.PReLU(deep[-1], init=0.1))
        self.out = nn.Linear(width + deep[-1], shape.n_targets)
        self.macs = sum(layer.macs for layer in self.cross) + mlp_macs(deep)
        self.macs += (width + deep[-1]) * shape.n_targets + self.line_macs

    def forward(self, x: Inputs) -> Tensor:
        numbers = self.numbers(x)
        first = crossed = self.flat(x, numbers)
        for layer in self.cross:
            crossed = layer(first, crossed)
        out: Tensor = self.out(torch.cat([crossed, self.deep(first)], 1))
        return self.linear(x, numbers) + out


class DCN(Ranker):
    """The ranker."""

    name = "dcn"
    Net, Config = DCNNet, DCNConfig
