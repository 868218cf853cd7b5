"""DeepFM: a factorisation machine for pairs of fields beside an MLP, over the same vectors.

    FM = sum_{f<g} e_f * e_g = ((sum_f e_f)^2 - sum_f e_f^2) / 2        (elementwise, cost F d)
    p  = sigma( sum_f w[code_f] + w · z  +  h · FM  +  MLP[e, z] )

With h = 1 the second term is the machine of the paper, sum of e_f · e_g; h is learned for each
target, so that several targets can share the vectors.
References: Guo, Tang, Ye, Li, He, DeepFM, IJCAI 2017; Rendle, Factorization Machines, ICDM 2010.

Simplified: industry prunes pairs of fields that add nothing.
"""

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.fields import Deep, FieldNet, NetConfig
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker


def pair_products(fields: Tensor) -> Tensor:
    """(n, F, d) -> (n, d) sum over pairs f < g of e_f * e_g."""
    total = fields.sum(1)
    products: Tensor = 0.5 * (total * total - (fields * fields).sum(1))
    return products


class DeepFMNet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: NetConfig) -> None:
        super().__init__(shape, config)
        self.deep = Deep(self.flat_width, config.hidden, shape.n_targets)
        self.pairs = nn.Parameter(torch.ones(config.dim, shape.n_targets))
        self.macs = self.line_macs + self.deep.macs + 2 * self.n_fields * config.dim

    def forward(self, x: Inputs) -> Tensor:
        numbers = self.numbers(x)
        flat = self.flat(x, numbers)
        pairs, deep = pair_products(self.fields(flat)), self.deep(flat)
        out: Tensor = self.linear(x, numbers) + pairs @ self.pairs + deep
        return out


class DeepFM(Ranker):
    """The ranker."""

    name = "deep_fm"
    Net, Config = DeepFMNet, NetConfig
