"""Sequential interest (序列兴趣召回): self-attention over what was liked says what comes next.

    h   = blocks of causal self-attention over [E(i_1) + p_1, …, E(i_L) + p_L]
    loss = -sum_t ln softmax_j( h_t · E(i_j) + b_j - ln q_j )[i_{t+1}]
    j runs over the next items of the minibatch and items drawn uniformly; q_j = chance to be there

The state after the last item is the user's vector; search is its inner product with all items. The
same item after another past gives another vector, which no item-to-item table can do.
References: Kang and McAuley, Self-Attentive Sequential Recommendation (SASRec), ICDM 2018; Yi et
al., RecSys 2019 (the correction by q).

Simplified: industry keeps the keys and values of the past, and adds time and kind of each event.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reclab.cascade.batch import Batch
from reclab.cascade.ranking.training import History, OneThread, Progress, TrainConfig, train
from reclab.cascade.retrieval.events import Events, positives
from reclab.core.chance import rng
from reclab.core.errors import DataError, NotBuilt, check, check_float, check_int
from reclab.core.tables import Logs
from reclab.core.types import Array
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.vector_index import VectorIndex


@dataclass(frozen=True)
class SequentialConfig:
    """Sizes of the network, what a sequence is, and how it is trained."""

    dim: int = 32
    """length of the vectors (16 … 128)"""
    blocks: int = 1
    """self-attention blocks (1 … 4)"""
    heads: int = 1
    """attention heads; ``dim`` is a multiple of them (1 … 8)"""
    length: int = 20
    """latest positives that are read (items, 10 … 200)"""
    dropout: float = 0.2
    """share of the numbers hidden in training (0 … 0.5)"""
    n_drawn: int = 256
    """items drawn uniformly as negatives of a step (0 … 8192)"""
    group: str = "user_id"
    """column whose rows are one sequence: user_id or session_id"""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=4, batch_rows=32, learning_rate=1e-2, patience=3, max_rows=5000
        )
    )

    def __post_init__(self) -> None:
        for name, typical in (("dim", "32"), ("blocks", "1-2"), ("heads", "1-2")):
            check_int(f"SequentialConfig.{name}", getattr(self, name), 1, 1024, typical)
        check_int("SequentialConfig.length", self.length, 2, 1000, "20")
        check_int("SequentialConfig.n_drawn", self.n_drawn, 0, 1_000_000, "256")
        check_float("SequentialConfig.dropout", self.dropout, 0.0, 0.9, "0.2")
        whole = self.dim % self.heads == 0
        check(whole, "SequentialConfig.heads", self.heads, f"divide dim = {self.dim}", "1")
        known = self.group in ("user_id", "session_id")
        check(known, "SequentialConfig.group", self.group, "be user_id or session_id", "user_id")


class NextItemNet(nn.Module):
    """Item rows (B, L), -1 padded at the left -> (B, L, d) states, one after each item."""

    def __init__(self, n_items: int, config: SequentialConfig) -> None:
        super().__init__()
        self.item = nn.Embedding(n_items + 1, config.dim, padding_idx=n_items)
        self.bias = nn.Embedding(n_items + 1, 1, padding_idx=n_items)
        self.place = nn.Parameter(torch.randn(config.length, config.dim) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.heads, 2 * config.dim, config.dropout, batch_first=True,
                norm_first=True,
            )
            for _ in range(config.blocks)
        )  # fmt: skip
        self.norm, self.drop = nn.LayerNorm(config.dim), nn.Dropout(config.dropout)
        with torch.no_grad():
            nn.init.normal_(self.item.weight[:-1], std=config.dim**-0.5)
            nn.init.zeros_(self.bias.weight)

    def forward(self, rows: Tensor) -> Tensor:
        length = rows.shape[1]
        x = self.drop(self.item(rows) + self.place[-length:])
        # an item sees itself and earlier ones, a gap sees itself alone (and nobody sees it)
        later = torch.ones((length, length), dtype=torch.bool).triu(1)
        hidden = (later | (rows == self.item.padding_idx)[:, None]) & ~torch.eye(length).bool()
        heads = self.blocks[0].self_attn.num_heads
        mask = torch.zeros(hidden.shape).masked_fill(hidden, -1e9).repeat_interleave(heads, 0)
        for block in self.blocks:
            x = block(x, src_mask=mask)
        states: Tensor = self.norm(x)
        return states

    def vectors(self) -> Tensor:
        """(n_items, d + 1) vectors of all items, the bias last."""
        return torch.cat([self.item.weight, self.bias.weight], 1)[:-1]


class SequentialChannel:
    """The channel: ``fit`` once, ``retrieve`` for any batch."""

    name = "sequential"

    def __init__(self, config: SequentialConfig | None = None) -> None:
        self.config = config or SequentialConfig()
        self.history = History()
        self.net: NextItemNet | None = None

    def fit(
        self, logs: Logs, index: ForwardIndex, until_ms: int, progress: Progress | None = None
    ) -> Self:
        """Learn from the sequences of positives strictly before ``until_ms``. Without a single
        pair of successive positives the channel answers nothing."""
        c, past = self.config, logs.interactions
        before = past.take(past["time_ms"] < until_ms)
        rows = sequences(positives(before, index, c.group), c.length + 1, c.train.max_rows)
        self._seen = np.unique(rows[rows >= 0])
        with torch.random.fork_rng():
            torch.manual_seed(c.train.seed)
            net = self.net = NextItemNet(len(self._seen), c)
            if len(rows):
                self._learn(net, self.codes(rows), len(self._seen), progress)
        net.eval()
        self._index_items()
        return self

    def codes(self, item_row: Array) -> Array:
        """Places among the items that occur in training, which alone have vectors: of a million
        items most never do. Items that do not, and -1, are padding."""
        n = len(self._seen)
        code = np.searchsorted(self._seen, item_row)
        there = self._seen[np.minimum(code, n - 1)] == item_row if n else np.zeros(1, bool)
        return np.where(there, code, n)

    def _learn(
        self, net: NextItemNet, rows: Array, n_items: int, progress: Progress | None
    ) -> None:
        """Train on sequences (S, length + 1), ``n_items`` = padding; the last twentieth, at least
        one, validates when there are twenty."""
        c, chance = self.config, rng(self.config.train.seed, "drawn")
        held = len(rows) // 20
        share = np.bincount(rows.ravel(), minlength=n_items + 1)[:n_items] / (rows < n_items).sum()
        rows = rng(c.train.seed, "sequences").permutation(rows)
        learn, valid = rows[: len(rows) - held], rows[len(rows) - held :]

        def loss_of(some: Array, chance: np.random.Generator = chance) -> Tensor:
            return next_item_loss(net, learn[some], share, c.n_drawn, chance)

        def validate() -> float:
            if not len(valid):
                return float("nan")
            with torch.inference_mode():
                drawn = rng(0, "valid")
                return -float(next_item_loss(net, valid[:512], share, c.n_drawn, drawn))

        n = len(learn)
        self.history = train(net, n, n, loss_of, validate, c.train, progress)

    def _index_items(self) -> None:
        """Vectors of the items that occur in training."""
        assert self.net is not None
        vectors = self.net.vectors().detach().numpy()
        self.vectors = VectorIndex(vectors.shape[1])
        self.vectors.add(self._seen, vectors)

    def users(self, batch: Batch) -> Array:
        """(B, d + 1) vectors of the requests; the last entry, 1, meets the item's bias."""
        if self.net is None:
            raise NotBuilt("SequentialChannel.users: call fit(logs, index, until_ms) first")
        rows = torch.from_numpy(self.codes(batch.history[:, -self.config.length :]))
        with OneThread(), torch.inference_mode():
            states = self.net(rows)[:, -1].numpy()
        return np.concatenate([states, np.ones_like(states[:, :1])], 1)

    def retrieve(self, batch: Batch, k: int) -> tuple[Array, Array]:
        """(B, k) item rows, best first, without those of the history, padded with -1, and their
        scores (B, k) float32. Users without history get an empty answer."""
        if self.net is None:
            raise NotBuilt("SequentialChannel.retrieve: call fit(logs, index, until_ms) first")
        n, length = batch.history.shape
        if not n or not len(self._seen):
            return np.full((n, k), -1, np.int64), np.zeros((n, k), np.float32)
        ends_known = batch.history[:, -1] >= 0
        score, rows = self.vectors.search(self.users(batch), min(k + length, len(self._seen)))
        old = (rows[:, :, None] == batch.history[:, None, :]).any(2)
        drop = old | (rows < 0) | ~ends_known[:, None]
        order = np.argsort(drop, axis=1, kind="stable")[:, :k]
        gone = np.take_along_axis(drop, order, 1)
        found = np.where(gone, -1, np.take_along_axis(rows, order, 1))
        values = np.where(gone, 0, np.take_along_axis(score, order, 1))
        missing = ((0, 0), (0, k - found.shape[1]))
        padded = np.pad(values, missing).astype(np.float32)
        return np.pad(found, missing, constant_values=-1), padded

    def save(self, folder: Path) -> None:
        """Write ``sequential.pt`` and ``sequential.json``."""
        if self.net is None:
            raise NotBuilt("SequentialChannel.save: call fit(logs, index, until_ms) first")
        folder.mkdir(parents=True, exist_ok=True)
        state = {"seen": torch.from_numpy(self._seen), "net": self.net.state_dict()}
        torch.save(state, folder / "sequential.pt")
        about = {"config": asdict(self.config), "history": asdict(self.history)}
        (folder / "sequential.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, index: ForwardIndex | None = None) -> Self:
        """Read what ``save`` wrote. Raises ``DataError`` when it is damaged."""
        try:
            about = json.loads((folder / "sequential.json").read_text(encoding="utf-8"))
            state = torch.load(folder / "sequential.pt", weights_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"cannot load sequential.json, .pt from {folder}: {error}") from error
        config = about["config"] | {"train": TrainConfig(**about["config"]["train"])}
        channel = cls(SequentialConfig(**config))
        net = NextItemNet(len(state["net"]["item.weight"]) - 1, channel.config)
        net.load_state_dict(state["net"])
        channel.net, channel._seen = net.eval(), state["seen"].numpy()
        channel.history = History(**about["history"])
        channel._index_items()
        return channel


def sequences(events: Events, length: int, at_most: int) -> Array:
    """(S, length) item rows, newest last, -1 padded at the left: each group's positives in order
    of time, cut into pieces of ``length`` from its end; pieces of one item are left out, and the
    latest ``at_most`` pieces kept.

    >>> some = Events(np.array([1, 1, 1, 2]), np.array([5, 6, 7, 5]), np.array([0, 1, 2, 0]))
    >>> sequences(some, 2, 10).tolist()
    [[6, 7]]
    """
    order = np.lexsort((events.time_ms, events.group))
    group, item, when = (column[order] for column in events)
    n = len(group)
    if not n:
        return np.zeros((0, length), np.int64)
    last = np.append(np.flatnonzero(group[1:] != group[:-1]), n - 1)
    counts = np.diff(np.append(-1, last))
    back = np.repeat(last, counts) - np.arange(n)  # 0 = the group's newest
    piece = np.cumsum(
        np.append(True, (group[1:] != group[:-1]) | (back[1:] % length == length - 1))
    )
    rows = np.full((piece[-1], length), -1)
    rows[piece - 1, length - 1 - back % length] = item
    newest = np.zeros(piece[-1], np.int64)
    np.maximum.at(newest, piece - 1, when)
    rows = rows[np.argsort(newest, kind="stable")]
    return rows[(rows >= 0).sum(1) > 1][-at_most:]


def next_item_loss(
    net: NextItemNet, rows: Array, share: Array, n_drawn: int, chance: np.random.Generator
) -> Tensor:
    """Mean cross entropy of each next item against the minibatch's and the drawn items."""
    seen = torch.from_numpy(rows)
    states, target = net(seen[:, :-1]), seen[:, 1:]
    known = (target < len(share)) & (seen[:, :-1] < len(share))
    states, target = states[known], target[known]
    others = np.concatenate([target.numpy(), chance.integers(0, len(share), n_drawn)])
    items, where = np.unique(others, return_inverse=True)
    q = len(target) * share[items] + n_drawn / len(share)
    log_q = torch.from_numpy(np.log(np.maximum(q, 1e-9)).astype(np.float32))
    pool = torch.from_numpy(items)
    logits = states @ net.item(pool).T + net.bias(pool)[:, 0] - log_q
    return F.cross_entropy(logits, torch.from_numpy(where[: len(target)]))
