"""MMoE: several targets share a pool of experts, and each chooses its own mixture.

    f_k(x) = MLP_k( sum_i g_ki(x) E_i(x) ),     g_k = softmax(W_k x)

With one shared bottom, targets that disagree pull it in two directions; here each target's gate
may leave aside the experts that serve the other.
Reference: Ma, Zhao, Yi et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts, KDD 2018.

Simplified: industry also weighs the losses of the targets against each other while training.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.experts import Experts, Gate, every_target
from reclab.cascade.ranking.fields import Deep, FieldNet, NetConfig
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker
from reclab.cascade.ranking.training import TrainConfig
from reclab.core.errors import check_int


@dataclass(frozen=True)
class MMoEConfig(NetConfig):
    """``NetConfig`` and the experts; ``hidden`` are the units of each target's own MLP."""

    hidden: tuple[int, ...] = (24,)
    n_experts: int = 4
    """experts that all targets share (2 … 16)"""
    units: int = 48
    """hidden units of an expert (8 … 256)"""
    train: TrainConfig = field(default_factory=every_target)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("MMoEConfig.n_experts", self.n_experts, 1, 256, "4")
        check_int("MMoEConfig.units", self.units, 1, 4096, "48")


class MMoENet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: MMoEConfig) -> None:
        super().__init__(shape, config)
        targets, width = range(shape.n_targets), self.flat_width
        self.experts = Experts(width, config.n_experts, config.units)
        self.gates = nn.ModuleList(Gate(width, config.n_experts) for _ in targets)
        self.towers = nn.ModuleList(Deep(config.units, config.hidden, 1) for _ in targets)
        own = sum(part.macs for part in (*self.gates, *self.towers))
        self.macs = self.experts.macs + own + self.line_macs

    def forward(self, x: Inputs) -> Tensor:
        numbers = self.numbers(x)
        flat = self.flat(x, numbers)
        experts = self.experts(flat)
        pairs = zip(self.gates, self.towers, strict=True)
        deep = torch.cat([tower(gate(flat, experts)) for gate, tower in pairs], 1)
        return self.linear(x, numbers) + deep


class MMoE(Ranker):
    """The ranker."""

    name = "mmoe"
    Net, Config = MMoENet, MMoEConfig
