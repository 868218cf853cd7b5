"""The warehouse: the tables on disk as Parquet, one folder a day, as a company keeps them.

    users/day=0000 …  a snapshot a day      interactions/day=…  by time of the request
    items/            the catalogue         daily/day=…         one row a user, item and day
                                            feedback/day=…      by arrival of the report

Reference: table 2.1-2.3 of the chapter; Hive's partition layout (Thusoo et al. 2009).
Simplified: one file a partition, no small-file compaction, no schema registry.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from reclab.core.tables import Table, write_logs
from reclab.world.generate import World
from reclab.world.records import snapshots
from reclab.world.traffic import start_share
from reclab.world.users import make_users


def write(world: World, folder: Path) -> None:
    """Write the logs (never the truth) under ``folder``, users as one snapshot a day."""
    c = world.config
    users = make_users(c.users, c.n_users, c.days, start_share(c.traffic), c.seed)
    days = snapshots(c, users, world.logs, range(c.days))
    whole = {name: np.concatenate([table[name] for table in days]) for name in days[0]}
    write_logs(replace(world.logs, users=Table(whole)), Path(folder))
