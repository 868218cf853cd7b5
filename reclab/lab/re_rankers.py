"""Re-rankers side by side: score order, windows, MMR, DPP and the three that learn.

All get the same hundred candidates a request, and are judged by what a page is worth as a whole
(``page_simulator``), beside the sum of its cards. Those that learn do so on the tuning day: the
list-wise model and the evaluator on its logged pages, the generator with that evaluator, the policy
gradient on simulated pages. The requests that compare settings are kept apart from them, and the
held-out day is looked at once, at the end.

Simplified: industry compares by A/B test, since no simulator is to be trusted that far.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from reclab.cascade.re_ranking.cards import Cards
from reclab.cascade.re_ranking.dpp import DPPConfig, dpp_batch
from reclab.cascade.re_ranking.evaluator import Believed, Evaluator, EvaluatorConfig
from reclab.cascade.re_ranking.generator import Generator, GeneratorConfig
from reclab.cascade.re_ranking.learned import ListModel
from reclab.cascade.re_ranking.list_wise import ListWise, ListWiseConfig, Pages
from reclab.cascade.re_ranking.mmr import MMRConfig, mmr_batch, scaled
from reclab.cascade.re_ranking.policy_gradient import PolicyGradient, PolicyGradientConfig
from reclab.cascade.re_ranking.score_order import in_windows
from reclab.cascade.re_ranking.windows import Rule
from reclab.core.types import Array
from reclab.lab.cache import built, code_version, whole
from reclab.lab.lab import Lab, progress_bar
from reclab.lab.list_ruler import LEARNED, Result, Ruler
from reclab.lab.page_pools import Pool, Progress, logged_pages, pool_of, thirds
from reclab.lab.page_simulator import DrawnPages

SEEDS = {"tiny": (0,), "laptop": (0, 1, 2), "full": (0,)}
"""the learned ones are trained once for each of these"""
STEPS, SIZES = {"tiny": 10}, {"tiny": (150, 100)}
"""steps of learning, and requests to learn and to compare on, at the smoke scale"""
K = 10
"""cards of a list"""
CHUNK = 100  # requests that are re-ranked together
LAMBDAS = (0.95, 0.9, 0.8, 0.7, 0.65, 0.6, 0.5)
THETAS = (0.99, 0.97, 0.95, 0.93, 0.9)
FACTORS = (0.5, 1.5, 2.0, 3.0)
KINDS = {
    "list-wise": ListWise,
    "evaluator": Evaluator,
    "generator": Generator,
    "policy gradient": PolicyGradient,
}


# ---- learning ------------------------------------------------------------------------------


def train_all(pages: Pages, pool: Pool, seed: int, steps: int, say: Progress) -> dict[str, Any]:
    """The three learned re-rankers and the evaluator, of one seed."""
    say(0.0, f"list-wise model, seed {seed}")
    list_wise = ListWise(ListWiseConfig(seed=seed)).fit(pages)
    say(0.15, f"evaluator, seed {seed}")
    evaluator = Evaluator(EvaluatorConfig(seed=seed)).fit(pages)
    say(0.3, f"generator, seed {seed}")
    generator = Generator(GeneratorConfig(seed=seed, steps=steps))
    generator.fit(pool.cards, Believed(evaluator, pool.cards))
    say(0.7, f"policy gradient, seed {seed}")
    policy = PolicyGradient(PolicyGradientConfig(seed=seed, steps=steps))
    policy.fit(pool.cards, DrawnPages(pool.simulator, seed))
    return dict(zip(KINDS, (list_wise, evaluator, generator, policy), strict=True))


def trained_re_rankers(lab: Lab, progress: bool | Progress = True) -> dict[str, list[Any]]:
    """The learned re-rankers and the evaluator by name, one for each seed; trained once and
    cached. Raises ``DataError`` on real logs, where there is no simulator to learn in."""
    tuning = lab.world.truth.tuning
    seeds = SEEDS[lab.scale]
    steps = STEPS.get(lab.scale, PolicyGradientConfig().steps)

    def build(folder: Path) -> None:
        with progress_bar(f"re-rankers ({lab.scale}, seed {lab.seed})", progress) as say:
            learn, compare = thirds(len(tuning), *SIZES.get(lab.scale, ()))
            pool = pool_of(lab, "tuning", learn, lambda f, text: say(0.15 * f, text))
            say(0.15, "logged pages")
            pages = logged_pages(lab, int(tuning["day"][0]), tuning["req_id"][compare])
            for i, seed in enumerate(seeds):

                def mine(f: float, text: str, i: int = i) -> None:
                    say(0.2 + 0.8 * (i + f) / len(seeds), text)

                for model in train_all(pages, pool, seed, steps, mine).values():
                    model.save(folder / str(seed))

    folder = built(f"rerank-{lab.scale}-{lab.seed}", _version(lab), build)
    return {name: [kind.load(folder / str(s)) for s in seeds] for name, kind in KINDS.items()}


def _version(lab: Lab) -> str:
    """Changes with the platform, the models before re-ranking, and the code of this chapter."""
    before = lab.models_folder.name.rpartition(f"-{lab.seed}-")[2]
    return f"{before}-{code_version(['cascade/re_ranking', 'lab'])}"


# ---- comparing -----------------------------------------------------------------------------


def compare(lab: Lab, split: str = "tuning", progress: bool | Progress = True) -> dict[str, Result]:
    """Every re-ranker on the same requests of a day, computed once and cached; ``split``
    "held_out" is for the last look."""
    models = trained_re_rankers(lab, progress)

    def build(folder: Path) -> None:
        with progress_bar(f"re-rankers on the {split} day", progress) as say:
            n = len(getattr(lab.world.truth, split))
            rows = thirds(n, *SIZES.get(lab.scale, ()))[1]
            pool = pool_of(lab, split, rows, lambda f, text: say(0.4 * f, text))
            ruler, found = Ruler(lab, pool), {}
            for i, (name, family, knob, orders) in enumerate(_all_lists(pool, models)):
                say(0.4 + 0.6 * i / 30, name)
                found[name] = ruler.measure(orders, family, knob)
            pages = {f"pages.{i}": r.pages for i, r in enumerate(found.values())}
            about = {name: asdict(replace(r, pages=None)) for name, r in found.items()}
            np.savez(folder / "results.npz", about=np.array(json.dumps(about)), **pages)

    folder = built(f"rerank_{split}-{lab.scale}-{lab.seed}", _version(lab), build)
    with np.load(folder / "results.npz") as held:
        about = json.loads(str(held["about"]))
        return {
            name: Result(**{**r, "pages": held[f"pages.{i}"], "by_seed": tuple(r["by_seed"])})
            for i, (name, r) in enumerate(about.items())
        }


def is_compared(lab: Lab, split: str = "tuning") -> bool:
    """Whether ``compare`` has its answer in the cache."""
    return whole(f"rerank_{split}-{lab.scale}-{lab.seed}", _version(lab)) is not None


def _all_lists(
    pool: Pool, models: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, str, float, list[Array]]]:
    """(name, family, knob, lists by seed) of everything that is compared."""
    cards, wanted = pool.cards, np.full(len(pool), K)
    plain = np.where(np.isnan(cards.score), 0.0, cards.score)
    score = scaled(plain.ravel(), np.arange(plain.size).reshape(plain.shape))
    score[~cards.real] = -np.inf
    rules = default_windows(cards)
    yield "score order", "score order", 1.0, [in_windows(score, wanted).order]
    yield "windows", "windows", 1.0, [in_windows(score, wanted, rules).order]
    for lam in LAMBDAS:
        yield f"MMR {lam:g}", "MMR", lam, [mmr_batch(score, cards.vectors, wanted, lam).order]
    usual = MMRConfig().lam
    order = mmr_batch(score, cards.vectors, wanted, usual, rules).order
    yield f"MMR {usual:g}, windows", "windows", usual, [order]
    for theta in THETAS:
        alpha = DPPConfig(theta).alpha
        order = dpp_batch(score, cards.vectors, wanted, alpha).order
        yield f"DPP {theta:g}", "DPP", theta, [order]
    for name in LEARNED:
        yield name, name, 1.0, _orders(models[name], cards, wanted)
    for name in LEARNED:
        yield f"{name}, windows", "windows", 1.0, _orders(models[name], cards, wanted, rules)
    name = "policy gradient"
    for factor in FACTORS:
        dearer = [model.with_factor(factor) for model in models[name]]
        yield f"{name} ×{factor:g}", name, factor, _orders(dearer, cards, wanted)
    yield "greedy on the truth", "truth", 1.0, [pool.simulator.greedy(K)]


def default_windows(cards: Cards) -> list[Rule]:
    """The windows of ``MMRConfig``'s defaults over these cards."""
    c = MMRConfig()
    return [
        Rule(cards.category, c.category_window, c.max_per_category),
        Rule(cards.creator, c.creator_window, c.max_per_creator),
    ]


def _orders(
    models: Sequence[ListModel], cards: Cards, wanted: Array, rules: Sequence[Rule] = ()
) -> list[Array]:
    parts = [np.arange(len(cards))[start : start + CHUNK] for start in range(0, len(cards), CHUNK)]
    orders = []
    for model in models:
        found = []
        for part in parts:
            mine = [Rule(rule.group[part], rule.window, rule.cap) for rule in rules]
            found.append(model.lists(cards.take(part), wanted[part], mine).order)
        orders.append(np.concatenate(found))
    return orders
