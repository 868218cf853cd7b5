"""Fields: what the rankers that cross features start from, one vector a field and all the numbers.

    e_f = E[code_f]                 f = user, age, … | hour, network | item, author, tags …
    e_h = mean of the item vectors of the last L positives
    z   = numbers of the request and of the pair, on one scale

Codes become vectors of one length, so that they can be multiplied with each other; numbers stay
numbers and enter the linear part and the deep part only.
Reference: chapter 2, section 2.2 (3).

Simplified: industry gives every field the length that its vocabulary needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from reclab.cascade.ranking.layers import line, mlp, mlp_macs
from reclab.cascade.ranking.ranker import Inputs, NetShape, RankerNet
from reclab.cascade.ranking.training import TrainConfig
from reclab.core.errors import check_int


def exposed_rows() -> TrainConfig:
    """How the rankers learn unless told otherwise: one pass over the exposed rows."""
    return TrainConfig(epochs=1, learning_rate=4e-3, weight_decay=1e-5, negatives="exposed")


@dataclass(frozen=True)
class NetConfig:
    """Sizes that all networks of fields have, and how they are trained."""

    dim: int = 16
    """length of an embedding (4 … 64)"""
    hidden: tuple[int, ...] = (96, 48)
    """hidden units of the deep part (each 8 … 512)"""
    train: TrainConfig = field(default_factory=exposed_rows)

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_int(f"{name}.dim", self.dim, 1, 1024, "16")
        for units in self.hidden:
            check_int(f"{name}.hidden", units, 1, 8192, "96")


class FieldNet(RankerNet):
    """Vectors of all fields, numbers, and the linear part; a model adds how they are crossed."""

    def __init__(self, shape: NetShape, config: NetConfig) -> None:
        super().__init__(shape, config.dim)
        self.n_fields = shape.user_fields + len(shape.item_scale) + 1
        self.n_numbers = shape.request_width + shape.pair_width
        self.flat_width = self.n_fields * config.dim + self.n_numbers
        targets = shape.n_targets
        self.user_line = nn.Embedding(shape.n_user_codes, targets, padding_idx=0)
        self.item_line = nn.Embedding(shape.n_item_codes, targets, padding_idx=0)
        self.number_line = line(self.n_numbers, targets)
        for table in (self.user_line, self.item_line):
            nn.init.zeros_(table.weight)
        self.line_macs = self.n_numbers * targets

    def flat(self, x: Inputs, numbers: Tensor) -> Tensor:
        """(n, F dim + W) vectors of the request's fields, the mean of the history, vectors of the
        item's fields, and the numbers, side by side."""
        there = (x.history >= 0).sum(1, keepdim=True).clamp(min=1)
        past = self.items(x.history).sum(1) / there  # "no item" is the zero vector
        mine = torch.cat([self.embed.user(x.user).flatten(1), past], 1)
        item = self.embed.item(self.codes[x.item_row]).flatten(1)
        return torch.cat([mine.index_select(0, x.request_row), item, numbers], 1)

    def fields(self, flat: Tensor) -> Tensor:
        """(n, F, dim) the vectors of ``flat``, one above the other."""
        return flat[:, : flat.shape[1] - self.n_numbers].unflatten(1, (self.n_fields, -1))

    def numbers(self, x: Inputs) -> Tensor:
        """(n, W) numbers of the request and of the pair on one scale."""
        request, pair = self.request_scale(x.request), self.pair_scale(x.pair)
        return torch.cat([request.index_select(0, x.request_row), pair], 1)

    def linear(self, x: Inputs, numbers: Tensor) -> Tensor:
        """(n, T) sum of one weight for each code, and the numbers times theirs."""
        mine = self.user_line(x.user).sum(1).index_select(0, x.request_row)
        item = self.item_line(self.codes[x.item_row]).sum(1)
        line: Tensor = mine + item + self.number_line(numbers)
        return line


class Deep(nn.Module):
    """An MLP over flat inputs (n, width) -> (n, targets)."""

    def __init__(self, width: int, hidden: Sequence[int], targets: int) -> None:
        super().__init__()
        self.layers = mlp([width, *hidden, targets])
        self.macs = mlp_macs([width, *hidden, targets])

    def forward(self, flat: Tensor) -> Tensor:
        out: Tensor = self.layers(flat)
        return out
