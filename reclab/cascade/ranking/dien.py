"""Deep Interest Evolution Network (DIEN): interests move, and where they move tells of the next.

    h_t  = GRU(e_1 … e_t)                                     what the user wants at step t
    a_t  = softmax_t(h_t W e_target)                          how much step t is about the target
    h'_t = (1 - a_t u_t) h'_{t-1} + a_t u_t h~_t              AUGRU: only related steps move it
    p    = sigma(MLP[e, z, target, h'_L, h'_L * target])      e, z: vectors of fields, numbers
    loss = L_target + w L_aux,   L_aux = -mean ln sigma(h_t · e_{t+1}) + ln sigma(-h_t · e_other)

The auxiliary loss makes each state say which item came next, not only the last one; its negatives
are the next items of other requests in the minibatch.
Reference: Zhou, Mou, Fan et al., Deep Interest Evolution Network for CTR Prediction, AAAI 2019.

Simplified: industry advances the GRU as events arrive, and reads its last state.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reclab.cascade.ranking.fields import Deep, FieldNet, NetConfig, exposed_rows
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker
from reclab.cascade.ranking.training import TrainConfig
from reclab.core.errors import check_float, check_int


@dataclass(frozen=True)
class DIENConfig(NetConfig):
    """``NetConfig``, how far back the evolution goes, and the weight of the auxiliary loss."""

    length: int = 10
    """latest positives that are followed (items, 5 … 50)"""
    auxiliary: float = 0.2
    """w, weight of the auxiliary loss (0 … 1)"""
    train: TrainConfig = field(default_factory=exposed_rows)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("DIENConfig.length", self.length, 2, 1000, "10")
        check_float("DIENConfig.auxiliary", self.auxiliary, 0.0, 10.0, "0.2")


class AUGRU(nn.Module):
    """A GRU whose update gate is scaled by attention, for n candidates at once."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.past = nn.Linear(dim, 3 * dim)
        self.gates = nn.Linear(dim, 2 * dim, bias=False)
        self.new = nn.Linear(dim, dim, bias=False)

    def forward(self, states: Tensor, weights: Tensor, request_row: Tensor) -> Tensor:
        """states (B, L, d), weights (n, L), request_row (n,) -> (n, d) the last state."""
        pushes = self.past(states)[request_row]  # the same for all candidates of a request
        dim = states.shape[2]
        now = states.new_zeros((len(request_row), dim))
        for step in range(states.shape[1]):
            update, reset, new = pushes[:, step].split(dim, 1)
            from_update, from_reset = self.gates(now).split(dim, 1)
            update = weights[:, step, None] * torch.sigmoid(update + from_update)
            new = torch.tanh(new + torch.sigmoid(reset + from_reset) * self.new(now))
            now = now + update * (new - now)
        return now


class DIENNet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: DIENConfig) -> None:
        super().__init__(shape, config)
        self.length, self.weight = min(config.length, shape.history), config.auxiliary
        dim, length = config.dim, self.length
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.alike = nn.Linear(dim, dim, bias=False)
        self.augru = AUGRU(dim)
        self.deep = Deep(self.flat_width + 3 * dim, config.hidden, shape.n_targets)
        self.macs = length * (3 * dim * dim + dim) + self.deep.macs + self.line_macs

    def forward(self, x: Inputs) -> Tensor:
        rows = x.history[:, -self.length :]
        past, there = self.items(rows), rows >= 0
        states, _ = self.gru(past)
        self.extra = self.weight * auxiliary_loss(states, past, there) if self.training else None
        target, owner = self.items(x.item_row), x.request_row
        match = (self.alike(states).index_select(0, owner) * target[:, None]).sum(2)
        match = match.masked_fill(~there[owner], -1e9)
        weights = torch.softmax(match, 1) * there.any(1)[owner, None]
        moved = self.augru(states, weights, owner)
        numbers = self.numbers(x)
        flat = self.flat(x, numbers)
        deep: Tensor = self.deep(torch.cat([flat, target, moved, moved * target], 1))
        return self.linear(x, numbers) + deep


def auxiliary_loss(states: Tensor, past: Tensor, there: Tensor) -> Tensor:
    """Mean log loss of telling the next item from another request's: states, past (B, L, d),
    there (B, L) true where there is an item."""
    now, following, other = states[:, :-1], past[:, 1:], past[:, 1:].roll(1, 0)
    known = (there[:, :-1] & there[:, 1:]).float()
    right, wrong = (now * following).sum(2), (now * other).sum(2)
    loss = F.softplus(-right) + F.softplus(wrong) * there[:, 1:].roll(1, 0)
    return (loss * known).sum() / known.sum().clamp(min=1)


class DIEN(Ranker):
    """The ranker."""

    name = "dien"
    Net, Config = DIENNet, DIENConfig
