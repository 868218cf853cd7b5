"""A cascade that was saved: the same numbers as the one that was fitted, updates and damage too."""

import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import reclab
from reclab.cascade import CHANNELS, Cascade
from reclab.cascade.batch import read_batch
from reclab.core.errors import DataError
from reclab.core.types import Candidates
from reclab.stores import arrays

EARLY, LATE = np.arange(20_000), np.arange(20_000, 26_000)


@pytest.fixture(scope="module")
def fitted(lab, tmp_path_factory) -> tuple[Cascade, Path]:
    """A cascade fitted on the first interactions, and where it was saved."""
    logs = replace(lab.logs, interactions=lab.logs.interactions.take(EARLY))
    cascade, folder = Cascade().fit(logs), tmp_path_factory.mktemp("saved")
    cascade.save(folder)
    return cascade, folder


def same(lab, one: Cascade, other: Cascade) -> None:
    """Features, answers of the channels, scores and slates, bit by bit."""
    requests = lab.requests(8)
    a, b = one.parts, other.parts
    batch = read_batch(requests, a.users, a.index)
    again = read_batch(requests, b.users, b.index)
    for name in ("user_row", "history", "seen_starts", "seen_rows"):
        assert np.array_equal(getattr(batch, name), getattr(again, name)), name
    rows = np.random.default_rng(0).integers(0, len(a.index), (len(requests), 50))
    candidates = Candidates(len(requests), np.repeat(np.arange(len(requests)), 50), rows.ravel())
    mine, theirs = (p.features.for_batch(batch, candidates) for p in (a, b))
    for part in fields(mine):
        x, y = getattr(mine, part.name), getattr(theirs, part.name)
        assert x.dtype == y.dtype and np.array_equal(x, y), part.name
    for name in CHANNELS:
        x, y = (getattr(p, name).retrieve(batch, 100) for p in (a, b))
        assert all(np.array_equal(s, t) for s, t in zip(x, y, strict=True)), name
    assert np.array_equal(*(p.pre_ranker.score(batch, candidates) for p in (a, b)))
    x, y = (p.ranker.predict(batch, candidates) for p in (a, b))
    assert all(np.array_equal(x[name], y[name]) for name in x)
    for request in requests:
        x, y = one.recommend(request)[0], other.recommend(request)[0]
        assert x.item_id.tolist() == y.item_id.tolist()


def test_loaded_it_answers_as_when_fitted_before_and_after_updates(lab, fitted, monkeypatch):
    cascade, folder = fitted
    monkeypatch.setattr(arrays, "MAPPED", 1 << 30)
    read = Cascade.load(folder)
    monkeypatch.setattr(arrays, "MAPPED", 0)
    mapped, updated = Cascade.load(folder), Cascade.load(folder)
    same(lab, cascade, read)
    later = [lab.logs.interactions.take(rows) for rows in np.split(LATE, 3)]
    for events in later:
        updated.update(events)
        read.update(events)
    same(lab, cascade, mapped)  # an update changes neither the files nor who else maps them
    for events in later:
        cascade.update(events)
    assert len(cascade.parts.features.statistics.past.by_user) > len(EARLY)
    same(lab, cascade, read)
    same(lab, cascade, updated)


def test_every_file_that_is_shortened_is_named(fitted, tmp_path):
    shutil.copytree(fitted[1], tmp_path / "saved")
    files = [file for file in (tmp_path / "saved").rglob("*") if file.is_file()]
    # a channel reads its own copy of the items only when it is loaded without an index
    own = ["popular/ids", "item_cf/ids"]
    own += ["content/ids", "content/tags", "content/publish"]
    own += ["social/ids", "social/author", "social/publish"]
    copies = {tmp_path / "saved" / f"{name}.npy" for name in own}
    files = [file for file in files if file not in copies]
    assert len(files) > 50
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=re.escape(file.stem)):
            Cascade.load(tmp_path / "saved")
        file.write_bytes(whole)
    assert Cascade.load(tmp_path / "saved").parts.until_ms is None


def test_opening_and_recommending_reads_no_table_of_events(lab, monkeypatch):
    read: list[Path] = []

    class Watched(pq.ParquetFile):
        def __init__(self, source, **options):
            read.append(Path(source))
            super().__init__(source, **options)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    again = reclab.open("tiny", progress=False)
    slate, _ = again.cascade.recommend(again.requests(1)[0])
    assert len(slate) == 10 and len(again.panel)
    again.close()
    events = {"interactions", "daily", "feedback"}
    assert not [file for file in read if events & set(file.parts)]
    assert len(again.logs.interactions["time_ms"]) and events & set(read[-1].parts)
