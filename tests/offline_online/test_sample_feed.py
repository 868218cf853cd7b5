"""Sample feed: what the topic holds is what the trainer learns, without zombies and garbage."""

import numpy as np
import pytest
import torch

from reclab.cascade.ranking.training import TrainConfig, samples_of
from reclab.core.clock import DAY_MS
from reclab.core.tables import Table
from reclab.offline_online.features import feature_log
from reclab.offline_online.features.feature_log import served
from reclab.offline_online.join import sample_record
from reclab.offline_online.join.records import KINDS
from reclab.offline_online.join.sample_topic import claim
from reclab.offline_online.pipeline import SAMPLES
from reclab.offline_online.training.sample_feed import SampleFeed
from reclab.offline_online.training.trainer import Trainer, TrainerConfig
from reclab.offline_online.training.training_loop import TrainingLoop, TrainingLoopConfig
from reclab.stores.event_log import TopicConfig, open_log

CONFIG = TrainerConfig(batch_requests=16, holdout_every=10)
LOOP = TrainingLoopConfig(publish_every_ms=3_600_000, max_entries=70, save_every=3, wait_ms=0)
FIRST = 12 * DAY_MS


@pytest.fixture(scope="module")
def logged(lab):
    """300 requests of the log, as samples built from the log and as records of the topic."""
    shown, parts = lab.logs.interactions, lab.trained.parts
    when = shown["time_ms"]
    start = int(np.searchsorted(when, FIRST))
    rows = np.arange(start, start + 1_600)
    how = TrainConfig(negatives="exposed", random_weight=1.0)
    samples = samples_of(lab.logs, parts.features, how, rows)
    some = samples.between(0, 300)
    log = shown.take(rows)
    log = log.take(np.lexsort((log["user_id"], log["time_ms"])))
    n = len(some)
    log = log.take(np.arange(n))
    new = np.append(True, np.diff(some.features.request_row) > 0)
    ids = (log[k][new].astype(np.int64) for k in ("req_id", "user_id", "session_id", "time_ms"))
    network = log["network"][new].astype(np.int64)
    cards = log["video_id"], log["position"].astype(np.int64)
    entries = [feature_log.pack(s) for s in served(some.features, *ids, network, *cards, (1, 1))]
    bits = np.zeros(n, np.uint16)
    for kind in ("click", "like", "share", "follow"):
        bits |= (log[f"is_{kind}"].astype(np.uint16) << KINDS.index(kind)).astype(np.uint16)
    bits |= np.uint16(1 << KINDS.index("watch"))
    bits |= ((log["pay_amount"] > 0).astype(np.uint16) << KINDS.index("pay")).astype(np.uint16)
    n_cards = np.diff(some.features.starts)
    labels = Table({
        "close_ms": log["time_ms"], "labels": bits, "n_labels": np.ones(n, np.uint16),
        "watch_sec": log["watch_sec"], "pay_amount": log["pay_amount"].astype(np.float64),
    })  # fmt: skip
    place = np.arange(n) - np.repeat(some.features.starts[:-1], n_cards)
    return some, entries, n_cards, place, labels


def records(logged, epoch):
    _, entries, n_cards, place, labels = logged
    return sample_record.pack(entries, n_cards, place, labels, epoch=epoch)


def test_the_trainer_learns_from_the_topic_what_the_log_teaches(lab, logged, tmp_path):
    samples, ranker = logged[0], lab.trained.parts.ranker
    values = records(logged, epoch=2)
    zombies = records(logged, epoch=1)[:40]
    with open_log(namespace="feed") as log:
        log.create(SAMPLES, TopicConfig(partitions=1))
        log.append(SAMPLES, [claim(1), *[], claim(2), *values[:100]])
        log.append(SAMPLES, [*zombies, b"garbage", *values[100:]])
        feed, trainer = SampleFeed(log, lab.trained.parts.index), Trainer(ranker, CONFIG)
        loop = TrainingLoop(log, trainer, feed, tmp_path, lambda version: None, LOOP)
        loop.run(more=lambda: False)
    direct = Trainer(ranker, CONFIG)
    direct.learn(samples, 1)
    a, b = trainer._learner.net.state_dict(), direct._learner.net.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (feed.n_records, feed.n_fenced, feed.n_bad) == (300, 40, 1)
    assert [(p, why) for p, _, why in feed.bad] == [(0, "no entry of this topic")]
    assert trainer.until_ms >= FIRST


def test_who_begins_in_the_middle_leaves_out_the_same_zombies(lab, logged):
    values, zombies = records(logged, epoch=5), records(logged, epoch=4)[:10]
    with open_log(namespace="middle") as log:
        log.create(SAMPLES, TopicConfig(partitions=1))
        log.append(SAMPLES, [claim(4), claim(5), *values[:30], *zombies, *values[30:50]])
        feed = SampleFeed(log, lab.trained.parts.index)
        for first in (20, 35, 20):  # on from here, after a gap, and again
            samples, _ = feed(log.read(SAMPLES, 0, first, 30))
            good = [at for at in range(first - 2, min(first + 28, 60)) if not 30 <= at < 40]
            assert len(samples.features.user) == len(good)
