"""Retrieval (召回): several channels (多路召回) propose, one merge unites them.

    popular.py     what most people liked lately            --+
    item_cf.py     what is liked together with what you did   |
    two_tower.py   what lies near your vector                 |
    content.py     new and good items of your topics          +--> merge.py --> Candidates
    social.py      your creators' posts, your circle's likes  |
    sequential.py  what comes next after your last ones     --+
    calibration.py makes the channels' scores comparable, for a merge by score
  and as wanted
    swing.py       as item_cf, by pairs of users who agree
    als.py         what the factors of your likes point at

A channel has a ``name``, ``fit(logs, index, until_ms)`` and ``retrieve(batch, k) -> (item rows
(B, k), scores (B, k))``: best first, padded with -1; where it makes sense also ``update(events)``.
"""

from reclab.cascade.retrieval.als import ALSChannel, ALSConfig
from reclab.cascade.retrieval.calibration import Calibration, logged_pages
from reclab.cascade.retrieval.content import ContentChannel, ContentConfig
from reclab.cascade.retrieval.item_cf import ItemCFChannel, ItemCFConfig
from reclab.cascade.retrieval.merge import MergeStage
from reclab.cascade.retrieval.popular import PopularChannel, PopularConfig
from reclab.cascade.retrieval.sequential import SequentialChannel, SequentialConfig
from reclab.cascade.retrieval.social import SocialChannel, SocialConfig
from reclab.cascade.retrieval.swing import SwingChannel, SwingConfig

__all__ = [
    "ALSChannel",
    "ALSConfig",
    "Calibration",
    "ContentChannel",
    "ContentConfig",
    "ItemCFChannel",
    "ItemCFConfig",
    "MergeStage",
    "PopularChannel",
    "PopularConfig",
    "SequentialChannel",
    "SequentialConfig",
    "SocialChannel",
    "SocialConfig",
    "SwingChannel",
    "SwingConfig",
    "logged_pages",
]
