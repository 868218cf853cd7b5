"""The cascade (级联式推荐系统): retrieval -> filters -> pre-ranking -> ranking -> re-ranking.

From everything to ten, in stages that get dearer per item and see fewer items:

    keep_s = the n_s best of keep_{s-1} by score_s,   n_1 > n_2 > ...
    cost   = sum_s |keep_{s-1}| c_s,                  c_1 < c_2 < ...

Chapter 2, section 2.2, figure 2.2.
Simplified: industry runs each stage as a service of its own, on sharded indexes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, get_type_hints

from reclab.cascade.batch import read_batch
from reclab.cascade.filters import DuplicateFilter, PublishedFilter, SeenFilter
from reclab.cascade.pre_ranking.two_tower import PreRanker
from reclab.cascade.ranking.din import DIN
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.fusion import Fusion
from reclab.cascade.ranking.towers import TwoTowerModel
from reclab.cascade.ranking.training import Progress
from reclab.cascade.re_ranking.mmr import MMRConfig, MMRStage
from reclab.cascade.retrieval.calibration import Calibration, logged_pages
from reclab.cascade.retrieval.content import ContentChannel
from reclab.cascade.retrieval.item_cf import ItemCFChannel
from reclab.cascade.retrieval.merge import HOW, Channel, MergeStage
from reclab.cascade.retrieval.popular import PopularChannel
from reclab.cascade.retrieval.sequential import SequentialChannel
from reclab.cascade.retrieval.social import SocialChannel
from reclab.cascade.retrieval.two_tower import TwoTowerChannel
from reclab.cascade.stages import PreRankStage, RankStage, Tiers, top_up
from reclab.core.errors import DataError, NotBuilt, check, check_float, check_int
from reclab.core.pipeline import run
from reclab.core.stage import Stage
from reclab.core.tables import Logs, Table
from reclab.core.types import Request, Slate, Trace, slates_of
from reclab.stores.exposures import RecentExposures
from reclab.stores.forward_index import ForwardIndex
from reclab.stores.user_features import UserFeatures

HOT_POOL = 500  # popular items that the last resort chooses from


@dataclass
class Channels:
    """The retrieval channels, a line each: what is named here is fitted, saved, updated, asked."""

    popular: PopularChannel
    item_cf: ItemCFChannel
    two_tower: TwoTowerChannel
    content: ContentChannel
    social: SocialChannel
    sequential: SequentialChannel


KINDS: dict[str, Any] = get_type_hints(Channels)
CHANNELS = tuple(KINDS)


@dataclass(frozen=True)
class CascadeConfig:
    """Sizes of the funnel, in candidates a request, and what is switched on."""

    retrieve: int = 1000
    """candidates after retrieval, all channels together (10 … 100 000)"""
    pre_rank: int = 300
    """candidates after pre-ranking (1 … retrieve)"""
    rank: int = 100
    """candidates after ranking (1 … pre_rank)"""
    channels: tuple[str, ...] = CHANNELS
    """retrieval channels that are asked"""
    merge: str = "quota"
    """how the channels' answers become one set: quota, round_robin or score"""
    shares: Mapping[str, float] = field(default_factory=dict)
    """quota of each channel in proportion to the others' (0.1 … 10); 1 where not named"""
    deadline_ms: float | None = None
    """time for all channels together (5 … 500 ms); late ones are left out; None = wait"""
    mmr: MMRConfig = field(default_factory=MMRConfig)
    """re-ranking: relevance against diversity, and the windows"""
    hide_seen: bool = True
    """drop what the user has been shown before"""

    def __post_init__(self) -> None:
        check_int("CascadeConfig.retrieve", self.retrieve, 1, 100_000, "500-4000")
        check_int("CascadeConfig.pre_rank", self.pre_rank, 1, 100_000, "100-1000")
        check_int("CascadeConfig.rank", self.rank, 1, 100_000, "50-200")
        falls = f"be <= CascadeConfig.retrieve = {self.retrieve}: a funnel narrows"
        check(self.pre_rank <= self.retrieve, "CascadeConfig.pre_rank", self.pre_rank, falls, "300")
        falls = f"be <= CascadeConfig.pre_rank = {self.pre_rank}: a funnel narrows"
        check(self.rank <= self.pre_rank, "CascadeConfig.rank", self.rank, falls, "100")
        known = bool(self.channels) and set(self.channels) <= set(CHANNELS)
        among = f"name at least one of {', '.join(CHANNELS)} and nothing else"
        check(known, "CascadeConfig.channels", self.channels, among, "all of them")
        known = self.merge in HOW
        check(known, "CascadeConfig.merge", self.merge, f"be one of {', '.join(HOW)}", "quota")
        for name, share in self.shares.items():
            check_float(f"CascadeConfig.shares[{name!r}]", share, 0.001, 1000.0, "1")
        if self.deadline_ms is not None:
            check_float("CascadeConfig.deadline_ms", self.deadline_ms, 0.1, 1e6, "20-100")


