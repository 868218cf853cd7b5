"""The sequential channel: it holds the channel contract, learns an order, and never looks ahead."""

import numpy as np
import torch

from reclab.cascade.ranking.training import TrainConfig
from reclab.cascade.retrieval.events import Events
from reclab.cascade.retrieval.sequential import (
    NextItemNet,
    SequentialChannel,
    SequentialConfig,
    sequences,
)
from reclab.core.tables import Logs, Table
from reclab.stores.forward_index import ForwardIndex
from tests.cascade.retrieval.contract import ChannelContract, batch_of

FAST = TrainConfig(epochs=30, batch_rows=16, learning_rate=1e-2, patience=30)
SMALL = SequentialConfig(dim=16, length=10, n_drawn=8, dropout=0.0, train=FAST)


class TestSequential(ChannelContract):
    def make(self):
        return SequentialChannel(SMALL)


def ring(n_items: int = 12, n_users: int = 40) -> Logs:
    """Every user goes round the ring of items, one step at a time."""
    user, step = np.repeat(np.arange(n_users), 6), np.tile(np.arange(6), n_users)
    shown = {
        "user_id": user,
        "video_id": (user * 5 + step) % n_items,
        "time_ms": step * 1000 + user,
        "is_click": np.ones(len(user), bool),
    }
    items = Table({"video_id": np.arange(n_items)})
    users = Table({"user_id": np.arange(n_users)})
    return Logs(users, items, Table(shown))


def test_the_next_step_of_a_ring_is_learned():
    logs = ring()
    channel = SequentialChannel(SMALL).fit(logs, ForwardIndex(logs.items), 10**9)
    past = np.full((12, 10), -1)
    past[:, -1], past[:, -2] = np.arange(12), (np.arange(12) - 1) % 12
    found, _ = channel.retrieve(batch_of(np.arange(12), history=past), 1)
    assert (found[:, 0] == (np.arange(12) + 1) % 12).all()


def test_a_state_does_not_depend_on_what_comes_later_nor_on_padding():
    torch.manual_seed(0)
    net = NextItemNet(9, SMALL).eval()
    with torch.no_grad():
        one = net(torch.tensor([[1, 2, 3, 4]]))
        other = net(torch.tensor([[1, 2, 8, 5]]))
        assert torch.allclose(one[0, :2], other[0, :2], atol=1e-6)
        assert not torch.allclose(one[0, 2], other[0, 2], atol=1e-3)
        padded = net(torch.tensor([[9, 9, 3, 4]]))
        short = net(torch.tensor([[3, 4]]))
        assert torch.allclose(padded[0, 2:], short[0], atol=1e-5)


def test_sequences_hold_every_event_once_in_order():
    chance = np.random.default_rng(0)
    events = Events(chance.integers(0, 7, 200), np.arange(200), chance.permutation(200))
    rows = sequences(events, 8, 1000)
    held = rows[rows >= 0]
    single = 200 - len(held)  # pieces of one item are left out
    assert len(set(held.tolist())) == len(held) and single <= 7
    for row in rows:
        mine = row[row >= 0]
        assert len(set(events.group[mine].tolist())) == 1
        assert (np.diff(events.time_ms[mine]) > 0).all()
        assert (row[: len(row) - len(mine)] == -1).all()


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    logs = ring()
    channel = SequentialChannel(SMALL).fit(logs, ForwardIndex(logs.items), 10**9)
    channel.save(tmp_path)
    batch = batch_of(np.arange(4), history=np.tile(np.arange(10), (4, 1)))
    mine, again = channel.retrieve(batch, 5), SequentialChannel.load(tmp_path).retrieve(batch, 5)
    assert (mine[0] == again[0]).all() and np.allclose(mine[1], again[1])
