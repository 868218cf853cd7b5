"""What everything stands on; read this folder first.

errors    errors that name the field, the value and a good one
chance    one random stream per purpose
clock     simulated time is passed in, measured time stays in a stopwatch
tables    the four log tables and how they are held
types     Request -> Candidates -> Slate, and the Trace of how it came
stage     stage(batch, candidates) -> StageResult(kept, dropped)
pipeline  runs a list of stages and records the trace
protocols what one part asks of another without importing it
metrics   AUC, GAUC, NDCG, Gini and the shares of head, middle and tail
"""
