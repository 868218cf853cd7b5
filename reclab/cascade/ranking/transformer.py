"""A Transformer ranker: the behaviour sequence and the target attend to each other.

    tokens  = [h_1 + pos_1, …, h_L + pos_L, target + pos_0]
    s       = one encoder layer: softmax(Q K^T / sqrt(d)) V in a few heads, then an MLP, residuals
    p       = sigma(MLP[e, z, target, s_target, s_target * target])

with e, z the vectors of all fields and the numbers (``fields``).

DIN weighs each past item by itself; here past items also see each other, and their order counts.
The product with the target is not in the paper: without it the MLP had to find it by itself.
Reference: Chen, Zhao, Li, Huang, Ou, Behavior Sequence Transformer for E-commerce Recommendation in
Alibaba, DLP-KDD 2019.

Simplified: industry feeds hundreds of actions, with their times and kinds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.fields import Deep, FieldNet, NetConfig
from reclab.cascade.ranking.ranker import Inputs, NetShape, Ranker
from reclab.core.errors import check, check_int


@dataclass(frozen=True)
class TransformerConfig(NetConfig):
    """``NetConfig``, and what the encoder layer looks like."""

    length: int = 10
    """latest positives that attend (items, 5 … 100)"""
    heads: int = 2
    """attention heads; ``dim`` is a multiple of them (1 … 8)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("TransformerConfig.length", self.length, 1, 1000, "10")
        check_int("TransformerConfig.heads", self.heads, 1, 64, "2")
        whole = self.dim % self.heads == 0
        check(whole, "TransformerConfig.heads", self.heads, f"divide dim = {self.dim}", "2")


class TransformerNet(FieldNet):
    """The network; one output per target."""

    def __init__(self, shape: NetShape, config: TransformerConfig) -> None:
        super().__init__(shape, config)
        dim, self.length = config.dim, min(config.length, shape.history)
        self.place = nn.Parameter(torch.randn(self.length + 1, dim) * 0.1 / dim**0.5)
        self.encoder = nn.TransformerEncoderLayer(
            dim, config.heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True
        )
        self.deep = Deep(self.flat_width + 3 * dim, config.hidden, shape.n_targets)
        tokens = self.length + 1
        self.macs = tokens * (8 * dim * dim + 2 * tokens * dim) + self.deep.macs + self.line_macs

    def forward(self, x: Inputs) -> Tensor:
        rows = x.history[:, -self.length :]
        target = self.items(x.item_row)
        past = (self.items(rows) + self.place[1:]).index_select(0, x.request_row)
        tokens = torch.cat([past, (target + self.place[0])[:, None]], 1)
        gone = torch.cat([rows < 0, rows.new_zeros((len(rows), 1), dtype=torch.bool)], 1)
        seen = self.encoder(tokens, src_key_padding_mask=gone[x.request_row])[:, -1]
        numbers = self.numbers(x)
        flat = self.flat(x, numbers)
        deep: Tensor = self.deep(torch.cat([flat, target, seen, seen * target], 1))
        return self.linear(x, numbers) + deep


class TransformerRanker(Ranker):
    """The ranker."""

    name = "transformer"
    Net, Config = TransformerNet, TransformerConfig
