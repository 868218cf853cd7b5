"""On a day of real news clicks: recency makes co-visitation good, freshness makes it better."""

import pytest

from tests.bench import globo


@pytest.mark.slow
def test_retrieval_on_globo_reaches_what_is_known_to_be_reachable():
    if not globo.folder().exists():
        pytest.skip(f"{globo.folder()} is absent (shared data: Globo clicks)")
    rates = globo.measure()
    assert rates["tests"] > 50_000
    frozen = {n: r for n, r in rates.items() if n.startswith("frozen") and "merged" not in n}
    assert max(r["HR@20"] for r in frozen.values()) >= 0.43
    best_single = max(r["HR@100"] for r in frozen.values())
    assert rates["frozen: merged"]["HR@100"] > max(best_single, 0.646)
    assert rates["refreshed: item-CF, recent"]["HR@20"] >= 0.69
    cosine, recent = (
        rates[f"frozen: {n}"]["HR@20"] for n in ("item-CF, cosine", "item-CF, recent")
    )
    assert recent > cosine + 0.1, "recency weights carry it, not co-occurrence alone"
    merged = rates["refreshed: merged by score"]
    assert merged["HR@20"] >= 0.70 and merged["HR@100"] >= 0.875
    assert merged["HR@20"] > rates["refreshed: item-CF, recent"]["HR@20"]
    assert rates["frozen: sequential"]["HR@20"] >= 0.40
