"""Merge policies against brute force and against what each promises."""

import numpy as np
import pytest

from reclab.cascade.ranking.calibration import isotonic
from reclab.core.chance import rng
from reclab.core.errors import ConfigError, DataError
from reclab.dualrec.merge import Boost, Mix, Quota, SamePlaces, merge, top

B, N, M, K = 40, 30, 8, 10


def pages(seed: int = 1):
    """f_scores, f_items, d_items, g_scores: half of D_u scored by the user side, the rest not."""
    chance = rng(seed, "merge")
    items = np.argsort(chance.random((B, 100)), 1)
    f_items = items[:, :N].copy()
    f_items[chance.random((B, N)) < 0.1] = -1
    f = chance.random((B, N)).astype(np.float32)
    d_items = np.hstack([items[:, N - M // 2 : N], items[:, N : N + M - M // 2]])
    d_items[:, 0] = np.where(chance.random(B) < 0.3, -1, d_items[:, 0])
    return f, f_items, d_items, chance.random((B, M)).astype(np.float32)


def candidates(f, f_items, d_items, g, b):
    """Plain tuples (item, f, g or None) of one request."""
    table = {int(i): float(x) for i, x in zip(d_items[b], g[b], strict=True) if i >= 0}
    rows = [(int(i), float(x)) for i, x in zip(f_items[b], f[b], strict=True) if i >= 0]
    return [(i, x, table.get(i)) for i, x in rows]


def best(rows, key, k=K):
    return [row[0] for row in sorted(rows, key=lambda row: -key(row))[:k]]


@pytest.mark.parametrize("lam", [0.0, 0.7])
def test_boost_is_a_sort_of_f_plus_lambda_g(lam):
    args = pages()
    merged = merge(Boost(lam), *args, K)
    for b in range(B):
        rows = candidates(*args, b)
        want = best(rows, lambda r: r[1] + lam * (r[2] or 0.0))
        alone = best(rows, lambda r: r[1])
        assert merged.items[b].tolist() == want
        in_d = {r[0] for r in rows if r[2] is not None}
        assert merged.from_creator[b].tolist() == [i in in_d for i in want]
        assert merged.injected[b].tolist() == [i in in_d and i not in alone for i in want]
        f_of = {r[0]: r[1] for r in rows}
        gone = [i for i in alone if i not in want]
        assert merged.displaced[b].tolist() == gone + [-1] * (K - len(gone))
        assert merged.displaced_score[b][: len(gone)] == pytest.approx([f_of[i] for i in gone])
        lost = sum(f_of[i] for i in alone) - sum(f_of[i] for i in want)
        assert merged.loss[b] == pytest.approx(lost, abs=1e-6)
        assert len(gone) == merged.injected[b].sum()
    assert lam > 0 or (not merged.injected.any() and not merged.loss.any())


def test_more_lambda_is_more_of_the_creator_side_and_less_of_the_users_value():
    args = pages(2)
    found = [merge(Boost(lam), *args, K) for lam in (0, 0.1, 0.3, 1, 3, 1e5)]
    count = np.array([m.from_creator.sum(1) for m in found])
    loss = np.array([m.loss for m in found])
    assert (np.diff(count, axis=0) >= 0).all() and (np.diff(loss, axis=0) >= -1e-9).all()
    assert count[-1].sum() > count[0].sum() and loss[-1].sum() > 0
    reach = np.array(
        [(np.isin(f, d) & (f >= 0)).sum() for f, d in zip(args[1], args[2], strict=True)]
    )
    assert (count[-1] == np.minimum(reach, K)).all()


def test_the_common_score_is_a_sort_in_the_common_unit():
    args = pages(3)
    merged = merge(Mix(weight=0.6, a=np.sqrt, b=np.square), *args, K)

    def common(row):
        own = row[1] ** 0.5
        return own if row[2] is None else 0.4 * own + 0.6 * row[2] ** 2

    for b in range(B):
        assert merged.items[b].tolist() == best(candidates(*args, b), common)


def test_a_common_unit_makes_the_page_deaf_to_the_units_of_g():
    f, f_items, d_items, g = pages(8)
    chance = rng(2, "labels")
    y = chance.random(5000)
    f_seen, g_seen = y**2, 0.2 + 0.5 * y  # two scales that both tell the same chance y
    label = (chance.random(5000) < y).astype(float)
    a, b = isotonic(f_seen, label), isotonic(g_seen, label)
    stretched = isotonic(1000 * g_seen, label)
    one = merge(Mix(weight=1.0, a=a, b=b), f**2, f_items, d_items, 0.2 + 0.5 * g, K)
    other = merge(Mix(weight=1.0, a=a, b=stretched), f**2, f_items, d_items, 200 + 500 * g, K)
    assert (one.items == other.items).mean() > 0.99
    wanted = merge(Mix(weight=1.0), f, f_items, d_items, g, K)  # by the chance itself
    raw = merge(Mix(weight=1.0), f**2, f_items, d_items, 0.2 + 0.5 * g, K)
    right = [np.mean([np.isin(p, q).mean() for p, q in zip(m.items, wanted.items, strict=True)])
             for m in (one, raw)]  # fmt: skip
    assert right[0] > 0.9 and right[0] > right[1]


def test_weaving_gives_the_creator_side_its_share_of_every_beginning():
    args = pages(4)
    merged = merge(Mix(how="weave", share=0.3), *args, K)
    for b in range(B):
        rows = candidates(*args, b)
        ours = best([r for r in rows if r[2] is not None], lambda r: r[2], 3)
        slots = [3, 6, 9][: len(ours)]
        rest = iter(best([r for r in rows if r[0] not in ours], lambda r: r[1]))
        page = [ours[slots.index(p)] if p in slots else next(rest) for p in range(K)]
        assert merged.items[b].tolist() == page


def test_a_quota_reserves_slots_for_what_is_behind_and_never_more_than_that():
    f, f_items, d_items, g = pages(5)
    shared = np.array(
        [900, 901, 902]
    )  # the same three in every D_u, and scored too low to be shown
    f_items, f = np.hstack([f_items, np.tile(shared, (B, 1))]), np.hstack([f, np.zeros((B, 3))])
    d_items, g = np.tile(shared, (B, 1)), np.full((B, 3), 0.5)
    state = np.tile([10.0, 0.0, 3.2], (B, 1))
    merged = merge(Quota(slots=(2, 6)), f, f_items, d_items, g, K, state)
    count = {i: int((merged.items == i).sum()) for i in shared.tolist()}
    assert count == {900: 10, 901: 0, 902: 4}
    row, slot = np.nonzero(merged.injected)
    assert set(slot.tolist()) <= {2, 6}
    assert (merged.displaced[row] >= 0).any(1).all()
    untouched = ~merged.injected.any(1)
    assert (
        merged.items[untouched] == merge(Boost(0), f, f_items, d_items, g, K).items[untouched]
    ).all()


def test_what_the_user_side_shows_by_itself_takes_no_slot_and_counts_for_the_quota():
    f_items, f = np.array([[1, 2, 3, 4]] * 2), np.array([[4.0, 3, 2, 1], [1, 4, 3, 2]])
    d_items, g, state = np.array([[1]] * 2), np.ones((2, 1)), np.ones((2, 1))
    merged = merge(Quota(slots=(0,)), f, f_items, d_items, g, 3, state)
    assert merged.items.tolist() == [[1, 2, 3], [2, 3, 4]]
    state = np.full((2, 1), 2.0)
    merged = merge(Quota(slots=(0,)), f, f_items, d_items, g, 3, state)
    assert merged.items.tolist() == [[1, 2, 3], [1, 2, 3]]
    assert merged.displaced.tolist() == [[-1, -1, -1], [4, -1, -1]]
    with pytest.raises(DataError, match="Quota needs state"):
        merge(Quota(), f, f_items, d_items, g, 3)


def test_untargeted_injection_has_the_same_volume_in_the_same_places():
    f, f_items, d_items, g = pages(6)
    targeted = merge(Boost(0.4), f, f_items, d_items, g, K)
    others = 1000 + np.arange(B * K).reshape(B, K)  # enough for any number of places
    f2, items2 = np.hstack([f, np.full((B, K), -1.0)]), np.hstack([f_items, others])
    control = merge(SamePlaces(targeted.injected), f2, items2, others, np.ones((B, K)), K)
    assert targeted.injected.any()
    assert (control.injected == targeted.injected).all()
    assert (control.items[control.injected] >= 1000).all()
    assert control.loss.sum() > targeted.loss.sum()


@pytest.mark.parametrize(
    "policy", [Boost(0.5), Mix(), Mix(how="weave", share=0.5), Quota((0, 3))], ids=lambda p: p.name
)
def test_no_card_twice_none_invented_and_bad_numbers_come_last(policy):
    f, f_items, d_items, g = pages(7)
    chance = rng(1, "bad")
    f[chance.random(f.shape) < 0.3] = np.nan
    f[0], g[1], f_items[2], d_items[3] = np.nan, np.inf, -1, -1
    state = np.where(chance.random(g.shape) < 0.3, np.nan, 2.0)
    merged = merge(policy, f, f_items, d_items, g, K, state)
    for b in range(B):
        page = merged.items[b][merged.items[b] >= 0]
        there = f_items[b][f_items[b] >= 0]
        assert len(set(page.tolist())) == len(page) == min(K, len(there))
        assert set(page.tolist()) <= set(there.tolist())
        assert set(merged.items[b][merged.from_creator[b]].tolist()) <= set(d_items[b].tolist())
    assert not merged.from_creator[1:4].any()
    assert (merged.items[2] == -1).all() and np.isfinite(merged.loss).all()
    if policy.name == "boost":  # a hopeless candidate is shown only when nothing else is left
        bad = ~np.isfinite(f[4:]) & (f_items[4:] >= 0)
        shown = np.isin(f_items[4:], merged.items[4:])
        assert ((f_items[4:] >= 0) & ~bad).sum(1).min() >= K and not (bad & shown).all()


def test_short_lists_empty_d_u_and_no_requests():
    f, items = np.array([[2.0, 1.0]]), np.array([[5, 6]])
    none, blank = np.zeros((1, 0), int), np.zeros((1, 0))
    for policy in (Boost(1), Mix(), Mix(how="weave"), Quota((0,))):
        merged = merge(policy, f, items, none, blank, 4, blank)
        assert merged.items.tolist() == [[5, 6, -1, -1]] and not merged.from_creator.any()
        nobody = np.zeros((0, 2))
        assert merge(policy, nobody, nobody.astype(int), nobody.astype(int), nobody, 4, nobody)
    one = merge(Quota((3,)), f, items, np.array([[6]]), np.ones((1, 1)), 1, np.ones((1, 1)))
    assert one.items.tolist() == [[5]]  # the slot lies behind the page
    assert top(np.array([[1.0, -np.inf]]), 2).tolist() == [[0, -1]]


def test_settings_and_shapes_are_checked():
    with pytest.raises(ConfigError, match=r"Boost.lam must be in \[0.0"):
        Boost(float("nan"))
    with pytest.raises(ConfigError, match="Mix.how must be one of common, weave"):
        Mix(how="salad")
    with pytest.raises(ConfigError, match="Quota.slots must rise"):
        Quota((3, 1))
    with pytest.raises(DataError, match=r"d_items and g_scores \(B, m\)"):
        merge(
            Boost(), np.ones((1, 2)), np.ones((1, 2), int), np.ones((1, 1), int), np.ones((1, 2)), 2
        )
    with pytest.raises(ConfigError, match="merge k must be >= 1"):
        merge(Boost(), *pages(), 0)
