"""Traffic duties measured: what each costs in value, and how far through the funnel it reaches.

Two readings of each share. As in the cascade: places are kept where pre-ranking cuts, and nowhere
else; the ranker may then drop whom the duty has let in. And carried through: the list itself keeps
the same share of its ten places, which is what the duty would have to cost to be seen by a user.

Simplified: a platform weighs the cost against what comes later: new items found, creators who stay.
"""

from dataclasses import dataclass

import numpy as np

from reclab.cascade.batch import Batch, read_batch
from reclab.cascade.pipeline import CascadeConfig
from reclab.cascade.pre_ranking.duties import RESERVING, Duties, DutiesConfig
from reclab.core.types import Array, Candidates
from reclab.lab.lab import Lab
from reclab.lab.panel import Panel, Replay, replay
from reclab.lab.pre_ranking import (
    best_by_rank,
    candidates_of,
    clean_candidates,
    first_true,
    reordered,
)

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
QUOTAS = (1.0, 0.5, 0.3, 0.2)
STAGES = ("candidates", "pre_ranking", "ranking", "list")


# ---- duties --------------------------------------------------------------------------------


@dataclass(frozen=True)
class DutyCost:
    """``share``: value of the list as a share of the oracle's, the duty done in pre-ranking alone;
    ``seen`` (4,): share of those whom the duty is for (for the quota: of the largest category)
    after each of STAGES. ``through``: value of the ten best by rank score if the list too keeps
    that share of its places, ``reached`` the group's share of such lists."""

    share: float
    seen: Array
    through: float
    reached: float


def duty_costs(lab: Lab, sizes: CascadeConfig | None = None) -> dict[str, dict[float, DutyCost]]:
    """Each duty alone, at growing shares of the places: what it costs, and how far it reaches."""
    found: dict[str, dict[float, DutyCost]] = {}
    config, batch = sizes or lab.trained.config, panel_batch(lab)
    for duty in (*RESERVING, "category"):
        found[duty] = {}
        for share in QUOTAS if duty == "category" else SHARES:
            duties = duties_of(lab, DutiesConfig(**{duty: share}))
            panel = with_duties(lab.panel, batch, config, duties)
            done = replay(panel, config, lab.trained.parts.index)
            seen = _seen(panel, batch, config, duties, duty, done)
            through = _through(panel, batch, config, duties, duty)
            found[duty][share] = DutyCost(done.share, seen, *through)
    return found


def duties_of(lab: Lab, config: DutiesConfig) -> Duties:
    """Duties that know the exposures before the end of training."""
    p = lab.trained.parts
    end = 2**39 if p.until_ms is None else p.until_ms
    return Duties.before(config, p.index, p.users, end)


def panel_batch(lab: Lab) -> Batch:
    """The panel's requests as the stages see them."""
    p = lab.trained.parts
    return read_batch(lab.requests(len(lab.panel)), p.users, p.index)


def with_duties(panel: Panel, batch: Batch, config: CascadeConfig, duties: Duties) -> Panel:
    """The panel in the order in which pre-ranking with these duties would keep the candidates of
    ``config``; a replay with other sizes or channels needs its own."""
    clean = clean_candidates(panel, config)
    place = np.broadcast_to(np.arange(clean.shape[1], dtype=np.float64), clean.shape)
    tier = duties.tiers(batch, candidates_of(panel.item_row, clean), -place[clean], config.pre_rank)
    score = np.full(clean.shape, -np.inf)
    score[clean] = -(tier * np.float64(clean.shape[1]) + place[clean])
    return reordered(panel, score)


def _seen(
    panel: Panel, batch: Batch, config: CascadeConfig, duties: Duties, duty: str, done: Replay
) -> Array:
    """(4,) share of the duty's group among what is left after each of STAGES."""
    clean = clean_candidates(panel, config)
    kept = first_true(clean, config.pre_rank)
    left = [clean, kept, best_by_rank(panel, kept, config.rank)]
    sets = [candidates_of(panel.item_row, mask) for mask in left]
    sets.append(candidates_of(done.lists, done.lists >= 0))
    return np.array([_group(duties, duty, batch, c) for c in sets])


def _through(
    panel: Panel, batch: Batch, config: CascadeConfig, duties: Duties, duty: str
) -> tuple[float, float]:
    """The ten best by rank score of what pre-ranking kept, the same duty done once more."""
    kept = first_true(clean_candidates(panel, config), config.pre_rank)
    candidates, n = candidates_of(panel.item_row, kept), panel.best_gain.shape[1]
    score = panel.rank_score[kept].astype(np.float64)
    tier = duties.tiers(batch, candidates, score, n)
    place = candidates.rank_by(-(tier * 1e6 + candidates.rank_by(score)))
    gain = panel.gain[kept][place < n].sum(dtype=np.float64) / panel.best_gain.sum(dtype=np.float64)
    return float(gain), _group(duties, duty, batch, candidates.take(place < n))


def _group(duties: Duties, duty: str, batch: Batch, candidates: Candidates) -> float:
    """Share of those whom the duty is for; for the quota, of the largest category."""
    if duty == "category":
        return _largest(candidates, duties.category(candidates.item_row))
    return float(duties.of(duty, batch, candidates).mean())


def _largest(candidates: Candidates, category: Array) -> float:
    """Mean over requests of the share that the most frequent category has."""
    width = int(category.max(initial=0)) + 2
    cell = candidates.request_row * width + category + 1
    counts = np.bincount(cell, minlength=candidates.n_requests * width).reshape(-1, width)
    total = np.maximum(counts.sum(1), 1)
    return float((counts.max(1) / total).mean())
