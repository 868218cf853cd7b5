"""The rankers (精排模型) of section 2.2 (3) in the order of their years, for tables and tests."""

from reclab.cascade.ranking.dcn import DCN
from reclab.cascade.ranking.deep_fm import DeepFM
from reclab.cascade.ranking.dien import DIEN
from reclab.cascade.ranking.din import DIN
from reclab.cascade.ranking.mmoe import MMoE
from reclab.cascade.ranking.ple import PLE
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.transformer import TransformerRanker
from reclab.cascade.ranking.wide_deep import WideDeep
from reclab.cascade.ranking.x_deep_fm import XDeepFM

RANKERS: tuple[type[Ranker], ...] = (
    WideDeep,
    DeepFM,
    DIN,
    XDeepFM,
    MMoE,
    DIEN,
    TransformerRanker,
    PLE,
    DCN,
)
