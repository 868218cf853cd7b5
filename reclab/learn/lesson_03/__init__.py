"""The exercises of lesson 03, offline and online architecture (§2.3): one file each.

3.1 close_at      join window: when a sample stops waiting (replaces ours live in the join)
3.2 sample_join   the sample join itself, on arrays
3.3 handle        an idempotent consumer (runs live behind a log that repeats)
3.4 find_leak     which column of a training table knows too much
3.5 machines      size the cluster for 21:00
3.6 watermark     of several partitions, one of them silent (replaces ours live in the join)
3.7 pick_rung     fallback ladder: the best answer that the time allows
3.8 take_tokens   the gateway's token bucket (replaces ours live in the intake)
"""

from reclab.learn.lesson_03 import (
    close_at,
    find_leak,
    handle,
    machines,
    pick_rung,
    sample_join,
    take_tokens,
    watermark,
)

EXERCISES = (
    close_at.TASK,
    sample_join.TASK,
    handle.TASK,
    find_leak.TASK,
    machines.TASK,
    watermark.TASK,
    pick_rung.TASK,
    take_tokens.TASK,
)
