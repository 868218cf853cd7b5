"""Sample topic: every reader leaves out the same entries of joiners that lost their partition."""

from collections.abc import Iterator

import numpy as np
import pytest

from reclab.core.tables import Table
from reclab.offline_online.features import feature_log
from reclab.offline_online.join import sample_record, sample_topic
from reclab.offline_online.join.sample_topic import EpochFilter, SampleReader, claim, filter_at
from reclab.offline_online.pipeline import SAMPLES, create_topics
from reclab.stores.event_log import ConsumerConfig, EventLog, TopicConfig, open_log
from tests.offline_online.served_pages import pages

ENTRIES = [feature_log.pack(one) for one in pages(40, cards=1)]


@pytest.fixture
def log() -> Iterator[EventLog]:
    with open_log(namespace="sample-topic") as log:
        create_topics(log, TopicConfig(partitions=1))
        yield log
        log.trim(SAMPLES, {0: int(log.stats(SAMPLES).end[0])})


def record(epoch: int, number: int) -> bytes:
    """One sample."""
    one = np.ones(1, np.int64)
    labels = Table({name: one for name in ("close_ms", *sample_record.LABELS)})
    return sample_record.pack([ENTRIES[number]], one, 0 * one, labels, epoch)[0]


def story(seed: int, n: int = 400) -> tuple[list[bytes], list[bool]]:
    """Entries of joiners that take over from each other and wake up later, and which count."""
    chance, values, good, epoch = np.random.default_rng(seed), [], [], 0
    for number in range(n):
        step = chance.random()
        if step < 0.05:
            epoch += 1
            values.append(claim(epoch))
        elif step < 0.08 and epoch:  # a claim that came late: another was faster
            values.append(claim(int(chance.integers(0, epoch))))
        elif step < 0.1:
            values.append(b"garbage")
        else:
            zombie = epoch > 0 and chance.random() < 0.3
            writer = int(chance.integers(0, epoch)) if zombie else epoch
            values.append(record(writer, number % 40))
        good.append(0.1 <= step and not (step >= 0.1 and zombie))
    return values, good


@pytest.mark.parametrize("seed", range(3))
def test_what_counts_does_not_depend_on_how_it_is_read(seed):
    values, good = story(seed)
    assert EpochFilter().keep(values).tolist() == good
    one, kept = EpochFilter(), []
    for value in values:
        kept += one.keep([value]).tolist()
    assert kept == good


def test_a_reader_that_begins_anywhere_leaves_out_the_same(log, monkeypatch):
    monkeypatch.setattr(sample_topic, "READ", 7)
    values, good = story(5)
    start = int(log.stats(SAMPLES).end[0])
    log.append(SAMPLES, values)
    for offset in range(0, len(values), 13):
        rest = filter_at(log, SAMPLES, 0, start + offset).keep(values[offset:])
        assert rest.tolist() == good[offset:]


def test_a_group_reads_on_behind_its_commit_with_the_right_epoch(log):
    values = [claim(1), record(1, 0), claim(2), record(2, 1), record(1, 2), record(2, 3), claim(2)]
    log.append(SAMPLES, values)
    quick, seen = ConsumerConfig(session_ms=300, heartbeat_ms=20), []
    for _ in range(len(values)):
        with SampleReader(log, "trainer", quick) as reader:
            found = reader.read(1)
            seen += found.value
            reader.commit()
    assert seen == [values[1], values[3], values[5]]
    with SampleReader(log, "another", quick) as reader:
        found = reader.read(100)
        assert found.value == seen and found.n_fenced == 1
        reader.seek(0, int(found.offset[1]))
        assert reader.read(100).value == seen[1:]
