"""DualRec (双侧推荐), its boxes in order: who comes, has room, is matched; what waits; the page.

    a_u  ->  pool {u : a_u = 1, |D_u| < Q}  ->  item asks users  ->  D_u in Redis  ->  merged page

Reference: chapter 2, section 2.5, figure 2.10; Chen et al., WWW 2025 Companion.
Simplified: one process matches for all; industry runs the creator side as a stream of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reclab.core.clock import DAY_MS
from reclab.core.types import Array, Request, Slate, Trace
from reclab.dualrec.activity import Activity
from reclab.dualrec.creator_side import CreatorSide
from reclab.dualrec.matches import Matches, MatchReport
from reclab.dualrec.regroup import Put, Regroup
from reclab.dualrec.serving import DualCascade


@dataclass(frozen=True)
class DualRec:
    """The wired whole. ``activity`` None = everybody counts as active; ``share`` of the users that
    are taken to come within ``horizon_ms``."""

    side: CreatorSide
    regroup: Regroup
    serving: DualCascade
    activity: Activity | None = None
    share: float = 0.5
    horizon_ms: int = DAY_MS

    def match(self, item_ids: Array, now_ms: int) -> tuple[Matches, MatchReport, Put]:
        """Users for the items (m,), written into their D_u; what each D_u did with its matches.
        The pool is first brought up to date: from Redis, and by who is likely to come."""
        pool = self.side.pool
        if self.activity is not None:
            pool.set_active(self.activity.active(now_ms, self.horizon_ms, share=self.share))
        users = self.side.user_ids
        sizes = self.regroup.sizes(users, now_ms)
        pool.refresh(sizes)
        users = users[sizes > 0]
        held = self.regroup.read(users, now_ms)
        waits = Matches(held.item_id, users[held.request_row], held.score, held.reason)
        matches, report = self.side.match(item_ids, now_ms, held=waits)
        return matches, report, self.regroup.put(matches, now_ms)

    def recommend_batch(self, requests: Sequence[Request]) -> tuple[list[Slate], Trace]:
        """Pages with both sides merged."""
        return self.serving.recommend_batch(requests)

    def shown(self, slate: Slate) -> Array:
        """The client showed a page: its cards leave D_u, and their users have room again."""
        return self.serving.shown(slate)
