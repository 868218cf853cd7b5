"""vector_index: exact where it is flat, near exact on clustered data where it is not."""

import gc

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError
from reclab.stores.vector_index import VectorIndex, VectorIndexConfig

APPROXIMATE = ("ivf", "hnsw")
ALL = ("flat", *APPROXIMATE)


def clustered(n, dim=16, n_clusters=40, seed=0, unit=True):
    """Vectors around centres, as trained embeddings lie; queries are drawn the same way."""
    chance = rng(seed, "clusters")
    centres = chance.normal(size=(n_clusters, dim))
    x = centres[chance.integers(0, n_clusters, n)] + 0.5 * chance.normal(size=(n, dim))
    if unit:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32)


def best(vectors, ids, queries, k):
    """Brute force: ids (B, k) by inner product."""
    return ids[np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]]


def recall(found, true):
    return np.mean([len(set(f) & set(t)) / len(t) for f, t in zip(found, true, strict=True)])


def test_flat_agrees_with_brute_force():
    x = clustered(500)
    index = VectorIndex(16, "flat")
    index.add(np.arange(500) * 3, x)
    scores, ids = index.search(x[:30], 10)
    assert (ids == best(x, np.arange(500) * 3, x[:30], 10)).all()
    np.testing.assert_allclose(scores, -np.sort(-(x[:30] @ x.T), 1)[:, :10], rtol=1e-5)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("kind", APPROXIMATE)
def test_approximate_recall_on_clustered_vectors(kind, unit):
    x = clustered(6000, unit=unit)
    index = VectorIndex(16, kind)
    index.add(np.arange(5800), x[:5800])
    _, ids = index.search(x[5800:], 50)
    assert recall(ids, best(x[:5800], np.arange(5800), x[5800:], 50)) > 0.95


@pytest.mark.parametrize("kind", ALL)
def test_removed_vectors_are_never_found_and_others_take_their_place(kind):
    """20 % removed: graph and clusters mask them, and still return k live ones."""
    x = clustered(3000)
    index = VectorIndex(16, kind)
    index.add(np.arange(3000), x)
    gone = rng(1, "gone").choice(3000, 600, replace=False)
    assert index.remove(gone) == 600
    gc.collect()  # the mask must stay alive while the index holds it
    _, ids = index.search(x[:100], 50)
    live = np.setdiff1d(np.arange(3000), gone)
    assert (ids >= 0).all()
    assert np.isin(ids, live).all()
    assert recall(ids, best(x[live], live, x[:100], 50)) > 0.95
    assert index.n_masked == (0 if kind == "flat" else 600)
    assert len(index) == 2400 and sorted(index.ids) == live.tolist()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_when_much_is_masked_the_index_is_rebuilt(kind):
    x = clustered(2000)
    index = VectorIndex(16, kind)
    index.add(np.arange(2000), x)
    index.remove(np.arange(490))
    assert index.n_masked == 490
    index.remove(np.arange(1000))
    assert index.n_masked == 0
    _, ids = index.search(x[1000:1100], 20)
    assert recall(ids, best(x[1000:], np.arange(1000, 2000), x[1000:1100], 20)) > 0.95


@pytest.mark.parametrize("kind", ALL)
def test_an_id_added_again_has_its_new_vector_only(kind):
    x = clustered(400)
    index = VectorIndex(16, kind)
    index.add(np.arange(400), x)
    index.add(np.array([7]), -x[7:8])
    _, ids = index.search(-x[7:8], 1)
    assert ids.tolist() == [[7]]
    _, ids = index.search(x[7:8], 300)
    assert 7 not in ids
    assert len(index) == 400


@pytest.mark.parametrize("kind", ALL)
def test_all_removed_answers_nothing_and_takes_new_ones(kind):
    x = clustered(50)
    index = VectorIndex(16, kind)
    index.add(np.arange(50), x)
    index.remove(np.arange(50))
    scores, ids = index.search(x[:2], 3)
    assert (ids == -1).all() and np.isneginf(scores).all()
    index.add(np.arange(90, 95), x[:5])
    assert index.search(x[:1], 1)[1].tolist() == [[90]]


@pytest.mark.parametrize("kind", ALL)
def test_kept_with_its_masked_vectors(kind, tmp_path):
    x = clustered(1500)
    index = VectorIndex(16, kind, VectorIndexConfig(n_probe=4, ef_search=40))
    index.add(np.arange(1500), x)
    index.remove(np.arange(0, 1500, 10))
    index.save(tmp_path)
    again = VectorIndex.load(tmp_path)
    for one, other in zip(index.search(x[:50], 20), again.search(x[:50], 20), strict=True):
        assert (one == other).all()
    assert again.config == index.config and len(again) == len(index)


def test_auto_takes_the_kind_that_suits_the_size():
    config = VectorIndexConfig(flat_below=100, graph_below=300)
    index = VectorIndex(16, "auto", config)
    x = clustered(500)
    kinds = []
    for rows in np.split(np.arange(500), [90, 200, 290, 400]):
        index.add(rows, x[rows])
        kinds.append(index.built_kind)
    assert kinds == ["flat", "hnsw", "hnsw", "ivf", "ivf"]
    assert (index.search(x, 1)[1][:, 0] == np.arange(500)).mean() > 0.95
    index.remove(np.arange(450))
    assert index.built_kind == "flat"
    assert sorted(index.search(x[:1], 60)[1][0])[-50:] == list(range(450, 500))


