"""The joiner end to end through the embedded Redis: impressions and reports a second, and state.

Pages of ten with features as wide as the laptop's recommender has them, feedback on one card in
five, a window of 20 minutes over 4 hours; everything is in the log before the clock starts. CPU of
the joiner and of its Redis are shown apart, and beside the join's core alone on the same arrays.
"""

import os
import time

import psutil

from reclab.offline_online.features.feature_log import read_ids
from reclab.offline_online.join.joiner import CARRY, Joiner, JoinerConfig
from reclab.offline_online.join.report_entries import read_reports
from reclab.offline_online.join.sample_join import SampleJoin, SampleJoinConfig
from reclab.offline_online.join.window import MINUTE_MS, FixedWindow
from reclab.offline_online.pipeline import EVENTS, FEATURES, create_topics
from reclab.stores.event_log import EventLog, TopicConfig, open_log
from reclab.stores.kv import KV
from reclab.stores.redis_server import own_server
from tests.offline_online import join_storm

N_PAGES, HOURS = 30_000, 4
WIDTHS = (11, 102, 20, 14)  # of the laptop's features: user, request, history, pair
JOIN = SampleJoinConfig(join_storm.DISORDER_MS, 5_000, 20 * MINUTE_MS, CARRY)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)


def weather(n_pages: int, start_ms: int = 0) -> join_storm.Storm:
    """Streams of ``HOURS``; delays and window as in the lesson."""
    join_storm.WINDOW_MS, join_storm.PAGE_MS = 20 * MINUTE_MS, HOURS * 3_600_000 // n_pages
    join_storm.DELAY_MS, join_storm.SPREAD = 40_000, 1.808  # 3 % beyond the window
    return join_storm.storm(n_pages, seed=1, start_ms=start_ms, widths=WIDTHS)


def core(streams: join_storm.Storm) -> float:
    """CPU seconds of the join alone, from bytes that are here already."""
    began, join = time.process_time(), SampleJoin(FixedWindow(20 * MINUTE_MS), JOIN)
    pages, events = streams.pages, streams.events
    for k in range(40):
        some = (entries[len(entries) * k // 40 : len(entries) * (k + 1) // 40]
                for entries in (pages, events))  # fmt: skip
        shown, told = ([value for _, _, value in part] for part in some)
        ids = read_ids(shown)
        join.update({**ids.columns, "features": ids.card}, read_reports(told)[0])
    join.flush()
    return time.process_time() - began


def end_to_end(log: EventLog, streams: join_storm.Storm, snapshot_s: float) -> None:
    """One joiner, all partitions, to the end of what is in the log."""
    config = JoinerConfig(f"bench-{snapshot_s:g}", join=JOIN, snapshot_s=snapshot_s)
    kv = KV(namespace="bench-joiner-kv")
    joiner = Joiner(log, kv, config, lambda: FixedWindow(20 * MINUTE_MS))
    n = 10 * len(streams.pages) + len(streams.events)
    redis = own_server().pid
    before = time.perf_counter(), time.process_time(), cpu_s(redis)
    widest, snapshot, opened = 0.0, 0, 1
    while joiner.step():
        reports = joiner.report().values()
        if sum(report.open for report in reports) > opened:
            opened = sum(report.open for report in reports)
            widest = sum(report.state_bytes for report in reports) / opened
    joiner.save()
    wall, own, server = (
        now - then
        for now, then in zip(
            (time.perf_counter(), time.process_time(), cpu_s(redis)), before, strict=True
        )
    )
    snapshot = sum(part.snapshot_bytes for part in joiner.parts.values())
    n_again = sum(part._payloads.n_again for part in joiner.parts.values())
    n_read = sum(part.count["entries"] for part in joiner.parts.values())
    print(
        f"snapshot every {snapshot_s:g} s: {n:,} impressions and reports in {n_read:,} entries: "
        f"{wall:.1f} s, {n / wall:,.0f}/s wall, {n / (own + server):,.0f} a CPU second "
        f"(joiner {own:.1f} s, Redis {server:.1f} s); entries {n_read / wall:,.0f}/s wall\n"
        f"   most open at once {opened:,}: {widest:.0f} bytes of state each; last snapshots "
        f"{snapshot / 1e6:.1f} MB; features read a second time: {n_again:,} entries",
        flush=True,
    )
    joiner.drain()
    wrong = join_storm.differences(join_storm.found(log), streams.truth)
    print(f"   samples {len(streams.truth):,}, wrong: {wrong or 'none'}")
    joiner.close()


def main() -> None:
    """Print the numbers."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    streams = weather(int(os.environ.get("RECLAB_BENCH_PAGES", N_PAGES)))
    n = 10 * len(streams.pages) + len(streams.events)
    print(f"an entry of features has {len(streams.pages[0][2]):,} bytes")
    spent = core(streams)
    print(f"ids, JSON and join alone: {n / spent:,.0f} impressions and reports a CPU second")
    for snapshot_s in (5.0, 1.0):
        with open_log(namespace=f"bench-joiner-{snapshot_s:g}") as log:
            create_topics(log, TopicConfig(partitions=4))
            for topic, entries in ((FEATURES, streams.pages), (EVENTS, streams.events)):
                for at in range(0, len(entries), 10_000):
                    join_storm.put(log, topic, entries[at : at + 10_000])
            end_to_end(log, streams, snapshot_s)
            log.kv.redis.flushall()  # type: ignore[attr-defined]
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
