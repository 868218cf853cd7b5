"""Experts: many small MLPs over the same inputs, side by side as one matrix product."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.fields import exposed_rows
from reclab.cascade.ranking.targets import TARGETS
from reclab.cascade.ranking.training import TrainConfig


def every_target() -> TrainConfig:
    """Experts are for many targets: learn all that the logs have."""
    return replace(exposed_rows(), targets=TARGETS)


class Experts(nn.Module):
    """(n, width) -> (n, E, units): one hidden layer of ``units`` for each of E experts."""

    def __init__(self, width: int, n_experts: int, units: int) -> None:
        super().__init__()
        self.shape = (n_experts, units)
        self.layer = nn.Linear(width, n_experts * units)
        self.act = nn.PReLU(n_experts * units, init=0.1)
        self.macs = width * n_experts * units

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.layer(x))
        return out.view(-1, *self.shape)


class Gate(nn.Module):
    """(n, width), (n, E, units) -> (n, units): experts mixed by softmax weights of the input."""

    def __init__(self, width: int, n_experts: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, n_experts)
        self.macs = width * n_experts

    def forward(self, x: Tensor, experts: Tensor) -> Tensor:
        weights = torch.softmax(self.layer(x), 1)
        mixed: Tensor = torch.bmm(weights[:, None], experts)[:, 0]
        return mixed
