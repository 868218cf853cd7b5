"""The explorers of lesson 02 at the smoke scale: what they show is what the cascade answers."""

import re

import numpy as np
import pytest

from reclab.cascade.pipeline import CHANNELS
from reclab.lab.experiments import lists_of
from reclab.lab.model_scores import score_model
from reclab.show.cascade_explorer import CascadeExplorer
from reclab.show.fusion_explorer import FusionExplorer

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


def test_every_number_of_the_summary_is_finite(explorer):
    explorer.reset()
    assert not re.search(r"\bnan\b", explorer.summary())


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