def test_clusters_are_trained_anew_when_the_index_has_doubled():
    """Else a search in n_probe of a few early clusters would compare ever more vectors."""
    x = clustered(2000)
    index, at_once = VectorIndex(16, "ivf"), VectorIndex(16, "ivf")
    for rows in np.split(np.arange(2000), 20):
        index.add(rows, x[rows])
    at_once.add(np.arange(2000), x)
    assert index._index.nlist >= 0.7 * at_once._index.nlist
    _, ids = index.search(x[:200], 20)
    assert recall(ids, best(x, np.arange(2000), x[:200], 20)) > 0.95


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, 30), min_size=1, unique=True)), max_size=8
    ),
    st.sampled_from(ALL),
)
def test_adds_and_removes_leave_the_ids_that_a_dict_would(steps, kind):
    chance = rng(3, "steps")
    index, plain = VectorIndex(4, kind), {}
    for add, ids in steps:
        if add:
            vectors = chance.normal(size=(len(ids), 4)).astype(np.float32)
            index.add(np.array(ids), vectors)
            plain.update(zip(ids, vectors, strict=True))
        else:
            assert index.remove(np.array(ids)) == sum(i in plain for i in ids)
            plain = {i: v for i, v in plain.items() if i not in ids}
    assert sorted(index.ids) == sorted(plain)
    if plain:
        query = chance.normal(size=(1, 4)).astype(np.float32)
        scores, ids = index.search(query, len(plain))
        found = {int(i): s for i, s in zip(ids[0], scores[0], strict=True) if i >= 0}
        assert set(found) <= set(plain) and len(found) >= 0.9 * len(plain)
        for i, score in found.items():
            assert score == pytest.approx(float(query[0] @ plain[i]), abs=1e-5)


def test_the_number_of_faiss_threads_is_what_was_set():
    faiss.omp_set_num_threads(2)
    index = VectorIndex(16, config=VectorIndexConfig(threads=1))
    index.add(np.arange(10), clustered(10))
    faiss.omp_set_num_threads(2)
    index.search(clustered(10), 2)
    assert faiss.omp_get_max_threads() == 1


def test_settings_out_of_range_are_named():
    with pytest.raises(ConfigError, match="VectorIndex.kind must be one of auto, flat"):
        VectorIndex(8, "tree")
    with pytest.raises(ConfigError, match="VectorIndexConfig.threads must be >= 1, got 0"):
        VectorIndexConfig(threads=0)


def test_looking_into_more_finds_more_and_into_all_finds_all():
    x = clustered(4000, n_clusters=300)
    true = best(x[:3900], np.arange(3900), x[3900:], 30)
    index = VectorIndex(16, "ivf")
    index.add(np.arange(3900), x[:3900])
    found = [recall(index.searching(n_probe=n).search(x[3900:], 30)[1], true) for n in (1, 8, 4096)]
    assert found[0] < found[1] < found[2] == 1.0
    assert index.config.n_probe == 32  # the index itself is as it was
    graph = VectorIndex(16, "hnsw")
    graph.add(np.arange(3900), x[:3900])
    found = [
        recall(graph.searching(ef_search=n).search(x[3900:], 8)[1], true[:, :8]) for n in (8, 400)
    ]
    assert found[0] < found[1] > 0.99
    assert graph.nbytes > x[:3900].nbytes + 4 * 24 * 3900  # vectors, and 24 neighbours of each


@pytest.mark.parametrize("kind", ALL)
def test_more_than_there_are_is_padded(kind):
    x = clustered(20)
    index = VectorIndex(16, kind)
    index.add(np.arange(20), x)
    scores, ids = index.search(x[:2], 50)
    assert (np.sort(ids[:, :20]) == np.arange(20)).all()
    assert (ids[:, 20:] == -1).all() and np.isneginf(scores[:, 20:]).all()


@pytest.mark.parametrize("kind", ALL)
def test_identical_vectors_are_all_there(kind):
    index = VectorIndex(4, kind)
    index.add(np.arange(600), np.ones((600, 4)))
    scores, ids = index.search(np.ones((3, 4)), 40)
    assert all(len(set(row)) == 40 for row in ids.tolist()) and (ids >= 0).all()
    np.testing.assert_allclose(scores, 4.0, rtol=1e-6)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_no_numbers_are_refused_and_change_nothing(kind, bad):
    x = clustered(60)
    index = VectorIndex(16, kind)
    index.add(np.arange(50), x[:50])
    wrong = x[50:].copy()
    wrong[3, 2] = bad
    with pytest.raises(DataError, match="finite"):
        index.add(np.arange(50, 60), wrong)
    with pytest.raises(DataError, match="finite"):
        index.search(wrong, 3)
    assert len(index) == 50 and index.search(x[:1], 1)[1].tolist() == [[0]]


def test_how_much_may_be_masked_is_a_setting():
    index = VectorIndex(16, "ivf", VectorIndexConfig(masked=0.75, n_probe=4096))
    x = clustered(400)
    index.add(np.arange(400), x)
    index.remove(np.arange(300))
    assert index.n_masked == 300 and (index.search(x[:5], 100)[1] >= 300).all()
    index.remove(np.array([300]))
    assert index.n_masked == 0 and len(index) == 99
