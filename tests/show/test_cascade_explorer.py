"""The explorers of lesson 02 at the smoke scale: what they show is what the cascade answers."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from reclab.cascade.pipeline import CHANNELS
from reclab.cascade.re_ranking.learned import LearnedStage
from reclab.cascade.re_ranking.list_wise import ListWise, ListWiseConfig
from reclab.lab.experiments import lists_of
from reclab.lab.model_scores import score_model
from reclab.show.cascade_explorer import READ, CascadeExplorer
from reclab.show.fusion_explorer import FusionExplorer
from tests.cascade.re_ranking.learned_world import logged

SETTINGS = {
    "as it opens": {},
    "narrow": {"retrieve": 300, "pre_rank": 100, "rank": 20},
    "quotas": {"item_cf": 4, "popular": 0.25, "social": 0},
    "points": {"merge": "score", "retrieve": 400},
    "duties": {"pre_rank": 100, "cold_start": 0.2, "creators": 0.1, "category": 0.3},
    "volume": {"re_ranker": "DPP", "lam": 0.7, "two_tower": 0},
}


@pytest.fixture(scope="module")
def explorer(lab):
    score_model(lab, "ranking", "deep_fm", lab.static_rankers["exposed only"])  # under another name
    score_model(lab, "ranking", "din", lab.trained.parts.ranker)
    return CascadeExplorer(lab)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_what_it_shows_is_what_the_live_cascade_answers(lab, explorer, settings):
    explorer.reset()
    shown = explorer.set(**settings).result.replay.lists
    live = explorer.live().with_parts(exposures=None)
    assert (shown == lists_of(live, lab.requests(len(lab.panel)))).mean() > 0.97


def test_a_stage_offers_the_models_that_have_scored_the_panel(lab, explorer):
    explorer.reset()
    options = dict(explorer.controls["ranker"].options)
    assert set(options.values()) == {"din", "deep_fm"}
    own = explorer.result
    other = explorer.set(ranker="deep_fm").result
    live = lab.trained.with_parts(ranker=lab.static_rankers["exposed only"])
    theirs = lists_of(live, lab.requests(len(lab.panel)))
    assert (other.replay.lists == theirs).mean() > 0.97
    assert (other.replay.lists != own.replay.lists).any()


def test_without_a_channel_there_is_a_sentence_and_the_last_plot(explorer):
    explorer.reset()
    before = explorer.result
    explorer.set(**dict.fromkeys(CHANNELS, 0))
    assert "at least one channel" in explorer.message and explorer.result is before
    explorer.reset()
    assert not explorer.message


def test_sizes_that_grow_are_said(explorer):
    explorer.reset()
    explorer.set(retrieve=100, pre_rank=300)
    assert "must not be larger" in explorer.message
    explorer.reset()


CORNERS = {
    "smallest": {"rank": 10, "pre_rank": 20, "retrieve": 20},
    "largest": {"retrieve": 1500, "pre_rank": 1500, "rank": 1500},
    "one channel": dict.fromkeys(CHANNELS, 0) | {"social": 4},
    "all duties": {"pre_rank": 20, "rank": 20, "category": 0.1}
    | dict.fromkeys(("long_tail", "cold_start", "creators"), 0.3),
    "diversity alone": {"re_ranker": "DPP", "lam": 0.0},
    "score alone": {"merge": "score", "lam": 1.0},
}


@pytest.mark.parametrize("settings", [{}, *CORNERS.values()], ids=["as it opens", *CORNERS])
def test_every_number_of_the_summary_is_finite(explorer, settings):
    explorer.reset()
    explorer.set(**settings)
    assert not explorer.message
    assert all(np.isfinite(row.value) for row in explorer.rows(explorer.result))
    explorer.reset()


def test_what_empty_lists_have_not_is_a_dash(lab):
    explorer = CascadeExplorer(lab)
    nobody = lab.panel.brought.copy()
    nobody[CHANNELS.index("social")] = -1
    explorer._panels[("two_tower", "din")] = replace(lab.panel, brought=nobody)
    explorer.set(**dict.fromkeys(CHANNELS, 0) | {"social": 1})
    done = explorer.result.replay
    assert (done.lists == -1).all() and done.share == done.topics == 0
    rows = [line.split() for line in explorer.summary().splitlines()]
    gini = next(row for row in rows if row[:1] == ["Gini"])
    assert gini[3] == gini[5] == "–" and 0 < float(gini[4]) < 1
    assert not re.search(r"\bnan\b", explorer.summary())


def test_a_learned_re_ranker_reads_the_best_as_its_name_says(lab):
    learned = partial(LearnedStage, model=ListWise(ListWiseConfig(epochs=1)).fit(logged(300, 1)))
    explorer = CascadeExplorer(lab, {"list-wise": learned})
    assert f"list-wise ({READ} best)" in dict(explorer.controls["re_ranker"].options)
    shown = explorer.set(re_ranker="list-wise").result.replay.lists
    live = explorer.live().with_parts(exposures=None)
    assert (shown == lists_of(live, lab.requests(len(lab.panel)))).mean() > 0.97
    assert (explorer.set(rank=150).result.replay.lists == shown).all()


def test_the_weight_of_fusion_moves_along_the_front(lab):
    fusion = FusionExplorer(lab)
    ends = [fusion.set(weight=w).result for w in (0.0, 1.0)]
    one, other = ends[0].told.one, ends[0].told.other
    place = [e.at for e in ends]
    assert place == [0, len(ends[0].told.weight) - 1]
    told = ends[0].told.value
    assert told[one][0] >= told[one][-1] and told[other][-1] >= told[other][0]
    assert np.all(ends[0].true.value[one][0] >= told[one] - 1e-3)
    fusion.set(kind="product")
    assert fusion.result.told is not ends[0].told