@dataclass
class Parts(Channels):
    """What was fitted; shared by cascades that differ in config only. ``channels`` are asked
    beside the named ones; ``filters`` run after the cascade's own, in order: block list,
    compliance, whatever ``cascade.filters`` has."""

    index: ForwardIndex
    users: UserFeatures
    features: FeatureBuilder
    pre_ranker: PreRanker
    ranker: DIN
    fuse: Fusion = field(default_factory=Fusion)
    duties: Tiers | None = None
    exposures: RecentExposures | None = None
    calibration: Calibration | None = None
    channels: tuple[Channel, ...] = ()
    filters: tuple[Stage, ...] = ()
    re_ranker: Callable[[MMRConfig, ForwardIndex], Stage] = MMRStage
    until_ms: int | None = None


class Cascade:
    """The recommender of one business: ``fit`` on logs, then ``recommend``."""

    def __init__(self, config: CascadeConfig | None = None, parts: Parts | None = None) -> None:
        self.config = config or CascadeConfig()
        self._parts = parts

    @property
    def parts(self) -> Parts:
        """The fitted parts; raises ``NotBuilt`` before ``fit``."""
        if self._parts is None:
            raise NotBuilt("this Cascade is not fitted: call Cascade.fit(logs) first")
        return self._parts

    def stages(self) -> list[Stage]:
        """The boxes, in order."""
        p, c = self.parts, self.config
        asked = [*(getattr(p, name) for name in c.channels), *p.channels]
        shares = {ch.name: c.shares[ch.name] for ch in asked if ch.name in c.shares}
        return [
            MergeStage(
                asked, c.retrieve, shares, c.merge, p.calibration, deadline_ms=c.deadline_ms
            ),
            PublishedFilter(p.index),
            DuplicateFilter(),
            *([SeenFilter()] if c.hide_seen else []),
            *p.filters,
            PreRankStage(p.pre_ranker, keep=c.pre_rank, duties=p.duties),
            RankStage(p.ranker, p.fuse, keep=c.rank),
            p.re_ranker(c.mmr, p.index),
        ]

    # ---- learn -----------------------------------------------------------------------------

    def fit(
        self, logs: Logs, until_ms: int | None = None, progress: Progress | None = None
    ) -> Self:
        """Learn every part from the interactions before ``until_ms`` (None = all of them). The
        stores take the whole log: they are read as of a time. Raises ``DataError`` for empty logs.
        """
        say = progress or (lambda fraction, text: None)
        index, users, features = _stores(logs, until_ms)
        end = int(logs.interactions["time_ms"].max()) + 1 if until_ms is None else until_ms
        made = {}
        for n, (name, kind) in enumerate(KINDS.items()):
            say(0.1 + 0.4 * n / len(KINDS), f"channel {name}")
            made[name] = kind().fit(logs, _reads(kind, index, features), end)
        calibration = Calibration.fit([*made.values()], logged_pages(logs, users, index, end))
        say(0.5, "pre-ranker")
        pre_ranker = PreRanker().fit(logs, features, end)
        say(0.7, "ranker")
        ranker = DIN().fit(logs, features, end)
        fuse = Fusion.over(ranker.targets)
        stores = {"index": index, "users": users, "features": features}
        models = {"pre_ranker": pre_ranker, "ranker": ranker, "fuse": fuse}
        self._parts = Parts(**made, **stores, **models, calibration=calibration, until_ms=until_ms)
        say(1.0, "cascade trained")
        return self

    def update(self, events: Table) -> None:
        """Near-line update: new interactions reach the stores and the channels that count, at
        once; the models' weights stay."""
        p = self.parts
        p.users.append(events)
        p.features.append(events)
        for channel in (*(getattr(p, name) for name in CHANNELS), *p.channels):
            if hasattr(channel, "update"):
                channel.update(events)

    def save(self, folder: Path) -> None:
        """Write the stores and what was learned."""
        p = self.parts
        folder.mkdir(parents=True, exist_ok=True)
        channels = (getattr(p, name) for name in CHANNELS)
        for part in (p.index, p.users, p.features, *channels, p.pre_ranker, p.ranker):
            part.save(folder)
        if p.calibration:
            p.calibration.save(folder)
        about = json.dumps({"until_ms": p.until_ms})
        (folder / "cascade.json").write_text(about, encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> "Cascade":
        """Read what ``save`` wrote; nothing is built again. Raises ``DataError`` naming a file
        that is damaged."""
        try:
            about = json.loads((folder / "cascade.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot load the cascade from {folder}: {error}") from error
        index, users = ForwardIndex.load(folder), UserFeatures.load(folder)
        features = FeatureBuilder.load(folder, index, users)
        held = {
            name: kind.load(folder, _reads(kind, index, features)) for name, kind in KINDS.items()
        }
        ranker = DIN.load(folder, features)
        parts = Parts(
            **held,
            index=index,
            users=users,
            features=features,
            pre_ranker=PreRanker.load(folder, features),
            ranker=ranker,
            fuse=Fusion.over(ranker.targets),
            calibration=Calibration.load(folder),
            until_ms=about["until_ms"],
        )
        return Cascade(parts=parts)

    # ---- the same parts, otherwise ---------------------------------------------------------

    def with_config(self, **changes: object) -> "Cascade":
        """The same fitted parts under other settings: ``with_config(rank=50)``. Costs nothing."""
        return Cascade(replace(self.config, **changes), self._parts)  # type: ignore[arg-type]

    def with_parts(self, **changes: object) -> "Cascade":
        """The same cascade with some parts replaced: ``with_parts(ranker=mine)``."""
        return Cascade(self.config, replace(self.parts, **changes))  # type: ignore[arg-type]

    # ---- answer ----------------------------------------------------------------------------

    def recommend(self, request: Request) -> tuple[Slate, Trace]:
        """The best list for one request, and how it came about."""
        slates, trace = self.recommend_batch([request])
        return slates[0], trace

    def recommend_batch(self, requests: Sequence[Request]) -> tuple[list[Slate], Trace]:
        """The same for many requests at once; the trace counts all of them together."""
        if not requests:
            return [], Trace(())
        p = self.parts
        batch = read_batch(requests, p.users, p.index, p.exposures)
        kept, trace = run(self.stages(), batch, len(requests))
        kept, notes = top_up(batch, kept, lambda: p.popular.retrieve(batch, HOT_POOL)[0])
        trace = replace(trace, notes=batch.notes + trace.notes + notes)
        return slates_of(requests, kept, p.index.ids), trace

    def shown(self, slate: Slate) -> None:
        """The client reports that it showed a slate: the items will not be shown again."""
        if self.parts.exposures is None:
            raise NotBuilt("this Cascade remembers no exposures: with_parts(exposures=…) first")
        self.parts.exposures.put(slate.request.user_id, slate.item_id)


def _reads(kind: type, index: ForwardIndex, features: FeatureBuilder) -> object:
    """What a channel is fitted and loaded with: the towers read features, the others the index."""
    return features if issubclass(kind, TwoTowerModel) else index


def _stores(logs: Logs, until_ms: int | None) -> tuple[ForwardIndex, UserFeatures, FeatureBuilder]:
    for name in ("users", "items", "interactions"):
        if not len(getattr(logs, name)):
            raise DataError(f"Cascade: the table logs.{name} is empty, there is nothing to learn")
    index, users = ForwardIndex(logs.items), UserFeatures.build(logs)
    return index, users, FeatureBuilder().fit(logs, index, users, until_ms)
