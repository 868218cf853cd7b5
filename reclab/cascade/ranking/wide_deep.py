"""Wide & Deep: a linear model that remembers, and an MLP that generalises, added up.

    p = sigma( sum_f w[code_f] + w · z  +  MLP[e_1, …, e_F, z] )

The wide part has one weight for every id and can keep exceptions ("this film is good") that an MLP
of short vectors would smooth away.
Reference: Cheng, Koc, Harmsen et al., Wide & Deep Learning for Recommender Systems, DLRS 2016.

Simplified: industry adds chosen products of fields (installed app x shown app) to the wide part.
"""

from torch import Tensor

from reclab.cascade.ranking.fields import Deep, FieldNet, NetConfig
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker


class WideDeepNet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: NetConfig) -> None:
        super().__init__(shape, config)
        self.deep = Deep(self.flat_width, config.hidden, shape.n_targets)
        self.macs = self.line_macs + self.deep.macs

    def forward(self, x: Inputs) -> Tensor:
        numbers = self.numbers(x)
        deep: Tensor = self.deep(self.flat(x, numbers))
        return self.linear(x, numbers) + deep


class WideDeep(Ranker):
    """The ranker."""

    name = "wide_deep"
    Net, Config = WideDeepNet, NetConfig
