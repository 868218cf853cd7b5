"""The lookup study on the tiny platform's evening."""

from dataclasses import replace

import numpy as np
import pytest

from reclab.lab import Lab
from reclab.lab.lookup_study import CASES, LookupStudy, lookup_study


@pytest.fixture(scope="module")
def study(lab: Lab) -> LookupStudy:
    return lookup_study(lab.logs, hours=(21, 23), progress=False)


def test_while_labels_live_the_lookup_gives_the_stream_s_samples(lab: Lab):
    reports, shown = lab.logs.feedback, lab.logs.interactions
    when = np.zeros(int(shown["req_id"].max()) + 1, np.int64)
    when[shown["req_id"]] = shown["time_ms"]
    told = reports.take(reports["report_ms"] - when[reports["req_id"]] <= 20 * 60_000)
    study = lookup_study(replace(lab.logs, feedback=told), cases=CASES[:1], progress=False)
    assert study.equal == (True, True) and study.labels[0] > 1_000


def test_every_failure_costs_what_it_must(study: LookupStudy):
    assert len(set(study.samples.tolist())) == 1
    lost = dict(zip(study.name, study.lost.tolist(), strict=True))
    assert lost["stream join"] == lost["all is well"] == lost["store down 30 min, rows wait"] == 0
    assert lost["labels expire after 5 min"] > lost["labels expire after 20 min"] > 0
    assert lost["consumer 15 min behind"] > lost["consumer 5 min behind"] > 0
    at = study.name.index("store down 30 min, no labels")
    assert lost[study.name[at]] > 0 and study.click_rate[at] < study.click_rate[0]
    waits = study.wait_s[study.name.index("store down 30 min, rows wait")]
    assert waits > study.wait_s[1] >= study.wait_s[0] == 1200
    assert (study.labels == study.labels[0] - study.lost + study.extra).all()
    assert study.table().count("\n") == len(CASES) + 1
