"""PLE: each target has experts of its own beside the shared ones, level upon level.

    level:  task k mixes [its own experts, the shared ones] by a gate of its own input
            the shared path mixes all experts, for the next level
    f_k(x) = MLP_k(task k's mixture at the last level)

In MMoE every expert may be pulled by every target, and a gain for one is often a loss for another
(the seesaw). Experts that only their target trains cannot be pulled away.
Levels start at He's scale: at a smaller one so little passes through a few of them that, under
weight decay, all weights may shrink to zero before they learn, and the linear part is left alone.
Reference: Tang, Liu, Zhao, Gong, Progressive Layered Extraction (PLE), RecSys 2020;
He, Zhang, Ren, Sun, Delving Deep into Rectifiers, ICCV 2015.

Simplified: industry also gives each target its own share of the training rows.
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
class PLEConfig(NetConfig):
    """``NetConfig`` and the experts; ``hidden`` are the units of each target's own MLP."""

    hidden: tuple[int, ...] = (24,)
    n_own: int = 2
    """experts of each target (1 … 8)"""
    n_shared: int = 2
    """experts that all targets share (1 … 8)"""
    units: int = 32
    """hidden units of an expert (8 … 256)"""
    train: TrainConfig = field(default_factory=every_target)
    n_levels: int = 2
    """levels of extraction (1 … 3)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, typical in (("n_own", "2"), ("n_shared", "2"), ("units", "32")):
            check_int(f"PLEConfig.{name}", getattr(self, name), 1, 4096, typical)
        check_int("PLEConfig.n_levels", self.n_levels, 1, 8, "2")


class Level(nn.Module):
    """One level: inputs (n, width) of each target and of the shared path, last -> the same of
    ``units``; the last level has no shared output."""

    def __init__(self, width: int, n_targets: int, config: PLEConfig, is_last: bool) -> None:
        super().__init__()
        counts = [config.n_own] * n_targets + [config.n_shared]
        self.experts = nn.ModuleList(Experts(width, n, config.units) for n in counts)
        seen = [config.n_own + config.n_shared] * n_targets + [sum(counts)] * (not is_last)
        self.gates = nn.ModuleList(Gate(width, n) for n in seen)
        for experts in self.experts:
            nn.init.kaiming_normal_(experts.layer.weight, a=0.1)  # PReLU starts at this slope
            nn.init.zeros_(experts.layer.bias)
        self.macs = sum(part.macs for part in (*self.experts, *self.gates))

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        made = [experts(x) for experts, x in zip(self.experts, inputs, strict=True)]
        seen = [torch.cat([own, made[-1]], 1) for own in made[:-1]]
        if len(self.gates) == len(inputs):
            seen.append(torch.cat(made, 1))
        return [
            gate(x, experts) for gate, x, experts in zip(self.gates, inputs, seen, strict=False)
        ]


class PLENet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: PLEConfig) -> None:
        super().__init__(shape, config)
        widths = [self.flat_width] + [config.units] * (config.n_levels - 1)
        self.levels = nn.ModuleList(
            Level(width, shape.n_targets, config, is_last=number == config.n_levels)
            for number, width in enumerate(widths, 1)
        )
        towers = range(shape.n_targets)
        self.towers = nn.ModuleList(Deep(config.units, config.hidden, 1) for _ in towers)
        self.macs = sum(part.macs for part in (*self.levels, *self.towers)) + self.line_macs

    def forward(self, x: Inputs) -> Tensor:
        numbers = self.numbers(x)
        paths = [self.flat(x, numbers)] * (len(self.towers) + 1)
        for level in self.levels:
            paths = level(paths)
        pairs = zip(self.towers, paths, strict=True)
        return self.linear(x, numbers) + torch.cat([tower(own) for tower, own in pairs], 1)


class PLE(Ranker):
    """The ranker."""

    name = "ple"
    Net, Config = PLENet, PLEConfig
