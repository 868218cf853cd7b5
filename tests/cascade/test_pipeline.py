"""cascade.pipeline: conservation, one equals many, bad input, and parts that fail."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from reclab.cascade import Cascade, CascadeConfig
from reclab.cascade.batch import read_batch
from reclab.cascade.filters import (
    BlockList,
    BlockListFilter,
    ComplianceConfig,
    ComplianceFilter,
    TagRule,
)
from reclab.cascade.pipeline import CHANNELS
from reclab.cascade.pre_ranking.duties import Duties, DutiesConfig
from reclab.cascade.re_ranking import DPPConfig, DPPStage
from reclab.cascade.retrieval.als import ALSChannel, ALSConfig
from reclab.core.errors import ConfigError, DataError, NotBuilt
from reclab.core.tables import Logs, Table
from reclab.core.types import Candidates, Request
from reclab.lab.breaking import NaNRanker
from reclab.lab.filter_set import six_filters
from reclab.stores.exposures import RecentExposures
from reclab.stores.kv import KV

SIZES = {"retrieve": 200, "pre_rank": 60, "rank": 30}


@pytest.fixture(scope="module")
def cascade(lab) -> Cascade:
    return lab.trained.with_config(**SIZES)


def test_every_candidate_is_kept_or_has_a_stage_and_a_reason(lab, cascade):
    for request in lab.requests(5):
        slate, trace = cascade.recommend(request)
        assert len(slate) == 10
        first = trace.stages[0]
        ever = first.n_kept + len(first.dropped)
        lost = sum(len(stage.dropped) for stage in trace.stages)
        assert ever == lost + len(slate)
        for stage in trace.stages:
            assert set(np.unique(stage.dropped["reason"])) <= set(range(len(stage.reasons)))
        kept = [stage.n_kept for stage in trace.stages]
        assert kept == sorted(kept, reverse=True)
        assert kept[0] <= 200 and kept[-3] <= 60 and kept[-2] <= 30 and kept[-1] == 10


def test_nothing_shown_was_shown_before_or_is_not_yet_published(lab, cascade):
    parts = cascade.parts
    for request in lab.requests(20):
        slate, _ = cascade.recommend(request)
        row, time_ms = parts.users.rows(np.array([request.user_id])), np.array([request.time_ms])
        assert not np.isin(slate.item_row, parts.users.seen(row, time_ms)[1]).any()
        assert (parts.index["publish_ms"][slate.item_row] <= request.time_ms).all()
        assert len(np.unique(slate.item_id)) == len(slate)


def test_a_batch_answers_as_each_request_alone(lab, cascade):
    requests = lab.requests(6)
    together, trace = cascade.recommend_batch(requests)
    alone = [cascade.recommend(request) for request in requests]
    for many, (one, _) in zip(together, alone, strict=True):
        assert many.item_id.tolist() == one.item_id.tolist()
    assert trace.stages[-1].n_kept == sum(t.stages[-1].n_kept for _, t in alone)


def test_no_requests_no_answers(cascade):
    assert cascade.recommend_batch([])[0] == []


@pytest.mark.parametrize("n", [1, 3, 25])
def test_a_page_has_the_length_asked_for(lab, cascade, n):
    request = replace(lab.requests(1)[0], n=n)
    assert len(cascade.recommend(request)[0]) == n


def test_an_unknown_user_gets_a_cold_start_answer(lab, cascade):
    slate, _ = cascade.recommend(Request(user_id=-12345, time_ms=lab.requests(1)[0].time_ms))
    assert len(slate) == 10


def test_a_session_without_an_account_is_heard(lab, cascade):
    """History carried by the request changes the answer; unknown items in it are passed over."""
    late = lab.requests(1)[0].time_ms
    liked = tuple(int(i) for i in cascade.parts.index.ids[:5])
    cold, _ = cascade.recommend(Request(-1, late))
    warm, _ = cascade.recommend(Request(-1, late, history=(*liked, 10**12)))
    assert warm.item_id.tolist() != cold.item_id.tolist()


def test_a_request_before_everything_is_still_answered(cascade):
    slate, trace = cascade.recommend(Request(user_id=1, time_ms=0))
    assert len(slate.item_id) == len(set(slate.item_id.tolist()))
    assert trace.stages


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"retrieve": 0}, "CascadeConfig.retrieve must be >= 1, got 0"),
        ({"pre_rank": -3}, "CascadeConfig.pre_rank must be >= 1, got -3"),
        ({"rank": 2.5}, "CascadeConfig.rank"),
        ({"retrieve": 100, "pre_rank": 300}, "a funnel narrows"),
        ({"pre_rank": 50, "rank": 100}, "a funnel narrows"),
        ({"channels": ()}, "name at least one of popular, item_cf, two_tower"),
        ({"channels": ("popular", "astrology")}, "astrology"),
        ({"merge": "best"}, "CascadeConfig.merge must be one of quota, round_robin, score"),
        ({"shares": {"popular": -1.0}}, r"CascadeConfig.shares\['popular'\]"),
    ],
)
def test_wrong_sizes_are_named_with_a_good_value(settings, named):
    with pytest.raises(ConfigError, match=named):
        CascadeConfig(**settings)


def test_asking_before_fitting_says_so():
    with pytest.raises(NotBuilt, match="fit"):
        Cascade().recommend(Request(1, 0))


@pytest.mark.parametrize("table", ["users", "items", "interactions"])
def test_empty_tables_cannot_be_learned_from(lab, table):
    logs = replace(lab.logs, **{table: Table({n: lab.logs.items["video_id"][:0] for n in "a"})})
    with pytest.raises(DataError, match=f"logs.{table} is empty"):
        Cascade().fit(logs)


def test_when_everything_is_filtered_the_hot_pool_answers_and_a_note_says_so(lab):
    """A user who has seen the whole catalogue still gets a page."""
    parts, request = lab.trained.parts, lab.requests(1)[0]
    with KV(namespace="test-all-seen") as kv:
        exposures = RecentExposures(kv)
        exposures.config = replace(exposures.config, length=len(parts.index))
        exposures.put(request.user_id, parts.index.ids)
        slate, trace = lab.trained.with_parts(exposures=exposures).recommend(request)
        kv.delete(*kv.names())
    assert len(slate) == 10
    assert any("filtered" in note for note in trace.notes)
    assert any("from the hot pool" in note for note in trace.notes)


def test_a_ranker_that_answers_nan_does_not_empty_the_page(lab, cascade):
    broken = cascade.with_parts(ranker=NaNRanker(cascade.parts.ranker))
    slate, trace = broken.recommend(lab.requests(1)[0])
    assert len(slate) == 10
    assert any("no finite score" in note for note in trace.notes)


def test_a_channel_that_fails_leaves_the_others(lab, cascade):
    class Broken:
        name = "item_cf"

        def retrieve(self, batch, k):
            raise TimeoutError("no answer")

    slate, trace = cascade.with_parts(item_cf=Broken()).recommend(lab.requests(1)[0])
    assert len(slate) == 10
    assert any("item_cf" in note and "TimeoutError" in note for note in trace.notes)


def test_quotas_and_the_way_of_merging_are_settings(lab, cascade):
    """A channel with most of the quota brings in most; by score, none is promised anything."""
    p, requests = cascade.parts, lab.requests(4)
    batch = read_batch(requests, p.users, p.index)
    share: dict[str, float] = {}
    for name, settings in (("equal", {}), ("wide", {"shares": {"content": 20.0}})):
        kept = cascade.with_config(**settings).stages()[0](batch, Candidates.empty(4)).kept
        share[name] = float((kept["best_channel"] == CHANNELS.index("content")).mean())
    assert share["equal"] < 0.3 < 0.6 < share["wide"]
    by_score = cascade.with_config(merge="score")
    slates, trace = by_score.recommend_batch(requests)
    assert all(len(slate) == 10 for slate in slates) and trace.notes == ()
    kept = by_score.stages()[0](batch, Candidates.empty(4)).kept
    assert kept.counts().tolist() == [SIZES["retrieve"]] * 4
    assert set(p.calibration.names) == set(CHANNELS) and p.calibration.weight.max() > 0


def test_what_was_shown_is_not_shown_again(lab):
    request = lab.requests(1)[0]
    with KV(namespace="test-shown") as kv:
        live = lab.trained.with_parts(exposures=RecentExposures(kv))
        pages = []
        for _ in range(5):
            slate, _ = live.recommend(request)
            live.shown(slate)
            pages.append(slate.item_id)
        kv.delete(*kv.names())
    assert len(np.unique(np.concatenate(pages))) == 50
    with pytest.raises(NotBuilt, match="exposures"):
        lab.trained.shown(slate)


def test_redis_killed_in_the_middle_costs_a_note_and_not_the_page(lab):
    request = lab.requests(1)[0]
    kv = KV(namespace="test-killed")
    live = lab.trained.with_parts(exposures=RecentExposures(kv))
    before, quiet = live.recommend(request)
    kv.redis.shutdown(nosave=True)
    during, trace = live.recommend(request)
    assert during.item_id.tolist() == before.item_id.tolist()
    assert quiet.notes == () and "Redis" in trace.notes[0]
    kv.reconnect()
    assert live.recommend(request)[1].notes == ()
    kv.close()


def test_nearline_updates_reach_the_stores_without_training(lab):
    """A click counts at once in the history that the next request reads."""
    cascade = Cascade.load(lab.models_folder / "cascade")
    last = int(lab.logs.interactions["time_ms"].max())
    user = int(lab.logs.users["user_id"][0])
    item = int(lab.logs.items["video_id"][7])
    event = lab.logs.interactions.take(np.array([0])).with_columns(
        user_id=np.array([user]),
        video_id=np.array([item]),
        time_ms=np.array([last + 1000]),
        is_click=np.array([True]),
    )
    cascade.update(event)
    row = cascade.parts.users.rows(np.array([user]))
    assert cascade.parts.users.history(row, np.array([last + 2000]))[0, -1] == 7


def test_a_log_with_shuffled_or_missing_columns(lab):
    """Order of columns does not matter; what is optional may lack; what is needed is named."""
    shown = lab.logs.interactions
    few = ("video_id", "is_click", "user_id", "time_ms")
    part = np.arange(20_000)
    logs = Logs(
        lab.logs.users.take(np.arange(len(lab.logs.users))),
        Table({"video_id": lab.logs.items["video_id"]}),
        Table({name: shown[name][part] for name in few}),
    )
    cascade = Cascade().fit(logs)
    assert len(cascade.recommend(Request(int(shown["user_id"][0]), 10**10))[0]) == 10
    with pytest.raises(DataError, match="time_ms"):
        bare = {name: shown[name][part] for name in ("video_id", "user_id", "is_click")}
        Cascade().fit(replace(logs, interactions=Table(bare)))


def test_the_first_epoch_counts_whatever_the_scale_of_its_validation():
    """A validation that is a negative loss must not throw the only epoch away."""
    from reclab.cascade.ranking.training import _is_best

    assert _is_best([-7.0]) and _is_best([-7.0, -6.0])
    assert not _is_best([-6.0, -7.0])


def test_further_filters_join_after_the_cascades_own(lab, cascade):
    """What a user has blocked, and what no rule allows, is in no list of that user."""
    parts, request = cascade.parts, lab.requests(1)[0]
    before, plain = cascade.recommend(request)
    creator = int(parts.index["author_id"][before.item_row[0]])
    blocks, rule = BlockList(), TagRule(int(parts.index["tags"][before.item_row[1], 0]), 100)
    blocks.block(request.user_id, creator=creator)
    strict = cascade.with_parts(
        filters=(
            BlockListFilter(blocks, parts.index),
            ComplianceFilter(ComplianceConfig((rule,)), parts.index, parts.users),
        )
    )
    slate, trace = strict.recommend(request)
    assert len(slate) == 10
    assert not (parts.index["author_id"][slate.item_row] == creator).any()
    assert not (parts.index["tags"][slate.item_row] == rule.tag).any()
    names = [stage.name for stage in trace.stages]
    own = [stage.name for stage in plain.stages]
    at = own.index("pre_ranking")
    assert names == [*own[:at], "block_list", "compliance", *own[at:]]
    assert trace.why_dropped(int(before.item_row[0])) == ("block_list", "blocked creator")


def test_all_filters_together_account_for_every_candidate(lab, cascade):
    """And the answer of a batch is that of each request alone."""
    requests = lab.requests(20)
    first, _ = cascade.recommend(requests[0])
    creator = int(cascade.parts.index["author_id"][first.item_row[0]])
    strict = cascade.with_parts(filters=six_filters(lab, requests, blocked_creator=creator))
    together, trace = strict.recommend_batch(requests)
    ever = trace.stages[0].n_kept + len(trace.stages[0].dropped)
    lost = {stage.name: len(stage.dropped) for stage in trace.stages}
    assert ever == sum(lost.values()) + trace.stages[-1].n_kept
    six = ("duplicate_content", "exposed_bloom", "risk", "block_list", "compliance", "context")
    assert min(lost[name] for name in six) > 0
    for many, request in zip(together[:6], requests, strict=False):
        assert many.item_id.tolist() == strict.recommend(request)[0].item_id.tolist()


def test_the_list_can_be_chosen_by_volume_instead(lab, cascade):
    request = lab.requests(1)[0]
    spread = cascade.with_parts(re_ranker=partial(DPPStage, dpp=DPPConfig(theta=0.3)))
    slate, trace = spread.recommend(request)
    assert len(slate) == 10 and trace.stages[-1].name == "re_ranking"
    assert slate.item_id.tolist() != cascade.recommend(request)[0].item_id.tolist()


def test_further_channels_and_duties_join_as_parts(lab, cascade):
    """One object more in ``channels``: its candidates are merged and remembered as its own."""
    p = cascade.parts
    als = ALSChannel(ALSConfig(dim=8, sweeps=2)).fit(lab.logs, p.index, p.until_ms)
    exposure = np.arange(len(p.index))[::-1]
    duties = Duties(DutiesConfig(cold_start=0.3), p.index, exposure)
    wider = cascade.with_parts(channels=(als,), duties=duties)
    assert wider.stages()[0].channel_names == (*CHANNELS, "als")
    slates, trace = wider.recommend_batch(lab.requests(4))
    assert all(len(slate) == 10 for slate in slates)
    merged = wider.stages()[0](
        read_batch(lab.requests(4), p.users, p.index), Candidates.empty(4)
    ).kept
    mine = merged["channels"] >> len(CHANNELS) & 1
    assert mine.sum() >= 4 * SIZES["retrieve"] / 10
