"""Training: rows per CPU second of our rankers beside deepctr-torch's, the same model and rows.

Rows: the training part of MovieLens-100K, static features (``ml100k``). The same fields, the last
20 liked films, batch of 1024 rows, vectors of 16, one hidden layer of 64, cross layers of rank 32;
one pass each on one thread, Adam, without validation. Ours read the genres, the year and the id of
a past film, the peer's its id alone. Wide & Deep and DCN get the mean of the past films as a field.
The shorter of two passes counts.

Run: ``python -m tests.bench.train_speed`` (needs the ``bench`` extra and the data).
"""

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from reclab.cascade.ranking.dcn import DCN
from reclab.cascade.ranking.dien import DIEN
from reclab.cascade.ranking.din import DIN
from reclab.cascade.ranking.features import FeatureBuilder
from reclab.cascade.ranking.ranker import Ranker
from reclab.cascade.ranking.training import OneThread, Samples
from reclab.cascade.ranking.wide_deep import WideDeep
from reclab.core.types import Array
from reclab.datasets.splits import movielens_rank
from tests.bench.ml100k import STATIC, data_folder, parts, with_profile

DIM, HIDDEN, BATCH, HISTORY = 16, (64,), 1024, 20
PASSES = 2


def ours(model: type[Ranker], features: FeatureBuilder, rows: Samples) -> float:
    """CPU seconds of one pass; validation on a single request costs nothing."""
    train = replace(STATIC.train, epochs=1, batch_rows=BATCH)
    sizes = {"length": HISTORY} if model is DIEN else {}
    config = model.Config(dim=DIM, hidden=HIDDEN, train=train, **sizes)
    one = rows.take(np.array([0]))
    began = time.process_time()
    model(config).fit_samples(rows, features, valid=one)
    return time.process_time() - began


def columns(features: FeatureBuilder, rows: Samples) -> tuple[list[Any], Any, dict[str, Array]]:
    """The peer's declaration of single fields and of the history, and their codes by name."""
    from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat

    f, n_items = rows.features, len(features.item_codes)
    codes = {f"user_{k}": c for k, c in enumerate(f.user[f.request_row].T)}
    codes |= {f"item_{k}": c for k, c in enumerate(features.item_codes[f.item_row].T) if k}
    codes = {name: np.unique(c, return_inverse=True)[1] for name, c in codes.items()}
    single = [SparseFeat(name, int(c.max()) + 1, DIM) for name, c in codes.items()]
    single.append(SparseFeat("film", n_items + 1, DIM))
    past = f.history[f.request_row] + 1  # 0 = none, and they are padded at the right
    films = np.take_along_axis(past, np.argsort(past == 0, axis=1, kind="stable"), 1)
    codes |= {"film": f.item_row + 1, "hist_film": films}
    codes["length"] = np.maximum((films > 0).sum(1), 1)
    name = SparseFeat("hist_film", n_items + 1, DIM, embedding_name="film")
    history = VarLenSparseFeat(name, maxlen=HISTORY, combiner="mean", length_name="length")
    return single, history, codes


def theirs(features: FeatureBuilder, rows: Samples) -> dict[str, Callable[[], float]]:
    """Functions that train the peer's models for one pass and give the CPU seconds."""
    from deepctr_torch import models

    single, history, codes = columns(features, rows)
    fields = [*single, history]
    shared = {"dnn_hidden_units": HIDDEN, "l2_reg_embedding": 0, "device": "cpu"}
    cross = {"cross_num": 2, "low_rank": 32, "num_experts": 1}
    recurrent = {"gru_type": "AUGRU", "use_negsampling": False, "att_hidden_units": (16,)}
    make = {
        "wide_deep": lambda: models.WDL(fields, fields, **shared),
        "dcn": lambda: models.DCNMix(fields, fields, **cross, **shared),
        "din": lambda: models.DIN(fields, ["film"], att_hidden_size=(16,), **shared),
        "dien": lambda: models.DIEN(fields, ["film"], **recurrent, **shared),
    }

    def run(name: str) -> float:
        model = make[name]()
        model.compile("adam", "binary_crossentropy", metrics=[])
        began = time.process_time()
        model.fit(codes, rows.targets["p_click"], batch_size=BATCH, epochs=1, verbose=0)
        return time.process_time() - began

    return {name: lambda name=name: run(name) for name in make}  # type: ignore[misc]


def measure() -> dict[str, tuple[float, float]]:
    """Rows per CPU second, ours and theirs, by model. Raises ``ImportError`` without the peer."""
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError("shared/data/movielens_100k is absent")
    split = movielens_rank(folder)
    features, (rows, *_) = parts(with_profile(split), split, statistics=False)
    found = {}
    with OneThread(), contextlib.redirect_stdout(io.StringIO()):  # the peer prints
        peers = theirs(features, rows)
        for model in (WideDeep, DCN, DIN, DIEN):
            mine = min(ours(model, features, rows) for _ in range(PASSES))
            peer = min(peers[model.name]() for _ in range(PASSES))
            found[model.name] = len(rows) / mine, len(rows) / peer
    return found


def main() -> None:
    """Print the table."""
    print(f"{'ranker':<12}{'ours':>10}{'theirs':>10}{'ratio':>8}   rows per CPU second")
    for name, (mine, peer) in measure().items():
        print(f"{name:<12}{mine:>10,.0f}{peer:>10,.0f}{mine / peer:>8.2f}")


if __name__ == "__main__":
    main()
