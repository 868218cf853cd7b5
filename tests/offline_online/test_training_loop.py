"""Training loop: whoever is killed goes on from the last file, and learns every sample once."""

import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from reclab.cascade.ranking.training import TrainConfig, samples_of
from reclab.core.clock import DAY_MS
from reclab.core.errors import ConfigError, DataError
from reclab.offline_online.pipeline import SAMPLES
from reclab.offline_online.training.trainer import Trainer, TrainerConfig
from reclab.offline_online.training.training_loop import FILE, TrainingLoop, TrainingLoopConfig
from reclab.stores.event_log import PartitionLost, TopicConfig, open_log

CONFIG = TrainerConfig(batch_requests=16, holdout_every=10)
LOOP = TrainingLoopConfig(
    publish_every_ms=40, max_entries=50, save_every=3, wait_ms=0, session_ms=300
)
N = 400


class Killed(Exception):
    """Stands for a SIGKILL: nobody catches it, nothing is saved on the way out."""


class FromNumbers:
    """Converts entries that hold a request's number; remembers what it gave since the last save,
    and dies after ``left`` reads."""

    def __init__(self, samples, left=10**9):
        self.samples, self.left, self.given = samples, left, []

    def __call__(self, entries):
        self.left -= 1
        if self.left < 0:
            raise Killed
        numbers = [int(value) for value in entries.value]
        self.given += numbers
        return self.samples.take(np.array(numbers)), max(numbers)


@pytest.fixture(scope="module")
def samples(lab):
    when = lab.logs.interactions["time_ms"]
    rows = np.flatnonzero((when >= 12 * DAY_MS) & (when < 13 * DAY_MS))
    how = TrainConfig(negatives="exposed")
    return samples_of(lab.logs, lab.trained.parts.features, how, rows)


@pytest.fixture(scope="module")
def ranker(lab):
    return lab.trained.parts.ranker


def filled(partitions, name, n=N):
    log = open_log(namespace=name)
    log.create(SAMPLES, TopicConfig(partitions=partitions))
    for first in range(0, n, 25):
        numbers = [str(i) for i in range(first, first + 25)]
        log.append(SAMPLES, [i.encode() for i in numbers], numbers, time_ms=first)
    return log


def weights(trainer):
    return trainer._learner.net.state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_killed_trainer_ends_with_the_weights_of_one_that_was_not(ranker, samples, tmp_path):
    whole = Trainer(ranker, CONFIG)
    whole.learn(samples.take(np.arange(N)), N)
    told = []
    with filled(1, "killed") as log:
        for left in (2, 5, 4, 10**9):
            trainer, convert = Trainer(ranker, CONFIG), FromNumbers(samples, left)
            loop = TrainingLoop(log, trainer, convert, tmp_path, told.append, LOOP)
            try:
                loop.run(more=lambda: False)
            except Killed:
                continue
        assert log.stats(SAMPLES, "trainer").lag.sum() == 0
    assert same(weights(trainer), weights(whole)) and trainer.count == whole.count
    numbers = [version.number for version in told]
    assert max(Counter(numbers).values()) > 1  # told again after a restart, never a lower one
    assert numbers == sorted(numbers)


def test_of_many_partitions_every_sample_is_learned_once(ranker, samples, tmp_path):
    """What a dead trainer had learned since its last file is forgotten with it."""
    learned = Counter()
    with filled(4, "many") as log:
        for left in (3, 4, 5, 10**9):
            trainer, convert = Trainer(ranker, CONFIG), FromNumbers(samples, left)
            loop = TrainingLoop(log, trainer, convert, tmp_path, lambda v: None, LOOP)
            saves = []
            save = loop.save
            loop.save = lambda s=save, c=convert, k=saves: (s(), k.append(len(c.given)))
            try:
                loop.run(more=lambda: False)
            except Killed:
                pass
            learned.update(convert.given[: saves[-1] if saves else 0])
    assert learned == Counter(range(N))
    assert trainer.count["requests"] == N


def test_while_more_may_come_it_waits_and_then_ends(ranker, samples, tmp_path):
    with filled(2, "waits", 100) as log:
        waits = iter([True, True, False])

        def more():
            if go := next(waits):
                log.append(SAMPLES, [b"300"], ["300"], time_ms=300)
            return go

        trainer = Trainer(ranker, CONFIG)
        loop = TrainingLoop(log, trainer, FromNumbers(samples), tmp_path, lambda v: None, LOOP)
        loop.run(more)
    assert loop.n_read == 102 and trainer.until_ms == 300


def test_a_second_trainer_of_the_group_is_noticed_before_anything_doubles(
    ranker, samples, tmp_path
):
    with filled(2, "second") as log:
        loop = TrainingLoop(
            log, Trainer(ranker, CONFIG), FromNumbers(samples), tmp_path, lambda v: None, LOOP
        )

        def more():
            other = log.consumer(SAMPLES, LOOP.group)
            other.read(1, 500)  # takes its share of the partitions
            loop._consumer._next_beat = 0.0
            log.append(SAMPLES, [b"1"] * 4, ["1", "2", "3", "4"])
            return True

        with pytest.raises(PartitionLost):
            loop.run(more)


def test_a_damaged_file_is_named(ranker, samples, tmp_path):
    with filled(1, "damaged", 50) as log:
        start = (log, Trainer(ranker, CONFIG), FromNumbers(samples), tmp_path, lambda v: None, LOOP)
        TrainingLoop(*start).run(more=lambda: False)
        file = tmp_path / FILE
        file.write_bytes(file.read_bytes()[:-10])
        with pytest.raises(DataError, match="damaged"):
            TrainingLoop(*start)
        file.write_bytes(b"hello")
        with pytest.raises(DataError, match="not a trainer's state"):
            TrainingLoop(*start)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="publish_every_ms"):
        TrainingLoopConfig(publish_every_ms=0)


CHILD = """
import os, pickle, signal, sys
from pathlib import Path
from reclab.offline_online.training.training_loop import TrainingLoop
from reclab.stores.event_log import open_log
from tests.offline_online.test_training_loop import CONFIG, LOOP, FromNumbers, Trainer
folder, address, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ranker, samples = pickle.loads((folder / "given").read_bytes())
given = FromNumbers(samples)
def convert(entries):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return given(entries)
log, trainer = open_log(address, namespace="kill-9"), Trainer(ranker, CONFIG)
loop = TrainingLoop(log, trainer, convert, folder, print, LOOP)
loop.run(more=lambda: loop.n_read == 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_a_real_kill_9_changes_nothing(ranker, samples, tmp_path):
    some = samples.take(np.arange(N))
    (tmp_path / "given").write_bytes(pickle.dumps((ranker, some)))
    whole = Trainer(ranker, CONFIG)
    whole.learn(some, N)
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": paths}
    with filled(1, "kill-9") as log:
        ends = []
        for left in (2, 4, 10**9):
            command = [sys.executable, "-c", CHILD, str(tmp_path), log.address, str(left)]
            ends.append(subprocess.run(command, env=env, stdout=subprocess.DEVNULL).returncode)
        assert ends == [-signal.SIGKILL, -signal.SIGKILL, 0]
        trainer = Trainer(ranker, CONFIG)
        TrainingLoop(log, trainer, FromNumbers(some), tmp_path, lambda v: None, LOOP)
    assert same(weights(trainer), weights(whole)) and trainer.count == whole.count
