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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reclab.cascade.re_ranking import list_metrics
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
from reclab.lab.lab import Lab, progress_bar, train_until
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
LEARNED = ("list-wise", "generator", "policy gradient")


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


@dataclass(frozen=True)
class Result:
    """Means over the requests of a day, and for what was learned over the seeds too.

    ``value`` sum of the cards' P(long view) in first place; ``list_value`` expected long views of
    the page; ``distance``, ``novelty`` (bits), ``balance``, ``creators`` (different ones a card)
    by ``list_metrics``; ``gini`` of what creators get; ``pages`` (B,) list values by request;
    ``by_seed`` list values by seed; ``family`` and ``knob`` say what was set."""

    value: float
    list_value: float
    distance: float
    novelty: float
    balance: float
    creators: float
    gini: float
    pages: Array
    by_seed: tuple[float, ...]
    family: str
    knob: float = float("nan")

    @property
    def spread(self) -> float:
        """Largest less smallest list value of the seeds."""
        return max(self.by_seed) - min(self.by_seed)


class Ruler:
    """Measures lists of a pool; what it needs of the catalogue is read once."""

    def __init__(self, lab: Lab, pool: Pool) -> None:
        index, log = lab.trained.parts.index, lab.logs.interactions
        early = log["video_id"][log["time_ms"] < train_until(lab)]
        self.pool, self.exposure = pool, np.bincount(index.rows(early), minlength=len(index))
        self.category, self.creator = index["tags"][:, 0], index["author_id"]
        self.vectors = unit_tags(index["tags"])
        self.gain = pool.simulator.p_click * pool.simulator.p_long

    def measure(self, orders: Sequence[Array], family: str, knob: float) -> Result:
        """Judge the lists (B, K) of every seed, positions among the pool's candidates."""
        pages = [self.pool.simulator.value(order) for order in orders]
        parts = [self._means(order) for order in orders]
        by_seed = tuple(float(page.mean()) for page in pages)
        value, *rest = (float(x) for x in np.mean(parts, axis=0))
        every = np.mean(pages, axis=0)
        return Result(value, float(every.mean()), *rest, every, by_seed, family, knob)

    def _means(self, order: Array) -> list[float]:
        there, at = order >= 0, np.maximum(order, 0)
        lists = np.where(there, np.take_along_axis(self.pool.item_row, at, 1), -1)
        return [
            (np.take_along_axis(self.gain, at, 1) * there).sum(1).mean(),
            np.nanmean(list_metrics.intra_list_distance(lists, self.vectors)),
            np.nanmean(list_metrics.novelty(lists, self.exposure)),
            np.nanmean(list_metrics.balance(lists, self.category)),
            np.nanmean(list_metrics.distinct_share(lists, self.creator)),
            list_metrics.exposure_gini(lists, self.creator),
        ]


def unit_tags(tags: Array) -> Array:
    """(n_items, n_tags) float32 unit vectors of tags (n_items, width), -1 = none."""
    wide = np.zeros((len(tags), int(tags.max(initial=0)) + 2), np.float32)
    np.put_along_axis(wide, tags.astype(np.int64) % wide.shape[1], 1.0, 1)  # -1 goes last
    wide = wide[:, :-1]
    return np.asarray(wide / np.maximum(np.sqrt(wide.sum(1, keepdims=True)), 1))


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


# ---- what comes out ------------------------------------------------------------------------


def fronts(results: Mapping[str, Result]) -> dict[str, tuple[Array, Array]]:
    """(distance, list value) of each family that has a knob, by distance, for a plot; all begin
    with score order where they contain it."""
    out = {}
    for family in ("MMR", "DPP", *LEARNED):
        mine = [r for r in results.values() if r.family == family]
        mine += [results["score order"]] * (family in ("MMR", "DPP"))
        mine.sort(key=lambda r: r.distance)
        out[family] = (
            np.array([r.distance for r in mine]),
            np.array([r.list_value for r in mine]),
        )
    return out


def against_mmr(results: Mapping[str, Result], name: str) -> tuple[float, float]:
    """How much more list value than MMR at the same diversity (share of MMR's), and its standard
    error over requests: MMR's list values are interpolated between the two λ whose distances
    enclose that of ``name``; beyond them the nearest stands in."""
    mmr = [r for r in results.values() if r.family in ("MMR", "score order")]
    mmr.sort(key=lambda r: r.distance)
    mine, at = results[name], np.array([r.distance for r in mmr])
    right = int(np.clip(np.searchsorted(at, mine.distance), 1, len(at) - 1))
    low, high = mmr[right - 1], mmr[right]
    part = (mine.distance - low.distance) / max(high.distance - low.distance, 1e-9)
    part = float(np.clip(part, 0.0, 1.0))
    theirs = (1 - part) * low.pages + part * high.pages
    more = mine.pages - theirs
    scale = float(theirs.mean())
    return float(more.mean()) / scale, float(more.std()) / np.sqrt(len(more)) / scale


def table(results: Mapping[str, Result]) -> str:
    """The results as text, one re-ranker a line."""
    head = f"{'':26s}{'cards':>7}{'list':>7}{'seeds':>7}{'apart':>7}{'novel':>7}"
    lines = [head + f"{'balance':>9}{'creators':>9}{'gini':>7}{'than MMR, equally apart':>26}"]
    for name, r in results.items():
        more, error = against_mmr(results, name)
        seeds = f"{r.spread:7.3f}" if len(r.by_seed) > 1 else " " * 7
        gap = "" if r.family in ("MMR", "score order") else f"{more:+.1%} ± {error:.1%}"
        lines.append(
            f"{name:26s}{r.value:7.3f}{r.list_value:7.3f}{seeds}{r.distance:7.3f}{r.novelty:7.2f}"
            f"{r.balance:9.3f}{r.creators:9.3f}{r.gini:7.3f}{gap:>26}"
        )
    return "\n".join(lines)
