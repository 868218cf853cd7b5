"""The lab: platform, logs, stores and trained models of one scale and seed, built once.

    lab = open_lab("laptop")        # or reclab.open("laptop")
    lab.cascade.recommend(lab.requests(1)[0])

cache     built once, checked, rebuilt when damaged
judge     what a list was worth: the hidden truth, or the clicks that followed
panel     a hundred requests with every score computed once, for the explorer
replay    the funnel of any sizes, channels, duties and models on the panel
kept      results that took minutes, kept beside the models
model_scores  what other models of a stage say of the panel's items
costs     value against arithmetic: the cascade beside single models
filter_set  six filters at once, fitted on the logs
breaking  what the lesson breaks: a NaN, a late channel, an index that was not rebuilt
cached_answers, cache_stress  degraded pages by the age of their cache; 200 takers at once, a Redis
          that is killed
newcomers what content and social channels do for new items and new users
indexes   vector indexes: recall against time of a query
pre_ranking, duties   pre-rankers and precisions compared; what traffic duties cost
latency   milliseconds by stage, measured here
targets   a ranker of all targets, what it says of unseen rows, the front of two targets
          (target_studies: duration bias, rare targets; calibration_study: honest numbers)
zoo       nine rankers trained on the same rows, as one table
re_rankers  the six re-rankers side by side: page_pools.py has what they are given,
          page_simulator.py what a page is worth as a whole, list_ruler.py the measures
blending  the front of watch time, money and return; three conflicts among businesses
          (blending_compared.py: five policies; blending_candidates.py: a pool and its truth;
          blending_pool.py: served and judged; blending_values.py: what is learned)
quota_day  two days of pages under quotas: learned prices, stale ones, and the day's optimum
blending_days  28 days under one allocation policy (blending_feed.py: the policy on the platform)
surge     a degradation policy taken through days, surges, real traces (scenarios.py)
action_values  what each of DCAF's actions would be worth to a request (action_pages: the pages)
value_models   the value models, learned from the tuning day, and how wrong they are
dcaf_tables    the two tables of the DCAF paper, frontiers, and each request's decision
join_study  what join windows catch of late feedback, and at what wait, beside the law of delays
lookup_study  the chapter's own join beside the stream join: expiry, a late consumer, a dead store
batch_again  the stream's samples once more overnight, by the HiveQL query
leakage, ranker_leakage  features read at label time: counters and a tree, and the cascade's ranker
flywheel  serve, log, join, train, index, day after day; what a stopped part costs (flywheel_run.py:
          hours and nights; flywheel_parts.py; flywheel_feed.py, flywheel_platform.py: the pages)
data_path  figure 2.3 alive: gateway, log, label consumer, joiners; watched, broken, checked
          (data_path_traffic.py: what is lived again; _replay.py: phones; _processes.py;
          _watch.py; _hostile.py; _check.py)
training_modes  streaming, hourly and daily batch through two days with a drift and a bad hour
          (relived.py: the days under other tastes; drifting_days.py: their samples;
          training_arms.py: one mode, step by step)
join_panel  a day joined again at every move of a knob, and a model that learned from it
          (join_panel_build.py: made once; click_model.py: learns again in milliseconds)
leaky_columns  a training table that was read too late, beside what was served
skew_study  features as served with a lag against those of the log, and what that costs a ranker
feature_drift  counters of a lossy stream, and what rebuilds heal
evening, value_study  what lesson 04 turns and reads: machines, policies and a surge; who says what
          a request gains
long_tail, matthew  who is seen: figure 2.9, Gini and Lorenz by day, ExpoReach, new-item coverage;
          whether winners win again, and how creators answer and leave
served    the service of lesson 03 over this lab: ladder, cache, pools (serving_drill.py: what is
          down; serving_load.py: overload; rung_values.py: rungs measured; serving_day.py: a day)
activity_study  who will come: hit rates without and with a prediction, beside what could be known
dualrec_days  28 days with and without a creator side, which creators and users answer
          (dualrec_feed.py, dualrec_sides.py, dualrec_platform.py: how; dualrec_front.py: its price)
co_diverted   users, creators or both split: what each experiment finds of the true effect
doctor    is everything installed and answering?
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reclab.lab.lab import SCALES, Lab, open_lab

__all__ = ["SCALES", "Lab", "open_lab"]


def __getattr__(name: str) -> Any:
    # imported when asked for, so that the doctor also answers where torch cannot be imported
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reclab.lab import lab

    return getattr(lab, name)
