"""Deep Interest Network (DIN): what of the user's past matters depends on the candidate.

    v(t) = sum_j a(h_j, t) h_j      a = w2 · PReLU(W [h_j, t, h_j - t, h_j * t] + b1) + b2
    p    = sigma(MLP[user, t, v(t), v(t) * t, user * t, interest, numbers])

The weights are not put through a softmax, as in the paper: their sum tells how strong the interest
is, not only where it lies. W [h, t, h - t, h * t] = (Wh + Wd) h + (Wt - Wd) t + Wp (h * t), so the
first term is computed once a request, the second once a candidate, and only the last for each pair.
Reference: Zhou, Zhu, Song et al., Deep Interest Network for Click-Through Rate Prediction, KDD
2018.

Simplified: industry feeds hundreds of fields, thousands of past items, and serves on GPUs.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.layers import mlp, mlp_macs
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker, RankerNet
from reclab.cascade.ranking.training import OneThread, TrainConfig
from reclab.core.errors import check_int
from reclab.core.types import Array, Candidates


@dataclass(frozen=True)
class DINConfig:
    """Sizes of the network, and how it is trained."""

    dim: int = 24
    """length of an embedding (4 … 64)"""
    attention: int = 16
    """hidden units of the attention MLP (4 … 80)"""
    hidden: tuple[int, ...] = (96, 48)
    """hidden units of the top MLP (each 8 … 512)"""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=1, learning_rate=4e-3, weight_decay=1e-5, negatives="exposed"
        )
    )

    def __post_init__(self) -> None:
        check_int("DINConfig.dim", self.dim, 1, 1024, "24")
        check_int("DINConfig.attention", self.attention, 1, 1024, "16")
        for units in self.hidden:
            check_int("DINConfig.hidden", units, 1, 8192, "96")


class TargetAttention(nn.Module):
    """(n, dim) sum of a history weighted by what a small MLP says of each item and the target."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.past = nn.Linear(dim, hidden)
        self.target = nn.Linear(dim, hidden, bias=False)
        self.product = nn.Linear(dim, hidden, bias=False)
        self.act = nn.PReLU(hidden, init=0.1)
        self.out = nn.Linear(hidden, 1)

    def weights(self, past: Tensor, target: Tensor, request_row: Tensor) -> Tensor:
        """(n, L) weights from past (B, L, d), target (n, d), request_row (n,)."""
        mine = past.index_select(0, request_row)
        once = self.past(past).index_select(0, request_row)
        hidden = once + self.target(target)[:, None] + self.product(mine * target[:, None])
        weights: Tensor = self.out(self.act(hidden.flatten(0, 1))).view(hidden.shape[:2])
        return weights

    def forward(self, past: Tensor, mask: Tensor, target: Tensor, request_row: Tensor) -> Tensor:
        """past (B, L, d), mask (B, L) true where there is an item -> (n, d)."""
        weights = self.weights(past, target, request_row) * mask[request_row]
        mine = past.index_select(0, request_row)
        weighted: Tensor = torch.bmm(weights[:, None], mine).squeeze(1)
        return weighted / past.shape[1] ** 0.5


class DINNet(RankerNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: DINConfig) -> None:
        super().__init__(shape, config.dim)
        self.attention = TargetAttention(config.dim, config.attention)
        width = 5 * config.dim + shape.request_width + shape.pair_width
        self.top = mlp([width, *config.hidden, shape.n_targets])
        # what is known to matter acts at once and in line; the MLP learns the rest
        self.direct = nn.Linear(config.dim + shape.pair_width, shape.n_targets, bias=False)
        pairs = shape.history * (config.dim + 2) * config.attention
        self.macs = pairs + mlp_macs([width, *config.hidden, shape.n_targets])

    def forward(self, x: Inputs) -> Tensor:
        target = self.items(x.item_row)
        past = self.items(x.history)
        user = self.embed.user_vector(x.user)
        interest = self.attention(past, x.history >= 0, target, x.request_row)
        user = user.index_select(0, x.request_row)
        both = user * target
        request, pair = self.request_scale(x.request), self.pair_scale(x.pair)
        parts = [user, target, interest, interest * target, both]
        top = torch.cat([*parts, request.index_select(0, x.request_row), pair], 1)
        logits: Tensor = self.top(top) + self.direct(torch.cat([both, pair], 1))
        return logits


class DIN(Ranker):
    """The ranker of the cascade."""

    config: DINConfig
    name = "din"
    Net, Config = DINNet, DINConfig

    def attention(self, batch: Batch, candidates: Candidates) -> tuple[Array, Array]:
        """(n, L) item rows of each candidate's behaviour sequence, newest last and -1 padded, and
        (n, L) the weights that the candidate gives them, 0 where there is no item."""
        x = Inputs.of(self.features.for_batch(batch, candidates))
        with OneThread(), torch.inference_mode():
            past, target = self.net.items(x.history), self.net.items(x.item_row)
            weight = self.net.attention.weights(past, target, x.request_row)
            weight = weight * (x.history >= 0)[x.request_row]
        return x.history[x.request_row].numpy(), weight.numpy()
