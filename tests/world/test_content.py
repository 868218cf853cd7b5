"""Content: the same item always says the same, and says something that its tags do not."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from reclab.world import World
from reclab.world.content import VOCABULARY, captions, frames
from reclab.world.users import TOPICS


def test_every_topic_has_ten_words():
    assert set(VOCABULARY) == set(TOPICS)
    assert all(len(set(words.split())) == 10 for words in VOCABULARY.values())


def test_captions_are_the_same_for_one_seed_and_others_for_another(tiny: World):
    one, same, other = (captions(tiny.truth, seed) for seed in (0, 0, 1))
    assert len(one) == tiny.truth.n_items
    assert np.array_equal(one, same) and (one != other).mean() > 0.95
    words = np.array([len(text.split()) for text in one])
    assert words.min() == 3 and words.max() == 10


def test_captions_tell_of_the_style_that_tags_hide(tiny: World):
    words = TfidfVectorizer().fit_transform(captions(tiny.truth, 0))
    style = tiny.truth.item_style
    found = [cross_val_score(Ridge(3.0), words, style[:, k], cv=4).mean() for k in range(8)]
    tags = [
        cross_val_score(Ridge(3.0), tiny.truth.weights, style[:, k], cv=4).mean() for k in range(8)
    ]
    assert np.mean(found) > 0.03 + np.mean(tags)


def test_frames_do_not_depend_on_what_else_is_asked_for(tiny: World):
    many = frames(tiny.truth, np.arange(60), 0)
    few = frames(tiny.truth, np.array([41, 7]), 0)
    assert many.shape == (60, 24, 24, 3) and many.dtype == np.uint8
    assert np.array_equal(few, many[[41, 7]])


def test_colours_tell_topics_apart_but_not_surely(tiny: World):
    rows = np.arange(800)
    colour = frames(tiny.truth, rows, 0).reshape(800, -1, 3).astype(float)
    seen = np.concatenate([colour.mean(1), colour.std(1)], 1)
    topic = tiny.logs.items["tags"][rows, 0]
    train, test = rows[:600], rows[600:]
    near = ((seen[test][:, None] - seen[train][None]) ** 2).sum(2).argmin(1)
    hits = (topic[train][near] == topic[test]).mean()
    assert 2 / 24 < hits < 0.9
